"""Random views of a picture, and the smoothing of gradients. Pictures are (1, 3, H, W)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_shift(picture: Tensor, jitter: int, generator: torch.Generator) -> tuple[int, int]:
    """Rows and columns to roll by: up to `jitter` pixels either way, at most a quarter side."""
    down, right = (
        int(torch.randint(-limit, limit + 1, (), generator=generator))
        for limit in (min(jitter, side // 4) for side in picture.shape[2:])
    )
    return down, right


def roll(picture: Tensor, shift: tuple[int, int]) -> Tensor:
    """The picture moved down and right; what leaves at one edge comes in at the other."""
    return torch.roll(picture, shift, dims=(2, 3))


def blur(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `sigma` pixels, cut off at three sigma; the edges are mirrored."""
    if sigma == 0:
        return picture
    radius = min(math.ceil(3 * sigma), min(picture.shape[2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32, device=picture.device)
    kernel = torch.exp(-((offsets / sigma) ** 2) / 2)
    kernel /= kernel.sum()
    picture = F.pad(picture, (radius,) * 4, mode="reflect")
    for shape in ((1, 1, -1, 1), (1, 1, 1, -1)):
        picture = F.conv2d(picture, kernel.view(shape).expand(3, -1, -1, -1), groups=3)
    return picture
