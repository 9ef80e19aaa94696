"""Class images: images optimised for a class, and a classifier's verdict on an image."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import torch
from torch import Tensor

from dream.errors import RecipeError
from dream.networks.model_card import ModelCard
from dream.networks.network import Network
from dream.recipe import imagenet_classes
from dream.recipe.class_image import ClassRecipe
from dream.render.ascent import (
    NO_BOUNDS,
    Adam,
    Ascent,
    ImageFunction,
    NormalisedStep,
    Optimizer,
    SmoothedGradient,
)
from dream.render.canvas import Canvas, FourierCanvas, PhaseCanvas, RawPixelCanvas
from dream.render.objective import Objective, logit, logit_margin, squared_norm
from dream.render.plan import FrameStages, Job, Stage, recipe_sizes
from dream.render.transform import centre_window, random_affine, random_colours, random_crops
from dream.tensors import Size, resize, resize_clamped, size_of

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


# In smaller images than this the network sees hardly any subject.
MIN_SINGLE_SIDE = 64


class StagePlan(NamedTuple):
    """A stage's share of the steps, its share of the side, and Adam's rate on Fourier variables."""

    steps_share: float
    side_share: float
    learning_rate: float


# The first stages are small: they are cheap, and form large shapes, so that one subject fills the
# image. At one size many small subjects would fill it. Each stage starts from the result of the one
# before. The learning rate decays to a tenth in the last stage.
ONE_STAGE = (StagePlan(1.0, 1.0, 0.05),)
GROWING_STAGES = (
    StagePlan(128 / 248, 96 / 224, 0.05),
    StagePlan(80 / 248, 144 / 224, 0.03),
    StagePlan(40 / 248, 1.0, 0.02),
)
STAGES_BY_MODE: dict[str, tuple[StagePlan, ...]] = {
    "single": (
        StagePlan(84 / 248, 64 / 224, 0.05),
        StagePlan(50 / 248, 96 / 224, 0.04),
        StagePlan(44 / 248, 144 / 224, 0.03),
        StagePlan(70 / 248, 1.0, 0.02),
    ),
    "growing": GROWING_STAGES,
    "octaves": GROWING_STAGES,
}
CANVASES_BY_MODE: dict[str, Callable[[Size, torch.device], Canvas]] = {
    "single": partial(FourierCanvas, decay=SPECTRUM_DECAY),
    "growing": partial(FourierCanvas, decay=SPECTRUM_DECAY),
    "fourier": partial(FourierCanvas, decay=SPECTRUM_DECAY),
    "octaves": RawPixelCanvas,
    "phase": PhaseCanvas,
    "classic": RawPixelCanvas,
}


def plan(recipe: ClassRecipe, size: Size | None) -> FrameStages:
    """Plan the stages of its mode from noise; one stage in a photo, at its limited size."""
    card = recipe.card
    assert recipe.size  # It is settled.
    assert recipe.steps is not None
    if size:
        sizes, counts = recipe_sizes(recipe, size), [recipe.steps]
    else:
        plans = STAGES_BY_MODE.get(recipe.mode, ONE_STAGE)
        min_side = min(MIN_SINGLE_SIDE, recipe.size) if recipe.mode == "single" else 0
        min_side = max(min_side, card.min_side)
        sizes = [(max(round(recipe.size * each.side_share), min_side),) * 2 for each in plans]
        counts = [round(recipe.steps * each.steps_share) for each in plans[:-1]]
        counts.append(recipe.steps - sum(counts))
    stages = (
        Stage(
            recipe.model,
            stage_size,
            count,
            (card.logit_layer,),
            tries=recipe.tries if number == 0 and len(sizes) > 1 else 1,
            views=CROPS_PER_STEP if recipe.mode == "phase" else 1,
            input_size=head_input_size(stage_size, card.head_side),
        )
        for number, (stage_size, count) in enumerate(zip(sizes, counts, strict=True))
    )
    return (tuple(stages),)


def ascents(
    network: Network, job: Job[ClassRecipe], image: Tensor | None, deadline: float
) -> Iterator[Ascent]:
    """Yield the ascents of a class image, from noise or an image (1, 3, H, W) in [0, 1].

    The first stage may try several noise images; later stages continue with the best one.

    Raises:
        RecipeError: if custom weights have fewer classes than the recipe names.
    """
    (recipe,), stages = job.recipes, job.stages
    if image is not None and recipe.mode in ("single", "growing"):
        recipe = recipe.with_changes(mode="fourier")  # They differ only in stages from noise.
    _check_targets(network, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    objective = class_objective(network.card, recipe)
    start, device = image, network.mean.device
    for number, stage in enumerate(stages):
        canvas = CANVASES_BY_MODE[recipe.mode](stage.size, device)
        if start is None:
            variables = torch.cat([canvas.random_variables(generator) for _ in range(stage.tries)])
        else:
            best = select_best(network, objective, start)
            variables = canvas.from_image(resize_clamped(best, stage.size))
        has_window = recipe.mode == "single" and number < len(stages) - 1
        window = centre_window(stage.size).to(device) if has_window else None
        ascent = Ascent(
            variables,
            network.value_and_grad(objective),
            _make_optimizer(recipe, number, stage.steps, image is not None),
            canvas.to_image,
            _make_transform(recipe, generator, stage.steps, window),
            partial(_render_at_size, canvas, stages[-1].size),
        )
        yield ascent
        start = canvas.to_image(ascent.variables).clamp(0, 1)


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


def _make_transform(
    recipe: ClassRecipe, generator: torch.Generator, steps: int, window: Tensor | None
) -> ImageFunction:
    """Return the random transform of a stage, followed by `resize_for_head`.

    A `window` (H, W) weights the gradient. The mode "single" enlarges more than it shrinks,
    because shrinking mirrors a subject that touches an edge.
    """
    # Crops shrink over the steps, from the whole image to the smallest.
    shares = iter(torch.linspace(1, MIN_CROP_FRACTION, max(steps, 1)).tolist())

    def transform(image: Tensor) -> Tensor:
        if window is not None:  # The values stay as they are; only the gradient changes.
            image = torch.lerp(image.detach(), image, window)
        if recipe.mode == "phase":
            image = random_crops(image, generator, share=next(shares), count=CROPS_PER_STEP)
        elif recipe.mode == "single":
            image = random_affine(image, generator, (0.9, 1.25), 0.06 * image.shape[3])
            image = random_colours(image, generator)
        elif recipe.mode != "classic":
            image = random_affine(image, generator)
        return resize_for_head(image, recipe.card.head_side)

    return transform


def _make_optimizer(recipe: ClassRecipe, stage: int, steps: int, from_photo: bool) -> Optimizer:
    """Return the optimizer of a stage, numbered from 0."""
    if recipe.mode == "phase":
        return Adam(PHASE_LEARNING_RATE)
    if recipe.mode == "octaves":
        return SmoothedGradient(NormalisedStep(recipe.step), bands=BAND_COUNT)
    if recipe.mode == "classic":
        return NormalisedStep(recipe.step, NO_BOUNDS)
    if from_photo:
        return Adam(PHOTO_LEARNING_RATE)
    plans = STAGES_BY_MODE.get(recipe.mode, ONE_STAGE)
    decay = 0.1 ** (1 / max(steps, 1)) if 0 < stage == len(plans) - 1 else 1.0
    return Adam(plans[stage].learning_rate, decay=decay)
