"""Frozen convolutions on an x86-64: their sums, and those of their gradients, are in one order.

PyTorch gives a convolution to one library or another by its size and the number of threads, and its
gradient to others still. Here both are forward convolutions of oneDNN, which adds up row by row,
column by column, channel by channel, whatever the size and the threads. Nothing is kept for
gradients of weights; a ReLU can be part of one, and several that read the same can be one.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where that was measured. Elsewhere there is no oneDNN, or its sums are in other orders.
HAS_DETERMINISTIC_ONEDNN = (
    torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    and platform.machine() in ("x86_64", "AMD64")
    and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
)

CHANNELS_LAST = torch.channels_last
ONES = (1, 1)
if HAS_DETERMINISTIC_ONEDNN:
    _reorder_weight = torch.ops.mkldnn._reorder_convolution_weight.default
    _convolve = torch.ops.mkldnn._convolution_pointwise.default
_relu_backward = torch.ops.aten.threshold_backward.grad_input


def freeze_convolution(convolution: nn.Conv2d) -> nn.Module:
    """The same convolution, frozen; as it is where it cannot be.

    That can be one in float32 on an x86-64, of stride 1 or the first of its network, which reads
    RGB.
    """
    weight, bias = convolution.weight, convolution.bias
    stride, padding = convolution.stride, convolution.padding
    if not (
        HAS_DETERMINISTIC_ONEDNN
        and (weight.device.type, weight.dtype) == ("cpu", torch.float32)
        and (convolution.groups, convolution.dilation) == (1, (1, 1))
        and convolution.padding_mode == "zeros"
        and not isinstance(padding, str)
        and all(pad < side for pad, side in zip(padding, weight.shape[2:], strict=True))
    ):
        return convolution
    if stride == (1, 1):
        return FrozenConv(weight, bias, padding)
    if convolution.in_channels == 3 and stride[0] == stride[1] and padding[0] == padding[1]:
        return FrozenStridedConv(weight, bias, padding[0], stride[0])
    return convolution


class FrozenConv(nn.Module):
    """A convolution of stride 1 with nothing left to learn.

    Asked so, it ends in a ReLU. With `sizes` it is several, which make so many channels each.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        padding: tuple[int, ...],
        sizes: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().contiguous(memory_format=CHANNELS_LAST))
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.split_sizes = list(sizes) or [len(weight)]
        sides = weight.shape[2:]
        around = [side - 1 - pad for side, pad in zip(sides, padding, strict=True)]
        self.forward_kernel = _Kernel(sides, padding)
        self.backward_kernel = _Kernel(sides, around)

    @property
    def cached_bytes(self) -> int:
        """The memory that it takes beside its weight: that twice, as oneDNN reads it."""
        return 2 * self.weight.nbytes

    def forward(self, x: Tensor, relu: bool = False) -> Tensor | tuple[Tensor, ...]:
        made: tuple[Tensor, ...] = _ConvolutionFunction.apply(x, self, relu)
        return made if len(made) > 1 else made[0]

    def transposed_weight(self) -> Tensor:
        """The weight of the convolution that makes its gradient."""
        return self.weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=CHANNELS_LAST)


class FrozenStridedConv(FrozenConv):
    """One of a larger stride: squares of pixels become channels, and the stride becomes 1.

    To three channels a gradient is slow, and summed in an order that threads decide.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, edge: int, stride: int) -> None:
        padded = F.pad(weight, (0, -weight.shape[3] % stride, 0, -weight.shape[2] % stride))
        super().__init__(F.pixel_unshuffle(padded, stride), bias, (0, 0))
        self.kernel, self.padding, self.stride = tuple(weight.shape[2:]), edge, stride

    def forward(self, x: Tensor, relu: bool = False) -> Tensor | tuple[Tensor, ...]:
        # Behind each side so many pixels that the last square that is read is whole.
        below, behind = (
            ((side + 2 * self.padding - kernel) // self.stride + squares) * self.stride
            - side
            - self.padding
            for side, kernel, squares in zip(
                x.shape[2:], self.kernel, self.weight.shape[2:], strict=True
            )
        )
        x = F.pad(x, (self.padding, behind, self.padding, below))
        return super().forward(F.pixel_unshuffle(x, self.stride), relu)


def merge_pointwise(those: Sequence[FrozenConv]) -> FrozenConv:
    """Several of 1 x 1 that read the same as one: it reads that once, and its gradient is one."""
    biases = [each.bias for each in those if each.bias is not None]
    return FrozenConv(
        torch.cat([each.weight for each in those]),
        torch.cat(biases) if biases else None,
        (0, 0),
        tuple(len(each.weight) for each in those),
    )


class _Kernel:
    """A convolution of oneDNN; its weight is kept in the order it reads for pictures of a size."""

    def __init__(self, sides: Sequence[int], padding: Sequence[int]) -> None:
        down, right = padding
        # An edge wider than half a kernel oneDNN adds up in an order that threads decide.
        wide = 2 * down >= sides[0] or 2 * right >= sides[1]
        self.extra_padding = (right, right, down, down) if wide and (down or right) else ()
        self.padding = (0, 0) if wide else (down, right)
        # Dreams stay at one size for many steps. Other threads may be at another.
        self.cached: tuple[torch.Size, Tensor] = torch.Size(), torch.empty(0)

    def __call__(
        self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None, after: str
    ) -> Tensor:
        if self.extra_padding:
            x = F.pad(x, self.extra_padding)
        x = x.contiguous(memory_format=CHANNELS_LAST)
        size, packed = self.cached
        if size != x.shape:
            packed = _reorder_weight(weight(), self.padding, ONES, ONES, 1, x.shape)
            self.cached = x.shape, packed
        made: Tensor = _convolve(x, packed, bias, self.padding, ONES, ONES, 1, after, [], "")
        return made


class _ConvolutionFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, frozen: FrozenConv, relu: bool) -> tuple[Tensor, ...]:
        weight, after = lambda: frozen.weight, "relu" if relu else "none"
        made = frozen.forward_kernel(x, weight, frozen.bias, after)
        ctx.frozen, ctx.made = frozen, made if relu else None
        return torch.split(made, frozen.split_sizes, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        frozen: FrozenConv = ctx.frozen
        if ctx.made is None:
            gradient = torch.cat(gradients, 1) if len(gradients) > 1 else gradients[0]
        else:
            gradient = torch.empty_like(ctx.made)
            made, into = (torch.split(each, frozen.split_sizes, 1) for each in (ctx.made, gradient))
            for parts in zip(gradients, made, into, strict=True):
                _relu_backward(parts[0], parts[1], 0, grad_input=parts[2])
        return frozen.backward_kernel(gradient, frozen.transposed_weight, None, "none"), None, None
