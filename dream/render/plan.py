"""Jobs, their stages and the sizes of octaves, planned before a network is loaded.

Planning checks a recipe, `dream.render.job_loop` runs its stages, and `dream.render.cost` sums
their cost.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, Generic

from PIL import Image

from dream.errors import PictureError
from dream.recipe.base import AnyRecipe, Recipe
from dream.recipe.knob import knobs
from dream.tensors import Size, limit_size, scale_size


@dataclass(frozen=True)
class Stage:
    """One ascent at one size.

    `size` is the (height, width) of the image, `input_size` that of the network's input if it
    differs. `batch_size` images are optimised together, each from `tries` starts, of which the best
    is kept. A step reads `views` random views of each image, in tiles of about `tile` pixels a side
    (0: whole), and normalises `bands` bands of the gradient.
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

    @property
    def pixels_per_step(self) -> int:
        """Pixels that the network reads in a step, without the overlap of tiles."""
        return math.prod(self.input_size or self.size) * self.batch_size * self.tries * self.views


# The stages of each frame of a video in turn, or those of a single image.
FrameStages = tuple[tuple[Stage, ...], ...]


@dataclass(frozen=True)
class Job(Generic[AnyRecipe]):
    """An image or a batch optimised together, one image for each settled recipe, or a video.

    If `cached_images` holds the results, there are no stages. The frames of a video are
    consecutive, and the first of them has the number `first_frame`.
    """

    recipes: tuple[AnyRecipe, ...]
    frames: FrameStages = ()
    cached_images: tuple[Image.Image, ...] = ()
    first_frame: int = 0

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of all frames."""
        return tuple(itertools.chain.from_iterable(self.frames))

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def size(self) -> Size:
        """The (height, width) of the images."""
        return self.frames[-1][-1].size if self.frames else self.cached_images[0].size[::-1]

    def for_frames(self, count: int) -> Job[AnyRecipe]:
        """Return the job for `count` frames from number `first_frame` on.

        This job has the stages of one or two frames: frame 0 has its own, all others are alike.
        """
        first = self.frames[-1 if self.first_frame else 0]
        return replace(self, frames=(first, *self.frames[-1:] * (count - 1)))

    def for_batch(self, count: int) -> Job[AnyRecipe]:
        """Return the job for `count` photos of one size, optimised together by one recipe."""
        frames = tuple(
            tuple(replace(stage, batch_size=count * stage.batch_size) for stage in stages)
            for stages in self.frames
        )
        return replace(self, recipes=self.recipes * count, frames=frames)


AnyJob = Job[Any]


def recipe_sizes(recipe: Recipe, size: Size, octaves: int = 1, scale: float = 1.4) -> list[Size]:
    """Return the `octave_sizes` of an image of that (height, width), limited by the recipe's size.

    Raises:
        PictureError: as `octave_sizes`; the message names a size that is large enough, if any.
    """
    knob_name, min_side = recipe.size_knob_name, recipe.card.min_side
    side = getattr(recipe, knob_name)
    try:
        return octave_sizes(size, octaves, scale, max_side=side, min_side=min_side)
    except PictureError as error:
        needed = math.ceil(min_side * max(size) / min(size))
        if side < needed <= min(int(knobs(recipe)[knob_name].high), max(size)):
            raise PictureError(f"{error}; set {knob_name} to {needed} or more") from error
        raise


def octave_sizes(
    size: Size, octaves: int, scale: float, *, max_side: int, min_side: int
) -> list[Size]:
    """Return the (height, width) of each octave, smallest first.

    The last one is `size` with its longest side limited to `max_side` pixels. Each size is computed
    from the last one, so that rounding errors do not add up. Octaves with a side below `min_side`
    are left out, because the network cannot read them.

    Raises:
        PictureError: if even the last size has a side below `min_side`.

    >>> octave_sizes((560, 840), octaves=3, scale=1.4, max_side=420, min_side=32)
    [(143, 214), (200, 300), (280, 420)]
    """
    full = limit_size(size, max_side)
    if min(full) < min_side:
        fitted = f", {full[1]} x {full[0]} with its longest side at most {max_side}"
        raise PictureError(
            f"the image is {size[1]} x {size[0]} pixels{fitted if full != size else ''}; "
            f"the network needs {min_side} or more on each side"
        )
    sizes = [scale_size(full, scale**-octave) for octave in reversed(range(octaves))]
    return [size for size in sizes if min(size) >= min_side]
