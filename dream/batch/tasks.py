"""The tasks of a batch run: photos by recipes, with unique output names, costs and shards."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import torch

from dream.engine import Engine
from dream.errors import PictureError, RecipeError, describe_value
from dream.files.image import image_size
from dream.files.image_formats import image_format
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.base import safe_name
from dream.recipe.knob import knobs
from dream.render import cost
from dream.tensors import Size, limit_size

# The knobs that `DreamRecipe.file_stem` contains.
NAMED_KNOBS = ("model", "layer", "channels", "intensity", "seed")
MAX_SUFFIX_LENGTH = 60
# Digits of a SHA-256 in file names.
DIGEST_LENGTH = 12
# Larger batches are slower than single images: four of 320 x 213 save a fifth of the time, four of
# 160 x 106 save two fifths, two of 640 x 426 take longer (one thread, AMD EPYC).
MAX_BATCH_PIXELS = 280_000
MAX_BATCH_SIZE = 16
# Mean sizes of dreams at the default quality; the shipped PNGs have 1.9 to 2.3 bytes per pixel.
BYTES_PER_PIXEL = {"PNG": 2.1, "JPEG": 0.58, "WEBP": 0.41, "AVIF": 0.53}


@dataclass(frozen=True)
class Task:
    """One image to render: the photo file `input` by a recipe without None to the file `output`.

    `key` selects the shard: the path within the source and the recipe before its defaults were
    filled in. It is the same on all machines and does not depend on other files. `quality` is as
    in `save_image`.
    """

    input: str
    output: str
    recipe: DreamRecipe
    key: str = ""
    quality: int | None = None


def unique_names(files: Iterable[str]) -> dict[str, str]:
    """Return a unique name per photo: its stem, if needed with suffix, folder or a path digest.

    >>> unique_names(["/in/cat.jpg", "/in/cat.png", "/in/dog.png"]).values()
    dict_values(['cat.jpg', 'cat.png', 'dog'])
    """
    names = {file: safe_name(Path(file).stem) for file in files}
    for make_longer_name in (
        lambda file: safe_name(Path(file).name),
        lambda file: safe_name("/".join(Path(file).parts[-2:])),
        _name_with_digest,
    ):
        count = Counter(name.casefold() for name in names.values())
        for file, name in names.items():
            if count[name.casefold()] > 1:
                names[file] = make_longer_name(file)
    return names


def _name_with_digest(file: str) -> str:
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()
    return f"{safe_name(Path(file).stem)}+{digest[:DIGEST_LENGTH]}"


def make_tasks(
    files: Sequence[str],
    recipes: Sequence[DreamRecipe],
    device: str,
    source: str = "",
    ending: str = ".png",
    quality: int | None = None,
) -> list[Task]:
    """Return a task for each file of `source` and each recipe, with defaults for the device."""
    stems, base = unique_names(files), Path(os.path.abspath(source))
    tasks: dict[str, Task] = {}
    for recipe in recipes:
        complete_recipe, suffix = recipe.with_defaults(device, True), _name_suffix(recipe)
        summary = json.dumps(recipe_summary(recipe))
        for file, stem in stems.items():
            output = f"{recipe.file_stem(stem)}{suffix}{ending}"
            path = Path(file)
            relative = path.relative_to(base) if path.is_relative_to(base) else path
            key = f"{relative.as_posix()} {summary}"
            tasks[output] = Task(file, output, complete_recipe, key, quality)
    return list(tasks.values())


def _name_suffix(recipe: DreamRecipe) -> str:
    """Return the knobs that differ from the default and are not in `DreamRecipe.file_stem`.

    If they are too long or have characters that file names lack, a digest of the recipe follows.
    """
    summary = recipe_summary(recipe)
    default = type(recipe)(**{name: getattr(recipe, name) for name in NAMED_KNOBS})
    changed = {name: str(val) for name, val in summary.items() if val != getattr(default, name)}
    suffix = "".join(f"-{name}{safe_name(value)}" for name, value in changed.items())
    is_short, mix = len(suffix) <= MAX_SUFFIX_LENGTH, (recipe.layer, recipe.channels)
    if (
        is_short
        and sum(map(len, mix)) <= MAX_SUFFIX_LENGTH / 2
        and all(safe_name(value) == value for value in (*mix, *changed.values()))
    ):
        return suffix
    digest = hashlib.sha256(json.dumps(summary).encode()).hexdigest()
    return f"{suffix if is_short else ''}-{digest[:DIGEST_LENGTH]}"


def recipe_summary(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain data, with a digest in place of each image."""
    return {
        name: hashlib.sha256(value.encode()).hexdigest()[:DIGEST_LENGTH]
        if knobs(recipe)[name].is_image and value
        else value
        for name, value in asdict(recipe).items()
    }


def select_shard(tasks: Iterable[Task], shard: str) -> list[Task]:
    """Return the tasks of a shard such as "2/8", which does not depend on other tasks, or all.

    Raises:
        RecipeError: if `shard` does not have this form and is not "".
    """
    if not shard:
        return list(tasks)
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise RecipeError(f"--shard must be from 1/N to N/N, as 2/8, not {describe_value(shard)}")
    return [task for task in tasks if crc32(os.fsencode(task.key)) % count == number - 1]


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

    @cache
    def readable_size(photo: str) -> Size | None:
        try:
            return image_size(photo)
        except PictureError:
            return None

    @cache
    def estimate_of(recipe: DreamRecipe, size: Size, kind: str) -> CostEstimate:
        (job,) = engine.plan([recipe], size)
        pace = cost.pace(torch.device(device), engine.precision(recipe.model))
        file_bytes = BYTES_PER_PIXEL[kind] * math.prod(job.size)
        return CostEstimate(pace.seconds(cost.total_cost(job.stages)), file_bytes)

    for task in tasks:
        size, estimate = readable_size(task.input), CostEstimate()
        try:
            if size:
                estimate = estimate_of(task.recipe, size, image_format(task.output))
        except PictureError:
            size = None
        yield task, size, estimate


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
