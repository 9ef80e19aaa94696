"""Live dreams: each camera frame starts from the previous dream, warped by optical flow.

A job is one frame, as the next one does not exist yet. The caller keeps the previous frame and its
dream (see `LiveDreamer`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image, ImageChops, ImageStat
from torch import Tensor

from dream.networks.network import Network
from dream.recipe.base import MAX_SEED
from dream.recipe.motion import LiveRecipe
from dream.render.ascent import Ascent
from dream.render.dream import dream_ascents, plan_octaves
from dream.render.objective import NormalisedBlend, dream_objective
from dream.render.plan import FrameStages, Job, Stage
from dream.render.video import warp_previous_dream
from dream.render.video_job import RenderFunction
from dream.render.zoom import ImageStats, match_stats
from dream.tensors import Size, limit_size, scale_size

# Duration of the change from one layer to another.
CROSSFADE_SECONDS = 1.0
# Mean change of brightness from one frame to the next, in grey levels of so small an image, at
# which another scene begins. Of 81 photos two differ by 72 in the median, and one from itself moved
# by a tenth of its width by 28.
CUT_THUMBNAIL_SIZE, MIN_CUT_CHANGE = (16, 12), 50


def plan(recipe: LiveRecipe, size: Size) -> FrameStages:
    """Plan the first two frames (see `Job.for_frames`)."""
    assert recipe.max_side  # It is settled.
    full_size = limit_size(size, recipe.max_side)
    half_size = scale_size(full_size, 0.5)
    frame = plan_octaves(recipe.frame_recipe(), full_size)
    first_stages: tuple[Stage, ...] = ()
    if recipe.first_octaves and min(half_size) >= recipe.card.min_side:
        first_stages = plan_octaves(recipe.first_frame_recipe(), half_size)
    return first_stages + frame, frame


def ascents(
    network: Network, job: Job[LiveRecipe], image: Tensor, deadline: float
) -> Iterator[Ascent]:
    """Yield the ascents of one frame; the first has octaves at half its size and below.

    `image` is the first frame (1, 3, H, W) in [0, 1]; later it is (3, 3, H, W): the previous frame,
    its dream and the new frame. Several layers are blended by their weights, whatever the scale of
    their activations (see `NormalisedBlend`).
    """
    (recipe,) = job.recipes
    *previous, frame = torch.split(image, 1)
    start, match_frame = frame, partial(match_stats, target=ImageStats.measure(frame))
    if previous:
        last_frame, last_dream = previous
        start = warp_previous_dream(last_dream, last_frame, frame, recipe.frame_carry, fast=True)
    # A new seed for each frame: the same shifts would leave marks at the same places in all.
    dream = recipe.frame_recipe(seed=(recipe.seed + job.first_frame) % MAX_SEED)
    if len(job.stages) > 1:
        dream = recipe.first_frame_recipe()
    blend = None
    if len(recipe.layers) > 1:
        objectives = (
            (weight, dream_objective(network, dream, ((layer, 1.0),)))
            for layer, weight in recipe.layers
        )
        blend = NormalisedBlend(tuple(objectives))
    yield from dream_ascents(
        network, dream, start, job.stages, deadline, blend, match_frame, detail_image=frame
    )


def is_cut(before: Image.Image, after: Image.Image) -> bool:
    """Return whether another scene begins with the second of two frames."""
    thumbnails = (each.convert("L").resize(CUT_THUMBNAIL_SIZE) for each in (before, after))
    return ImageStat.Stat(ImageChops.difference(*thumbnails)).mean[0] > MIN_CUT_CHANGE


@dataclass
class LiveDreamer:
    """The state of one viewer's live dream; `render` may be shared between viewers.

    It keeps the last frame and its dream, and crossfades from one choice of layers to another.
    """

    render: RenderFunction
    last_pair: tuple[Image.Image, ...] = ()
    frame_count: int = 0
    recipe: LiveRecipe | None = None
    previous_recipe: LiveRecipe | None = None
    seconds_since_change: float = CROSSFADE_SECONDS

    def dream_frame(self, frame: Image.Image, recipe: LiveRecipe) -> Image.Image:
        """Return the dream of the next frame, by a complete recipe; a new frame size starts anew.

        So does another scene (see `is_cut`) after a second, unless `first_octaves` is 0.

        Raises:
            DreamError: as `render` does.
        """
        assert recipe.max_side
        size = limit_size((frame.height, frame.width), recipe.max_side)
        frame = frame.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        if self.last_pair and self.last_pair[0].size != frame.size:
            self.last_pair = ()
        if recipe.first_octaves and self.last_pair and self.frame_count >= recipe.fps:
            # Not in each frame of a camera that is swung about: a first frame takes long.
            self.last_pair = () if is_cut(self.last_pair[0], frame) else self.last_pair
        if recipe.first_octaves and not self.last_pair:
            self.frame_count = 0
        recipe = self._advance_crossfade(recipe)
        job = Job((recipe,), plan(recipe, size), first_frame=self.frame_count).for_frames(1)
        *_, last = self.render(job, [*self.last_pair, frame])
        # The result is smaller than the frame if GPU memory ran out.
        self.last_pair = (frame, last.picture().resize(frame.size))
        self.frame_count += 1
        return self.last_pair[1]

    def _advance_crossfade(self, recipe: LiveRecipe) -> LiveRecipe:
        """Advance the crossfade by one frame; return the recipe, mixed with the previous layers."""
        if self.recipe and recipe.layers != self.recipe.layers:
            self.previous_recipe, self.seconds_since_change = self._mix_layers(self.recipe), 0.0
        self.recipe = recipe
        self.seconds_since_change += 1 / recipe.fps
        return self._mix_layers(recipe)

    def _mix_layers(self, recipe: LiveRecipe) -> LiveRecipe:
        share = min(1.0, self.seconds_since_change / CROSSFADE_SECONDS)
        if not self.previous_recipe or self.previous_recipe.model != recipe.model or share == 1:
            return recipe
        weights: dict[str, float] = {}
        for part, layers in ((1 - share, self.previous_recipe.layers), (share, recipe.layers)):
            total = sum(abs(weight) for _, weight in layers) or 1.0
            for layer, weight in layers:
                weights[layer] = weights.get(layer, 0.0) + part * weight / total
        mixed = ", ".join(f"{layer}:{weight:.3f}" for layer, weight in weights.items())
        return recipe.with_changes(layer=mixed)
