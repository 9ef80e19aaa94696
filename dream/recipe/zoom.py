"""The recipe of an endless zoom into a dream."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from dream.errors import RecipeError, describe_value
from dream.recipe.base import LIST_LIMIT, SEED_LIMIT, Recipe, WeightedNames
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import knob, knobs
from dream.recipe.motion import MotionRecipe

KEYFRAME_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s\s*:\s*(.+?)(?:\s+seed\s+(\d{1,10}))?\s*")


@dataclass(frozen=True)
class Keyframe:
    """From how many seconds on a frame is dreamed so."""

    seconds: float
    dream: DreamRecipe


@dataclass(frozen=True, kw_only=True)
class ZoomRecipe(MotionRecipe):
    """An endless zoom: each frame is the last one, moved on, and dreamed for a few steps.

    How it moves is given for a second, so that it is the same at any rate of frames.

    Raises:
        RecipeError: if a knob is out of bounds, the network or a layer is not there, or key frames
            do not go forward in time.
    """

    kind: ClassVar[str] = "zoom"

    layer: str = knob(
        None,
        help="Where in the network to dream; or key frames, between which layers and seeds change "
        "over, as 0 s: inception4c; 5 s: inception3b seed 7.",
        derived_default="the network's own",
    )
    seconds: float = knob(5.0, 0.1, 3600.0, "How long it is, in seconds.", slider_step=0.5)
    fps: float = knob(
        24.0, 1.0, 120.0, "How many frames a second; 23.976 is 24000/1001.", slider_step=1.0
    )
    zoom: float = knob(
        2.0, 1.0, 6.0, "How many times larger things become in a second.", slider_step=0.1
    )
    rotation: float = knob(
        0.0,
        -180.0,
        180.0,
        "How far it turns clockwise in a second.",
        slider_step=1.0,
        unit="degrees",
    )
    right: float = knob(
        0.0, -1.0, 1.0, "How far one looks to the right in a second, in widths.", slider_step=0.01
    )
    down: float = knob(
        0.0, -1.0, 1.0, "How far one looks down in a second, in heights.", slider_step=0.01
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.keyframes  # Read here once: what cannot be read is refused at once.

    @cached_property
    def frame_rate(self) -> Fraction:
        """Frames a second."""
        return exact_frame_rate(self.fps)

    @property
    def frame_count(self) -> int:
        """How many frames it has."""
        return max(1, round(Fraction(self.seconds) * self.frame_rate))

    def lasting(self, seconds: Fraction) -> Recipe:
        frames = round(seconds * self.frame_rate)
        shorter = max(knobs(self)["seconds"].low, float(frames / self.frame_rate))
        return self.with_changes(seconds=shorter) if frames < self.frame_count else self

    @cached_property
    def keyframes(self) -> tuple[Keyframe, ...]:
        """The key frames, in the order of their times; one where there is but a layer.

        >>> [key.dream.layer for key in ZoomRecipe(layer="0 s: conv3; 2.5 s: inception3b").keys]
        ['conv3', 'inception3b']
        """
        parts = self.layer.split(";", LIST_LIMIT)
        if len(parts) == 1 and not KEYFRAME_PATTERN.fullmatch(self.layer):
            return (Keyframe(0.0, self.frame_recipe()),)
        keys: list[Keyframe] = []
        for part in parts:
            found = KEYFRAME_PATTERN.fullmatch(part)
            if not found:
                raise RecipeError(
                    "key frames are as 0 s: inception4c; 5 s: inception3b, "
                    f"not {describe_value(part.strip())}"
                )
            seconds, seed = float(found[1]), int(found[3] or self.seed)
            if seed > SEED_LIMIT:
                raise RecipeError(f"the seed of a key frame is at most {SEED_LIMIT}, not {seed}")
            if ">" in found[2]:
                raise RecipeError("key frames dream at all octaves alike; leave out the >")
            if keys and seconds <= keys[-1].seconds:
                raise RecipeError(
                    "key frames go forward in time: "
                    f"{seconds:g} s cannot come after {keys[-1].seconds:g} s"
                )
            keys.append(Keyframe(seconds, self.frame_recipe(layer=found[2], seed=seed)))
        return tuple(keys)

    @property
    def layers(self) -> WeightedNames:
        """All modules that it reads, each with its weight."""
        return tuple(dict(layer for key in self.keyframes for layer in key.dream.layers).items())

    def blend_at(self, frame: int) -> tuple[DreamRecipe, DreamRecipe, float]:
        """Between which two dreams a frame lies, and how near the second, from 0 to 1."""
        if len(self.keyframes) == 1:
            return self.keyframes[0].dream, self.keyframes[0].dream, 0.0
        # As `frame / self.rate`, which is slow for each frame of an hour.
        seconds = frame * self.frame_rate.denominator / self.frame_rate.numerator
        after = bisect_right([key.seconds for key in self.keyframes], seconds)
        one, other = (
            self.keyframes[max(after - 1, 0)],
            self.keyframes[min(after, len(self.keyframes) - 1)],
        )
        if one is other:
            return one.dream, one.dream, 0.0
        span = other.seconds - one.seconds
        return one.dream, other.dream, max(0.0, seconds - one.seconds) / span


def exact_frame_rate(fps: float) -> Fraction:
    """The rate that is meant by a number: 23.976 is 24000/1001, as in films and television.

    >>> exact_rate(23.976), exact_rate(59.94), exact_rate(12.5)
    (Fraction(24000, 1001), Fraction(60000, 1001), Fraction(25, 2))
    """
    film = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    if fps != round(fps) and abs(film - Fraction(fps)) < Fraction(1, 200):
        return film
    return Fraction(fps).limit_denominator(1000)
