"""What recipes of moving pictures share: each frame is a small dream, begun by the last one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.recipe.base import Recipe, WeightedNames, seed_knob
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import copy_knob, knob, knobs

# The longest side, where none is asked for.
DEFAULT_CPU_SIDE, DEFAULT_GPU_SIDE = 512, 1024


@dataclass(frozen=True, kw_only=True)
class PerFrameRecipe(Recipe):
    """Frames that are dreams, with a `layer`, a `laplacian` and a `max_side` that may be open.

    `sides` are the longest ones on a CPU and on a GPU, where none is asked for.
    """

    size_knob_name: ClassVar[str] = "max_side"
    default_sides: ClassVar[tuple[int, int]] = (DEFAULT_CPU_SIDE, DEFAULT_GPU_SIDE)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layer", "laplacian"):
            if getattr(self, name) is None:
                self._set(name, getattr(DreamRecipe(model=self.model), name))

    @abstractmethod
    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        """The dream of a frame.

        Raises:
            RecipeError: if a layer is not there.
        """

    @property
    def layers(self) -> WeightedNames:
        """All modules that it reads, each with its weight."""
        return self.frame_recipe().layers

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        follow = super()._reset_dependents(changes)
        return follow | {"laplacian": None} if "model" in changes else follow

    def file_stem(self, photo: str = "") -> str:
        layers = "+".join(layer for layer, _ in self.layers)
        parts = (self.kind, photo, self._layer_label(layers), f"seed{vars(self)['seed']}")
        return "-".join(filter(None, parts))

    def _open_defaults(self, device: str, photo: bool) -> dict[str, Any]:
        return {"max_side": self.default_sides[device != "cpu"]}


@dataclass(frozen=True, kw_only=True)
class MotionRecipe(PerFrameRecipe):
    """The dream of one frame, by the knobs of a `DreamRecipe`; its steps are few.

    `max_side` may be left open. The sides of a video are even.
    """

    layer: str = copy_knob(DreamRecipe, "layer")
    iterations: int = knob(4, 1, 50, "Steps at each octave of a frame.")
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
        "What is larger is shrunk to this longest side.",
        unit="pixels",
        derived_default=f"{DEFAULT_CPU_SIDE} on a CPU, {DEFAULT_GPU_SIDE} on a GPU",
    )

    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        shared = knobs(MotionRecipe)
        return DreamRecipe(**{**{name: getattr(self, name) for name in shared}, **changes})
