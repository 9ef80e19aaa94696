"""Which device the work runs on, and in which precision."""

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
    """That device; or the one that `DREAM_DEVICE` names; or the best there is: CUDA, MPS, CPU.

    Raises:
        DeviceError: if it is not there.
    """
    wanted = name or os.environ.get("DREAM_DEVICE") or _best_device_name()
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device).cpu()
    except Exception as error:  # Torch raises almost anything on what is no device.
        raise DeviceError(
            f"device {describe_value(wanted)} is not to be had on this machine; try {_best_device_name()}"
        ) from error
    return device


def _best_device_name() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def use_deterministic_cudnn() -> None:
    """Have cuDNN on CUDA add in the same order every time, at some cost in speed.

    A dream of a photo should then repeat. Channels and most class images do not, bit by bit: the
    gradients of `grid_sample` and of a bicubic `interpolate` are added there in no fixed order. It
    holds for the whole process, so programs ask for it, and no object does.
    """
    torch.backends.cudnn.deterministic = True


def pick_dtype(device: torch.device, card: ModelCard) -> torch.dtype:
    """In what a network runs there: as `DREAM_PRECISION` says, or as is quickest.

    On a GPU that is bfloat16 where it is native. On a CPU it is float32, which gives the same bits
    on every x86-64; but for a heavy network bfloat16 where this very processor is at least
    `BFLOAT16_GAIN` times as fast with it, as those with AMX are. Flags do not tell: where the
    processor has bfloat16 but no AMX, it is slower.

    Raises:
        DeviceError: if that variable names no precision.
    """
    if wanted := os.environ.get("DREAM_PRECISION"):
        if wanted not in PRECISIONS:
            allowed = " or ".join(PRECISIONS)
            raise DeviceError(f"DREAM_PRECISION must be {allowed}, not {describe_value(wanted)}")
        return PRECISIONS[wanted]
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = (
            device.type == "cpu" and card.is_heavy and bfloat16_speedup() >= MIN_BFLOAT16_SPEEDUP
        )
    return torch.bfloat16 if native else torch.float32


@lru_cache(maxsize=1)
def bfloat16_speedup() -> float:
    """How many times as fast this processor is in bfloat16, by a convolution of VGG-16.

    It is timed when first asked for, in well under a second, the two in turn.
    """
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(TIMING_RUNS):
        for dtype, seconds in times.items():
            x = torch.ones(1, 256, 28, 28, dtype=dtype).to(memory_format=torch.channels_last)
            weight = torch.ones(256, 256, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
            start = time.perf_counter()
            F.conv2d(x, weight, padding=1)
            seconds.append(time.perf_counter() - start)
    # The quickest of each, as others of this machine may get in between.
    return min(times[torch.float32]) / min(times[torch.bfloat16])
