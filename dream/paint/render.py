"""From a recipe to frames: each function here is one kind of picture, in straight lines."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dream.files import embedded
from dream.networks import catalogue
from dream.networks.network import Network, ValueAndGrad
from dream.paint.ascent import Adam, Normalised, Paint, Rule, Smoothed, ascend
from dream.paint.canvas import CANVASES
from dream.paint.guide import centred_guide
from dream.paint.objective import (
    Batch,
    Objective,
    absolute,
    channel,
    direction,
    energy,
    match,
    mean,
    neuron,
    texture,
)
from dream.paint.octave import octave_sizes
from dream.paint.restraint import Base, Restrained
from dream.paint.tile import tiled
from dream.paint.transform import jitter, random_affine, random_shift
from dream.recipe.channel import ChannelRecipe
from dream.recipe.dream import DreamRecipe
from dream.tensors import Size, resize, resized, to_image

# By how much Adam moves the variables of a canvas in a step.
RATE = 0.05
# For how many steps gradients find their way through ReLUs that are shut (see `RedirectedReLU`).
AWAKENING = 16
# So many pixels in a batch keep two cores or a GPU busy; more gain nothing.
BATCH_PIXELS = 8 * 160 * 160
CHANNEL_OBJECTIVES = {"channel": channel, "neuron": neuron}
LAYER_OBJECTIVES = {"norm": energy, "mean": mean, "absolute": absolute}
ANY = (-math.inf, math.inf)


@dataclass(frozen=True)
class Frame:
    """A moment of the work: how far it has come, and the picture, or batch of them, as it is now.

    `step` of `total` counts over everything, `octave` of `octaves` from 1; `done` is the share of
    the work, from 0 to 1, that lies behind; `finished` says that these pictures are the result.
    `channels` says what each picture of a visualization shows. Frames stay as they are; nothing is
    worked out, nor copied from the device, until `values` or a picture is asked for.
    """

    step: int
    total: int
    octave: int
    octaves: int
    done: float
    finished: bool
    objective: Tensor | NDArray[np.float64] | None
    paint: Callable[[], Tensor]
    channels: tuple[int, ...] = ()

    @property
    def values(self) -> list[float]:
        """The objective of each picture before this step; none in a first frame."""
        return [] if self.objective is None else list(self.objective.tolist())

    @property
    def value(self) -> float:
        """The objective before this step, summed over pictures; NaN in a first frame.

        Comparable within one octave.
        """
        return math.nan if self.objective is None else float(self.objective.sum())

    @property
    def silent(self) -> tuple[int, ...]:
        """The channels that nothing in their picture excites, as yet."""
        return tuple(
            each for each, value in zip(self.channels, self.values, strict=False) if not value
        )

    @property
    def tensor(self) -> Tensor:
        """The pictures, (N, 3, H, W) in [0, 1], at full size whatever the octave."""
        return self.paint()

    def pictures(self) -> list[Image.Image]:
        """The pictures as 8-bit RGB images of their own."""
        return [to_image(picture) for picture in torch.split(self.tensor, 1)]

    def picture(self) -> Image.Image:
        """The picture, or the first of several, as an 8-bit RGB image of its own."""
        return self.pictures()[0]


def dream(
    network: Network,
    picture: Tensor,
    recipe: DreamRecipe,
    objective: Objective | None = None,
    until: float = math.inf,
) -> Iterator[Frame]:
    """Dream a picture (1, 3, H, W) in [0, 1]; yields a frame after each step.

    The first frame is the picture untouched, but for its longest side limited to the recipe's
    `max_side`; the last one is the result. Every octave starts from the original, shrunk to its
    size, plus the detail that the octaves before have won: so nothing of the photo is lost to
    shrinking, and with no iterations it comes back exactly. `objective` takes the place of the
    recipe's own. Steps in tiles end when it is `until`, a time of `time.monotonic`.

    Raises:
        PictureError: if a side is smaller than the network reads.
        OutOfTime: if it took so long.
    """
    sizes = dream_sizes(picture, recipe)
    photo = Base(
        resized(picture, sizes[-1]), _mask(recipe, sizes[-1], picture.device), recipe.keep_colours
    )
    # On the CPU whatever the device, so that the same seed rolls alike everywhere.
    generator, borders = (torch.Generator().manual_seed(recipe.seed) for _ in range(2))
    shift = partial(random_shift, jitter=recipe.jitter, generator=generator)
    climbs = {
        layers: _climb(network, recipe, objective or dream_objective(network, recipe, layers))
        for layers in recipe.octave_layers()
    }
    total = len(sizes) * recipe.iterations
    work = sum(math.prod(size) for size in sizes) * recipe.iterations
    step = worked = 0
    start = partial(_as_it_is, photo.picture)
    yield Frame(0, total, 1, len(sizes), 0.0, total == 0, None, start)
    dreamed, before = photo.picture, photo
    for octave, size in enumerate(sizes, start=1):
        base = photo.at(size)
        detail = resize(dreamed - before.picture, size)
        dreamed, before = base.hold(detail.add_(base.picture)), base
        del detail
        value_and_grad = climbs[recipe.layers_at(octave, len(sizes))]
        view: Paint = partial(jitter, limit=recipe.jitter, generator=generator)
        if math.prod(size) >= 4 * recipe.tile**2:
            view = _as_it_is
            value_and_grad = tiled(value_and_grad, recipe.tile, shift, borders, until)
        rule = _rule(recipe, base)
        steps = ascend(dreamed, _as_it_is, view, value_and_grad, rule, steps=recipe.iterations)
        for dreamed, values in steps:
            step += 1
            worked += math.prod(size)
            yield Frame(
                step,
                total,
                octave,
                len(sizes),
                worked / work,
                step == total,
                values,
                partial(_enlarged, photo, base, dreamed),
            )


def channels(network: Network, recipes: Sequence[ChannelRecipe]) -> Iterator[Frame]:
    """What channels look for, from noise: a batch of square pictures; a frame after each step.

    The recipes may differ in their channel alone. All start from the same noise and are seen
    through the same views, so that each picture is what it would be by itself.
    """
    recipe = recipes[0]
    generator = torch.Generator().manual_seed(recipe.seed)
    canvas = CANVASES[recipe.canvas]((recipe.size, recipe.size), network.mean.device)
    noise = canvas.noise(generator)
    variables = noise.expand(len(recipes), *noise.shape[1:])
    value_and_grad = _awakened(network, Batch(tuple(map(channel_objective, recipes))))
    view = partial(random_affine, generator=generator)
    shown = tuple(each.channel for each in recipes)
    total = recipe.steps
    yield Frame(0, total, 1, 1, 0.0, total == 0, None, partial(canvas.paint, variables), shown)
    steps = ascend(variables, canvas.paint, view, value_and_grad, Adam(RATE), steps=total)
    for step, (variables, values) in enumerate(steps, start=1):
        paint = partial(canvas.paint, variables)
        yield Frame(step, total, 1, 1, step / total, step == total, values, paint, shown)


def channel_in_photo(network: Network, picture: Tensor, recipe: ChannelRecipe) -> Iterator[Frame]:
    """A photo (1, 3, H, W) in [0, 1] in which one channel is raised; a frame after each step.

    Octaves, jitter and steps are those of a dream. Raises as `dream`.
    """
    for frame in dream(network, picture, in_photo(recipe), channel_objective(recipe)):
        yield replace(frame, channels=(recipe.channel,))


def in_photo(recipe: ChannelRecipe) -> DreamRecipe:
    """The dream that raises a channel in a photo."""
    dream = DreamRecipe(
        model=recipe.model,
        layer=recipe.layer,
        channels=str(recipe.channel),
        seed=recipe.seed,
        max_side=recipe.size,
    )
    return dream.but(iterations=math.ceil(recipe.steps / dream.octaves))


def silence(layer: str, silent: Sequence[int]) -> str:
    """Which channels stayed silent, why, and what to do."""
    which = ", ".join(map(str, silent))
    channels, stay = ("channel", "stays") if len(silent) == 1 else ("channels", "stay")
    return (
        f"{channels} {which} of {layer} {stay} silent: nothing in the picture excites "
        f"{'it' if len(silent) == 1 else 'them'}, so no step knows where to go; "
        "try another seed, a larger size, or start from a photo"
    )


def dream_objective(
    network: Network, recipe: DreamRecipe, layers: Sequence[tuple[str, float]]
) -> Objective:
    """What a dream raises at those layers: the sum of what it raises at each, by weight."""
    return reduce(
        operator.add, (weight * _raised(network, recipe, layer) for layer, weight in layers)
    )


def _raised(network: Network, recipe: DreamRecipe, layer: str) -> Objective:
    """What a dream raises at one layer."""
    if recipe.channels:
        return direction(layer, dict(recipe.channel_weights()), border=recipe.border)
    if recipe.guide:
        guide, usual = centred_guide(network, layer, embedded.guide(recipe.guide))
        if recipe.objective == "texture":
            return texture(layer, guide, recipe.border)
        return match(layer, guide, usual, recipe.border)
    return LAYER_OBJECTIVES[recipe.objective](layer, recipe.border)


def _climb(network: Network, recipe: DreamRecipe, objective: Objective) -> ValueAndGrad:
    """Values and gradients; those of channels by ways that open silent ones."""
    return _awakened(network, objective) if recipe.channels else network.value_and_grad(objective)


def _rule(recipe: DreamRecipe, base: Base) -> Rule:
    """How the dream steps, and what holds it back, at an octave with that base."""
    step = recipe.step / 255
    rule: Rule = Adam(step) if recipe.rule == "adam" else Normalised(recipe.step, ANY, base.mask)
    smoothed = Smoothed(rule, recipe.smoothing, recipe.laplacian)
    return Restrained(smoothed, base, recipe.total_variation * step, recipe.pull)


def _mask(recipe: DreamRecipe, size: Size, device: torch.device) -> Tensor | None:
    if not recipe.mask:
        return None
    return embedded.feathered(embedded.mask(recipe.mask, size), recipe.feather).to(device)


def channel_objective(recipe: ChannelRecipe) -> Objective:
    """What a visualization raises."""
    return CHANNEL_OBJECTIVES[recipe.objective](recipe.layer, recipe.channel)


def _awakened(network: Network, objective: Objective | Batch) -> ValueAndGrad:
    """Values and gradients, those of the first steps through redirected ReLUs."""
    redirected = network.value_and_grad(objective, redirected=True)
    plain = network.value_and_grad(objective)
    counter = itertools.count()

    def value_and_grad(picture: Tensor) -> tuple[Tensor, Tensor]:
        return (redirected if next(counter) < AWAKENING else plain)(picture)

    return value_and_grad


def _as_it_is(picture: Tensor) -> Tensor:
    return picture


def _enlarged(photo: Base, base: Base, dreamed: Tensor) -> Tensor:
    """What was dreamed over an octave's base, at the size of the photo."""
    if base is photo:
        return dreamed
    detail = resize(dreamed - base.picture, _size(photo.picture))
    return photo.hold(detail.add_(photo.picture))


def check_dream(picture: Tensor, recipe: DreamRecipe) -> None:
    """Whether a picture (1, 3, H, W) can be dreamed so.

    Raises:
        PictureError: if a side is smaller than the network reads, or a picture of the recipe is
            damaged.
        RecipeError: if its guide or its mask cannot be used.
    """
    sizes = dream_sizes(picture, recipe)
    if recipe.guide:
        embedded.guide(recipe.guide)
    if recipe.mask:
        embedded.mask(recipe.mask, sizes[-1])


def dream_sizes(picture: Tensor, recipe: DreamRecipe) -> list[Size]:
    """The octaves (height, width), smallest first, that this picture is dreamed at.

    Raises:
        PictureError: if a side is smaller than the network reads.
    """
    return octave_sizes(
        _size(picture),
        recipe.octaves,
        recipe.scale,
        max_side=recipe.max_side,
        min_side=catalogue.card(recipe.model).min_side,
    )


def _size(picture: Tensor) -> Size:
    return picture.shape[2], picture.shape[3]
