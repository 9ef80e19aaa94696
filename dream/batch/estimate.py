"""Estimate the cost of tasks before they run, and group tasks into batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch

from dream.batch.tasks import Task
from dream.engine import Engine
from dream.errors import DreamError, PictureError
from dream.files.image import image_size
from dream.recipe import DreamRecipe
from dream.render import cost
from dream.tensors import Size, limit_size

# Larger batches are slower than single images: four of 320 x 213 save a fifth of the time, four of
# 160 x 106 save two fifths, two of 640 x 426 take longer (one thread, AMD EPYC).
MAX_BATCH_PIXELS = 280_000
MAX_BATCH_SIZE = 16
# Mean PNG size of a dream; the shipped ones have 1.9 to 2.3 bytes per pixel.
BYTES_PER_PIXEL = 2.1


class CostEstimate(NamedTuple):
    """The cost of one image: device time in seconds and file size in bytes."""

    seconds: float = 0.0
    file_bytes: float = 0.0


def estimate_costs(
    engine: Engine, device: str, tasks: Sequence[Task]
) -> Iterator[tuple[Task, Size | None, CostEstimate]]:
    """Yield each task with the (height, width) of its photo and its cost on a device type.

    The size is None and the cost zero if the photo cannot be dreamed.
    """
    pace = {
        model: cost.pace(torch.device(device), engine.precision(model))
        for model in {task.recipe.model for task in tasks}
    }
    costs: dict[tuple[DreamRecipe, Size], CostEstimate] = {}
    sizes: dict[str, Size | None] = {}
    for task in tasks:
        if task.input not in sizes:
            sizes[task.input] = _image_size_or_none(task.input)
        size = sizes[task.input]
        if size and (task.recipe, size) not in costs:
            try:
                (job,) = engine.plan([task.recipe], size)
                seconds = pace[task.recipe.model].seconds(cost.total_cost(job.stages))
                file_bytes = BYTES_PER_PIXEL * math.prod(job.stages[-1].size)
                costs[task.recipe, size] = CostEstimate(seconds, file_bytes)
            except PictureError:
                size = None
        yield task, size, costs[task.recipe, size] if size else CostEstimate()


def _image_size_or_none(file: str) -> Size | None:
    try:
        return image_size(file)
    except DreamError:
        return None


def group_batches(sized: Iterable[tuple[Task, Size | None]]) -> Iterator[list[Task]]:
    """Yield tasks in batches of one recipe and one photo size, where a batch is faster."""
    groups: dict[tuple[DreamRecipe, Size | None], list[Task]] = {}
    for task, size in sized:
        groups.setdefault((task.recipe, size), []).append(task)
    for (recipe, size), group in groups.items():
        batch_size = 1
        if size and recipe.max_side:
            pixels = math.prod(limit_size(size, recipe.max_side))
            batch_size = min(MAX_BATCH_SIZE, max(1, MAX_BATCH_PIXELS // pixels))
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]
