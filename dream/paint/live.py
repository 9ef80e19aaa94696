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
from dream.paint.dream import dream_objective, dreamed, octaves, of_photo
from dream.paint.frames import Climbs
from dream.paint.objective import Blend
from dream.paint.plan import Job
from dream.paint.reel import Painter
from dream.paint.video import carried
from dream.paint.zoom import Look, held, shown
from dream.recipe.live import LiveRecipe
from dream.recipe.recipe import SEED_LIMIT
from dream.tensors import Size, limited, resized

# For how many seconds one layer gives way to another.
CHANGE = 1.0


def plan(recipes: Sequence[LiveRecipe], size: Size | None) -> list[Job[LiveRecipe]]:
    """A frame of that (height, width), for each recipe.

    Raises:
        PictureError: if there is none, or a side of it is smaller than the network reads.
    """
    jobs = []
    for recipe in recipes:
        (stage,) = octaves(recipe.frame(), limited(of_photo(size), recipe.max_side))
        jobs.append(Job((recipe,), (replace(stage, ends=True),)))
    return jobs


def climbs(network: Network, job: Job[LiveRecipe], picture: Tensor | None, until: float) -> Climbs:
    """One frame, (1, 3, H, W) in [0, 1]; after the first one, the last and its dream come before
    it, (3, 3, H, W). Layers of a mix count by their weights, whatever they answer.
    """
    (recipe,) = job.recipes
    pictures = resized(of_photo(picture), job.stages[0].size)
    *before, begun = torch.split(pictures, 1)
    hold = partial(held, like=Look.of(begun))
    if before:
        begun = carried(before[1], before[0], begun, recipe.carry, quick=True)
    # Another seed for each, or the same shifts would mark them all in the same places.
    dream = recipe.frame(seed=(recipe.seed + job.first) % SEED_LIMIT)
    blend = None
    if len(recipe.layers) > 1:
        blend = Blend(
            tuple(
                (weight, dream_objective(network, dream, ((layer, 1.0),)))
                for layer, weight in recipe.layers
            )
        )
    yield from shown(dreamed(network, dream, begun, job.stages, until, blend), hold)


@dataclass
class Mirror:
    """What there is of one live dream: the last frame, its dream, and how one layer gives way to
    another. Each belongs to one who looks; `paint` may be shared.
    """

    paint: Painter
    last: tuple[Image.Image, ...] = ()
    frames: int = 0
    recipe: LiveRecipe | None = None
    before: LiveRecipe | None = None
    changed: float = CHANGE

    def dreamed(self, seen: Image.Image, recipe: LiveRecipe) -> Image.Image:
        """The dream of the next frame, by a settled recipe; one of another size begins anew.

        Raises:
            DreamError: as painting does.
        """
        size = limited((seen.height, seen.width), recipe.max_side)
        seen = seen.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        if self.last and self.last[0].size != seen.size:
            self.last = ()
        (job,) = plan([self._between(recipe)], size)
        *_, frame = self.paint(replace(job, first=self.frames), [*self.last, seen])
        # It is smaller where the memory of a GPU was scarce.
        self.last, self.frames = (seen, frame.picture().resize(seen.size)), self.frames + 1
        return self.last[1]

    def _between(self, recipe: LiveRecipe) -> LiveRecipe:
        """The recipe, while its layers give way to those of another."""
        if self.recipe and recipe.layers != self.recipe.layers:
            self.before, self.changed = self._mixed(self.recipe), 0.0
        self.recipe = recipe
        self.changed += 1 / recipe.fps
        return self._mixed(recipe)

    def _mixed(self, recipe: LiveRecipe) -> LiveRecipe:
        share = min(1.0, self.changed / CHANGE)
        if not self.before or self.before.model != recipe.model or share == 1:
            return recipe
        weights: dict[str, float] = {}
        for part, layers in ((1 - share, self.before.layers), (share, recipe.layers)):
            whole = sum(abs(weight) for _, weight in layers) or 1.0
            for layer, weight in layers:
                weights[layer] = weights.get(layer, 0.0) + part * weight / whole
        mixed = ", ".join(f"{layer}:{weight:.3f}" for layer, weight in weights.items())
        return recipe.but(layer=mixed)
