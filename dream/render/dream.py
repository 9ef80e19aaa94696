"""Deep dreams: gradient ascent on a photo, octave by octave, the smallest first."""

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
from dream.render.job_loop import Ascent, Ascents, identity
from dream.render.objective import (
    AnyObjective,
    NormalisedBlend,
    Objective,
    direction,
    energy,
    match,
    mean,
    mean_absolute,
    texture,
)
from dream.render.octave import recipe_sizes
from dream.render.plan import Job, Stage
from dream.render.seamless import WRAP_DIMS, make_periodic, padded_size, with_wrap_padding
from dream.render.tiling import ImageEdges, Shift, Window, make_tiled_evaluator, no_shift
from dream.render.transform import jitter, random_shift
from dream.tensors import Size, resize, resize_clamped, size_of

LAYER_OBJECTIVES = {"norm": energy, "mean": mean, "absolute": mean_absolute}
NO_BOUNDS = (-math.inf, math.inf)

T = TypeVar("T")
# Yields an ascent for each octave, is sent its result, and returns the final images.
DreamAscents = Generator[Ascent, Tensor, Tensor]


def plan(recipes: Sequence[DreamRecipe], size: Size | None) -> list[Job[DreamRecipe]]:
    """Plan a job for each recipe, in a photo of that (height, width).

    Raises:
        PictureError: if there is no photo, a side of it is smaller than the network accepts, or a
            recipe's guide or mask is damaged.
        RecipeError: if a guide or mask cannot be used.
    """
    return [Job((recipe,), plan_octaves(recipe, require_photo(size))) for recipe in recipes]


def plan_octaves(recipe: DreamRecipe, size: Size) -> tuple[Stage, ...]:
    """Return a stage for each octave of a dream, the smallest first. Raises as `plan`."""
    sizes = recipe_sizes(recipe, size, recipe.octaves, recipe.scale)
    if recipe.guide:
        embedded_images.decode_guide(recipe.guide)
    if recipe.mask:
        embedded_images.decode_mask(recipe.mask, sizes[-1])
    input_sizes = [padded_size(each, WRAP_DIMS[recipe.seamless]) for each in sizes]
    return tuple(
        Stage(
            recipe.model,
            octave_size,
            recipe.iterations,
            tuple(layer for layer, _ in recipe.layers_at(octave, len(sizes))),
            tile=recipe.tile if math.prod(input_size) >= 4 * recipe.tile**2 else 0,
            bands=recipe.laplacian,
            input_size=input_size,
        )
        for octave, (octave_size, input_size) in enumerate(
            zip(sizes, input_sizes, strict=True), start=1
        )
    )


def ascents(
    network: Network, job: Job[DreamRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """Yield the ascents of a dream in images (N, 3, H, W) in [0, 1], all by the first recipe."""
    yield from dream_ascents(network, job.recipes[0], require_photo(image), job.stages, deadline)


def require_photo(photo: T | None) -> T:
    """Return the photo (or its size), or raise a `PictureError` if there is none."""
    if photo is None:
        raise PictureError("a dream needs a photo; give one")
    return photo


def dream_ascents(
    network: Network,
    recipe: DreamRecipe,
    image: Tensor,
    stages: Sequence[Stage],
    deadline: float = math.inf,
    objective: AnyObjective | None = None,
) -> DreamAscents:
    """Yield an ascent for each octave of images (N, 3, H, W) in [0, 1]; return the dreamed images.

    Each octave starts from the photo at its size plus the detail dreamed so far, upscaled. So
    downscaling loses nothing of the photo, and with no iterations it is returned exactly.
    `objective` replaces the recipe's own.

    Raises:
        OutOfTime: if a tile would begin after the deadline, by `time.monotonic`.
    """
    full_size, wrap_dims = stages[-1].size, WRAP_DIMS[recipe.seamless]
    start = make_periodic(resize_clamped(image, full_size), wrap_dims)
    mask = _feathered_mask(recipe, full_size, image.device)
    photo = OctaveBase(start, mask, recipe.keep_colours, wrap_dims)
    # On the CPU whatever the device, so that a seed gives the same shifts everywhere.
    generator, tile_generator = (torch.Generator().manual_seed(recipe.seed) for _ in range(2))
    guide = embedded_images.decode_guide(recipe.guide) if recipe.guide else None
    objectives: dict[WeightedNames, AnyObjective] = {
        layers: objective or dream_objective(network, recipe, layers, guide)
        for layers in recipe.layer_groups
    }
    jittered: ImageFunction = partial(jitter, max_shift=recipe.jitter, generator=generator)
    # Tiles are shifted as they are read. A seamless image is jittered before it is padded, so its
    # tiles must not be shifted again.
    shift: Shift = partial(random_shift, max_shift=recipe.jitter, generator=generator)
    shift = no_shift if wrap_dims else shift
    step_counter = itertools.count()
    base, reached = photo, photo.image
    for octave, stage in enumerate(stages, start=1):
        previous, base = base, photo.at_size(stage.size)
        start = base.image if octave == 1 else _add_detail(reached, previous, base)
        octave_objective = objectives[recipe.layers_at(octave, len(stages))]
        make_evaluator = partial(
            make_image_evaluator,
            *(network, octave_objective, stage.tile, shift, tile_generator, deadline),
        )
        value_and_grad = make_evaluator(redirect_relus=False)
        if recipe.channels:  # Redirected ReLUs give silent channels a gradient at first.
            redirected = make_evaluator(redirect_relus=True)
            value_and_grad = redirect_first_steps(redirected, value_and_grad, step_counter)
        reached = yield Ascent(
            start,
            with_wrap_padding(value_and_grad, wrap_dims),
            _make_optimizer(recipe, base),
            transform=identity if stage.tile and not wrap_dims else jittered,
            preview=partial(_preview_full_size, photo, base),
        )
    return reached


def _add_detail(dreamed: Tensor, previous: OctaveBase, base: OctaveBase) -> Tensor:
    """Return `base` plus the detail that was dreamed onto the base of the previous octave."""
    detail = resize(dreamed - previous.image, size_of(base.image), base.wrap_dims)
    return base.constrain(detail.add_(base.image))


def _preview_full_size(photo: OctaveBase, base: OctaveBase, dreamed: Tensor) -> Tensor:
    """Return what was dreamed onto an octave's base, at the size of the photo."""
    return dreamed if base is photo else _add_detail(dreamed, base, photo)


def make_image_evaluator(
    network: Network,
    objective: AnyObjective,
    tile: int,
    shift: Shift,
    tile_generator: torch.Generator,
    deadline: float,
    redirect_relus: bool,
) -> ValueAndGrad:
    """Return a function for the values and gradient of an image, read in tiles if `tile`."""
    if not tile:
        return network.value_and_grad(objective, redirect_relus=redirect_relus)

    measured = objective

    def evaluator_for(edges: ImageEdges) -> ValueAndGrad:
        return network.value_and_grad(measured.for_window(edges), redirect_relus=redirect_relus)

    def measure(windows: Iterator[Window]) -> None:
        nonlocal measured
        assert isinstance(objective, NormalisedBlend)
        with torch.no_grad():
            magnitudes = [
                objective.for_window(edges).measure(network.activations(window, objective.layers))
                for edges, window in windows
            ]
        measured = replace(objective, magnitudes=torch.stack(magnitudes).sum(0))

    first_pass = measure if isinstance(objective, NormalisedBlend) else None
    return make_tiled_evaluator(evaluator_for, tile, shift, tile_generator, deadline, first_pass)


def dream_objective(
    network: Network, recipe: DreamRecipe, layers: WeightedNames, guide: Tensor | None = None
) -> Objective:
    """Return the weighted sum of the recipe's objectives at those layers.

    `guide` is the decoded image (1, 3, H, W) of the recipe's guide, if it has one.
    """
    return reduce(
        operator.add,
        (weight * _layer_objective(network, recipe, layer, guide) for layer, weight in layers),
    )


def _layer_objective(
    network: Network, recipe: DreamRecipe, layer: str, guide: Tensor | None
) -> Objective:
    """Return the recipe's objective at one layer."""
    if recipe.channels:
        network.check_channels(layer, (channel for channel, _ in recipe.channel_weights))
        return direction(layer, dict(recipe.channel_weights), border=recipe.border)
    if guide is None:
        return LAYER_OBJECTIVES[recipe.objective](layer, recipe.border)
    activations, mean_activation = centred_guide(network, layer, guide)
    if recipe.objective == "texture":
        return texture(layer, activations, recipe.border)
    return match(layer, activations, mean_activation, recipe.border)


def _make_optimizer(recipe: DreamRecipe, base: OctaveBase) -> Optimizer:
    """Return the optimizer of an octave, constrained to its base."""
    step = recipe.step / 255
    rule: Optimizer = (
        Adam(step) if recipe.rule == "adam" else NormalisedStep(recipe.step, NO_BOUNDS, base.mask)
    )
    smoothed = SmoothedGradient(rule, recipe.smoothing, recipe.laplacian, base.wrap_dims)
    return ConstrainedOptimizer(smoothed, base, recipe.total_variation * step, recipe.pull)


def _feathered_mask(recipe: DreamRecipe, size: Size, device: torch.device) -> Tensor | None:
    if not recipe.mask:
        return None
    mask = embedded_images.decode_mask(recipe.mask, size)
    return embedded_images.feather_mask(mask, recipe.feather).to(device)
