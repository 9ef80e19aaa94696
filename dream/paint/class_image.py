"""Class images: the picture that a classifier takes for a class, and what it says of a picture."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce

import torch
from torch import Tensor

from dream.errors import RecipeError
from dream.networks import catalogue
from dream.networks.model_card import ModelCard
from dream.networks.network import Network
from dream.paint.ascent import Adam, Normalised, Paint, Rule, Smoothed, ascend
from dream.paint.canvas import Canvas, Fourier, Phase, Plain
from dream.paint.objective import Objective, logit, margin, squared_norm
from dream.paint.octave import octave_sizes
from dream.paint.render import Frame
from dream.paint.transform import random_affine, random_crops
from dream.recipe import classes
from dream.recipe.class_image import ClassRecipe
from dream.tensors import Size, resize

# By how much Adam moves waves in a stage, the last stage of growing slowing down to a tenth.
RATES = (0.05, 0.03, 0.02)
PHOTO_RATE = 0.03
PHASE_RATE = 1.0
BANDS = 4
CROPS = 2
LEAST_CROP = 0.6
TOP = 5
# Measured on two other networks (`make bench`): steeper waves and more regard for rivals than for
# channels; 33 of 40 pictures were first for the other network, 38 among its first five, where a
# decay of 1 and a share of 0.3 had 26 and 35.
DECAY = 1.25
RIVALS = 0.6


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
    view: Callable[[torch.Generator, int], Paint]
    rule: Callable[[ClassRecipe, int, int], Rule]
    steps: int
    stages: tuple[tuple[float, float], ...] = ((1.0, 1.0),)
    views: int = 1


def class_image(
    network: Network, recipe: ClassRecipe, picture: Tensor | None = None
) -> Iterator[Frame]:
    """The ascent of a class, from noise or from a picture (1, 3, H, W) in [0, 1].

    Yields a frame after each step, the first of the start. While several noises are tried, frames
    show the best as yet; from the second stage on it goes alone.

    Raises:
        PictureError: if a side is smaller than the network reads.
        RecipeError: if weights of one's own know fewer classes.
    """
    _check_targets(network, recipe)
    mode, sizes = MODES[recipe.mode], class_sizes(recipe, picture)
    generator = torch.Generator().manual_seed(recipe.seed)
    objective = class_objective(network.card, recipe)
    value_and_grad = network.value_and_grad(objective)
    canvas = mode.canvas(sizes[0], network.mean.device)
    if picture is not None:
        variables = canvas.variables(resize(picture, sizes[0]).clamp(0, 1))
    else:
        tries = recipe.tries if len(sizes) > 1 else 1
        variables = torch.cat([canvas.noise(generator) for _ in range(tries)])
    counts = stage_steps(recipe.steps, mode, len(sizes))
    work = sum(math.prod(size) * count for size, count in zip(sizes, counts, strict=True))
    total, step, worked = sum(counts), 0, 0
    start = partial(_shown, canvas, variables[:1], sizes[-1])
    yield Frame(0, total, 1, len(sizes), 0.0, total == 0, None, start)
    for stage, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        if stage:
            best = best_of(network, objective, canvas.paint(variables).clamp(0, 1))
            canvas = mode.canvas(size, network.mean.device)
            variables = canvas.variables(resize(best, size).clamp(0, 1))
        view = _fitted(mode.view(generator, count), network.card.head_side)
        rule = mode.rule(recipe, stage if picture is None else -1, count)
        ascent = ascend(variables, canvas.paint, view, value_and_grad, rule, steps=count)
        for variables, values in ascent:
            step += 1
            worked += math.prod(size)
            values = values.view(-1, len(variables)).mean(0)  # Of several views of each.
            best_one = partial(_shown_best, canvas, variables, values, sizes[-1])
            yield Frame(
                step,
                total,
                stage + 1,
                len(sizes),
                worked / work,
                step == total,
                values.amax(0, keepdim=True),
                best_one,
            )


def class_objective(card: ModelCard, recipe: ClassRecipe) -> Objective:
    """What a class image raises.

    In classic mode S_c(I) - lambda ||I||^2 as Simonyan et al. 2013 have it, I being what the
    network is given; else the `margin` of each class, by its weight.
    """
    score = logit if recipe.mode == "classic" else partial(margin, rivals=RIVALS)
    terms = [weight * score(card.scores, label) for label, weight in recipe.targets()]
    objective = reduce(operator.add, terms)
    return objective - recipe.penalty * squared_norm() if recipe.mode == "classic" else objective


def class_sizes(recipe: ClassRecipe, picture: Tensor | None = None) -> list[Size]:
    """The size (height, width) of each stage; a picture has one only, its own, limited.

    Raises:
        PictureError: if a side is smaller than the network reads.
    """
    card = catalogue.card(recipe.model)
    if picture is not None:
        size = (picture.shape[2], picture.shape[3])
        return octave_sizes(size, 1, 1.4, max_side=recipe.size, min_side=card.min_side)
    sides = [round(recipe.size * share) for _, share in MODES[recipe.mode].stages]
    return [(max(side, card.min_side),) * 2 for side in sides]


def verdict(network: Network, picture: Tensor, recipe: ClassRecipe) -> Verdict:
    """What the network says of a picture (1, 3, H, W) in [0, 1], as its 8 bits would be read."""
    _check_targets(network, recipe)
    scores = network.card.scores
    picture = fit((picture * 255).round() / 255, network.card.head_side)
    with torch.no_grad():
        logits = network.activations(picture, (scores,))[scores].float().flatten(1)[0].cpu()
    label, _ = max(recipe.targets(), key=lambda target: target[1])
    probabilities = logits.softmax(0)
    likeliest = probabilities.topk(TOP)
    # Weights of one's own may have other classes than these names.
    named = classes.names() if len(logits) == len(classes.names()) else map(str, range(len(logits)))
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


def fit(picture: Tensor, side: int) -> Tensor:
    """The picture with its shorter side brought to that length, where a head depends on it."""
    height, width = picture.shape[2:]
    if not side or min(height, width) == side:
        return picture
    scale = side / min(height, width)
    return resize(picture, (round(height * scale), round(width * scale)))


def _fitted(view: Paint, side: int) -> Paint:
    return lambda picture: fit(view(picture), side)


def _check_targets(network: Network, recipe: ClassRecipe) -> None:
    known = network.class_count
    for label, _ in recipe.targets():
        if label >= known:
            raise RecipeError(
                f"these weights of {recipe.model} know classes 0 to {known - 1}, not {label}"
            )


def stage_steps(total: int, mode: Mode, stages: int) -> list[int]:
    """The steps of each stage."""
    if stages == 1:
        return [total]
    counts = [round(total * share) for share, _ in mode.stages[:-1]]
    return [*counts, total - sum(counts)]


def best_of(network: Network, objective: Objective, pictures: Tensor) -> Tensor:
    """The one of several pictures that does best as it is."""
    if len(pictures) == 1:
        return pictures
    with torch.no_grad():
        seen = fit(pictures, network.card.head_side)
        values = objective(network.activations(seen, objective.layers))
    best = int(values.argmax())
    return pictures[best : best + 1]


def _shown(canvas: Canvas, variables: Tensor, size: Size) -> Tensor:
    return resize(canvas.paint(variables).clamp(0, 1), size).clamp(0, 1)


def _shown_best(canvas: Canvas, variables: Tensor, values: Tensor, size: Size) -> Tensor:
    best = int(values.argmax())
    return _shown(canvas, variables[best : best + 1], size)


# Views: what of the picture a step looks at.


def _turned(generator: torch.Generator, steps: int) -> Paint:
    return partial(random_affine, generator=generator)


def _straight(generator: torch.Generator, steps: int) -> Paint:
    return lambda picture: picture


def _cropped(generator: torch.Generator, steps: int) -> Paint:
    """Parts of the picture, from all of it at the start to ever smaller ones."""
    shares = iter(torch.linspace(1, LEAST_CROP, max(steps, 1)).tolist())
    return lambda picture: random_crops(picture, generator, share=next(shares), count=CROPS)


# Rules: by the recipe, the stage (-1 for a photo), and its steps.


def _waves(recipe: ClassRecipe, stage: int, steps: int) -> Rule:
    if stage == -1:
        return Adam(PHOTO_RATE)
    last = stage == len(RATES) - 1
    return Adam(RATES[stage], decay=0.1 ** (1 / max(steps, 1)) if last else 1.0)


def _phases(recipe: ClassRecipe, stage: int, steps: int) -> Rule:
    return Adam(PHASE_RATE)


def _levels(recipe: ClassRecipe, stage: int, steps: int) -> Rule:
    return Smoothed(Normalised(recipe.step), bands=BANDS)


def _unbounded(recipe: ClassRecipe, stage: int, steps: int) -> Rule:
    return Normalised(recipe.step, within=(-math.inf, math.inf))


# Large shapes first, where steps are cheap, so that one subject fills the picture: at one size
# many small ones would.
GROWING = ((128 / 248, 96 / 224), (80 / 248, 144 / 224), (40 / 248, 1.0))
MODES = {
    "growing": Mode(partial(Fourier, decay=DECAY), _turned, _waves, 248, GROWING),
    "fourier": Mode(partial(Fourier, decay=DECAY), _turned, _waves, 128),
    "octaves": Mode(Plain, _turned, _levels, 192, GROWING),
    "phase": Mode(Phase, _cropped, _phases, 128, views=CROPS),
    "classic": Mode(Plain, _straight, _unbounded, 200),
}
