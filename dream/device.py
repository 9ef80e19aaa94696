"""Which device the work runs on, and in which precision."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch

from dream.errors import DeviceError


def pick_device(name: str | None = None) -> torch.device:
    """That device; or the one that `DREAM_DEVICE` names; or the best there is: CUDA, MPS, CPU.

    Raises:
        DeviceError: if it is not there.
    """
    wanted = name or os.environ.get("DREAM_DEVICE") or _best()
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(
            f"device {wanted!r} is not to be had on this machine; try {_best()}"
        ) from error
    return device


def _best() -> str:
    with warnings.catch_warnings():
        # A CUDA build of torch on a machine with no driver says so at length; the CPU will do.
        warnings.simplefilter("ignore")
        if torch.cuda.is_available():
            return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, float32 elsewhere.

    A dream shows no difference; VGG-16 ran four times faster so on a CPU with bf16 matrix units.
    """
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = device.type == "cpu" and _cpu_multiplies_bfloat16()
    return torch.bfloat16 if native else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    """Whether Linux lists bf16 dot products (AVX-512, AMX or Arm) among the processor's flags."""
    try:
        flags = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return False
    words = set(flags.split())
    return not words.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
