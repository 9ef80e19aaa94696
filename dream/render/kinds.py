"""The kinds of pictures, one file each: how they are planned, and how their stages climb."""

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
from dream.render.loop import Ascents
from dream.render.plan import AnyJob
from dream.tensors import Size

# One size, as the octaves of a dream have them where nothing is said.
SHRINK_FACTOR = 1.4


class Kind(Protocol):
    """What the file of a kind has."""

    def plan(self, recipes: Any, size: Size | None) -> list[Any]:
        """The jobs for settled recipes, from noise or a photo of that (height, width)."""
        ...

    def ascents(self, network: Network, job: Any, image: Tensor | None, deadline: float) -> Ascents:
        """A climb for each stage of a job, from noise or a picture (1, 3, H, W) in [0, 1]; for a
        part of a video from several.
        """
        ...


KINDS: dict[type[Recipe], Kind] = {
    DreamRecipe: dream,
    ChannelRecipe: channel,
    ClassRecipe: class_image,
    ZoomRecipe: zoom,
    VideoRecipe: video,
    LiveRecipe: live,
}


def plan(recipes: Sequence[Recipe], size: Size | None = None) -> list[AnyJob]:
    """How settled recipes are painted, from noise or in a photo of that (height, width).

    Raises:
        PictureError, RecipeError: if one cannot be (see the kinds).
    """
    groups = itertools.groupby(recipes, type)
    return [job for kind, group in groups for job in KINDS[kind].plan(list(group), size)]


def shrink_job(job: AnyJob, size: Size | None = None) -> list[AnyJob]:
    """The pictures of a job one size smaller, all other things being as they were; `first`, where a
    part of a film begins, too.

    Raises:
        PictureError, RecipeError: if they cannot be.
    """
    side = round(max(job.stages[-1].size) / SHRINK_FACTOR)
    planned = plan([recipe.with_max_side(side) for recipe in job.recipes], size)
    return [replace(each, first_frame=job.first_frame) for each in planned]


def ascents(
    network: Network, job: AnyJob, image: Tensor | None = None, deadline: float = math.inf
) -> Ascents:
    """The climbs of a job, which end when it is `until`, by `time.monotonic`."""
    return KINDS[type(job.recipes[0])].ascents(network, job, image, deadline)
