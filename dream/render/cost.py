"""Cost model: estimates the work and the time of a job before it runs.

A step runs the network forward to its deepest requested layer, and backward. Three counts predict
its time well: operations called, floating-point operations, and values written. `make bench` fits
the time of each, over ten networks from AlexNet to DenseNet.
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

# Pixels a side at which a network is measured; its cost per pixel hardly depends on the side.
REFERENCE_SIDE = 224


@dataclass(frozen=True)
class Cost:
    """An amount of work: operations called, floating-point operations, values written."""

    operations: float = 0.0
    flops: float = 0.0
    values_written: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.operations + other.operations,
            self.flops + other.flops,
            self.values_written + other.values_written,
        )


# A step outside the network: transforms, blurs and the update. Operations, and values per pixel.
STEP_OVERHEAD = Cost(40, 0, 150)
# Further values per pixel for each band of the gradient after the first.
VALUES_PER_BAND = 20.0


@dataclass(frozen=True)
class Pace:
    """The speed of a device: seconds per operation, per floating-point operation and per value.

    A `Cost` counts the forward pass only; these seconds include the backward pass.
    """

    seconds_per_operation: float
    seconds_per_flop: float
    seconds_per_value: float

    def seconds(self, cost: Cost) -> float:
        """Return the seconds that the work takes."""
        return (
            cost.operations * self.seconds_per_operation
            + cost.flops * self.seconds_per_flop
            + cost.values_written * self.seconds_per_value
        )


# Fitted by `make bench` on two cores with AMX. The GPU's are guesses, rather too slow.
CPU_PACES = {
    ("cpu", torch.bfloat16): Pace(7.5e-5, 7.8e-13, 9.2e-10),
    ("cpu", torch.float32): Pace(8.6e-5, 7.0e-12, 1.1e-9),
}
GPU_PACE = Pace(1.5e-4, 1e-13, 3e-11)


def pace(device: torch.device, dtype: torch.dtype) -> Pace:
    """Return the default speed of a kind of device, before any job was timed on it."""
    return CPU_PACES.get((device.type, dtype), GPU_PACE)


class _CostCounter(fx.Interpreter):
    """Sums the cost of a network's forward pass for one image, node by node."""

    total = Cost()

    def run_node(self, n: fx.Node) -> Any:
        output = super().run_node(n)
        if isinstance(output, Tensor) and n.op != "placeholder":
            values, flops = math.prod(output.shape[1:]), 0
            module = self.submodules.get(str(n.target)) if n.op == "call_module" else None
            if isinstance(module, nn.Conv2d | nn.Linear):
                flops = 2 * module.weight.numel() * math.prod(output.shape[2:])
            self.total += Cost(1, flops, values)
        return output


@lru_cache(maxsize=64)
def network_cost(model: str, layers: tuple[str, ...]) -> Cost:
    """Return the cost of a network up to those layers: operations, and flops and values per pixel.

    It is counted on an empty batch (see `architecture.build_with_zero_weights`).
    """
    card = catalogue.get_card(model)
    side = card.head_side or REFERENCE_SIDE
    network = _CostCounter(
        architecture.create_extractor(architecture.build_with_zero_weights(card.build), layers)
    )
    with torch.no_grad():
        network.run(torch.empty(0, 3, side, side))
    total, pixels = network.total, side**2
    return Cost(total.operations, total.flops / pixels, total.values_written / pixels)


def total_cost(stages: Iterable[Stage]) -> Cost:
    """Return the cost of all stages together.

    Raises:
        RecipeError: if an image does not reach one of the layers, as those of training only.
    """
    return sum(map(_stage_cost, stages), Cost())


def _stage_cost(stage: Stage) -> Cost:
    try:
        network = network_cost(stage.model, tuple(sorted(stage.layers)))
    except ValueError as error:
        layers = " or ".join(stage.layers)
        raise RecipeError(f"no image reaches {layers} in {stage.model}; try another") from error
    pixels, calls = stage.pixels_per_step, 1
    if stage.tile:
        rows, columns = (
            _window_lengths(side, stage.tile) for side in stage.input_size or stage.size
        )
        pixels, calls = sum(rows) * sum(columns), len(rows) * len(columns)
    values = network.values_written + STEP_OVERHEAD.values_written
    values += VALUES_PER_BAND * (stage.bands - 1)
    return Cost(
        stage.steps * (calls * network.operations + STEP_OVERHEAD.operations),
        stage.steps * pixels * network.flops,
        stage.steps * pixels * values,
    )


def _window_lengths(side: int, tile: int) -> list[int]:
    """Return the lengths of the windows of all tiles along a side."""
    spans = tile_spans(side, tile, torch.Generator().manual_seed(0))
    return [window.stop - window.start for _, window in spans]


def format_duration(seconds: float) -> str:
    """Return a duration in words, rounded up.

    >>> [format_duration(seconds) for seconds in (0.4, 1.2, 12, 100)]
    ['about 1 second', 'about 2 seconds', 'about 15 seconds', 'about 2 minutes']
    """
    if seconds > 90:
        return f"about {math.ceil(seconds / 60)} minutes"
    rounded = math.ceil(seconds) if seconds <= 10 else math.ceil(seconds / 5) * 5
    return f"about {rounded} second{'' if rounded == 1 else 's'}"
