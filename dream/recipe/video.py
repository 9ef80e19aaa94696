"""The recipe of a video that is dreamed, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dream.recipe.knob import knob
from dream.recipe.motion import MotionRecipe


@dataclass(frozen=True, kw_only=True)
class VideoRecipe(MotionRecipe):
    """A video, dreamed: each frame begins with the last dream, carried along by what moves.

    Raises:
        RecipeError: if a knob is out of bounds, or the network or a layer is not there.
    """

    kind: ClassVar[str] = "video"

    carry: float = knob(
        0.9,
        0.0,
        1.0,
        "How much of the last dream goes along with what moves; what comes into sight begins anew.",
        slider_step=0.05,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.frame_recipe()  # Checks the layer.
