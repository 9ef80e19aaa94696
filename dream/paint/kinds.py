"""The kinds of pictures, one file each: how they are planned, and how their stages climb."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from dream.networks.network import Network
from dream.paint import channel, class_image, dream, live, video, zoom
from dream.paint.frames import Climbs
from dream.paint.plan import AnyJob
from dream.recipe import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    LiveRecipe,
    Recipe,
    VideoRecipe,
    ZoomRecipe,
)
from dream.tensors import Size

# One size, as the octaves of a dream have them where nothing is said.
SMALLER = 1.4


class Kind(Protocol):
    """What the file of a kind has."""

    def plan(self, recipes: Any, size: Size | None) -> list[Any]:
        """The jobs for settled recipes, from noise or a photo of that (height, width)."""
        ...

    def climbs(self, network: Network, job: Any, picture: Tensor | None, until: float) -> Climbs:
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


def smaller(job: AnyJob, size: Size | None = None) -> list[AnyJob]:
    """The pictures of a job one size smaller, all other things being as they were; `first`, where a
    part of a film begins, too.

    Raises:
        PictureError, RecipeError: if they cannot be.
    """
    side = round(max(job.stages[-1].size) / SMALLER)
    planned = plan([recipe.within(side) for recipe in job.recipes], size)
    return [replace(each, first=job.first) for each in planned]


def climbs(
    network: Network, job: AnyJob, picture: Tensor | None = None, until: float = math.inf
) -> Climbs:
    """The climbs of a job, which end when it is `until`, by `time.monotonic`."""
    return KINDS[type(job.recipes[0])].climbs(network, job, picture, until)
