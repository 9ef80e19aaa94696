"""What a picture costs before it is made: how much there is to do, and how long that takes.

A step is an evaluation of the network as far as its deepest layer, forth and back. Its time is
fitted well by three numbers: operations called, multiplications and additions, and values written
(`make bench` fits what each takes, over ten networks from AlexNet to DenseNet).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn

from dream.errors import RecipeError
from dream.networks import architecture, catalogue
from dream.render.plan import Stage
from dream.render.tiling import tile_spans

# What a network is measured at; costs per pixel hardly depend on it.
REFERENCE_SIDE = 224


@dataclass(frozen=True)
class Cost:
    """What there is to do: operations to call, floating-point operations, and values to write."""

    operations: float = 0.0
    flops: float = 0.0
    values_written: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.operations + other.operations,
            self.flops + other.flops,
            self.values_written + other.values_written,
        )


# What a step does beside the network, with views, blurs and the step itself: operations, and values
# per pixel, of which each further band takes a few.
STEP_OVERHEAD = Cost(40, 0, 150)
VALUES_PER_BAND = 20.0


@dataclass(frozen=True)
class Pace:
    """How fast a device is: seconds for an operation, a floating-point operation, and a value.

    Those of the forward pass are counted; the seconds are those of the way back too.
    """

    per_operation: float
    per_flop: float
    per_value: float

    def seconds(self, cost: Cost) -> float:
        """How long that takes."""
        return (
            cost.operations * self.per_operation
            + cost.flops * self.per_flop
            + cost.values_written * self.per_value
        )


# As `make bench` fitted them on two cores with AMX; those of a GPU are guesses, on the slow side.
CPU_PACES = {
    ("cpu", torch.bfloat16): Pace(7.5e-5, 7.8e-13, 9.2e-10),
    ("cpu", torch.float32): Pace(8.6e-5, 7.0e-12, 1.1e-9),
}
GPU_PACE = Pace(1.5e-4, 1e-13, 3e-11)


def pace(device: torch.device, dtype: torch.dtype) -> Pace:
    """How fast a device of that kind is, before anything was timed on it."""
    return CPU_PACES.get((device.type, dtype), GPU_PACE)


class _CostCounter(fx.Interpreter):
    """Counts what a network does to a picture: its steps, their flops, the values they write."""

    total = Cost()

    def run_node(self, n: fx.Node) -> Any:
        made = super().run_node(n)
        if isinstance(made, Tensor) and n.op != "placeholder":
            values, flops = math.prod(made.shape[1:]), 0
            module = self.submodules.get(str(n.target)) if n.op == "call_module" else None
            if isinstance(module, nn.Conv2d | nn.Linear):
                flops = 2 * module.weight.numel() * math.prod(made.shape[2:])
            self.total += Cost(1, flops, values)
        return made


@lru_cache(maxsize=64)
def network_cost(model: str, layers: tuple[str, ...]) -> Cost:
    """What a network has to do as far as those layers, flops and values per pixel.

    It is counted with no picture (see `architecture.hollow`).
    """
    card = catalogue.get_card(model)
    side = card.head_side or REFERENCE_SIDE
    network = _CostCounter(
        architecture.create_extractor(architecture.build_with_zero_weights(card), layers)
    )
    with torch.no_grad():
        network.run(torch.empty(0, 3, side, side))
    whole, pixels = network.total, side**2
    return Cost(whole.operations, whole.flops / pixels, whole.values_written / pixels)


def total_cost(stages: Iterable[Stage]) -> Cost:
    """What there is to do in those stages.

    Raises:
        RecipeError: if no picture passes the layers of one.
    """
    return sum(map(_stage_cost, stages), Cost())


def _stage_cost(stage: Stage) -> Cost:
    try:
        one = network_cost(stage.model, tuple(sorted(stage.layers)))
    except ValueError as error:
        layers = " or ".join(stage.layers)
        raise RecipeError(f"no picture passes {layers} in {stage.model}") from error
    pixels, calls = stage.pixels_per_step, 1
    if stage.tile:
        rows, columns = (
            _window_lengths(side, stage.tile) for side in stage.input_size or stage.size
        )
        pixels, calls = sum(rows) * sum(columns), len(rows) * len(columns)
    values = one.values_written + STEP_OVERHEAD.values_written + VALUES_PER_BAND * (stage.bands - 1)
    return Cost(
        stage.steps * (calls * one.operations + STEP_OVERHEAD.operations),
        stage.steps * pixels * one.flops,
        stage.steps * pixels * values,
    )


def _window_lengths(side: int, tile: int) -> list[int]:
    """How long the windows along a side are in which its tiles are looked at."""
    tiles = tile_spans(side, tile, torch.Generator().manual_seed(0))
    return [window.stop - window.start for _, window in tiles]


def format_duration(seconds: float) -> str:
    """So many seconds in words.

    >>> [in_words(each) for each in (0.4, 1.2, 12, 100)]
    ['about 1 second', 'about 2 seconds', 'about 15 seconds', 'about 2 minutes']
    """
    if seconds > 90:
        return f"about {math.ceil(seconds / 60)} minutes"
    whole = math.ceil(seconds) if seconds <= 10 else math.ceil(seconds / 5) * 5
    return f"about {whole} second{'' if whole == 1 else 's'}"
