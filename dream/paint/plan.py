"""The plan of a picture: the ascents that it takes, said before a network is in memory.

Making a plan is the check, one loop (`dream.paint.frames`) runs it, and what it costs is a sum over
its stages (`dream.paint.cost`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic

from PIL import Image

from dream.recipe.recipe import AnyRecipe
from dream.tensors import Size


@dataclass(frozen=True)
class Stage:
    """One ascent at one size.

    `size` is that of the picture (height, width); `seen` that at which the network is given it,
    where it is another. `pictures` climb at once, each of so many `tries`, the best of which is
    shown. A step looks at so many `views` of each, in tiles of about `tile` pixels a side (0:
    whole), and evens out so many `bands` of the gradient.
    """

    model: str
    size: Size
    steps: int
    layers: tuple[str, ...]
    pictures: int = 1
    tries: int = 1
    views: int = 1
    tile: int = 0
    bands: int = 1
    seen: Size | None = None

    @property
    def pixels(self) -> int:
        """How many pixels the network is given in a step, but for what tiles share."""
        return math.prod(self.seen or self.size) * self.pictures * self.tries * self.views

    @property
    def work(self) -> int:
        """What it takes, in pixels looked at: enough to say how far a picture is."""
        return self.pixels * self.steps


@dataclass(frozen=True)
class Job(Generic[AnyRecipe]):
    """A picture, or a batch of them that climb together, one for each settled recipe.

    Where `made` holds the pictures already there are no stages.
    """

    recipes: tuple[AnyRecipe, ...]
    stages: tuple[Stage, ...] = ()
    made: tuple[Image.Image, ...] = ()

    @property
    def steps(self) -> int:
        """How many steps it takes."""
        return sum(stage.steps for stage in self.stages)


AnyJob = Job[Any]
