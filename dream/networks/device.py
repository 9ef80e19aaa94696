"""The device and the precision of networks."""

from __future__ import annotations

import os
import time
from functools import lru_cache

import torch
import torch.nn.functional as F

from dream.errors import DeviceError, describe_value
from dream.networks.model_card import ModelCard

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MIN_BFLOAT16_SPEEDUP = 1.5
TIMING_RUNS = 3


def pick_device(name: str | None = None) -> torch.device:
    """Return a device: `name`, or `DREAM_DEVICE`, or the best available of CUDA, MPS and CPU.

    Raises:
        DeviceError: if the device is not available.
    """
    requested = name or os.environ.get("DREAM_DEVICE") or _best_device_name()
    try:
        device = torch.device(requested)
        torch.empty(1, device=device).cpu()
    except Exception as error:  # Torch raises almost any error on a missing or invalid device.
        raise DeviceError(
            f"device {describe_value(requested)} is not available on this machine; "
            f"try {_best_device_name()}"
        ) from error
    return device


def _best_device_name() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def use_deterministic_cudnn() -> None:
    """Make cuDNN deterministic, at some cost in speed.

    Dreams of a photo should then be repeatable on CUDA. Channels and most class images are not, bit
    by bit, because gradients of `grid_sample` and bicubic `interpolate` have no fixed order of
    sums. The setting is global, so programs call this, not objects.
    """
    torch.backends.cudnn.deterministic = True


def pick_dtype(device: torch.device, card: ModelCard) -> torch.dtype:
    """Return the precision of a network: `DREAM_PRECISION`, or the fastest one.

    On a GPU this is bfloat16 where it is native. On a CPU it is float32, which gives the same bits
    on every x86-64; but bfloat16 for a heavy network if it is at least `MIN_BFLOAT16_SPEEDUP` times
    as fast, as on CPUs with AMX. It is measured, because a CPU with bfloat16 but without AMX is
    slower.

    Raises:
        DeviceError: if `DREAM_PRECISION` is not a precision.
    """
    if requested := os.environ.get("DREAM_PRECISION"):
        if requested not in PRECISIONS:
            allowed = " or ".join(PRECISIONS)
            raise DeviceError(f"DREAM_PRECISION must be {allowed}, not {describe_value(requested)}")
        return PRECISIONS[requested]
    if device.type == "cuda":
        is_fast = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        is_fast = (
            device.type == "cpu" and card.is_heavy and bfloat16_speedup() >= MIN_BFLOAT16_SPEEDUP
        )
    return torch.bfloat16 if is_fast else torch.float32


@lru_cache(maxsize=1)
def bfloat16_speedup() -> float:
    """Return the speed of bfloat16 relative to float32 on this CPU, for a convolution of VGG-16.

    The measurement takes well under a second, and alternates between the two.
    """
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(TIMING_RUNS):
        for dtype, seconds in times.items():
            x = torch.ones(1, 256, 28, 28, dtype=dtype).to(memory_format=torch.channels_last)
            weight = torch.ones(256, 256, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
            start = time.perf_counter()
            F.conv2d(x, weight, padding=1)
            seconds.append(time.perf_counter() - start)
    # Use the fastest runs, because other processes may disturb some.
    return min(times[torch.float32]) / min(times[torch.bfloat16])
