"""Endless zooms: each frame is the previous one, zoomed and dreamed for a few steps.

The previous frame is rounded to 8 bits, as it is in the video, so that a zoom can be resumed at any
frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from dream import deterministic
from dream.networks.network import Network
from dream.recipe.base import MAX_SEED
from dream.recipe.dream import DreamRecipe
from dream.recipe.motion import ZoomRecipe
from dream.render.ascent import EPSILON, Ascent
from dream.render.dream import dream_ascents, plan_octaves
from dream.render.objective import NormalisedBlend, dream_objective
from dream.render.plan import FrameStages, Job, Stage, recipe_sizes
from dream.render.transform import apply_affine, quantise_8bit
from dream.tensors import Size, even_size, luminance, size_of

# A zoom keeps the look of its photo, so that it does not become neon, within these limits: mean
# brightness, contrast (standard deviation of brightness) and colourfulness (mean range of a pixel's
# channels).
BRIGHTNESS_RANGE = (0.3, 0.65)
MIN_CONTRAST = 0.2
MIN_COLOURFULNESS = 0.1
# Limits of a frame's correction, so that the look changes slowly and no frame flashes.
MAX_MEAN_SHIFT = 0.02
MIN_GAIN = 0.93


def plan(recipe: ZoomRecipe, size: Size) -> FrameStages:
    """Plan all frames of a zoom."""
    full_size = even_size(*recipe_sizes(recipe, size))
    planned: dict[tuple[int, int], tuple[Stage, ...]] = {}  # By id: hashing a recipe is slow.
    frames = []
    for frame in range(recipe.frame_count):
        current, following, _ = recipe.blend_at(frame)
        key = (id(current), id(following))
        if key not in planned:
            planned[key] = _frame_stages(current, following, full_size)
        frames.append(planned[key])
    return tuple(frames)


def _frame_stages(current: DreamRecipe, following: DreamRecipe, size: Size) -> tuple[Stage, ...]:
    """Return the stages of a frame that blends two dreams."""
    pairs = zip(plan_octaves(current, size), plan_octaves(following, size), strict=True)
    return tuple(replace(a, layers=tuple(dict.fromkeys(a.layers + b.layers))) for a, b in pairs)


def ascents(
    network: Network, job: Job[ZoomRecipe], image: Tensor, deadline: float
) -> Iterator[Ascent]:
    """Yield the ascents of a zoom into a photo (1, 3, H, W) in [0, 1].

    When the zoom is resumed, `image` is (2, 3, H, W): the photo and the previous frame.
    """
    (recipe,) = job.recipes
    match_photo = partial(match_stats, target=ImageStats.measure(image[:1]))
    frame = image[-1:]
    for number, stages in enumerate(job.frames, start=job.first_frame):
        current, following, share = recipe.blend_at(number)
        blend = None
        if share:
            dreams = ((1 - share, current), (share, following))
            objectives = ((part, dream_objective(network, one, one.layers)) for part, one in dreams)
            blend = NormalisedBlend(tuple(objectives))
        # Blend the seeds too: a growing share of the frames takes the following dream's seed. The
        # golden ratio sequence spreads them evenly.
        threshold = (number * (math.sqrt(5) - 1) / 2) % 1
        seed = (current if share < threshold else following).seed
        # A new seed for each frame: the same shifts would leave marks at the same places in all.
        dream = current.with_changes(seed=(seed + number) % MAX_SEED)
        start = apply_zoom(recipe, frame) if number else frame
        dreamed = yield from dream_ascents(
            network, dream, start, stages, deadline, blend, match_photo
        )
        frame = quantise_8bit(dreamed)


def apply_zoom(recipe: ZoomRecipe, frame: Tensor) -> Tensor:
    """Zoom, rotate and shift a frame by one frame's motion; bilinear, edges mirrored."""
    height, width = size_of(frame)
    seconds = float(1 / recipe.frame_rate)
    return apply_affine(
        frame,
        angle=math.radians(recipe.rotation) * seconds,
        zoom=recipe.zoom**seconds,
        shift=(-recipe.down * height * seconds, -recipe.right * width * seconds),
    ).clamp_(0, 1)


@dataclass(frozen=True)
class ImageStats:
    """The look of an image (1, 3, H, W): mean colour (1, 3, 1, 1), contrast and colourfulness."""

    mean: Tensor
    contrast: Tensor
    colourfulness: Tensor

    @staticmethod
    def measure(image: Tensor) -> ImageStats:
        """Measure an image."""
        mean = deterministic.mean(image, (2, 3), keepdim=True)
        brightness = luminance(image - mean)
        contrast = deterministic.mean(brightness.square(), (1, 2, 3), keepdim=True).sqrt()
        spread = image.amax(1, keepdim=True) - image.amin(1, keepdim=True)
        return ImageStats(mean, contrast, deterministic.mean(spread, (1, 2, 3), keepdim=True))


def match_stats(image: Tensor, target: ImageStats) -> Tensor:
    """Move the look of an image towards the target, within the limits of a frame's correction."""
    now = ImageStats.measure(image)
    brightness = luminance(target.mean)
    mean = target.mean + brightness.clamp(*BRIGHTNESS_RANGE) - brightness
    mean = now.mean + (mean - now.mean).clamp(-MAX_MEAN_SHIFT, MAX_MEAN_SHIFT)
    contrast_gain = target.contrast.clamp(MIN_CONTRAST) / (now.contrast + EPSILON)
    contrast_gain = contrast_gain.clamp(MIN_GAIN, 1 / MIN_GAIN)
    colour_gain = target.colourfulness.clamp(MIN_COLOURFULNESS) / (now.colourfulness + EPSILON)
    colour_gain = colour_gain.clamp(MIN_GAIN, 1 / MIN_GAIN)
    detail = image - now.mean
    brightness, grey = luminance(detail), luminance(mean)
    # Colour is the distance from grey, of the mean colour as of each pixel.
    colour = detail - brightness + (mean - grey)
    return (grey + brightness * contrast_gain + colour * colour_gain).clamp_(0, 1)
