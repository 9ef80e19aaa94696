"""The plan of a picture: the ascents that it takes, said before a network is in memory.

Making a plan is the check, one loop (`dream.render.loop`) runs it, and what it costs is a sum over
its stages (`dream.render.cost`).
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

    `size` is that of the picture (height, width); `seen` that at which the network is given it,
    where it is another. `pictures` climb at once, each of so many `tries`, the best of which is
    shown. A step looks at so many `views` of each, in tiles of about `tile` pixels a side (0:
    whole), and evens out so many `bands` of the gradient. `ends` says that with it a frame of a
    video is done.
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
        """How many pixels the network is given in a step, but for what tiles share."""
        return math.prod(self.input_size or self.size) * self.batch_size * self.tries * self.views


@dataclass(frozen=True)
class Job(Generic[AnyRecipe]):
    """A picture, or a batch of them that climb together, one for each settled recipe.

    Where `made` holds the pictures already there are no stages. Of a video the job has frames from
    the one of the number `first` on, as many as stages that end one.
    """

    recipes: tuple[AnyRecipe, ...]
    stages: tuple[Stage, ...] = ()
    cached_images: tuple[Image.Image, ...] = ()
    first_frame: int = 0

    @property
    def steps(self) -> int:
        """How many steps it takes."""
        return sum(stage.steps for stage in self.stages)

    @property
    def stages_by_frame(self) -> list[tuple[Stage, ...]]:
        """The stages of each frame of a video."""
        return list(_split_by_frame(self.stages))

    def for_batch(self, count: int) -> Job[AnyRecipe]:
        """The same for so many photos of one size, by one recipe, which climb together."""
        stages = tuple(replace(stage, batch_size=count * stage.batch_size) for stage in self.stages)
        return replace(self, recipes=self.recipes * count, stages=stages)

    def slice_frames(self, start: int, stop: int) -> Job[AnyRecipe]:
        """The same for those of its frames alone, counted from its first one."""
        stages = tuple(stage for frame in self.stages_by_frame[start:stop] for stage in frame)
        return replace(self, stages=stages, first_frame=self.first_frame + start)


def _split_by_frame(stages: tuple[Stage, ...]) -> Iterator[tuple[Stage, ...]]:
    start = 0
    for stop, stage in enumerate(stages, start=1):
        if stage.ends_frame:
            yield stages[start:stop]
            start = stop


AnyJob = Job[Any]
