"""The kinds of recipes: the module that plans each, and that yields the ascents of its jobs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

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
from dream.render.job_loop import Ascents
from dream.render.plan import AnyJob
from dream.tensors import Size

# One octave: the default `scale` of a dream.
SHRINK_FACTOR = 1.4


class Kind(Protocol):
    """Interface of the module of a kind."""

    def plan(self, recipes: Any, size: Size | None) -> list[Any]:
        """Return the jobs for settled recipes, from noise or a photo of that (height, width)."""

    def ascents(self, network: Network, job: Any, image: Tensor | None, deadline: float) -> Ascents:
        """Yield an ascent for each stage, from noise or an image (1, 3, H, W) in [0, 1].

        Frames of a video start from several images (N, 3, H, W).
        """


KINDS: dict[type[Recipe], Kind] = {
    DreamRecipe: dream,
    ChannelRecipe: channel,
    ClassRecipe: class_image,
    ZoomRecipe: zoom,
    VideoRecipe: video,
    LiveRecipe: live,
}


def plan(recipes: Sequence[Recipe], size: Size | None = None) -> list[AnyJob]:
    """Plan the jobs for settled recipes, from noise or in a photo of that (height, width).

    Raises:
        PictureError, RecipeError: if one cannot be rendered (see the kinds).
    """
    groups = itertools.groupby(recipes, type)
    return [job for kind, group in groups for job in KINDS[kind].plan(list(group), size)]


def shrink_job(job: AnyJob, size: Size | None = None) -> list[AnyJob]:
    """Plan a job again, one octave smaller; `first_frame` stays.

    Raises:
        PictureError, RecipeError: if it cannot be rendered at that size.
    """
    side = round(max(job.stages[-1].size) / SHRINK_FACTOR)
    smaller_jobs = plan([recipe.with_max_side(side) for recipe in job.recipes], size)
    return [replace(smaller, first_frame=job.first_frame) for smaller in smaller_jobs]


def ascents(
    network: Network, job: AnyJob, image: Tensor | None = None, deadline: float = math.inf
) -> Ascents:
    """Yield the ascents of a job; tiled steps end at the deadline, by `time.monotonic`."""
    return KINDS[type(job.recipes[0])].ascents(network, job, image, deadline)
