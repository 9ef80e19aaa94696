"""Sums that come out the same on any processor, in however many parts its threads take them.

An ascent is chaotic: one last bit becomes another picture. In float32 a sum depends on its order,
and so on the instruction set and the number of threads. Those of an ascent are therefore taken in
float64 on a CPU, whose errors are far smaller than the rounding that follows; those of convolutions
are in one order anyhow (`networks.convolution`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, fx

# To so many bits below the largest of a picture its values are kept; eight are shown. An error of
# float64 moves about one value in 2^32 to its neighbour: by estimate, a few pictures in a thousand.
KEPT_BITS = 20


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """In what sums are taken there: float64 on a CPU, else float32."""
    return torch.float64 if device.type == "cpu" else torch.float32


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Constants of float64 on a device, in the precision that sums are taken in there.

    They are narrowed before they are moved, as MPS has no float64.
    """
    return values.to(accumulation_dtype(device)).to(device)


@fx.wrap  # It asks where its values are, which a trace cannot follow.
def upcast(values: Tensor) -> Tensor:
    """The values in the precision that their sums are taken in."""
    return values.to(accumulation_dtype(values.device))


def mean(values: Tensor, dims: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """Their mean over those dimensions, in the precision of the values."""
    wanted = accumulation_dtype(values.device)
    return values.mean(dims, keepdim=keepdim, dtype=wanted).to(values.dtype)


def in_float64_on_cpu(method: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """A method of values (N, …) in float32, done so that each bit of what it makes is certain.

    On a CPU it is given them in float64, and what it makes is rounded; so is its gradient. For sums
    over all of a picture, as a Fourier transform is, which libraries take in orders of their own.
    """

    @wraps(method)
    def done(self: Any, values: Tensor) -> Tensor:
        if accumulation_dtype(values.device) != torch.float64:
            return method(self, values)
        made: Tensor = _RoundToFloat32.apply(method(self, _UpcastToFloat64.apply(values)))
        return made

    return done


class _UpcastToFloat64(torch.autograd.Function):
    """To float64; the gradient is rounded."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.double()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return round_to_float32(gradient)


class _RoundToFloat32(torch.autograd.Function):
    """Rounded to float32; the gradient goes to float64."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return round_to_float32(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.double()


def round_to_float32(values: Tensor) -> Tensor:
    """Values (N, …) of float64 in float32, each kept to `BITS` bits below the largest beside it."""
    largest = values.abs().amax(tuple(range(1, values.dim())), keepdim=True)
    step = torch.ldexp(torch.ones_like(largest), largest.frexp().exponent - KEPT_BITS)
    return ((values / step).round() * step).float()
