"""What a picture costs before it is made: how much there is to do, and how long that takes.

A step is an evaluation of the network as far as its deepest layer, forth and back. Its time is
fitted well by three numbers: operations called, multiplications and additions, and values written
(`make bench` fits what each takes, over ten networks from AlexNet to DenseNet).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dream.errors import RecipeError
from dream.networks import architecture, catalogue
from dream.paint.class_image import MODES, class_sizes, stage_steps
from dream.paint.octave import octave_sizes
from dream.paint.render import BATCH_PIXELS, in_photo
from dream.paint.tile import spans
from dream.recipe.channel import ChannelRecipe
from dream.recipe.class_image import ClassRecipe
from dream.recipe.dream import DreamRecipe
from dream.recipe.recipe import Recipe
from dream.tensors import Size, limited

# What a network is measured at; costs per pixel hardly depend on it.
SIDE = 224


@dataclass(frozen=True)
class Cost:
    """What there is to do: operations to call, floating-point operations, and values to write."""

    operations: float = 0.0
    flops: float = 0.0
    values: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.operations + other.operations,
            self.flops + other.flops,
            self.values + other.values,
        )


# What a step does beside the network, with views, blurs and the step itself: operations, and values
# per pixel, of which each further band takes a few.
BESIDE = Cost(40, 0, 150)
BAND = 20.0


@dataclass(frozen=True)
class Pace:
    """How fast a device is: seconds for an operation, a floating-point operation, and a value.

    Those of the forward pass are counted; the seconds are those of the way back too.
    """

    operation: float
    flop: float
    value: float

    def seconds(self, cost: Cost) -> float:
        """How long that takes."""
        return cost.operations * self.operation + cost.flops * self.flop + cost.values * self.value


# As `make bench` fitted them on two cores with AMX; those of a GPU are guesses, on the slow side.
PACES = {
    ("cpu", torch.bfloat16): Pace(7.5e-5, 7.8e-13, 9.2e-10),
    ("cpu", torch.float32): Pace(8.6e-5, 7.0e-12, 1.1e-9),
}
GPU = Pace(1.5e-4, 1e-13, 3e-11)


def pace(device: torch.device, dtype: torch.dtype) -> Pace:
    """How fast a device of that kind is, before anything was timed on it."""
    return PACES.get((device.type, dtype), GPU)


class _Calls(TorchDispatchMode):
    """Counts the operations called and the values they write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.operations += 1
            self.values += made.numel()
        return made


@lru_cache(maxsize=64)
def network_cost(model: str, layers: tuple[str, ...]) -> Cost:
    """What a network has to do as far as those layers, flops and values per pixel.

    It is counted on torch's meta device: nothing is computed, and no weights are needed.
    """
    network = architecture.extractor(
        architecture.skeleton(catalogue.card(model)).to("meta").eval(), layers
    )
    side = catalogue.card(model).head_side or SIDE
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        with _Calls() as calls:
            network(torch.empty(1, 3, side, side, device="meta"))
    pixels = side**2
    return Cost(calls.operations, flops.get_total_flops() / pixels, calls.values / pixels)


def _steps(
    model: str, layers: Sequence[str], pixels: float, steps: float, calls: int = 1, bands: int = 1
) -> Cost:
    """What so many steps cost, each of which looks at so many pixels, in so many calls."""
    try:
        one = network_cost(model, tuple(sorted(layers)))
    except ValueError as error:
        raise RecipeError(f"no picture passes {' or '.join(layers)} in {model}") from error
    values = one.values + BESIDE.values + BAND * (bands - 1)
    return Cost(
        steps * (calls * one.operations + BESIDE.operations),
        steps * pixels * one.flops,
        steps * pixels * values,
    )


def dream_cost(recipe: DreamRecipe, size: Size) -> Cost:
    """What it costs to dream a picture of that (height, width); the recipe is a settled one.

    Raises:
        PictureError: if it is too small for the network.
        RecipeError: if no picture passes its layers.
    """
    card = catalogue.card(recipe.model)
    assert recipe.max_side
    sizes = octave_sizes(
        size, recipe.octaves, recipe.scale, max_side=recipe.max_side, min_side=card.min_side
    )
    total = Cost()
    for octave, each in enumerate(sizes, start=1):
        layers = [layer for layer, _ in recipe.layers_at(octave, len(sizes))]
        pixels, calls = math.prod(each), 1
        if pixels >= 4 * recipe.tile**2:
            rows, columns = (_windows(side, recipe.tile) for side in each)
            pixels, calls = sum(rows) * sum(columns), len(rows) * len(columns)
        steps = recipe.iterations or 0
        total += _steps(recipe.model, layers, pixels, steps, calls, recipe.laplacian or 1)
    return total


def _windows(side: int, tile: int) -> list[int]:
    """How long the windows along a side are in which its tiles are looked at."""
    tiles = spans(side, tile, torch.Generator().manual_seed(0))
    return [window.stop - window.start for _, window in tiles]


def channels_cost(recipes: Sequence[ChannelRecipe], size: Size | None = None) -> Cost:
    """What channels cost, from noise or in a picture of that (height, width); settled recipes.

    Raises as `dream_cost`.
    """
    if size:
        return sum((dream_cost(in_photo(each), size) for each in recipes), Cost())
    recipe = recipes[0]
    assert recipe.size
    batches = math.ceil(len(recipes) * recipe.size**2 / BATCH_PIXELS)
    pixels = len(recipes) * recipe.size**2 / batches
    return _steps(recipe.model, [recipe.layer], pixels, batches * (recipe.steps or 0))


def class_cost(recipe: ClassRecipe, size: Size | None = None) -> Cost:
    """What a class image costs, from noise or in a picture of that size; the recipe is settled.

    Raises as `dream_cost`.
    """
    card, mode = catalogue.card(recipe.model), MODES[recipe.mode]
    assert recipe.size
    sizes = [limited(size, recipe.size)] if size else class_sizes(recipe)
    counts = stage_steps(recipe.steps or 0, mode, len(sizes))
    total = Cost()
    for stage, (each, steps) in enumerate(zip(sizes, counts, strict=True)):
        views = mode.views * (recipe.tries if stage == 0 and len(sizes) > 1 else 1)
        pixels = card.head_side**2 if card.head_side else math.prod(each)
        total += _steps(recipe.model, [card.scores], views * pixels, steps)
    return total


def cost(recipes: Sequence[Recipe], size: Size | None = None) -> Cost:
    """What recipes of one kind cost together, from noise or in a picture of that (height, width).

    They are settled (see `Engine.settle`). Raises as `dream_cost`.
    """
    total = Cost()
    for recipe in recipes:
        if isinstance(recipe, DreamRecipe) and size:
            total += dream_cost(recipe, size)
        elif isinstance(recipe, ClassRecipe):
            total += class_cost(recipe, size)
    channels = [each for each in recipes if isinstance(each, ChannelRecipe)]
    return total + channels_cost(channels, size) if channels else total
