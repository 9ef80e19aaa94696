"""The recipe of a live dream: of a camera, while it looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.recipe.base import WeightedNames, seed_knob
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import copy_knob, knob
from dream.recipe.motion import PerFrameRecipe

# The longest side, where none is asked for: what two cores dream ten times a second.
DEFAULT_CPU_SIDE, DEFAULT_GPU_SIDE = 320, 640
# Intensity 1 to 10 as grey levels a second.
GROWTH_RATES = (4, 8, 13, 20, 30, 40, 52, 68, 85, 110)


@dataclass(frozen=True, kw_only=True)
class LiveRecipe(PerFrameRecipe):
    """A mirror that dreams: each frame begins with the last dream, carried along by what moves.

    What it does is given for a second, so that it is the same at any rate of frames. `layer` and
    `laplacian` may be given as None, and `max_side` be left open.

    Raises:
        RecipeError: if a knob is out of bounds, or the network or a layer is not there.
    """

    kind: ClassVar[str] = "live"
    default_sides: ClassVar[tuple[int, int]] = (DEFAULT_CPU_SIDE, DEFAULT_GPU_SIDE)

    layer: str = copy_knob(DreamRecipe, "layer")
    intensity: int = knob(5, 1, 10, "How fast dreams grow, from a whisper to a fever.")
    memory: float = knob(
        2.0,
        0.1,
        10.0,
        "How long a dream lasts; what comes into sight begins anew.",
        slider_step=0.1,
        unit="seconds",
    )
    fps: float = knob(
        10.0,
        1.0,
        120.0,
        "How many frames a second come; growth and memory follow it.",
        slider_step=1.0,
    )
    iterations: int = knob(1, 1, 8, "Steps in each frame; more are slower, and cleaner.")
    jitter: int = copy_knob(DreamRecipe, "jitter")
    smoothing: float = copy_knob(DreamRecipe, "smoothing")
    laplacian: int = copy_knob(DreamRecipe, "laplacian")
    seed: int = seed_knob()
    max_side: int = knob(
        None,
        32,
        4096,
        "What is larger is shrunk to this longest side.",
        unit="pixels",
        derived_default=f"{DEFAULT_CPU_SIDE} on a CPU, {DEFAULT_GPU_SIDE} on a GPU",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.frame_recipe()  # Checks the layer.

    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        shared = ("model", "layer", "iterations", "jitter", "smoothing", "laplacian", "seed")
        step = min(20.0, GROWTH_RATES[self.intensity - 1] / self.fps / self.iterations)
        given = {name: getattr(self, name) for name in (*shared, "max_side")}
        return DreamRecipe(**{**given, "step": step, "octaves": 1, **changes})

    @property
    def layers(self) -> WeightedNames:
        """All modules that it reads, each with its weight."""
        return self.frame_recipe().layers_at(1, 1)

    @property
    def frame_carry(self) -> float:
        """Which share of a dream is left after a frame."""
        return math.exp(-1 / (self.fps * self.memory))
