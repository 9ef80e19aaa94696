"""The recipe of an endless zoom into a dream."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from dream.errors import RecipeError, describe_value
from dream.recipe.base import MAX_LIST_ITEMS, MAX_SEED, Recipe, WeightedNames
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import knob, knobs
from dream.recipe.motion import MotionRecipe

KEYFRAME_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s\s*:\s*(.+?)(?:\s+seed\s+(\d{1,10}))?\s*")


@dataclass(frozen=True)
class Keyframe:
    """The dream of a zoom from a time on, in seconds."""

    seconds: float
    dream: DreamRecipe


@dataclass(frozen=True, kw_only=True)
class ZoomRecipe(MotionRecipe):
    """An endless zoom: each frame is the previous one, moved and dreamed for a few steps.

    Movement is per second, so it does not depend on the frame rate.

    Raises:
        RecipeError: if a knob is out of bounds, there is no such network or layer, or the times of
            keyframes do not increase.
    """

    kind: ClassVar[str] = "zoom"

    layer: str = knob(
        None,
        help="Layer to amplify; or keyframes of layers and seeds to blend between, as "
        "0 s: inception4c; 5 s: inception3b seed 7.",
        derived_default="set by the network",
    )
    seconds: float = knob(5.0, 0.1, 3600.0, "Length of the video in seconds.", slider_step=0.5)
    fps: float = knob(
        24.0, 1.0, 120.0, "Frames per second; 23.976 means 24000/1001.", slider_step=1.0
    )
    zoom: float = knob(2.0, 1.0, 6.0, "Zoom factor per second.", slider_step=0.1)
    rotation: float = knob(
        0.0, -180.0, 180.0, "Clockwise rotation per second.", slider_step=1.0, unit="degrees"
    )
    right: float = knob(
        0.0, -1.0, 1.0, "Movement to the right per second, in image widths.", slider_step=0.01
    )
    down: float = knob(
        0.0, -1.0, 1.0, "Movement downwards per second, in image heights.", slider_step=0.01
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.keyframes  # Parse now, so that errors appear when the recipe is created.

    @cached_property
    def frame_rate(self) -> Fraction:
        """Frames per second."""
        return exact_frame_rate(self.fps)

    @property
    def frame_count(self) -> int:
        """The number of frames, at least 1."""
        return max(1, round(Fraction(self.seconds) * self.frame_rate))

    def with_max_seconds(self, seconds: Fraction) -> Recipe:
        """Return a recipe for only the first seconds of its video."""
        frames = round(seconds * self.frame_rate)
        shorter = max(knobs(self)["seconds"].low, float(frames / self.frame_rate))
        return self.with_changes(seconds=shorter) if frames < self.frame_count else self

    @cached_property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """The keyframes in order of time; just one if `layer` has no times.

        >>> recipe = ZoomRecipe(layer="0 s: conv3; 2.5 s: inception3b")
        >>> [keyframe.dream.layer for keyframe in recipe.keyframes]
        ['conv3', 'inception3b']
        """
        parts = self.layer.split(";", MAX_LIST_ITEMS)
        if len(parts) == 1 and not KEYFRAME_PATTERN.fullmatch(self.layer):
            return (Keyframe(0.0, self.frame_recipe()),)
        keyframes: list[Keyframe] = []
        for part in parts:
            match = KEYFRAME_PATTERN.fullmatch(part)
            if not match:
                raise RecipeError(
                    "keyframes must look like 0 s: inception4c; 5 s: inception3b, "
                    f"not {describe_value(part.strip())}"
                )
            seconds, seed = float(match[1]), int(match[3] or self.seed)
            if seed > MAX_SEED:
                raise RecipeError(f"the seed of a keyframe is at most {MAX_SEED}, not {seed}")
            if ">" in match[2]:
                raise RecipeError("a keyframe has the same layers at all octaves; remove the >")
            if keyframes and seconds <= keyframes[-1].seconds:
                raise RecipeError(
                    "the times of keyframes must increase: "
                    f"{seconds:g} s cannot follow {keyframes[-1].seconds:g} s"
                )
            keyframes.append(Keyframe(seconds, self.frame_recipe(layer=match[2], seed=seed)))
        return tuple(keyframes)

    @property
    def layers(self) -> WeightedNames:
        """All modules of all keyframes, with their weights."""
        return tuple(dict(layer for key in self.keyframes for layer in key.dream.layers).items())

    def blend_at(self, frame: int) -> tuple[DreamRecipe, DreamRecipe, float]:
        """Return the dreams before and after a frame, and the weight of the second, 0 to 1."""
        keys = self.keyframes
        if len(keys) == 1:
            return keys[0].dream, keys[0].dream, 0.0
        # Equal to `frame / self.frame_rate`, which is slow for each frame of an hour.
        seconds = frame * self.frame_rate.denominator / self.frame_rate.numerator
        after = bisect_right([key.seconds for key in keys], seconds)
        first, second = keys[max(after - 1, 0)], keys[min(after, len(keys) - 1)]
        if first is second:
            return first.dream, first.dream, 0.0
        span = second.seconds - first.seconds
        return first.dream, second.dream, max(0.0, seconds - first.seconds) / span


def exact_frame_rate(fps: float) -> Fraction:
    """Return the exact rate that a rounded one stands for: 23.976 is 24000/1001 (NTSC).

    >>> exact_frame_rate(23.976), exact_frame_rate(59.94), exact_frame_rate(12.5)
    (Fraction(24000, 1001), Fraction(60000, 1001), Fraction(25, 2))
    """
    ntsc = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    if fps != round(fps) and abs(ntsc - Fraction(fps)) < Fraction(1, 200):
        return ntsc
    return Fraction(fps).limit_denominator(1000)
