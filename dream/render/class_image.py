"""Class images: the picture that a classifier takes for a class, and what it says of a picture."""

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
from dream.render.loop import Ascent, Ascents
from dream.render.objective import Objective, logit, logit_margin, squared_norm
from dream.render.octave import sizes_of
from dream.render.plan import Job, Stage
from dream.render.transform import random_affine, random_crops
from dream.tensors import Size, resize, resize_clamped, size_of

# By how much Adam moves waves in a stage, the last stage of growing slowing down to a tenth.
LEARNING_RATES = (0.05, 0.03, 0.02)
PHOTO_LEARNING_RATE = 0.03
PHASE_LEARNING_RATE = 1.0
BANDS = 4
CROPS_PER_STEP = 2
MIN_CROP_FRACTION = 0.6
TOP_CLASSES = 5
# Measured on two other networks (`make bench`): steeper waves and more regard for rivals than for
# channels; 33 of 40 pictures were first for the other network, 38 among its first five, where a
# decay of 1 and a share of 0.3 had 26 and 35.
SPECTRUM_DECAY = 1.25
RIVAL_WEIGHT = 0.6


@dataclass(frozen=True)
class Verdict:
    """What a network says of a picture: of the target, and which classes it sees in it.

    `rank` counts from 1; of several targets the one of the largest weight is meant. `seen` are the
    likeliest classes with their probabilities.
    """

    target: str
    logit: float
    probability: float
    rank: int
    seen: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Mode:
    """A way to make class images: on which canvas, seen how, by which rule, at which sizes.

    `stages` are shares of the steps and of the side; a stage starts from what the one before made.
    A step looks at `views` of the picture.
    """

    canvas: Callable[[Size, torch.device], Canvas]
    transform: Callable[[torch.Generator, int], ImageFunction]
    optimizer: Callable[[ClassRecipe, int, int], Optimizer]
    stages: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    views: int = 1


def plan(recipes: Sequence[ClassRecipe], size: Size | None) -> list[Job[ClassRecipe]]:
    """Class images, one by one: from noise by the stages of their mode, a photo of that (height,
    width) at its own size alone, limited.

    Raises:
        PictureError: if a side of the photo is smaller than the network reads.
    """
    return [Job((recipe,), _plan_stages(recipe, size)) for recipe in recipes]


def _plan_stages(recipe: ClassRecipe, size: Size | None) -> tuple[Stage, ...]:
    card, mode = recipe.card, MODES[recipe.mode]
    if size:
        sizes = sizes_of(recipe, size)
        counts = [recipe.steps]
    else:
        sides = [round(recipe.size * share) for _, share in mode.stages]
        sizes = [(max(side, card.min_side),) * 2 for side in sides]
        counts = [round(recipe.steps * share) for share, _ in mode.stages[:-1]]
        counts.append(recipe.steps - sum(counts))
    return tuple(
        Stage(
            recipe.model,
            each,
            count,
            (card.logit_layer,),
            tries=recipe.tries if place == 0 and len(sizes) > 1 else 1,
            views=mode.views,
            input_size=head_input_size(each, card.head_side),
        )
        for place, (each, count) in enumerate(zip(sizes, counts, strict=True))
    )


def ascents(
    network: Network, job: Job[ClassRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """The stages of a class image, from noise or from a picture (1, 3, H, W) in [0, 1].

    Several noises may be tried at the first; the best of them goes on alone.

    Raises:
        RecipeError: if weights of one's own know fewer classes.
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
    """What a class image raises.

    In classic mode S_c(I) - lambda ||I||^2 as Simonyan et al. 2013 have it, I being what the
    network is given; else the `margin` of each class, by its weight.
    """
    score = logit if recipe.mode == "classic" else partial(logit_margin, rival_weight=RIVAL_WEIGHT)
    terms = [weight * score(card.logit_layer, label) for label, weight in recipe.targets]
    objective = reduce(operator.add, terms)
    return objective - recipe.penalty * squared_norm() if recipe.mode == "classic" else objective


def classify(network: Network, image: Tensor, recipe: ClassRecipe) -> Verdict:
    """What the network says of a picture (1, 3, H, W) in [0, 1], as its 8 bits would be read."""
    _check_targets(network, recipe)
    scores = network.card.logit_layer
    image = resize_for_head((image * 255).round() / 255, network.card.head_side)
    with torch.no_grad():
        logits = network.activations(image, (scores,))[scores].float().flatten(1)[0].cpu()
    label, _ = max(recipe.targets, key=lambda target: target[1])
    probabilities = logits.softmax(0)
    likeliest = probabilities.topk(min(TOP_CLASSES, len(probabilities)))
    # Weights of one's own may have other classes than these names.
    named = (
        imagenet_classes.class_names()
        if len(logits) == len(imagenet_classes.class_names())
        else map(str, range(len(logits)))
    )
    name = list(named)
    return Verdict(
        name[label],
        float(logits[label]),
        float(probabilities[label]),
        int((logits > logits[label]).sum()) + 1,
        tuple(
            (name[each], share)
            for each, share in zip(
                likeliest.indices.tolist(), likeliest.values.tolist(), strict=True
            )
        ),
    )


def resize_for_head(image: Tensor, side: int) -> Tensor:
    """The picture with its shorter side brought to that length, where a head depends on it."""
    return resize(image, head_input_size(size_of(image), side))


def head_input_size(size: Size, side: int) -> Size:
    """That (height, width) with its shorter side of that length; as it is for 0."""
    if not side or min(size) == side:
        return size
    scale = side / min(size)
    return round(size[0] * scale), round(size[1] * scale)


def _with_head_resize(view: ImageFunction, side: int) -> ImageFunction:
    return lambda picture: resize_for_head(view(picture), side)


def _check_targets(network: Network, recipe: ClassRecipe) -> None:
    known = network.class_count
    for label, _ in recipe.targets:
        if label >= known:
            raise RecipeError(
                f"these weights of {recipe.model} know classes 0 to {known - 1}, not {label}"
            )


def select_best(network: Network, objective: Objective, pictures: Tensor) -> Tensor:
    """The one of several pictures that does best as it is."""
    if len(pictures) == 1:
        return pictures
    with torch.no_grad():
        seen = resize_for_head(pictures, network.card.head_side)
        values = objective(network.activations(seen, objective.layers))
    best = int(values.argmax())
    return pictures[best : best + 1]


def _render_at_size(canvas: Canvas, size: Size, variables: Tensor) -> Tensor:
    return resize_clamped(canvas.to_image(variables).clamp(0, 1), size)


# Views: what of the picture a step looks at.


def _affine_transform(generator: torch.Generator, steps: int) -> ImageFunction:
    return partial(random_affine, generator=generator)


def _identity_transform(generator: torch.Generator, steps: int) -> ImageFunction:
    return lambda picture: picture


def _crop_transform(generator: torch.Generator, steps: int) -> ImageFunction:
    """Parts of the picture, from all of it at the start to ever smaller ones."""
    shares = iter(torch.linspace(1, MIN_CROP_FRACTION, max(steps, 1)).tolist())
    return lambda picture: random_crops(
        picture, generator, share=next(shares), count=CROPS_PER_STEP
    )


# Rules: by the recipe, the stage (-1 for a photo), and its steps.


def _fourier_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    if stage == -1:
        return Adam(PHOTO_LEARNING_RATE)
    last = stage == len(LEARNING_RATES) - 1
    return Adam(LEARNING_RATES[stage], decay=0.1 ** (1 / max(steps, 1)) if last else 1.0)


def _phase_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    return Adam(PHASE_LEARNING_RATE)


def _smoothed_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    return SmoothedGradient(NormalisedStep(recipe.step), bands=BANDS)


def _unbounded_optimizer(recipe: ClassRecipe, stage: int, steps: int) -> Optimizer:
    return NormalisedStep(recipe.step, bounds=(-math.inf, math.inf))


# Large shapes first, where steps are cheap, so that one subject fills the picture: at one size
# many small ones would.
GROWING_STAGES = ((128 / 248, 96 / 224), (80 / 248, 144 / 224), (40 / 248, 1.0))
MODES = {
    "growing": Mode(
        partial(FourierCanvas, decay=SPECTRUM_DECAY),
        _affine_transform,
        _fourier_optimizer,
        GROWING_STAGES,
    ),
    "fourier": Mode(
        partial(FourierCanvas, decay=SPECTRUM_DECAY), _affine_transform, _fourier_optimizer
    ),
    "octaves": Mode(RawPixelCanvas, _affine_transform, _smoothed_optimizer, GROWING_STAGES),
    "phase": Mode(PhaseCanvas, _crop_transform, _phase_optimizer, views=CROPS_PER_STEP),
    "classic": Mode(RawPixelCanvas, _identity_transform, _unbounded_optimizer),
}
