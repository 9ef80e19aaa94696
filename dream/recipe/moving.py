"""What recipes of moving pictures share: each frame is a small dream, begun by the last one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import knob, knobs, like
from dream.recipe.recipe import Recipe, Weighted, seed_knob

# The longest side, where none is asked for.
CPU_SIDE, GPU_SIDE = 512, 1024


@dataclass(frozen=True, kw_only=True)
class FramedRecipe(Recipe):
    """Frames that are dreams, with a `layer`, a `laplacian` and a `max_side` that may be open.

    `sides` are the longest ones on a CPU and on a GPU, where none is asked for.
    """

    side: ClassVar[str] = "max_side"
    sides: ClassVar[tuple[int, int]] = (CPU_SIDE, GPU_SIDE)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("layer", "laplacian"):
            if getattr(self, name) is None:
                self._set(name, getattr(DreamRecipe(model=self.model), name))

    @abstractmethod
    def frame(self, **changes: Any) -> DreamRecipe:
        """The dream of a frame.

        Raises:
            RecipeError: if a layer is not there.
        """

    @property
    def layers(self) -> Weighted:
        """All modules that it reads, each with its weight."""
        return self.frame().layers

    def _follow(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        follow = super()._follow(changes)
        return follow | {"laplacian": None} if "model" in changes else follow

    def called(self, photo: str = "") -> str:
        layers = "+".join(layer for layer, _ in self.layers)
        parts = (self.kind, photo, self._place(layers), f"seed{vars(self)['seed']}")
        return "-".join(filter(None, parts))

    def _usual(self, device: str, photo: bool) -> dict[str, Any]:
        return {"max_side": self.sides[device != "cpu"]}


@dataclass(frozen=True, kw_only=True)
class MovingRecipe(FramedRecipe):
    """The dream of one frame, by the knobs of a `DreamRecipe`; its steps are few.

    `max_side` may be left open. The sides of a video are even.
    """

    layer: str = like(DreamRecipe, "layer")
    iterations: int = knob(4, 1, 50, "Steps at each octave of a frame.")
    step: float = like(DreamRecipe, "step", 1.5)
    octaves: int = like(DreamRecipe, "octaves", 1)
    scale: float = like(DreamRecipe, "scale")
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

    def frame(self, **changes: Any) -> DreamRecipe:
        shared = knobs(MovingRecipe)
        return DreamRecipe(**{**{name: getattr(self, name) for name in shared}, **changes})
