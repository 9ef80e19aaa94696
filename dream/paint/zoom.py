"""Endless zooms: each frame begins with the last one, moved, and is dreamed for a few steps.

It begins with the last one as it was shown, in 8 bits: so a zoom can be cut, and go on, anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from torch import Tensor

from dream import sums
from dream.networks.network import Network
from dream.paint.ascent import EPSILON, Paint
from dream.paint.dream import Dreamed, dream_objective, dreamed, octaves, of_photo
from dream.paint.frames import Climbs
from dream.paint.objective import Blend
from dream.paint.octave import sizes_of
from dream.paint.plan import Job, Stage
from dream.paint.transform import affine, in_8_bits
from dream.recipe.dream import DreamRecipe
from dream.recipe.recipe import SEED_LIMIT
from dream.recipe.zoom import ZoomRecipe
from dream.tensors import Size, even, luminance, resized, size_of

# Contrast is a standard deviation, colour the mean distance between the channels of a pixel. A zoom
# keeps those of its photo, so that it never becomes neon; but a dull one brightens up to these.
BRIGHTNESS = (0.3, 0.65)
CONTRAST = 0.2
COLOUR = 0.1
# By how much a frame may change them: what is far off comes slowly, and no frame flashes.
STEP = 0.02
SHARE = 0.93


def plan(recipes: Sequence[ZoomRecipe], size: Size | None) -> list[Job[ZoomRecipe]]:
    """Zooms into a photo of that (height, width): stages for each of their frames.

    Raises:
        PictureError: if there is no photo, or a side of it is smaller than the network reads.
    """
    return [Job((recipe,), tuple(_stages(recipe, of_photo(size)))) for recipe in recipes]


def _stages(recipe: ZoomRecipe, size: Size) -> Iterator[Stage]:
    full = even(*sizes_of(recipe, size))
    known: dict[tuple[int, int], tuple[Stage, ...]] = {}  # By identity: a recipe is slow to hash.
    for frame in range(recipe.frames):
        one, other, share = recipe.at(frame)
        pair = (one, other if share else one)
        key = (id(pair[0]), id(pair[1]))
        if key not in known:
            known[key] = _octaves(*pair, full)
        yield from known[key]


@lru_cache(maxsize=64)
def _octaves(one: DreamRecipe, other: DreamRecipe, size: Size) -> tuple[Stage, ...]:
    """The octaves of a frame between two dreams; the last one ends it."""
    stages = zip(octaves(one, size), octaves(other, size), strict=True)
    *before, last = (
        replace(a, layers=tuple(dict.fromkeys(a.layers + b.layers))) for a, b in stages
    )
    return (*before, replace(last, ends=True))


def climbs(network: Network, job: Job[ZoomRecipe], picture: Tensor | None, until: float) -> Climbs:
    """The frames of a zoom into a picture (1, 3, H, W) in [0, 1].

    Where they are not the first, of two (2, 3, H, W): the photo, and the frame before.
    """
    (recipe,) = job.recipes
    pictures = resized(of_photo(picture), job.stages[-1].size)
    hold = partial(held, like=Look.of(pictures[:1]))
    frame = pictures[-1:]
    for number, stages in enumerate(job.frames, start=job.first):
        one, other, share = recipe.at(number)
        begun = moved(recipe, frame) if number else frame
        # Another seed for each, or the same shifts would mark each frame in the same places.
        dream = one.but(seed=_seed(one if share < _chance(number) else other, number))
        blend = None
        if share:
            parts = [(1 - share, one), (share, other)]
            blend = Blend(
                tuple(
                    (weight, dream_objective(network, each, each.layers)) for weight, each in parts
                )
            )
        reached = yield from shown(dreamed(network, dream, begun, stages, until, blend), hold)
        frame = in_8_bits(hold(reached))


def _seed(dream: DreamRecipe, frame: int) -> int:
    return (dream.seed + frame) % SEED_LIMIT


def _chance(frame: int) -> float:
    """A number from 0 to 1 for each frame, spread evenly over few as over many of them."""
    return (frame * (math.sqrt(5) - 1) / 2) % 1


def shown(climbing: Dreamed, hold: Paint) -> Dreamed:
    """The same climbs, what is shown of them held; at last what was reached."""
    climb = next(climbing)
    while True:
        try:
            climb = climbing.send((yield replace(climb, show=_then(climb.show, hold))))
        except StopIteration as end:
            reached: Tensor = end.value
            return reached


def _then(show: Paint, hold: Paint) -> Paint:
    return lambda variables: hold(show(variables))


def moved(recipe: ZoomRecipe, frame: Tensor) -> Tensor:
    """What of a frame is seen one frame later; bilinear, its edges mirrored."""
    height, width = size_of(frame)
    second = float(1 / recipe.rate)
    return affine(
        frame,
        angle=math.radians(recipe.rotation) * second,
        zoom=recipe.zoom**second,
        shift=(-recipe.down * height * second, -recipe.right * width * second),
    ).clamp_(0, 1)


@dataclass(frozen=True)
class Look:
    """How a picture (1, 3, H, W) looks as a whole: its mean (1, 3, 1, 1), contrast and colour."""

    mean: Tensor
    contrast: Tensor
    colour: Tensor

    @staticmethod
    def of(picture: Tensor) -> Look:
        """That of a picture."""
        mean = sums.mean(picture, (2, 3), keepdim=True)
        brightness = luminance(picture - mean)
        contrast = sums.mean(brightness.square(), (1, 2, 3), keepdim=True).sqrt()
        spread = picture.amax(1, keepdim=True) - picture.amin(1, keepdim=True)
        return Look(mean, contrast, sums.mean(spread, (1, 2, 3), keepdim=True))


def held(picture: Tensor, like: Look) -> Tensor:
    """The picture brought nearer to that look, as far as a frame may."""
    now = Look.of(picture)
    brightness = luminance(like.mean)
    mean = like.mean + brightness.clamp(*BRIGHTNESS) - brightness
    mean = now.mean + (mean - now.mean).clamp(-STEP, STEP)
    contrast = (like.contrast.clamp(CONTRAST) / (now.contrast + EPSILON)).clamp(SHARE, 1 / SHARE)
    colour = (like.colour.clamp(COLOUR) / (now.colour + EPSILON)).clamp(SHARE, 1 / SHARE)
    detail = picture - now.mean
    bright = luminance(detail)
    # The colour of the whole, as that of each pixel, is a distance from grey.
    grey, bright = luminance(mean), bright * contrast
    coloured = detail - luminance(detail) + (mean - grey)
    return (grey + bright + coloured * colour).clamp_(0, 1)
