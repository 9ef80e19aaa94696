"""The recipe of a live dream: of a camera, while it looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import knob, like
from dream.recipe.moving import FramedRecipe
from dream.recipe.recipe import Weighted, seed_knob

# The longest side, where none is asked for: what two cores dream ten times a second.
CPU_SIDE, GPU_SIDE = 320, 640
# Intensity 1 to 10 as grey levels a second.
RATES = (4, 8, 13, 20, 30, 40, 52, 68, 85, 110)


@dataclass(frozen=True, kw_only=True)
class LiveRecipe(FramedRecipe):
    """A mirror that dreams: each frame begins with the last dream, carried along by what moves.

    What it does is given for a second, so that it is the same at any rate of frames. `layer` and
    `laplacian` may be given as None, and `max_side` be left open.

    Raises:
        RecipeError: if a knob is out of bounds, or the network or a layer is not there.
    """

    kind: ClassVar[str] = "live"
    sides: ClassVar[tuple[int, int]] = (CPU_SIDE, GPU_SIDE)

    layer: str = like(DreamRecipe, "layer")
    intensity: int = knob(5, 1, 10, "How fast dreams grow, from a whisper to a fever.")
    memory: float = knob(
        2.0,
        0.1,
        10.0,
        "How long a dream lasts; what comes into sight begins anew.",
        grain=0.1,
        unit="seconds",
    )
    fps: float = knob(
        10.0, 1.0, 120.0, "How many frames a second come; growth and memory follow it.", grain=1.0
    )
    iterations: int = knob(1, 1, 8, "Steps in each frame; more are slower, and cleaner.")
    jitter: int = like(DreamRecipe, "jitter")
    smoothing: float = like(DreamRecipe, "smoothing")
    laplacian: int = like(DreamRecipe, "laplacian")
    seed: int = seed_knob()
    max_side: int = knob(
        None,
        32,
        4096,
        "What is larger is shrunk to this longest side.",
        unit="pixels",
        automatic=f"{CPU_SIDE} on a CPU, {GPU_SIDE} on a GPU",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.frame()  # Checks the layer.

    def frame(self, **changes: Any) -> DreamRecipe:
        shared = ("model", "layer", "iterations", "jitter", "smoothing", "laplacian", "seed")
        step = min(20.0, RATES[self.intensity - 1] / self.fps / self.iterations)
        given = {name: getattr(self, name) for name in (*shared, "max_side")}
        return DreamRecipe(**{**given, "step": step, "octaves": 1, **changes})

    @property
    def layers(self) -> Weighted:
        """All modules that it reads, each with its weight."""
        return self.frame().layers_at(1, 1)

    @property
    def carry(self) -> float:
        """Which share of a dream is left after a frame."""
        return math.exp(-1 / (self.fps * self.memory))
