"""Pictures whose edges meet: a photo is made so, and then read as if it went on beyond them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dream import deterministic
from dream.networks.network import ValueAndGrad
from dream.render.tiling import TILE_MARGIN
from dream.render.transform import pad_edges
from dream.tensors import Size, WrapDims, size_of

# What `DreamRecipe.seamless` says goes round.
WRAP_DIMS: dict[str, WrapDims] = {"none": (), "across": (3,), "all": (2, 3)}


def make_periodic(image: Tensor, wrap_dims: WrapDims) -> Tensor:
    """The picture (N, 3, H, W) in [0, 1] less what makes it jump from an edge to the one opposite.

    That is the smooth part of Moisan, "Periodic plus smooth image decomposition", 2011: a picture
    as smooth as can be that has the same jumps. Where two edges do not meet it is mirrored there.
    """
    if not wrap_dims:
        return image
    whole = deterministic.upcast(image)
    jumps = torch.zeros_like(whole)
    for dim in wrap_dims:
        last = whole.shape[dim] - 1
        jump = whole.narrow(dim, last, 1) - whole.narrow(dim, 0, 1)
        jumps.narrow(dim, 0, 1).add_(jump)
        jumps.narrow(dim, last, 1).sub_(jump)
    for dim in {2, 3}.difference(wrap_dims):
        jumps = torch.cat((jumps, jumps.flip(dim)), dim)
    rows, columns = (
        2
        * torch.cos(
            2 * math.pi * deterministic.upcast(torch.arange(side, device=image.device)) / side
        )
        for side in size_of(jumps)
    )
    curvature = rows[:, None] + columns[: len(columns) // 2 + 1] - 4
    curvature[0, 0] = 1  # The mean, of which a jump has none.
    smooth = torch.fft.irfft2(torch.fft.rfft2(jumps) / curvature, s=size_of(jumps))
    met = whole - smooth[:, :, : image.shape[2], : image.shape[3]]
    return (deterministic.round_to_float32(met) if met.dtype == torch.float64 else met).clamp(0, 1)


def padded_size(size: Size, wrap_dims: WrapDims) -> Size:
    """How large a picture of that (height, width) is when it is read `around` its edges."""
    down, right = _wrap_margins(size, wrap_dims)
    return size[0] + 2 * down, size[1] + 2 * right


def with_wrap_padding(value_and_grad: ValueAndGrad, wrap_dims: WrapDims) -> ValueAndGrad:
    """Values and gradients of pictures that go on at the other edge.

    A margin of what lies there is looked at too, its gradient thrown away, as around a tile.
    """
    if not wrap_dims:
        return value_and_grad

    def evaluate(picture: Tensor) -> tuple[Tensor, Tensor]:
        (height, width), (down, right) = (
            size_of(picture),
            _wrap_margins(size_of(picture), wrap_dims),
        )
        values, gradient = value_and_grad(pad_edges(picture, down, right, wrap_dims))
        return values, gradient[:, :, down : down + height, right : right + width]

    return evaluate


def _wrap_margins(size: Size, wrap_dims: WrapDims) -> Size:
    down, right = (
        min(TILE_MARGIN, side) if dim in wrap_dims else 0 for dim, side in enumerate(size, start=2)
    )
    return down, right
