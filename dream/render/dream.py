"""Deep dreams: gradient ascent on a photo, octave by octave, the smallest first."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from dream.files import embedded_images
from dream.networks.network import Network, ValueAndGrad
from dream.recipe.base import WeightedNames
from dream.recipe.dream import DreamRecipe
from dream.render.ascent import (
    NO_BOUNDS,
    Adam,
    Ascent,
    ConstrainedOptimizer,
    ImageFunction,
    NormalisedStep,
    OctaveBase,
    Optimizer,
    SmoothedGradient,
    identity,
    redirect_first_steps,
)
from dream.render.guide import guide_colours, recolour
from dream.render.objective import AnyObjective, dream_objective
from dream.render.plan import FrameStages, Job, Stage, recipe_sizes
from dream.render.tiling import make_image_evaluator, padded_size, with_wrap_padding
from dream.render.transform import WRAP_DIMS, jitter, make_periodic, random_shift
from dream.tensors import Size, resize, size_of

# Yields an ascent for each octave, and returns the final images.
DreamAscents = Generator[Ascent, None, Tensor]


def plan(recipe: DreamRecipe, size: Size) -> FrameStages:
    """Plan the octaves of a dream."""
    return (plan_octaves(recipe, size),)


def plan_octaves(recipe: DreamRecipe, size: Size) -> tuple[Stage, ...]:
    """Return a stage for each octave of a dream, the smallest first. Raises as `kinds.plan`."""
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
    network: Network, job: Job[DreamRecipe], image: Tensor, deadline: float
) -> Iterator[Ascent]:
    """Yield the ascents of a dream in images (N, 3, H, W) in [0, 1], all by the first recipe."""
    yield from dream_ascents(network, job.recipes[0], image, job.stages, deadline)


def dream_ascents(
    network: Network,
    recipe: DreamRecipe,
    image: Tensor,
    stages: Sequence[Stage],
    deadline: float = math.inf,
    objective: AnyObjective | None = None,
    finish: ImageFunction = identity,
    detail_image: Tensor | None = None,
) -> DreamAscents:
    """Yield an ascent for each octave of images (N, 3, H, W) in [0, 1]; return the dreamed images.

    Each octave starts from the photo at its size plus the detail dreamed so far, upscaled. So
    downscaling loses nothing of the photo, and with no iterations it is returned exactly, unless a
    guide colours it. `objective` replaces the recipe's own; `finish` is applied to previews and to
    the result, unless a guide gives them its colours. `detail_image` tells where the image is
    smooth, if that is a dream already.

    Raises:
        OutOfTime: if a tile would begin after the deadline, by `time.monotonic`.
    """
    guide = embedded_images.decode_guide(recipe.guide) if recipe.guide else None
    photo = replace(_photo_base(recipe, image), detail_image=detail_image)
    reached, base = photo.image, None
    if guide is not None and recipe.guide_colour and recipe.keep_colours < 1:
        colours = guide_colours(guide.to(image))
        finish = partial(recolour, colours=colours, share=recipe.guide_colour, mask=photo.mask)
    readers = _octave_readers(network, recipe, stages, deadline, objective, guide)
    for stage, (value_and_grad, transform) in zip(stages, readers, strict=True):
        previous, base = base, photo.at_size(stage.size)
        ascent = Ascent(
            base.image if previous is None else _add_detail(reached, previous, base),
            value_and_grad,
            _make_optimizer(recipe, base),
            transform=transform,
            preview=partial(_preview_full_size, photo, base, finish),
        )
        yield ascent
        reached = ascent.variables
    return finish(reached)


def _photo_base(recipe: DreamRecipe, image: Tensor) -> OctaveBase:
    """Return the photo at full size, with what the recipe keeps of it."""
    wrap_dims, mask = WRAP_DIMS[recipe.seamless], None
    if recipe.mask:
        mask = embedded_images.decode_mask(recipe.mask, size_of(image))
        mask = embedded_images.feather_mask(mask, recipe.feather).to(image.device)
    photo = make_periodic(image, wrap_dims)
    return OctaveBase(photo, mask, recipe.keep_colours, recipe.quiet, wrap_dims)


def _add_detail(dreamed: Tensor, previous: OctaveBase, base: OctaveBase) -> Tensor:
    """Return `base` plus the detail that was dreamed onto the base of the previous octave."""
    detail = resize(dreamed - previous.image, size_of(base.image), base.wrap_dims)
    return base.constrain(detail.add_(base.image))


def _preview_full_size(
    photo: OctaveBase, base: OctaveBase, finish: ImageFunction, dreamed: Tensor
) -> Tensor:
    """Return what was dreamed onto an octave's base, at the size of the photo."""
    return finish(dreamed if base is photo else _add_detail(dreamed, base, photo))


def _octave_readers(
    network: Network,
    recipe: DreamRecipe,
    stages: Sequence[Stage],
    deadline: float,
    objective: AnyObjective | None,
    guide: Tensor | None,
) -> Iterator[tuple[ValueAndGrad, ImageFunction]]:
    """Yield the evaluator and the random transform of each octave."""
    objectives: dict[WeightedNames, AnyObjective] = {
        layers: objective or dream_objective(network, recipe, layers, guide)
        for layers in recipe.layer_groups
    }
    # On the CPU whatever the device, so that a seed gives the same shifts everywhere.
    generator, tile_generator = (torch.Generator().manual_seed(recipe.seed) for _ in range(2))
    jittered = partial(jitter, max_shift=recipe.jitter, generator=generator)
    shift = partial(random_shift, max_shift=recipe.jitter, generator=generator)
    wrap_dims, step_counter = WRAP_DIMS[recipe.seamless], itertools.count()
    for octave, stage in enumerate(stages, start=1):
        # Tiles are shifted as they are read. A seamless image is jittered before it is padded, so
        # its tiles must not be shifted again.
        shifts_tiles = stage.tile and not wrap_dims
        make_evaluator = partial(
            make_image_evaluator,
            *(network, objectives[recipe.layers_at(octave, len(stages))], stage.tile),
            *(shift if shifts_tiles else None, tile_generator, deadline),
        )
        evaluator = make_evaluator()
        if recipe.channels:  # Redirected ReLUs give silent channels a gradient at first.
            evaluator = redirect_first_steps(make_evaluator, step_counter)
        yield with_wrap_padding(evaluator, wrap_dims), identity if shifts_tiles else jittered


def _make_optimizer(recipe: DreamRecipe, base: OctaveBase) -> Optimizer:
    """Return the optimizer of an octave, constrained to its base."""
    if recipe.quiet:
        _ = base.quiet_weights  # Compute these now: beside a gradient, memory would grow.
    step = recipe.step / 255
    rule: Optimizer = (
        Adam(step) if recipe.rule == "adam" else NormalisedStep(recipe.step, NO_BOUNDS, base.mask)
    )
    smoothed = SmoothedGradient(rule, recipe.smoothing, recipe.laplacian, base.wrap_dims)
    return ConstrainedOptimizer(smoothed, base, recipe.total_variation * step, recipe.pull)
