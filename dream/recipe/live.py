"""The recipe of a live dream of a camera stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.recipe.base import WeightedNames, seed_knob
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import copy_knob, knob
from dream.recipe.motion import PerFrameRecipe

# Default longest side, in pixels; two CPU cores render 320 ten times per second.
DEFAULT_CPU_SIDE, DEFAULT_GPU_SIDE = 320, 640
# Grey levels per second, for intensity 1 to 10.
GROWTH_RATES = (4, 8, 13, 20, 30, 40, 52, 68, 85, 110)


@dataclass(frozen=True, kw_only=True)
class LiveRecipe(PerFrameRecipe):
    """A live dream: each frame starts from the previous dream, warped by the motion.

    Growth and memory are per second, so they do not depend on the frame rate. `layer`, `laplacian`
    and `max_side` may be None.

    Raises:
        RecipeError: if a knob is out of bounds, or there is no such network or layer.
    """

    kind: ClassVar[str] = "live"
    default_cpu_side: ClassVar[int] = DEFAULT_CPU_SIDE
    default_gpu_side: ClassVar[int] = DEFAULT_GPU_SIDE

    layer: str = copy_knob(DreamRecipe, "layer")
    intensity: int = knob(5, 1, 10, "Speed of growth, from subtle to extreme.")
    memory: float = knob(
        2.0,
        0.1,
        10.0,
        "How long a dream persists; newly visible areas start fresh.",
        slider_step=0.1,
        unit="seconds",
    )
    fps: float = knob(
        10.0,
        1.0,
        120.0,
        "Frames per second of the camera; growth and memory depend on it.",
        slider_step=1.0,
    )
    iterations: int = knob(1, 1, 8, "Steps per frame; more are slower and cleaner.")
    jitter: int = copy_knob(DreamRecipe, "jitter")
    smoothing: float = copy_knob(DreamRecipe, "smoothing")
    laplacian: int = copy_knob(DreamRecipe, "laplacian")
    seed: int = seed_knob()
    max_side: int = knob(
        None,
        32,
        4096,
        "Larger frames are reduced to this longest side.",
        unit="pixels",
        derived_default=f"{DEFAULT_CPU_SIDE} on a CPU, {DEFAULT_GPU_SIDE} on a GPU",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.frame_recipe()  # Checks the layer.

    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        """Return the recipe of one frame: one octave, with a step that fits the frame rate."""
        shared = ("model", "layer", "iterations", "jitter", "smoothing", "laplacian", "seed")
        step = min(20.0, GROWTH_RATES[self.intensity - 1] / self.fps / self.iterations)
        values = {name: getattr(self, name) for name in (*shared, "max_side")}
        return DreamRecipe(**{**values, "step": step, "octaves": 1, **changes})

    @property
    def layers(self) -> WeightedNames:
        """The modules of its single octave, with their weights."""
        return self.frame_recipe().layers_at(1, 1)

    @property
    def frame_carry(self) -> float:
        """The share of the previous dream that remains after one frame."""
        return math.exp(-1 / (self.fps * self.memory))
