"""Check a device's memory: when it is full, and after many dreams."""

from __future__ import annotations

import gc
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dream import DreamError, DreamRecipe, Engine, load_image
from dream.tensors import limit_size, resize_clamped
from tools.gpu.cases import EXAMPLES
from tools.gpu.comparison import save_sheet
from tools.gpu.settings import Settings
from tools.report import Report

MEGABYTE = 1 << 20
# Free memory of a full GPU, and how much of it a dream may leak.
ROOM_MEGABYTES, MAX_LEAK_MEGABYTES = 1024, 64
# Dreamlet's first layer for 128 x 96 pixels: the largest tensor that `SmallMemory` allows.
FIRST_LAYER_NUMBERS = 40 * 64 * 48
# Sides in pixels of the images that are tried on a full GPU in turn.
FILL_SIDES = tuple(round(1024 * 1.2**power) for power in range(12))


class SmallMemory(TorchDispatchMode):
    """Raises OutOfMemoryError for tensors of more than so many numbers."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = numbers

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made.numel() > self.numbers:
            raise torch.OutOfMemoryError("no tensor may be so large")
        return made


def fill_memory(settings: Settings, report: Report) -> None:
    """Dream larger and larger images on a GPU with 1 GB free, until one is made smaller.

    On a CPU `SmallMemory` stands for the full GPU. Writes `full.png`.
    """
    if not (settings.is_cuda or settings.is_small):
        report.add_row("a full GPU", remark="needs CUDA")
        return
    engine = settings.engine()
    sides: Sequence[int] = (128, 144) if settings.is_small else FILL_SIDES
    original = load_image(EXAMPLES / "cat.jpg")
    before = reserved_megabytes(settings)
    with _fill_device(settings):
        said, side, tensor = _first_smaller(engine, original, sides)
    after = reserved_megabytes(settings)
    report.add_row("a full GPU", side=side, said=said, **{"MB held before": before, "after": after})
    report.check(
        bool(re.search(r"made at \d+", said)), f"a full GPU: nothing was made smaller, but: {said}"
    )
    leak = after - before
    report.check(leak <= MAX_LEAK_MEGABYTES, f"a full GPU: {leak:.0f} MB are not given back")
    if tensor is not None:
        save_sheet(settings.folder / "full.png", [(said, tensor)])


def _first_smaller(
    engine: Engine, original: Tensor, sides: Sequence[int]
) -> tuple[str, int, Tensor | None]:
    """Return the remark of the first dream that is too large, its side, and its image."""
    recipe = DreamRecipe(octaves=1, iterations=2, tile=2048)
    for side in sides:
        photo = resize_clamped(original, (side * 3 // 4, side))
        said, tensor = "", None
        try:
            for frame in engine.dream(photo, recipe.with_changes(max_side=side)):
                said, tensor = frame.remark, frame.tensor if frame.finished else None
        except DreamError as error:
            return str(error), side, None
        if said:
            return said, side, None if tensor is None else tensor.cpu()
    return "all of them fitted", sides[-1], None


@contextmanager
def _fill_device(settings: Settings) -> Iterator[None]:
    if settings.is_small:
        with SmallMemory(FIRST_LAYER_NUMBERS):
            yield
        return
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(settings.device)
    ballast = torch.empty(
        max(0, free - ROOM_MEGABYTES * MEGABYTE), dtype=torch.uint8, device=settings.device
    )
    try:
        yield
    finally:
        del ballast
        torch.cuda.empty_cache()


def reserved_megabytes(settings: Settings) -> float:
    """Return the MB that the allocator holds after it gave back unused memory.

    The GPU's free memory would mislead: kernels loaded meanwhile stay there.
    """
    if not settings.is_cuda:
        return 0.0
    settings.synchronize()
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved(settings.device) / MEGABYTE


def dream_many_sizes(settings: Settings, report: Report) -> None:
    """Dream 200 images of changing sizes; allocated memory must not grow."""
    engine, count = settings.engine(), 6 if settings.is_small else 200
    sizes, allocated = random.Random(0), list[float]()
    if settings.is_cuda:
        torch.cuda.reset_peak_memory_stats(settings.device)
    for _ in range(count):
        if allocated and settings.is_late:
            break
        high, wide = (sizes.randrange(48, 97 if settings.is_small else 1025) for _ in range(2))
        size = limit_size((max(48, high), max(48, wide)), 1024)
        recipe = DreamRecipe(octaves=2, iterations=2, max_side=max(size))
        for frame in engine.dream(settings.photo(size), recipe):
            if frame.finished:
                frame.picture()
        del frame
        allocated.append(
            torch.cuda.memory_allocated(settings.device) / MEGABYTE if settings.is_cuda else 0.0
        )
    row = {"MB after the first": allocated[0], "after the last": allocated[-1]}
    if settings.is_cuda:
        statistics = torch.cuda.memory_stats(settings.device)
        row |= {
            "at the peak": statistics["allocated_bytes.all.peak"] / MEGABYTE,
            "reserved": statistics["reserved_bytes.all.current"] / MEGABYTE,
        }
    report.add_row("dreams of changing sizes", dreams=len(allocated), **row)
    grown = allocated[-1] - allocated[0]
    report.check(grown <= MAX_LEAK_MEGABYTES, f"{len(allocated)} dreams keep {grown:.0f} MB")
