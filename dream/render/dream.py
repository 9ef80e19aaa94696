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
from dream.files import embedded_images
from dream.networks.network import Network, ValueAndGrad
from dream.recipe.base import WeightedNames
from dream.recipe.dream import DreamRecipe
from dream.render.ascent import (
    Adam,
    ImageFunction,
    NormalisedStep,
    Optimizer,
    SmoothedGradient,
    redirect_first_steps,
)
from dream.render.constraints import ConstrainedOptimizer, OctaveBase
from dream.render.guide import centred_guide
from dream.render.loop import Ascent, Ascents, identity
from dream.render.objective import (
    AnyObjective,
    NormalisedBlend,
    Objective,
    absolute,
    direction,
    energy,
    match,
    mean,
    texture,
)
from dream.render.octave import sizes_of
from dream.render.plan import Job, Stage
from dream.render.seamless import WRAP_DIMS, make_periodic, padded_size, with_wrap_padding
from dream.render.tiling import ImageEdges, Shift, Window, no_shift, tiled_value_and_grad
from dream.render.transform import jitter, random_shift
from dream.tensors import Size, resize, resize_clamped, size_of

LAYER_OBJECTIVES = {"norm": energy, "mean": mean, "absolute": absolute}
UNBOUNDED = (-math.inf, math.inf)

T = TypeVar("T")
# A climb for each octave, and at last the picture that was reached.
DreamAscents = Generator[Ascent, Tensor, Tensor]


def plan(recipes: Sequence[DreamRecipe], size: Size | None) -> list[Job[DreamRecipe]]:
    """Dreams of a photo of that (height, width), one by one.

    Raises:
        PictureError: if there is no photo, a side of it is smaller than the network reads, or a
            picture of a recipe is damaged.
        RecipeError: if its guide or its mask cannot be used.
    """
    return [Job((recipe,), plan_octaves(recipe, require_photo(size))) for recipe in recipes]


def plan_octaves(recipe: DreamRecipe, size: Size) -> tuple[Stage, ...]:
    """The octaves of a dream, the smallest first. Raises as `plan`."""
    sizes = sizes_of(recipe, size, recipe.octaves, recipe.scale)
    if recipe.guide:
        embedded_images.decode_guide(recipe.guide)
    if recipe.mask:
        embedded_images.decode_mask(recipe.mask, sizes[-1])
    around = WRAP_DIMS[recipe.seamless]
    return tuple(
        Stage(
            recipe.model,
            each,
            recipe.iterations,
            tuple(layer for layer, _ in recipe.layers_at(octave, len(sizes))),
            tile=recipe.tile if math.prod(padded_size(each, around)) >= 4 * recipe.tile**2 else 0,
            bands=recipe.laplacian,
            input_size=padded_size(each, around),
        )
        for octave, each in enumerate(sizes, start=1)
    )


def ascents(
    network: Network, job: Job[DreamRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """The octaves of a dream of a picture (1, 3, H, W) in [0, 1]; of several by one recipe."""
    yield from dream_ascents(network, job.recipes[0], require_photo(image), job.stages, deadline)


def require_photo(given: T | None) -> T:
    if given is None:
        raise PictureError("a dream is made of a photo; give one")
    return given


def dream_ascents(
    network: Network,
    recipe: DreamRecipe,
    image: Tensor,
    stages: Sequence[Stage],
    deadline: float = math.inf,
    objective: AnyObjective | None = None,
) -> DreamAscents:
    """Pictures (N, 3, H, W) in [0, 1], octave by octave; at last what was reached.

    Every octave starts from the original, shrunk to its size, plus the detail that the octaves
    before have won: so nothing of the photo is lost to shrinking, and with no iterations it comes
    back exactly. `objective` takes the place of the recipe's own. Steps in tiles end when it is
    `until`, a time of `time.monotonic`.

    Raises:
        OutOfTime: if it took so long.
    """
    full, around = stages[-1].size, WRAP_DIMS[recipe.seamless]
    start = make_periodic(resize_clamped(image, full), around)
    photo = OctaveBase(
        start, _feathered_mask(recipe, full, image.device), recipe.keep_colours, around
    )
    # On the CPU whatever the device, so that the same seed rolls alike everywhere.
    generator, borders = (torch.Generator().manual_seed(recipe.seed) for _ in range(2))
    guide = embedded_images.decode_guide(recipe.guide) if recipe.guide else None
    objectives: dict[WeightedNames, AnyObjective] = {
        layers: objective or dream_objective(network, recipe, layers, guide)
        for layers in recipe.layer_groups
    }
    shift: Shift = partial(random_shift, jitter=recipe.jitter, generator=generator)
    jittered: ImageFunction = partial(jitter, limit=recipe.jitter, generator=generator)
    if around:  # What is read beyond the edges is put there after the shift.
        shift = no_shift
    counter = itertools.count()
    base, reached = photo, photo.image
    for octave, stage in enumerate(stages, start=1):
        before, base = base, photo.at_size(stage.size)
        start = base.image if octave == 1 else _add_detail(reached, before, base)
        raised = objectives[recipe.layers_at(octave, len(stages))]
        read = partial(_image_value_and_grad, network, raised, stage.tile, shift, borders, deadline)
        # Silent channels find their way by ReLUs that are redirected at first.
        climb = (
            redirect_first_steps(read(True), read(False), counter)
            if recipe.channels
            else read(False)
        )
        climb = with_wrap_padding(climb, around)
        view = identity if stage.tile and not around else jittered
        reached = yield Ascent(
            start,
            climb,
            _make_optimizer(recipe, base),
            transform=view,
            preview=partial(_preview_full_size, photo, base),
        )
    return reached


def _add_detail(dreamed: Tensor, before: OctaveBase, base: OctaveBase) -> Tensor:
    """What was dreamed over the octave before, as the next one begins."""
    detail = resize(dreamed - before.image, size_of(base.image), base.wrap_dims)
    return base.constrain(detail.add_(base.image))


def _preview_full_size(photo: OctaveBase, base: OctaveBase, dreamed: Tensor) -> Tensor:
    """What was dreamed over an octave's base, at the size of the photo."""
    return dreamed if base is photo else _add_detail(dreamed, base, photo)


def _image_value_and_grad(
    network: Network,
    objective: AnyObjective,
    tile: int,
    shift: Shift,
    tile_generator: torch.Generator,
    deadline: float,
    redirected: bool,
) -> ValueAndGrad:
    """Values and gradients of a picture read whole, or in tiles."""
    if not tile:
        return network.value_and_grad(objective, redirected=redirected)

    raised = objective

    def at(edges: ImageEdges) -> ValueAndGrad:
        return network.value_and_grad(raised.for_window(edges), redirected=redirected)

    def measure(windows: Iterator[Window]) -> None:
        nonlocal raised
        assert isinstance(objective, NormalisedBlend)
        with torch.no_grad():
            magnitudes = [
                objective.for_window(edges).measure(network.activations(seen, objective.layers))
                for edges, seen in windows
            ]
        raised = replace(objective, magnitudes=torch.stack(magnitudes).sum(0))

    is_blend = isinstance(objective, NormalisedBlend)
    return tiled_value_and_grad(
        at, tile, shift, tile_generator, deadline, measure if is_blend else None
    )


def dream_objective(
    network: Network, recipe: DreamRecipe, layers: WeightedNames, guide: Tensor | None = None
) -> Objective:
    """What a dream raises at those layers: the sum of what it raises at each, by weight.

    `guide` is the picture of the recipe's guide (1, 3, H, W).
    """
    return reduce(
        operator.add,
        (weight * _layer_objective(network, recipe, layer, guide) for layer, weight in layers),
    )


def _layer_objective(
    network: Network, recipe: DreamRecipe, layer: str, guide: Tensor | None
) -> Objective:
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


def _make_optimizer(recipe: DreamRecipe, base: OctaveBase) -> Optimizer:
    """How the dream steps, and what holds it back, at an octave with that base."""
    step = recipe.step / 255
    rule: Optimizer = (
        Adam(step) if recipe.rule == "adam" else NormalisedStep(recipe.step, UNBOUNDED, base.mask)
    )
    smoothed = SmoothedGradient(rule, recipe.smoothing, recipe.laplacian, base.wrap_dims)
    return ConstrainedOptimizer(smoothed, base, recipe.total_variation * step, recipe.pull)


def _feathered_mask(recipe: DreamRecipe, size: Size, device: torch.device) -> Tensor | None:
    if not recipe.mask:
        return None
    return embedded_images.feather_mask(
        embedded_images.decode_mask(recipe.mask, size), recipe.feather
    ).to(device)
