"""The kinds of recipes: the module that plans each, and that yields the ascents of its jobs.

Each module has two functions. `plan(recipe, size)` returns the stages of each frame for a settled
recipe, from noise or in a photo of that (height, width); settled is what `Recipe.with_defaults`
returns.
`ascents(network, job, image, deadline)` yields an ascent for each stage, from noise or from images
(N, 3, H, W) in [0, 1] at the size of the last stage. N is 1 for a photo; a zoom, a video and a live
dream start from several frames. Past the deadline, by `time.monotonic`, tiled steps raise
`OutOfTime`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType

from torch import Tensor

from dream.errors import PictureError
from dream.networks.network import Network
from dream.recipe import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    LiveRecipe,
    Recipe,
    VideoRecipe,
    ZoomRecipe,
)
from dream.render import channel, class_image, dream, live, video, zoom
from dream.render.ascent import Ascent
from dream.render.plan import AnyJob, Job
from dream.tensors import Size, resize_clamped

SHRINK_FACTOR = DreamRecipe.scale  # One octave of a dream at its defaults.
KINDS_FROM_NOISE: dict[type[Recipe], ModuleType] = {
    ChannelRecipe: channel,
    ClassRecipe: class_image,
}
KINDS: dict[type[Recipe], ModuleType] = {
    **KINDS_FROM_NOISE,
    DreamRecipe: dream,
    ZoomRecipe: zoom,
    VideoRecipe: video,
    LiveRecipe: live,
}


def plan(recipes: Sequence[Recipe], size: Size | None = None) -> list[AnyJob]:
    """Plan the jobs for settled recipes, from noise or in a photo of that (height, width).

    Raises:
        PictureError: if a recipe needs a photo and there is none, a side of it is smaller than the
            network accepts, or a recipe's guide or mask is damaged.
        RecipeError: if a guide or mask cannot be used.
    """
    batches = channel.split_batches(recipes) if size is None else ((each,) for each in recipes)
    jobs = []
    for batch in batches:
        frames = _module(type(batch[0]), has_photo=size is not None).plan(batch[0], size)
        job = Job(batch[:1], frames)
        jobs.append(replace(job.for_batch(len(batch)), recipes=batch) if len(batch) > 1 else job)
    return jobs


def shrink_job(job: AnyJob, size: Size | None = None) -> list[AnyJob]:
    """Plan a job again, one octave smaller; its frames stay. Raises as `plan`."""
    side = round(max(job.size) / SHRINK_FACTOR)
    smaller = plan([recipe.with_max_side(side) for recipe in job.recipes], size)
    count, first = len(job.frames), job.first_frame
    return [replace(each, first_frame=first).for_frames(count) for each in smaller]


def ascents(
    network: Network, job: AnyJob, image: Tensor | None = None, deadline: float = math.inf
) -> Iterator[Ascent]:
    """Yield the ascents of a job, from noise or images of any size. Raises as `plan`."""
    kind = _module(type(job.recipes[0]), has_photo=image is not None)
    if image is not None:
        # Resize on the CPU: CUDA cannot shrink by a factor of 50 or more (pytorch#103589).
        image = resize_clamped(image, job.size).to(network.mean.device)
    yield from kind.ascents(network, job, image, deadline)


def _module(kind: type[Recipe], has_photo: bool) -> ModuleType:
    if not has_photo and kind not in KINDS_FROM_NOISE:
        raise PictureError("a dream needs a photo; give one")
    return KINDS[kind]
