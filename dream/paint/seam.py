"""Pictures whose edges meet: a photo is made so, and then read as if it went on beyond them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dream import sums
from dream.networks.network import ValueAndGrad
from dream.paint.tile import MARGIN
from dream.paint.transform import padded
from dream.tensors import Around, Size, size_of

# What `DreamRecipe.seamless` says goes round.
AROUND: dict[str, Around] = {"none": (), "across": (3,), "all": (2, 3)}


def meeting(picture: Tensor, around: Around) -> Tensor:
    """The picture (N, 3, H, W) in [0, 1] less what makes it jump from an edge to the one opposite.

    That is the smooth part of Moisan, "Periodic plus smooth image decomposition", 2011: a picture
    as smooth as can be that has the same jumps. Where two edges do not meet it is mirrored there.
    """
    if not around:
        return picture
    whole = sums.wide(picture)
    jumps = torch.zeros_like(whole)
    for dim in around:
        last = whole.shape[dim] - 1
        jump = whole.narrow(dim, last, 1) - whole.narrow(dim, 0, 1)
        jumps.narrow(dim, 0, 1).add_(jump)
        jumps.narrow(dim, last, 1).sub_(jump)
    for dim in {2, 3}.difference(around):
        jumps = torch.cat((jumps, jumps.flip(dim)), dim)
    rows, columns = (
        2 * torch.cos(2 * math.pi * sums.wide(torch.arange(side, device=picture.device)) / side)
        for side in size_of(jumps)
    )
    curvature = rows[:, None] + columns[: len(columns) // 2 + 1] - 4
    curvature[0, 0] = 1  # The mean, of which a jump has none.
    smooth = torch.fft.irfft2(torch.fft.rfft2(jumps) / curvature, s=size_of(jumps))
    met = whole - smooth[:, :, : picture.shape[2], : picture.shape[3]]
    return (sums.rounded(met) if met.dtype == torch.float64 else met).clamp(0, 1)


def seen_size(size: Size, around: Around) -> Size:
    """How large a picture of that (height, width) is when it is read `around` its edges."""
    down, right = _margins(size, around)
    return size[0] + 2 * down, size[1] + 2 * right


def read_around(value_and_grad: ValueAndGrad, around: Around) -> ValueAndGrad:
    """Values and gradients of pictures that go on at the other edge.

    A margin of what lies there is looked at too, its gradient thrown away, as around a tile.
    """
    if not around:
        return value_and_grad

    def evaluate(picture: Tensor) -> tuple[Tensor, Tensor]:
        (height, width), (down, right) = size_of(picture), _margins(size_of(picture), around)
        values, gradient = value_and_grad(padded(picture, down, right, around))
        return values, gradient[:, :, down : down + height, right : right + width]

    return evaluate


def _margins(size: Size, around: Around) -> Size:
    down, right = (
        min(MARGIN, side) if dim in around else 0 for dim, side in enumerate(size, start=2)
    )
    return down, right
