"""Live dreams: each frame begins with the last dream, carried along, and what the camera sees.

One job is one frame: the next one is not there yet. What it begins with is the caller's to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from dream.networks.network import Network
from dream.recipe.base import SEED_LIMIT
from dream.recipe.live import LiveRecipe
from dream.render.dream import dream_ascents, dream_objective, plan_octaves, require_photo
from dream.render.loop import Ascents
from dream.render.objective import NormalisedBlend
from dream.render.plan import Job
from dream.render.video import warp_previous_dream
from dream.render.video_job import RenderFunction
from dream.render.zoom import ImageStats, constrain_previews, match_stats
from dream.tensors import Size, limit_size, resize_clamped

# For how many seconds one layer gives way to another.
CROSSFADE_SECONDS = 1.0


def plan(recipes: Sequence[LiveRecipe], size: Size | None) -> list[Job[LiveRecipe]]:
    """A frame of that (height, width), for each recipe.

    Raises:
        PictureError: if there is none, or a side of it is smaller than the network reads.
    """
    jobs = []
    for recipe in recipes:
        (stage,) = plan_octaves(
            recipe.frame_recipe(), limit_size(require_photo(size), recipe.max_side)
        )
        jobs.append(Job((recipe,), (replace(stage, ends_frame=True),)))
    return jobs


def ascents(
    network: Network, job: Job[LiveRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """One frame, (1, 3, H, W) in [0, 1]; after the first one, the last and its dream come before
    it, (3, 3, H, W). Layers of a mix count by their weights, whatever they answer.
    """
    (recipe,) = job.recipes
    pictures = resize_clamped(require_photo(image), job.stages[0].size)
    *before, begun = torch.split(pictures, 1)
    hold = partial(match_stats, target=ImageStats.of(begun))
    if before:
        begun = warp_previous_dream(before[1], before[0], begun, recipe.frame_carry, fast=True)
    # Another seed for each, or the same shifts would mark them all in the same places.
    dream = recipe.frame_recipe(seed=(recipe.seed + job.first_frame) % SEED_LIMIT)
    blend = None
    if len(recipe.layers) > 1:
        blend = NormalisedBlend(
            tuple(
                (weight, dream_objective(network, dream, ((layer, 1.0),)))
                for layer, weight in recipe.layers
            )
        )
    yield from constrain_previews(
        dream_ascents(network, dream, begun, job.stages, deadline, blend), hold
    )


@dataclass
class LiveDreamer:
    """What there is of one live dream: the last frame, its dream, and how one layer gives way to
    another. Each belongs to one who looks; `paint` may be shared.
    """

    render: RenderFunction
    last_pair: tuple[Image.Image, ...] = ()
    frame_count: int = 0
    recipe: LiveRecipe | None = None
    previous_recipe: LiveRecipe | None = None
    seconds_since_change: float = CROSSFADE_SECONDS

    def dream_frame(self, frame: Image.Image, recipe: LiveRecipe) -> Image.Image:
        """The dream of the next frame, by a settled recipe; one of another size begins anew.

        Raises:
            DreamError: as painting does.
        """
        size = limit_size((frame.height, frame.width), recipe.max_side)
        frame = frame.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        if self.last_pair and self.last_pair[0].size != frame.size:
            self.last_pair = ()
        (job,) = plan([self._crossfaded_recipe(recipe)], size)
        *_, dreamed = self.render(
            replace(job, first_frame=self.frame_count), [*self.last_pair, frame]
        )
        # It is smaller where the memory of a GPU was scarce.
        self.last_pair, self.frame_count = (
            (frame, dreamed.picture().resize(frame.size)),
            self.frame_count + 1,
        )
        return self.last_pair[1]

    def _crossfaded_recipe(self, recipe: LiveRecipe) -> LiveRecipe:
        """The recipe, while its layers give way to those of another."""
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
            whole = sum(abs(weight) for _, weight in layers) or 1.0
            for layer, weight in layers:
                weights[layer] = weights.get(layer, 0.0) + part * weight / whole
        mixed = ", ".join(f"{layer}:{weight:.3f}" for layer, weight in weights.items())
        return recipe.with_changes(layer=mixed)
