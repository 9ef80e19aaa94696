"""Base classes of the recipes of videos, whose frames are small dreams."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.recipe.base import Recipe, WeightedNames, seed_knob
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import copy_knob, knob, knobs

# Default longest side, in pixels.
DEFAULT_CPU_SIDE, DEFAULT_GPU_SIDE = 512, 1024


@dataclass(frozen=True, kw_only=True)
class PerFrameRecipe(Recipe):
    """A recipe that dreams frame by frame; `layer`, `laplacian` and `max_side` may be None."""

    size_knob_name: ClassVar[str] = "max_side"
    default_cpu_side: ClassVar[int] = DEFAULT_CPU_SIDE
    default_gpu_side: ClassVar[int] = DEFAULT_GPU_SIDE

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layer", "laplacian"):
            if getattr(self, name) is None:
                self._set(name, getattr(DreamRecipe(model=self.model), name))

    @abstractmethod
    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        """Return the recipe of one frame, with these changes.

        Raises:
            RecipeError: if there is no such layer.
        """

    @property
    def layers(self) -> WeightedNames:
        """All modules of a frame, with their weights."""
        return self.frame_recipe().layers

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        resets = super()._reset_dependents(changes)
        return resets | {"laplacian": None} if "model" in changes else resets

    def file_stem(self, photo: str = "") -> str:
        """Return "KIND-PHOTO-LAYERS-seedSEED", without PHOTO if there is none."""
        layers = "+".join(layer for layer, _ in self.layers)
        parts = (self.kind, photo, self._layer_label(layers), f"seed{vars(self)['seed']}")
        return "-".join(filter(None, parts))

    def _device_defaults(self, device: str, from_photo: bool) -> dict[str, Any]:
        return {"max_side": self.default_cpu_side if device == "cpu" else self.default_gpu_side}


@dataclass(frozen=True, kw_only=True)
class MotionRecipe(PerFrameRecipe):
    """Base class of zooms and videos: the knobs of a `DreamRecipe` with fewer steps."""

    layer: str = copy_knob(DreamRecipe, "layer")
    iterations: int = knob(4, 1, 50, "Steps per octave of each frame.")
    step: float = copy_knob(DreamRecipe, "step", 1.5)
    octaves: int = copy_knob(DreamRecipe, "octaves", 1)
    scale: float = copy_knob(DreamRecipe, "scale")
    jitter: int = copy_knob(DreamRecipe, "jitter")
    smoothing: float = copy_knob(DreamRecipe, "smoothing")
    laplacian: int = copy_knob(DreamRecipe, "laplacian")
    seed: int = seed_knob()
    max_side: int = knob(
        None,
        32,
        4096,
        "A larger photo or video is reduced to this longest side.",
        unit="pixels",
        derived_default=f"{DEFAULT_CPU_SIDE} on a CPU, {DEFAULT_GPU_SIDE} on a GPU",
    )

    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        """Return the recipe of one frame from the knobs that both share."""
        shared = {name: getattr(self, name) for name in knobs(MotionRecipe)}
        return DreamRecipe(**{**shared, **changes})
