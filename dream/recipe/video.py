"""The recipe of a dreamed video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dream.recipe.knob import knob
from dream.recipe.motion import MotionRecipe


@dataclass(frozen=True, kw_only=True)
class VideoRecipe(MotionRecipe):
    """A dreamed video: each frame starts from the previous dream, warped by the motion.

    Raises:
        RecipeError: if a knob is out of bounds, or there is no such network or layer.
    """

    kind: ClassVar[str] = "video"

    carry: float = knob(
        0.9,
        0.0,
        1.0,
        "Share of the previous dream that moves with the image; newly visible areas start fresh.",
        slider_step=0.05,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.frame_recipe()  # Checks the layer.
