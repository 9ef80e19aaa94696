"""Deep dreams: a photo climbs octave by octave, from the smallest to its own size."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import TypeVar

import torch
from torch import Tensor

from dream.errors import PictureError
from dream.files import embedded
from dream.networks.network import Network, ValueAndGrad
from dream.paint.ascent import Adam, Normalised, Paint, Rule, Smoothed, awakened
from dream.paint.frames import Climb, Climbs, as_it_is
from dream.paint.guide import centred_guide
from dream.paint.objective import (
    Blend,
    Objective,
    Raised,
    absolute,
    direction,
    energy,
    match,
    mean,
    texture,
)
from dream.paint.octave import sizes_of
from dream.paint.plan import Job, Stage
from dream.paint.restraint import Base, Restrained
from dream.paint.seam import AROUND, meeting, read_around, seen_size
from dream.paint.tile import Edges, Shift, Window, still, tiled
from dream.paint.transform import jitter, random_shift
from dream.recipe.dream import DreamRecipe
from dream.recipe.recipe import Weighted
from dream.tensors import Size, resize, resized, size_of

LAYER_OBJECTIVES = {"norm": energy, "mean": mean, "absolute": absolute}
ANY = (-math.inf, math.inf)

Known = TypeVar("Known")
# A climb for each octave, and at last the picture that was reached.
Dreamed = Generator[Climb, Tensor, Tensor]


def plan(recipes: Sequence[DreamRecipe], size: Size | None) -> list[Job[DreamRecipe]]:
    """Dreams of a photo of that (height, width), one by one.

    Raises:
        PictureError: if there is no photo, a side of it is smaller than the network reads, or a
            picture of a recipe is damaged.
        RecipeError: if its guide or its mask cannot be used.
    """
    return [Job((recipe,), octaves(recipe, of_photo(size))) for recipe in recipes]


def octaves(recipe: DreamRecipe, size: Size) -> tuple[Stage, ...]:
    """The octaves of a dream, the smallest first. Raises as `plan`."""
    sizes = sizes_of(recipe, size, recipe.octaves, recipe.scale)
    if recipe.guide:
        embedded.guide(recipe.guide)
    if recipe.mask:
        embedded.mask(recipe.mask, sizes[-1])
    around = AROUND[recipe.seamless]
    return tuple(
        Stage(
            recipe.model,
            each,
            recipe.iterations,
            tuple(layer for layer, _ in recipe.layers_at(octave, len(sizes))),
            tile=recipe.tile if math.prod(seen_size(each, around)) >= 4 * recipe.tile**2 else 0,
            bands=recipe.laplacian,
            seen=seen_size(each, around),
        )
        for octave, each in enumerate(sizes, start=1)
    )


def climbs(network: Network, job: Job[DreamRecipe], picture: Tensor | None, until: float) -> Climbs:
    """The octaves of a dream of a picture (1, 3, H, W) in [0, 1]; of several by one recipe."""
    yield from dreamed(network, job.recipes[0], of_photo(picture), job.stages, until)


def of_photo(given: Known | None) -> Known:
    if given is None:
        raise PictureError("a dream is made of a photo; give one")
    return given


def dreamed(
    network: Network,
    recipe: DreamRecipe,
    picture: Tensor,
    stages: Sequence[Stage],
    until: float = math.inf,
    objective: Raised | None = None,
) -> Dreamed:
    """Pictures (N, 3, H, W) in [0, 1], octave by octave; at last what was reached.

    Every octave starts from the original, shrunk to its size, plus the detail that the octaves
    before have won: so nothing of the photo is lost to shrinking, and with no iterations it comes
    back exactly. `objective` takes the place of the recipe's own. Steps in tiles end when it is
    `until`, a time of `time.monotonic`.

    Raises:
        OutOfTime: if it took so long.
    """
    full, around = stages[-1].size, AROUND[recipe.seamless]
    start = meeting(resized(picture, full), around)
    photo = Base(start, _mask(recipe, full, picture.device), recipe.keep_colours, around)
    # On the CPU whatever the device, so that the same seed rolls alike everywhere.
    generator, borders = (torch.Generator().manual_seed(recipe.seed) for _ in range(2))
    guide = embedded.guide(recipe.guide) if recipe.guide else None
    objectives: dict[Weighted, Raised] = {
        layers: objective or dream_objective(network, recipe, layers, guide)
        for layers in recipe.octave_layers
    }
    shift: Shift = partial(random_shift, jitter=recipe.jitter, generator=generator)
    jittered: Paint = partial(jitter, limit=recipe.jitter, generator=generator)
    if around:  # What is read beyond the edges is put there after the shift.
        shift = still
    counter = itertools.count()
    base, reached = photo, photo.picture
    for octave, stage in enumerate(stages, start=1):
        before, base = base, photo.at(stage.size)
        start = base.picture if octave == 1 else _carried(reached, before, base)
        raised = objectives[recipe.layers_at(octave, len(stages))]
        read = partial(_read, network, raised, stage.tile, shift, borders, until)
        # Silent channels find their way by ReLUs that are redirected at first.
        climb = awakened(read(True), read(False), counter) if recipe.channels else read(False)
        climb = read_around(climb, around)
        view = as_it_is if stage.tile and not around else jittered
        reached = yield Climb(
            start, climb, _rule(recipe, base), view=view, show=partial(_enlarged, photo, base)
        )
    return reached


def _carried(dreamed: Tensor, before: Base, base: Base) -> Tensor:
    """What was dreamed over the octave before, as the next one begins."""
    detail = resize(dreamed - before.picture, size_of(base.picture), base.around)
    return base.hold(detail.add_(base.picture))


def _enlarged(photo: Base, base: Base, dreamed: Tensor) -> Tensor:
    """What was dreamed over an octave's base, at the size of the photo."""
    return dreamed if base is photo else _carried(dreamed, base, photo)


def _read(
    network: Network,
    objective: Raised,
    tile: int,
    shift: Shift,
    borders: torch.Generator,
    until: float,
    redirected: bool,
) -> ValueAndGrad:
    """Values and gradients of a picture read whole, or in tiles."""
    if not tile:
        return network.value_and_grad(objective, redirected=redirected)

    raised = objective

    def at(edges: Edges) -> ValueAndGrad:
        return network.value_and_grad(raised.within(edges), redirected=redirected)

    def measure(windows: Iterator[Window]) -> None:
        nonlocal raised
        assert isinstance(objective, Blend)
        with torch.no_grad():
            magnitudes = [
                objective.within(edges).measure(network.activations(seen, objective.layers))
                for edges, seen in windows
            ]
        raised = replace(objective, magnitudes=torch.stack(magnitudes).sum(0))

    is_blend = isinstance(objective, Blend)
    return tiled(at, tile, shift, borders, until, measure if is_blend else None)


def dream_objective(
    network: Network, recipe: DreamRecipe, layers: Weighted, guide: Tensor | None = None
) -> Objective:
    """What a dream raises at those layers: the sum of what it raises at each, by weight.

    `guide` is the picture of the recipe's guide (1, 3, H, W).
    """
    return reduce(
        operator.add, (weight * _raised(network, recipe, layer, guide) for layer, weight in layers)
    )


def _raised(network: Network, recipe: DreamRecipe, layer: str, guide: Tensor | None) -> Objective:
    """What a dream raises at one layer."""
    if recipe.channels:
        network.check_channels(layer, (channel for channel, _ in recipe.channel_weights))
        return direction(layer, dict(recipe.channel_weights), border=recipe.border)
    if guide is None:
        return LAYER_OBJECTIVES[recipe.objective](layer, recipe.border)
    seen, usual = centred_guide(network, layer, guide)
    if recipe.objective == "texture":
        return texture(layer, seen, recipe.border)
    return match(layer, seen, usual, recipe.border)


def _rule(recipe: DreamRecipe, base: Base) -> Rule:
    """How the dream steps, and what holds it back, at an octave with that base."""
    step = recipe.step / 255
    rule: Rule = Adam(step) if recipe.rule == "adam" else Normalised(recipe.step, ANY, base.mask)
    smoothed = Smoothed(rule, recipe.smoothing, recipe.laplacian, base.around)
    return Restrained(smoothed, base, recipe.total_variation * step, recipe.pull)


def _mask(recipe: DreamRecipe, size: Size, device: torch.device) -> Tensor | None:
    if not recipe.mask:
        return None
    return embedded.feathered(embedded.mask(recipe.mask, size), recipe.feather).to(device)
