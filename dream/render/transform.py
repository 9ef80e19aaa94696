"""Random views of a picture, and the smoothing of gradients. Pictures are (1, 3, H, W)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dream import deterministic
from dream.tensors import WrapDims, resize

# Where `grid_sample` has no mirrored edges, or no way back through them (pytorch#169143).
NO_REFLECTION_DEVICES = ("mps",)


def random_shift(image: Tensor, jitter: int, generator: torch.Generator) -> tuple[int, int]:
    """Rows and columns to roll by: up to `jitter` pixels either way, at most a quarter side."""
    down, right = (
        int(torch.randint(-limit, limit + 1, (), generator=generator))
        for limit in (min(jitter, side // 4) for side in image.shape[2:])
    )
    return down, right


def roll(image: Tensor, shift: tuple[int, int]) -> Tensor:
    """The picture moved down and right; what leaves at one edge comes in at the other."""
    return torch.roll(image, shift, dims=(2, 3))


def quantise_8bit(image: Tensor) -> Tensor:
    """The picture as it comes back out of an image."""
    return (image * 255).round_().div_(255)


def pad_edges(image: Tensor, down: int, right: int, wrap_dims: WrapDims) -> Tensor:
    """The picture with so many pixels more at each edge: what is `around` goes on, the rest is
    mirrored.
    """
    if not wrap_dims:
        return F.pad(image, (right, right, down, down), mode="reflect")
    for dim, pads in ((2, (0, 0, down, down)), (3, (right, right, 0, 0))):
        mode = "circular" if dim in wrap_dims else "reflect"
        image = F.pad(image, pads, mode=mode) if any(pads) else image
    return image


def blur(image: Tensor, sigma: float, wrap_dims: WrapDims = ()) -> Tensor:
    """Gaussian blur of `sigma` pixels, cut off at three sigma; the edges are mirrored, but for what
    goes `around`.
    """
    if sigma == 0:
        return image
    radii = [min(math.ceil(3 * sigma), side - 1) for side in image.shape[2:]]
    image = pad_edges(image, radii[0], radii[1], wrap_dims)
    for dim, radius in zip((2, 3), radii, strict=True):
        # Sums of shifted pictures, not convolutions: those take ten times the picture's memory.
        weights = [math.exp(-((offset / sigma) ** 2) / 2) for offset in range(radius + 1)]
        total = 2 * sum(weights) - weights[0]
        side = image.shape[dim] - 2 * radius
        blurred = image.narrow(dim, radius, side) * (weights[0] / total)
        for offset, weight in enumerate(weights[1:], start=1):
            for start in (radius - offset, radius + offset):
                blurred.add_(image.narrow(dim, start, side), alpha=weight / total)
        image = blurred
    return image


def total_variation_gradient(image: Tensor, wrap_dims: WrapDims = ()) -> Tensor:
    """Where each value (N, C, H, W) should go for the total variation to grow.

    It is the gradient of the sum of absolute differences between neighbours (Rudin, Osher and
    Fatemi 1992), of each channel by itself; differences of a grey level and less count less, so
    that what is flat stays flat.
    """
    gradient = torch.zeros_like(image)
    for dim in (2, 3):
        step = image.diff(dim=dim)
        step /= step.abs() + 1 / 255
        count = image.shape[dim] - 1
        gradient.narrow(dim, 1, count).add_(step)
        gradient.narrow(dim, 0, count).sub_(step)
        if dim in wrap_dims:
            step = image.narrow(dim, 0, 1) - image.narrow(dim, count, 1)
            step /= step.abs() + 1 / 255
            gradient.narrow(dim, 0, 1).add_(step)
            gradient.narrow(dim, count, 1).sub_(step)
    return gradient


def normalise_pyramid(gradient: Tensor, bands: int, wrap_dims: WrapDims = ()) -> Tensor:
    """The gradient with each octave of its frequencies at the same strength.

    It is split into `bands` (as many as its size allows), each divided by its mean absolute value,
    and put together again: low frequencies are no longer drowned by high ones. One band is the
    gradient itself. (The Laplacian pyramid of TensorFlow's deep dream notebook, 2015.)
    """
    if bands < 2:
        return gradient
    details = []
    for _ in range(bands - 1):
        if min(gradient.shape[2:]) < 4:
            break
        height, width = gradient.shape[2:]
        coarse = resize(gradient, ((height + 1) // 2, (width + 1) // 2), wrap_dims)
        details.append(gradient - resize(coarse, (height, width), wrap_dims))
        gradient = coarse
    even = _normalise_band(gradient)
    for detail in reversed(details):
        even = resize(even, (detail.shape[2], detail.shape[3]), wrap_dims) + _normalise_band(detail)
    return even


def _normalise_band(band: Tensor) -> Tensor:
    """The band divided by its mean absolute value, picture by picture."""
    size = deterministic.mean(band.abs(), (1, 2, 3), keepdim=True)
    return band / size.clamp(min=torch.finfo(band.dtype).tiny)


def random_crops(image: Tensor, generator: torch.Generator, *, share: float, count: int) -> Tensor:
    """So many random square parts of each picture, `share` of its side, enlarged to its size."""
    crops = []
    for draw in torch.rand(count, 2, generator=generator).tolist():
        # From the middle to any place that leaves the crop inside, in pixels of the enlarged one.
        shift = [
            (1 - share) / share * side * (0.5 - each)
            for side, each in zip(image.shape[2:], draw, strict=True)
        ]
        crops.append(affine(image, angle=0, zoom=1 / share, shift=(shift[0], shift[1])))
    return torch.cat(crops)


def jitter(image: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """The picture rolled by a `random_shift` of up to `limit` pixels."""
    return roll(image, random_shift(image, limit, generator))


def random_affine(
    image: Tensor,
    generator: torch.Generator,
    *,
    degrees: float = 10.0,
    zoom: tuple[float, float] = (0.9, 1.1),
    shift: float = 8.0,
) -> Tensor:
    """The pictures turned, zoomed and shifted (in pixels) at random, all alike, at their own size.

    What speckles an ascent finds does not survive it. It is one resampling in the place of Lucid's
    pad, jitter, scale, rotate and jitter, and as clean.
    """
    draw = torch.rand(4, generator=generator).tolist()
    angle = math.radians(degrees) * (2 * draw[0] - 1)
    return affine(
        image,
        angle=angle,
        zoom=zoom[0] + (zoom[1] - zoom[0]) * draw[1],
        shift=(shift * (2 * draw[2] - 1), shift * (2 * draw[3] - 1)),
    )


def affine(image: Tensor, *, angle: float, zoom: float, shift: tuple[float, float]) -> Tensor:
    """The picture turned clockwise by `angle` (radians) about its middle, enlarged `zoom` times and
    moved (down, right) by `shift` pixels; bilinear, its edges mirrored.
    """
    height, width = image.shape[2:]
    cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
    down, right = shift
    # Where each pixel comes from, with both sides of the picture from -1 to 1.
    y, x = (
        (2 * deterministic.upcast(torch.arange(side, device=image.device)) + 1) / side - 1
        for side in (height, width)
    )
    y = y[:, None]
    across = cosine * x + sine * height / width * y - 2 * (cosine * right + sine * down) / width
    along = cosine * y - sine * width / height * x - 2 * (cosine * down - sine * right) / height
    grid = torch.stack((across, along), 2).to(image.dtype)
    grid = grid.expand(len(image), -1, -1, -1)
    where = "cpu" if image.device.type in NO_REFLECTION_DEVICES else image.device
    seen = F.grid_sample(
        image.to(where), grid.to(where), padding_mode="reflection", align_corners=False
    )
    return seen.to(image.device)
