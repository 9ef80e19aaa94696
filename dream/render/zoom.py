"""Endless zooms: each frame begins with the last one, moved, and is dreamed for a few steps.

It begins with the last one as it was shown, in 8 bits: so a zoom can be cut, and go on, anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from torch import Tensor

from dream import deterministic
from dream.networks.network import Network
from dream.recipe.base import SEED_LIMIT
from dream.recipe.dream import DreamRecipe
from dream.recipe.zoom import ZoomRecipe
from dream.render.ascent import EPSILON, ImageFunction
from dream.render.dream import (
    DreamAscents,
    dream_ascents,
    dream_objective,
    plan_octaves,
    require_photo,
)
from dream.render.loop import Ascents
from dream.render.objective import NormalisedBlend
from dream.render.octave import sizes_of
from dream.render.plan import Job, Stage
from dream.render.transform import affine, quantise_8bit
from dream.tensors import Size, even_size, luminance, resize_clamped, size_of

# Contrast is a standard deviation, colour the mean distance between the channels of a pixel. A zoom
# keeps those of its photo, so that it never becomes neon; but a dull one brightens up to these.
BRIGHTNESS_RANGE = (0.3, 0.65)
MIN_CONTRAST = 0.2
MIN_COLOURFULNESS = 0.1
# By how much a frame may change them: what is far off comes slowly, and no frame flashes.
MAX_MEAN_SHIFT = 0.02
MIN_GAIN = 0.93


def plan(recipes: Sequence[ZoomRecipe], size: Size | None) -> list[Job[ZoomRecipe]]:
    """Zooms into a photo of that (height, width): stages for each of their frames.

    Raises:
        PictureError: if there is no photo, or a side of it is smaller than the network reads.
    """
    return [Job((recipe,), tuple(_plan_stages(recipe, require_photo(size)))) for recipe in recipes]


def _plan_stages(recipe: ZoomRecipe, size: Size) -> Iterator[Stage]:
    full = even_size(*sizes_of(recipe, size))
    known: dict[tuple[int, int], tuple[Stage, ...]] = {}  # By identity: a recipe is slow to hash.
    for frame in range(recipe.frame_count):
        one, other, share = recipe.blend_at(frame)
        pair = (one, other if share else one)
        key = (id(pair[0]), id(pair[1]))
        if key not in known:
            known[key] = _frame_octaves(*pair, full)
        yield from known[key]


@lru_cache(maxsize=64)
def _frame_octaves(one: DreamRecipe, other: DreamRecipe, size: Size) -> tuple[Stage, ...]:
    """The octaves of a frame between two dreams; the last one ends it."""
    stages = zip(plan_octaves(one, size), plan_octaves(other, size), strict=True)
    *before, last = (
        replace(a, layers=tuple(dict.fromkeys(a.layers + b.layers))) for a, b in stages
    )
    return (*before, replace(last, ends_frame=True))


def ascents(
    network: Network, job: Job[ZoomRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """The frames of a zoom into a picture (1, 3, H, W) in [0, 1].

    Where they are not the first, of two (2, 3, H, W): the photo, and the frame before.
    """
    (recipe,) = job.recipes
    pictures = resize_clamped(require_photo(image), job.stages[-1].size)
    hold = partial(match_stats, target=ImageStats.of(pictures[:1]))
    frame = pictures[-1:]
    for number, stages in enumerate(job.stages_by_frame, start=job.first_frame):
        one, other, share = recipe.blend_at(number)
        begun = apply_zoom(recipe, frame) if number else frame
        # Another seed for each, or the same shifts would mark each frame in the same places.
        dream = one.with_changes(
            seed=_frame_seed(one if share < _golden_ratio_fraction(number) else other, number)
        )
        blend = None
        if share:
            parts = [(1 - share, one), (share, other)]
            blend = NormalisedBlend(
                tuple(
                    (weight, dream_objective(network, each, each.layers)) for weight, each in parts
                )
            )
        reached = yield from constrain_previews(
            dream_ascents(network, dream, begun, stages, deadline, blend), hold
        )
        frame = quantise_8bit(hold(reached))


def _frame_seed(dream: DreamRecipe, frame: int) -> int:
    return (dream.seed + frame) % SEED_LIMIT


def _golden_ratio_fraction(frame: int) -> float:
    """A number from 0 to 1 for each frame, spread evenly over few as over many of them."""
    return (frame * (math.sqrt(5) - 1) / 2) % 1


def constrain_previews(ascents: DreamAscents, constrain: ImageFunction) -> DreamAscents:
    """The same climbs, what is shown of them held; at last what was reached."""
    climb = next(ascents)
    while True:
        try:
            climb = ascents.send((yield replace(climb, preview=_compose(climb.preview, constrain))))
        except StopIteration as end:
            reached: Tensor = end.value
            return reached


def _compose(show: ImageFunction, hold: ImageFunction) -> ImageFunction:
    return lambda variables: hold(show(variables))


def apply_zoom(recipe: ZoomRecipe, frame: Tensor) -> Tensor:
    """What of a frame is seen one frame later; bilinear, its edges mirrored."""
    height, width = size_of(frame)
    second = float(1 / recipe.frame_rate)
    return affine(
        frame,
        angle=math.radians(recipe.rotation) * second,
        zoom=recipe.zoom**second,
        shift=(-recipe.down * height * second, -recipe.right * width * second),
    ).clamp_(0, 1)


@dataclass(frozen=True)
class ImageStats:
    """How a picture (1, 3, H, W) looks as a whole: its mean (1, 3, 1, 1), contrast and colour."""

    mean: Tensor
    contrast: Tensor
    colourfulness: Tensor

    @staticmethod
    def of(image: Tensor) -> ImageStats:
        """That of a picture."""
        mean = deterministic.mean(image, (2, 3), keepdim=True)
        brightness = luminance(image - mean)
        contrast = deterministic.mean(brightness.square(), (1, 2, 3), keepdim=True).sqrt()
        spread = image.amax(1, keepdim=True) - image.amin(1, keepdim=True)
        return ImageStats(mean, contrast, deterministic.mean(spread, (1, 2, 3), keepdim=True))


def match_stats(image: Tensor, target: ImageStats) -> Tensor:
    """The picture brought nearer to that look, as far as a frame may."""
    now = ImageStats.of(image)
    brightness = luminance(target.mean)
    mean = target.mean + brightness.clamp(*BRIGHTNESS_RANGE) - brightness
    mean = now.mean + (mean - now.mean).clamp(-MAX_MEAN_SHIFT, MAX_MEAN_SHIFT)
    contrast = (target.contrast.clamp(MIN_CONTRAST) / (now.contrast + EPSILON)).clamp(
        MIN_GAIN, 1 / MIN_GAIN
    )
    colour = (target.colourfulness.clamp(MIN_COLOURFULNESS) / (now.colourfulness + EPSILON)).clamp(
        MIN_GAIN, 1 / MIN_GAIN
    )
    detail = image - now.mean
    bright = luminance(detail)
    # The colour of the whole, as that of each pixel, is a distance from grey.
    grey, bright = luminance(mean), bright * contrast
    coloured = detail - luminance(detail) + (mean - grey)
    return (grey + bright + coloured * colour).clamp_(0, 1)
