"""A device in software that refuses what CUDA refuses.

It takes the name of torch's `meta`, which every machine has; within `software_device()` tensors of
that device hold numbers, computed on the CPU. Mixing them with CPU tensors is an error, as on CUDA.
Each wait of the CPU for the device is recorded, and each result in float64, which MPS lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE_NAME = "meta"
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXING = (
    *(aten.index.Tensor, aten.index_put.default),
    *(aten.index_put_.default, aten._index_put_impl_.default),
)
# Operations that give the CPU a number, or a shape that depends on numbers.
READS_TO_CPU = (aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default)
FLOAT64_DTYPES = (torch.float64, torch.complex128)


@dataclass
class SoftwareDevice:
    """The operations so far that made the CPU wait, and those in float64."""

    waits: list[str] = field(default_factory=list)
    doubles: list[str] = field(default_factory=list)


class DeviceTensor(torch.Tensor):
    """A tensor on the device; `numbers` holds its values on the CPU."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> DeviceTensor:
        # A lazy conjugate is a flag, which the wrapper does not have.
        numbers = numbers.resolve_conj().resolve_neg()
        made: DeviceTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.shape,
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            device=torch.device(DEVICE_NAME),
        )
        made.numbers = numbers
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} was called when the software device was gone")


class _Operations(TorchDispatchMode):
    """Computes the operations of the device."""

    def __init__(self, device: SoftwareDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        is_read = any(isinstance(each, DeviceTensor) for each in tensors)
        target = kwargs.get("device")
        is_made = is_read if target is None else target.type == DEVICE_NAME
        if not is_read and not is_made:
            return func(*args, **kwargs)
        if func is aten.copy_.default:
            is_made = isinstance(args[0], DeviceTensor)
        self._refuse_or_note(func, args, tensors, is_read, is_made)
        inner_args, inner_kwargs = tree_map(_numbers, (args, kwargs))
        if target is not None:
            inner_kwargs["device"] = torch.device("cpu")
        made = func(*inner_args, **inner_kwargs)
        if not is_made:
            return made
        results = [each for each in tree_leaves(made) if isinstance(each, Tensor)]
        if any(each.dtype in FLOAT64_DTYPES for each in results):
            self.device.doubles.append(str(func))
        made = tree_map(lambda each: DeviceTensor(each) if isinstance(each, Tensor) else each, made)
        return return_and_correct_aliasing(func, args, kwargs, made) if is_read else made

    def _refuse_or_note(
        self, func: Any, args: Any, tensors: list[Tensor], is_read: bool, is_made: bool
    ) -> None:
        # Tensors without dimensions may come from the CPU, as on CUDA.
        others = [each for each in tensors if each.dim() and not isinstance(each, DeviceTensor)]
        if func in COPIES:
            is_across = is_read != is_made or (is_made and bool(others))
        elif func in INDEXING:
            is_across = bool(others)
            is_across |= any(
                each.dtype in (torch.bool, torch.uint8)
                for each in tree_leaves(args[1])
                if isinstance(each, Tensor)
            )
        else:
            is_across = func in READS_TO_CPU
            if is_read and others:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two, "
                    f"{DEVICE_NAME} and cpu, in {func}"
                )
        if is_across:
            self.device.waits.append(str(func))


def _numbers(value: Any) -> Any:
    return value.numbers if isinstance(value, DeviceTensor) else value


class _Literals(TorchFunctionMode):
    """Functions that torch computes below its operations, unseen by `_Operations`."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu").type == DEVICE_NAME:
            device = kwargs.pop("device")
            return torch.tensor(*args, **kwargs).to(device)
        if func is torch.Tensor.new_tensor and isinstance(args[0], DeviceTensor):
            return torch.tensor(args[1], dtype=args[0].dtype).to(DEVICE_NAME)
        if func is torch.Tensor.tolist and isinstance(args[0], DeviceTensor):
            return args[0].cpu().tolist()
        return func(*args, **kwargs)


@contextmanager
def software_device() -> Iterator[SoftwareDevice]:
    """Let the device `meta` hold numbers in this thread; yield its records."""
    device = SoftwareDevice()
    with _Literals(), _Operations(device):
        yield device
