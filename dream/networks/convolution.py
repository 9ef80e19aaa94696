"""Frozen convolutions that are deterministic on x86-64, gradients included.

PyTorch chooses a library for a convolution by its size and the number of threads, and others for
its gradient, so that sums differ in their order. Here both are forward convolutions of oneDNN,
which sums rows, columns and channels in one order, whatever the size and number of threads. They
store nothing for gradients of weights, can include a ReLU, and can be merged if they read the same
input.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The machines on which this was measured. Others have no oneDNN, or it sums in another order.
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
    """Return a frozen version of a convolution, or the convolution itself if that is not possible.

    It is possible for float32 on x86-64, with stride 1 or, for RGB input, any square stride.
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
    """A convolution of stride 1 without gradients of weights.

    With `split_sizes` it is several merged convolutions, with that many output channels each.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        padding: tuple[int, ...],
        split_sizes: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().contiguous(memory_format=CHANNELS_LAST))
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.split_sizes = list(split_sizes) or [len(weight)]
        sides = weight.shape[2:]
        backward_padding = [side - 1 - pad for side, pad in zip(sides, padding, strict=True)]
        self.forward_kernel = _Kernel(sides, padding)
        self.backward_kernel = _Kernel(sides, backward_padding)

    @property
    def cached_bytes(self) -> int:
        """The memory of both kernels' weights in oneDNN's layout, in addition to the weight."""
        return 2 * self.weight.nbytes

    def forward(self, x: Tensor, relu: bool = False) -> Tensor | tuple[Tensor, ...]:
        """Return the output, after a ReLU if asked; a tuple if several convolutions are merged."""
        outputs: tuple[Tensor, ...] = _ConvolutionFunction.apply(x, self, relu)
        return outputs if len(outputs) > 1 else outputs[0]

    def transposed_weight(self) -> Tensor:
        """Return the weight of the convolution that computes the gradient."""
        return self.weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=CHANNELS_LAST)


class FrozenStridedConv(FrozenConv):
    """A convolution of a larger stride: pixel unshuffling turns strides into channels.

    A gradient to only three channels would be slow, and its order of sums would depend on threads.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, padding: int, stride: int) -> None:
        padded = F.pad(weight, (0, -weight.shape[3] % stride, 0, -weight.shape[2] % stride))
        super().__init__(F.pixel_unshuffle(padded, stride), bias, (0, 0))
        self.kernel, self.padding, self.stride = tuple(weight.shape[2:]), padding, stride

    def forward(self, x: Tensor, relu: bool = False) -> Tensor | tuple[Tensor, ...]:
        """Return the output, after a ReLU if asked."""
        # Pad the bottom and the right so that the last block that is read is complete.
        bottom, right = (
            ((side + 2 * self.padding - kernel) // self.stride + blocks) * self.stride
            - side
            - self.padding
            for side, kernel, blocks in zip(
                x.shape[2:], self.kernel, self.weight.shape[2:], strict=True
            )
        )
        x = F.pad(x, (self.padding, right, self.padding, bottom))
        return super().forward(F.pixel_unshuffle(x, self.stride), relu)


def merge_pointwise(convolutions: Sequence[FrozenConv]) -> FrozenConv:
    """Merge 1 x 1 convolutions of one input, so that the input and gradient are computed once."""
    biases = [each.bias for each in convolutions if each.bias is not None]
    return FrozenConv(
        torch.cat([each.weight for each in convolutions]),
        torch.cat(biases) if biases else None,
        (0, 0),
        tuple(len(each.weight) for each in convolutions),
    )


class _Kernel:
    """A convolution of oneDNN that caches its weight in oneDNN's layout for one input size."""

    def __init__(self, sides: Sequence[int], padding: Sequence[int]) -> None:
        rows, columns = padding
        # With padding of half a kernel or more, oneDNN's order of sums depends on threads.
        is_wide = 2 * rows >= sides[0] or 2 * columns >= sides[1]
        self.extra_padding = (columns, columns, rows, rows) if is_wide and (rows or columns) else ()
        self.padding = (0, 0) if is_wide else (rows, columns)
        # Dreams stay at one size for many steps. A tuple, because threads may use other sizes.
        self.cached_size_and_weight: tuple[torch.Size, Tensor] = torch.Size(), torch.empty(0)

    def __call__(
        self, x: Tensor, weight: Callable[[], Tensor], bias: Tensor | None, activation: str
    ) -> Tensor:
        if self.extra_padding:
            x = F.pad(x, self.extra_padding)
        x = x.contiguous(memory_format=CHANNELS_LAST)
        size, packed = self.cached_size_and_weight
        if size != x.shape:
            packed = _reorder_weight(weight(), self.padding, ONES, ONES, 1, x.shape)
            self.cached_size_and_weight = x.shape, packed
        output: Tensor = _convolve(x, packed, bias, self.padding, ONES, ONES, 1, activation, [], "")
        return output


class _ConvolutionFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, frozen: FrozenConv, relu: bool) -> tuple[Tensor, ...]:
        weight, activation = lambda: frozen.weight, "relu" if relu else "none"
        output = frozen.forward_kernel(x, weight, frozen.bias, activation)
        ctx.frozen, ctx.output = frozen, output if relu else None
        return torch.split(output, frozen.split_sizes, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        frozen: FrozenConv = ctx.frozen
        if ctx.output is None:
            gradient = torch.cat(gradients, 1) if len(gradients) > 1 else gradients[0]
        else:
            gradient = torch.empty_like(ctx.output)
            outputs = torch.split(ctx.output, frozen.split_sizes, 1)
            results = torch.split(gradient, frozen.split_sizes, 1)
            for upstream, output, result in zip(gradients, outputs, results, strict=True):
                _relu_backward(upstream, output, 0, grad_input=result)
        return frozen.backward_kernel(gradient, frozen.transposed_weight, None, "none"), None, None
