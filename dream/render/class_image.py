"""Class images: images optimised for a class, and a classifier's verdict on an image."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import Tensor

from dream.errors import RecipeError
from dream.networks.model_card import ModelCard
from dream.networks.network import Network
from dream.recipe import imagenet_classes
from dream.recipe.class_image import ClassRecipe
from dream.render.ascent import Adam, ImageFunction, NormalisedStep, Optimizer, SmoothedGradient
from dream.render.canvas import Canvas, FourierCanvas, PhaseCanvas, RawPixelCanvas
from dream.render.job_loop import Ascent, Ascents, identity
from dream.render.objective import Objective, logit, logit_margin, squared_norm
from dream.render.octave import recipe_sizes
from dream.render.plan import Job, Stage
from dream.render.transform import random_affine, random_crops
from dream.tensors import Size, resize, resize_clamped, size_of

# Adam's on Fourier variables, one for each stage of "growing"; the last one decays to a tenth.
LEARNING_RATES = (0.05, 0.03, 0.02)
PHOTO_LEARNING_RATE = 0.03
PHASE_LEARNING_RATE = 1.0
BAND_COUNT = 4
CROPS_PER_STEP = 2
MIN_CROP_FRACTION = 0.6
TOP_CLASS_COUNT = 5
# Measured with two other networks (`make bench`): of 40 images the other network ranks 33 first and
# 38 in its top five. With the decay of channel images, 1, and a weight of 0.3: 26 and 35.
SPECTRUM_DECAY = 1.25
RIVAL_WEIGHT = 0.6


@dataclass(frozen=True)
class Verdict:
    """A network's classification of an image.

    `target` is the recipe's class (of several, the one with the largest weight); `logit`,
    `probability` and `rank` (from 1) are its own. `seen` are the most probable classes with their
    probabilities.
    """

    target: str
    logit: float
    probability: float
    rank: int
    seen: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Mode:
    """A way to make class images: canvas, random transform and optimizer.

    `stage_shares` are (share of the steps, share of the side) of each stage from noise; a stage
    starts from the result of the one before. `views` is the number of random views per step.
    """

    canvas: Callable[[Size, torch.device], Canvas]
    transform: Callable[[torch.Generator, int], ImageFunction]
    optimizer: Callable[[ClassRecipe, int, int], Optimizer]
    stage_shares: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    views: int = 1


def plan(recipes: Sequence[ClassRecipe], size: Size | None) -> list[Job[ClassRecipe]]:
    """Plan a job for each recipe, from noise or a photo of that (height, width).

    From noise a job has the stages of its mode; in a photo one stage, at the photo's size as
    limited by the recipe.

    Raises:
        PictureError: if a side of the photo is smaller than the network accepts.
    """
    return [Job((recipe,), _plan_stages(recipe, size)) for recipe in recipes]


def _plan_stages(recipe: ClassRecipe, size: Size | None) -> tuple[Stage, ...]:
    card, mode = recipe.card, MODES[recipe.mode]
    if size:
        sizes = recipe_sizes(recipe, size)
        counts = [recipe.steps]
    else:
        sides = [round(recipe.size * share) for _, share in mode.stage_shares]
        sizes = [(max(side, card.min_side),) * 2 for side in sides]
        counts = [round(recipe.steps * share) for share, _ in mode.stage_shares[:-1]]
        counts.append(recipe.steps - sum(counts))
    return tuple(
        Stage(
            recipe.model,
            stage_size,
            count,
            (card.logit_layer,),
            tries=recipe.tries if number == 0 and len(sizes) > 1 else 1,
            views=mode.views,
            input_size=head_input_size(stage_size, card.head_side),
        )
        for number, (stage_size, count) in enumerate(zip(sizes, counts, strict=True))
    )


def ascents(
    network: Network, job: Job[ClassRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """Yield the ascents of a class image, from noise or an image (1, 3, H, W) in [0, 1].

    The first stage may try several noise images; later stages continue with the best one.

    Raises:
        RecipeError: if custom weights have fewer classes than the recipe names.
    """
    (recipe,), stages = job.recipes, job.stages
    _check_targets(network, recipe)
    mode, full = MODES[recipe.mode], stages[-1].size
    generator = torch.Generator().manual_seed(recipe.seed)
    objective = class_objective(network.card, recipe)
    start = image
    for number, stage in enumerate(stages):
        canvas = mode.canvas(stage.size, network.mean.device)
        if start is None:
            variables = torch.cat([canvas.random_variables(generator) for _ in range(stage.tries)])
        else:
            best = select_best(network, objective, start)
            variables = canvas.from_image(resize_clamped(best, stage.size))
        reached = yield Ascent(
            variables,
            network.value_and_grad(objective),
            mode.optimizer(recipe, number if image is None else -1, stage.steps),
            canvas.to_image,
            _with_head_resize(mode.transform(generator, stage.steps), network.card.head_side),
            partial(_render_at_size, canvas, full),
        )
        start = canvas.to_image(reached).clamp(0, 1)


def class_objective(card: ModelCard, recipe: ClassRecipe) -> Objective:
    """Return the objective of a class image.

    In classic mode it is S_c(I) - lambda ||I||^2 (Simonyan et al. 2013), where I is the network's
    normalised input; otherwise the weighted sum of each class's `logit_margin`.
    """
    score = logit if recipe.mode == "classic" else partial(logit_margin, rival_weight=RIVAL_WEIGHT)
    terms = [weight * score(card.logit_layer, label) for label, weight in recipe.targets]
    objective = reduce(operator.add, terms)
    return objective - recipe.penalty * squared_norm() if recipe.mode == "classic" else objective


def classify(network: Network, image: Tensor, recipe: ClassRecipe) -> Verdict:
    """Return the verdict on an image (1, 3, H, W) in [0, 1], rounded to 8 bits as in a file."""
    _check_targets(network, recipe)
    layer = network.card.logit_layer
    image = resize_for_head((image * 255).round() / 255, network.card.head_side)
    with torch.no_grad():
        logits = network.activations(image, (layer,))[layer].float().flatten(1)[0].cpu()
    label, _ = max(recipe.targets, key=lambda target: target[1])
    probabilities = logits.softmax(0)
    top = probabilities.topk(min(TOP_CLASS_COUNT, len(probabilities)))
    names = list(imagenet_classes.class_names())
    if len(names) != len(logits):  # Custom weights may have other classes than ImageNet's.
        names = list(map(str, range(len(logits))))
    return Verdict(
        names[label],
        float(logits[label]),
        float(probabilities[label]),
        int((logits > logits[label]).sum()) + 1,
        tuple(zip((names[i] for i in top.indices.tolist()), top.values.tolist(), strict=True)),
    )


def resize_for_head(image: Tensor, side: int) -> Tensor:
    """Resize the image to the `head_input_size`."""
    return resize(image, head_input_size(size_of(image), side))


def head_input_size(size: Size, side: int) -> Size:
    """Return `size` scaled so that its shorter side is `side`; unchanged if `side` is 0.

    Some heads accept only one size of input (`ModelCard.head_side`).
    """
    if not side or min(size) == side:
        return size
    scale = side / min(size)
    return round(size[0] * scale), round(size[1] * scale)


def _with_head_resize(transform: ImageFunction, side: int) -> ImageFunction:
    return lambda image: resize_for_head(transform(image), side)


def _check_targets(network: Network, recipe: ClassRecipe) -> None:
    count = network.class_count
    for label, _ in recipe.targets:
        if label >= count:
            raise RecipeError(
                f"these weights of {recipe.model} have classes 0 to {count - 1}, not {label}"
            )


def select_best(network: Network, objective: Objective, images: Tensor) -> Tensor:
    """Return the image (1, 3, H, W) with the highest objective among (N, 3, H, W)."""
    if len(images) == 1:
        return images
    with torch.no_grad():
        resized = resize_for_head(images, network.card.head_side)
        values = objective(network.activations(resized, objective.layers))
    best = int(values.argmax())
    return images[best : best + 1]


def _render_at_size(canvas: Canvas, size: Size, variables: Tensor) -> Tensor:
    return resize_clamped(canvas.to_image(variables).clamp(0, 1), size)


# Transforms of a mode: from a generator and the steps of the stage.


def _affine_transform(generator: torch.Generator, steps: int) -> ImageFunction:
    return partial(random_affine, generator=generator)


def _identity_transform(generator: torch.Generator, steps: int) -> ImageFunction:
    return identity


def _crop_transform(generator: torch.Generator, steps: int) -> ImageFunction:
    """Return random crops that shrink over the steps, from the whole image to the smallest."""
    shares = iter(torch.linspace(1, MIN_CROP_FRACTION, max(steps, 1)).tolist())
    return lambda image: random_crops(image, generator, share=next(shares), count=CROPS_PER_STEP)


# Optimizers of a mode: from the recipe, the stage's number (-1 in a photo) and its steps.


def _fourier_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    if stage == -1:
        return Adam(PHOTO_LEARNING_RATE)
    last = stage == len(LEARNING_RATES) - 1
    return Adam(LEARNING_RATES[stage], decay=0.1 ** (1 / max(steps, 1)) if last else 1.0)


def _phase_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    return Adam(PHASE_LEARNING_RATE)


def _smoothed_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    return SmoothedGradient(NormalisedStep(recipe.step), bands=BAND_COUNT)


def _unbounded_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    return NormalisedStep(recipe.step, bounds=(-math.inf, math.inf))


# The first stages are small: they are cheap, and form large shapes, so that one subject fills the
# image. At one size many small subjects would fill it.
GROWING_STAGE_SHARES = ((128 / 248, 96 / 224), (80 / 248, 144 / 224), (40 / 248, 1.0))
MODES = {
    "growing": Mode(
        partial(FourierCanvas, decay=SPECTRUM_DECAY),
        _affine_transform,
        _fourier_optimizer,
        GROWING_STAGE_SHARES,
    ),
    "fourier": Mode(
        partial(FourierCanvas, decay=SPECTRUM_DECAY), _affine_transform, _fourier_optimizer
    ),
    "octaves": Mode(RawPixelCanvas, _affine_transform, _smoothed_optimizer, GROWING_STAGE_SHARES),
    "phase": Mode(PhaseCanvas, _crop_transform, _phase_optimizer, views=CROPS_PER_STEP),
    "classic": Mode(RawPixelCanvas, _identity_transform, _unbounded_optimizer),
}
