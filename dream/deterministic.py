"""Sums with the same result on every CPU and for every number of threads.

An ascent is chaotic: one different bit leads to another image. In float32 a sum depends on its
order, and so on the instruction set and the number of threads. On a CPU the sums of an ascent are
therefore computed in float64, whose errors are far smaller than the rounding that follows.
Convolutions have a fixed order anyway (`networks.convolution`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, fx

# Values are rounded to a multiple of 2**-20 of about the largest one of their image; 8 bits are
# shown. An error of float64 changes the rounding of about one value in 2**32: by estimate, in a few
# images per thousand.
ROUNDING_BITS = 20


def accumulation_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype in which sums are computed: float64 on a CPU, float32 elsewhere."""
    return torch.float64 if device.type == "cpu" else torch.float32


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Move float64 constants to a device, in its accumulation dtype."""
    # Convert before moving: MPS has no float64.
    return values.to(accumulation_dtype(device)).to(device)


@fx.wrap  # A trace cannot follow the test of the device.
def upcast(values: Tensor) -> Tensor:
    """Convert the values to the accumulation dtype of their device."""
    return values.to(accumulation_dtype(values.device))


def mean(values: Tensor, dims: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """Return the mean over `dims`, summed in the accumulation dtype, in the dtype of the values."""
    dtype = accumulation_dtype(values.device)
    return values.mean(dims, keepdim=keepdim, dtype=dtype).to(values.dtype)


def in_float64_on_cpu(method: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Decorate a method of float32 values (N, …) so that its result is bit-equal on every CPU.

    On a CPU the method runs in float64; its result and its gradient are rounded. Use it for sums
    over a whole image, such as Fourier transforms, whose order depends on the library.
    """

    @wraps(method)
    def run_in_float64(self: Any, values: Tensor) -> Tensor:
        if accumulation_dtype(values.device) != torch.float64:
            return method(self, values)
        upcast = values.double()
        if upcast.requires_grad:
            upcast.register_hook(_round_gradient)  # type: ignore[no-untyped-call]
        rounded: Tensor = _RoundToFloat32.apply(method(self, upcast))
        return rounded

    return run_in_float64


def _round_gradient(gradient: Tensor) -> Tensor:
    return round_to_float32(gradient).double()


class _RoundToFloat32(torch.autograd.Function):
    """Rounds to float32; converts the gradient to float64."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return round_to_float32(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.double()


def round_to_float32(values: Tensor) -> Tensor:
    """Round float64 values (N, …) to float32: `ROUNDING_BITS` bits below each image's largest."""
    largest = values.abs().amax(tuple(range(1, values.dim())), keepdim=True)
    step = torch.ldexp(torch.ones_like(largest), largest.frexp().exponent - ROUNDING_BITS)
    return ((values / step).round() * step).float()
