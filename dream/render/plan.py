"""Jobs and their stages, planned before a network is loaded.

Planning checks a recipe, `dream.render.job_loop` runs its stages, and `dream.render.cost` sums
their cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic

from PIL import Image

from dream.recipe.base import AnyRecipe
from dream.tensors import Size


@dataclass(frozen=True)
class Stage:
    """One ascent at one size.

    `size` is the (height, width) of the image, `input_size` that of the network's input if it
    differs. `batch_size` images are optimised together, each from `tries` starts, of which the best
    is kept. A step reads `views` random views of each image, in tiles of about `tile` pixels a side
    (0: whole), and normalises `bands` bands of the gradient. `ends_frame` marks the last stage of a
    video frame.
    """

    model: str
    size: Size
    steps: int
    layers: tuple[str, ...]
    batch_size: int = 1
    tries: int = 1
    views: int = 1
    tile: int = 0
    bands: int = 1
    input_size: Size | None = None
    ends_frame: bool = False

    @property
    def pixels_per_step(self) -> int:
        """Pixels that the network reads in a step, without the overlap of tiles."""
        return math.prod(self.input_size or self.size) * self.batch_size * self.tries * self.views


@dataclass(frozen=True)
class Job(Generic[AnyRecipe]):
    """The stages of an image or of a batch optimised together, one image for each settled recipe.

    If `cached_images` holds the results, there are no stages. A job of a video renders consecutive
    frames, the first of which has the number `first_frame`.
    """

    recipes: tuple[AnyRecipe, ...]
    stages: tuple[Stage, ...] = ()
    cached_images: tuple[Image.Image, ...] = ()
    first_frame: int = 0

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def stages_by_frame(self) -> list[tuple[Stage, ...]]:
        """The stages of each video frame."""
        return list(_split_by_frame(self.stages))

    def for_batch(self, count: int) -> Job[AnyRecipe]:
        """Return the job for `count` photos of one size, optimised together by one recipe."""
        stages = tuple(replace(stage, batch_size=count * stage.batch_size) for stage in self.stages)
        return replace(self, recipes=self.recipes * count, stages=stages)

    def slice_frames(self, start: int, stop: int) -> Job[AnyRecipe]:
        """Return the job of its video frames `start` to `stop`, counted from its first one."""
        stages = tuple(stage for frame in self.stages_by_frame[start:stop] for stage in frame)
        return replace(self, stages=stages, first_frame=self.first_frame + start)


def _split_by_frame(stages: tuple[Stage, ...]) -> Iterator[tuple[Stage, ...]]:
    start = 0
    for stop, stage in enumerate(stages, start=1):
        if stage.ends_frame:
            yield stages[start:stop]
            start = stop


AnyJob = Job[Any]
