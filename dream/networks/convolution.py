"""Frozen convolutions on an x86-64: their sums, and those of their gradients, are in one order.

PyTorch gives a convolution to one library or another by its size and the number of threads, and its
gradient to others still. Here both are forward convolutions of oneDNN, which adds up row by row,
column by column, channel by channel, whatever the size and the threads. Nothing is kept for
gradients of weights.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where that was measured. Elsewhere there is no oneDNN, or its sums are in other orders.
IN_ONE_ORDER = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and platform.machine() in ("x86_64", "AMD64")
)


def freeze(convolution: nn.Conv2d) -> nn.Module:
    """The same convolution, frozen; as it is where it cannot be.

    That can be one in float32 on an x86-64, of stride 1 or the first of its network, which reads
    RGB.
    """
    weight, bias = convolution.weight, convolution.bias
    stride, padding = convolution.stride, convolution.padding
    if not (
        IN_ONE_ORDER
        and (weight.device.type, weight.dtype) == ("cpu", torch.float32)
        and (convolution.groups, convolution.dilation) == (1, (1, 1))
        and convolution.padding_mode == "zeros"
        and not isinstance(padding, str)
        and all(pad < side for pad, side in zip(padding, weight.shape[2:], strict=True))
    ):
        return convolution
    if stride == (1, 1):
        return Frozen(weight, bias, padding)
    if convolution.in_channels == 3 and stride[0] == stride[1] and padding[0] == padding[1]:
        return FrozenFirst(weight, bias, padding[0], stride[0])
    return convolution


class Frozen(nn.Module):
    """A convolution of stride 1 with nothing left to learn."""

    weight: Tensor
    flipped: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> None:
        super().__init__()
        self.padding = padding
        self.around = tuple(
            side - 1 - pad for side, pad in zip(weight.shape[2:], padding, strict=True)
        )
        self.register_buffer("weight", _channels_last(weight))
        self.register_buffer("flipped", _channels_last(weight.flip(2, 3).transpose(0, 1)))
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = _Convolve.apply(x, self)
        return made


class FrozenFirst(Frozen):
    """One of a larger stride: squares of pixels become channels, and the stride becomes 1.

    To three channels a gradient is slow, and summed in an order that threads decide.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, edge: int, stride: int) -> None:
        padded = F.pad(weight, (0, -weight.shape[3] % stride, 0, -weight.shape[2] % stride))
        super().__init__(F.pixel_unshuffle(padded, stride), bias, (0, 0))
        self.kernel, self.edge, self.stride = tuple(weight.shape[2:]), edge, stride

    def forward(self, x: Tensor) -> Tensor:
        # Behind each side so many pixels that the last square that is read is whole.
        below, behind = (
            ((side + 2 * self.edge - kernel) // self.stride + squares) * self.stride
            - side
            - self.edge
            for side, kernel, squares in zip(
                x.shape[2:], self.kernel, self.weight.shape[2:], strict=True
            )
        )
        x = F.pad(x, (self.edge, behind, self.edge, below))
        return super().forward(F.pixel_unshuffle(x, self.stride))


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, frozen: Frozen) -> Tensor:
        ctx.frozen = frozen
        return _convolve(x, frozen.weight, frozen.bias, frozen.padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _convolve(gradient, ctx.frozen.flipped, None, ctx.frozen.around), None


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    down, right = padding
    # An edge wider than half a kernel oneDNN adds up in an order that threads decide.
    if 2 * down >= weight.shape[2] or 2 * right >= weight.shape[3]:
        x, padding = F.pad(x, (right, right, down, down)), (0, 0)
    ones = [1, 1]
    return torch.mkldnn_convolution(_channels_last(x), weight, bias, padding, ones, ones, 1)


def _channels_last(x: Tensor) -> Tensor:
    return x.detach().contiguous(memory_format=torch.channels_last)
