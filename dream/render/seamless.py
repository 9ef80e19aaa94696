"""Seamless images: make opposite edges match, and read images with circular padding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dream import deterministic
from dream.networks.network import ValueAndGrad
from dream.render.tiling import TILE_MARGIN
from dream.render.transform import pad_edges
from dream.tensors import Size, WrapDims, size_of

# Dimensions that wrap for each value of `DreamRecipe.seamless`.
WRAP_DIMS: dict[str, WrapDims] = {"none": (), "across": (3,), "all": (2, 3)}


def make_periodic(image: Tensor, wrap_dims: WrapDims) -> Tensor:
    """Return the periodic component of images (N, 3, H, W) in [0, 1], whose opposite edges match.

    It is the image minus the smooth component of Moisan, "Periodic plus smooth image
    decomposition", 2011: the smoothest image with the same jumps between opposite edges. Dimensions
    that do not wrap are mirrored.
    """
    if not wrap_dims:
        return image
    upcast = deterministic.upcast(image)
    jumps = torch.zeros_like(upcast)
    for dim in wrap_dims:
        last = upcast.shape[dim] - 1
        jump = upcast.narrow(dim, last, 1) - upcast.narrow(dim, 0, 1)
        jumps.narrow(dim, 0, 1).add_(jump)
        jumps.narrow(dim, last, 1).sub_(jump)
    for dim in {2, 3}.difference(wrap_dims):
        jumps = torch.cat((jumps, jumps.flip(dim)), dim)
    # Solve the Poisson equation in frequency space, where the Laplacian is a product.
    indices = (torch.arange(side, device=image.device) for side in size_of(jumps))
    rows, columns = (
        2 * torch.cos(2 * math.pi * deterministic.upcast(index) / len(index)) for index in indices
    )
    laplacian = rows[:, None] + columns[: len(columns) // 2 + 1] - 4
    laplacian[0, 0] = 1  # The mean of the jumps is 0; avoid 0 / 0.
    smooth = torch.fft.irfft2(torch.fft.rfft2(jumps) / laplacian, s=size_of(jumps))
    periodic: Tensor = upcast - smooth[:, :, : image.shape[2], : image.shape[3]]
    if periodic.dtype == torch.float64:
        periodic = deterministic.round_to_float32(periodic)
    return periodic.clamp(0, 1)


def padded_size(size: Size, wrap_dims: WrapDims) -> Size:
    """Return the (height, width) of an image after wrap padding."""
    down, right = _wrap_margins(size, wrap_dims)
    return size[0] + 2 * down, size[1] + 2 * right


def with_wrap_padding(value_and_grad: ValueAndGrad, wrap_dims: WrapDims) -> ValueAndGrad:
    """Return `value_and_grad` on images padded circularly; the padding's gradient is dropped."""
    if not wrap_dims:
        return value_and_grad

    def evaluate(image: Tensor) -> tuple[Tensor, Tensor]:
        height, width = size_of(image)
        down, right = _wrap_margins((height, width), wrap_dims)
        values, gradient = value_and_grad(pad_edges(image, down, right, wrap_dims))
        return values, gradient[:, :, down : down + height, right : right + width]

    return evaluate


def _wrap_margins(size: Size, wrap_dims: WrapDims) -> Size:
    down, right = (
        min(TILE_MARGIN, side) if dim in wrap_dims else 0 for dim, side in enumerate(size, start=2)
    )
    return down, right
