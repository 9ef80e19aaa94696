"""What pictures take before they are made, and which are quicker together."""

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

# Pictures climb together up to so many pixels in all: four of 320 x 213 take a fifth less time
# than one by one, four of 160 x 106 two fifths; two of 640 x 426 longer (one thread, AMD EPYC).
MAX_BATCH_PIXELS = 280_000
MAX_BATCH_SIZE = 16
# What a dream takes as a PNG; those that ship have 1.9 to 2.3.
BYTES_PER_PIXEL = 2.1


class CostEstimate(NamedTuple):
    """What a picture takes: seconds of the device, and bytes in a file."""

    seconds: float = 0.0
    bytes: float = 0.0


def estimate_costs(
    engine: Engine, device: str, tasks: Sequence[Task]
) -> Iterator[tuple[Task, Size | None, CostEstimate]]:
    """Each task with the (height, width) of its photo and what it takes on that type of device;
    None, and nothing, where the photo cannot be dreamed.
    """
    pace = {
        model: cost.pace(torch.device(device), engine.precision(model))
        for model in {task.recipe.model for task in tasks}
    }
    known: dict[tuple[DreamRecipe, Size], CostEstimate] = {}
    sizes: dict[str, Size | None] = {}
    for task in tasks:
        if task.input not in sizes:
            sizes[task.input] = _image_size_or_none(task.input)
        size = sizes[task.input]
        if size and (task.recipe, size) not in known:
            try:
                (job,) = engine.plan([task.recipe], size)
                seconds = pace[task.recipe.model].seconds(cost.total_cost(job.stages))
                takes = BYTES_PER_PIXEL * math.prod(job.stages[-1].size)
                known[task.recipe, size] = CostEstimate(seconds, takes)
            except PictureError:
                size = None
        yield task, size, known[task.recipe, size] if size else CostEstimate()


def _image_size_or_none(file: str) -> Size | None:
    try:
        return image_size(file)
    except DreamError:
        return None


def group_batches(sized: Iterable[tuple[Task, Size | None]]) -> Iterator[list[Task]]:
    """Tasks that climb together: by one recipe, of photos of one size, where that is quicker."""
    groups: dict[tuple[DreamRecipe, Size | None], list[Task]] = {}
    for task, size in sized:
        groups.setdefault((task.recipe, size), []).append(task)
    for (recipe, size), alike in groups.items():
        most = 1
        if size and recipe.max_side:
            pixels = math.prod(limit_size(size, recipe.max_side))
            most = min(MAX_BATCH_SIZE, max(1, MAX_BATCH_PIXELS // pixels))
        for start in range(0, len(alike), most):
            yield alike[start : start + most]
