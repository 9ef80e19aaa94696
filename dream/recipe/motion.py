"""The recipes of what moves, whose frames are small dreams: zooms, videos and live dreams."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

from dream.errors import RecipeError, describe_value
from dream.networks.model_card import REPEAT
from dream.recipe.base import (
    MAX_LIST_ITEMS,
    MAX_SEED,
    Recipe,
    WeightedNames,
    max_side_knob,
    seed_knob,
)
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import Derived, Knob, copy_knob, knob, knobs

# Grey levels per second, for intensity 1 to 10.
GROWTH_RATES = (4, 8, 13, 20, 30, 40, 52, 68, 85, 110)
# Steps per octave of a video's first frame, for each of the others: a dream comes to rest where
# each frame adds as much as `carry` takes away.
FIRST_FRAME_FACTOR = 2
# Steps per octave of a live dream's first frame, which grow as much as so many seconds.
FIRST_LIVE_STEPS, FIRST_LIVE_SECONDS = 8, 0.6
# Videos and live dreams as they were before these knobs.
OLD_FRAME_VALUES = {"first_octaves": 0, "keep_colours": 0.0, "quiet": 0.0}
# The options of a making-of.
SECONDS_KNOB = Knob(
    "Duration from start to result.", 0.5, 60, unit="seconds", default=3.0, value_type=float
)
FPS_KNOB = Knob("Frames per second.", 1, 60, default=24.0, value_type=float)
KEYFRAME_PATTERN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*s\s*:\s*(.+?)(?:\s+seed\s+(\d{1,10}))?\s*")


@dataclass(frozen=True, kw_only=True, repr=False)
class PerFrameRecipe(Recipe):
    """A recipe that dreams frame by frame; `layer`, `laplacian` and `max_side` may be None."""

    size_knob_name: ClassVar[str] = "max_side"
    resets: ClassVar[Mapping[str, tuple[str, ...]]] = {"model": ("layer", "laplacian")}

    def _derived_defaults(self) -> dict[str, Any]:
        return {"layer": self.card.default_layer, "laplacian": self.card.laplacian_bands}

    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        """Return the recipe of one frame: the knobs that both have, with these changes."""
        shared = {name: getattr(self, name) for name in knobs(self) if name in knobs(DreamRecipe)}
        return DreamRecipe(**{"quiet": 0, **shared, **changes})

    @property
    def layers(self) -> WeightedNames:
        """All modules of a frame, with their weights."""
        return self.frame_recipe().layers

    def file_stem(self, photo: str = "") -> str:
        """Return "KIND-PHOTO-LAYERS-seedSEED", without PHOTO if there is none."""
        layers = "+".join(layer for layer, _ in self.layers)
        parts = (self.kind, photo, self._layer_label(layers), f"seed{vars(self)['seed']}")
        return "-".join(filter(None, parts))


@dataclass(frozen=True, kw_only=True, repr=False)
class MotionRecipe(PerFrameRecipe):
    """Base class of zooms and videos: the knobs of a `DreamRecipe` with fewer steps."""

    layer: Derived[str] = copy_knob(DreamRecipe, "layer")
    iterations: int = knob(4, (1, 50), "Steps per octave of each frame.")
    step: float = copy_knob(DreamRecipe, "step", 1.5)
    octaves: int = copy_knob(DreamRecipe, "octaves", 1)
    scale: float = copy_knob(DreamRecipe, "scale")
    jitter: int = copy_knob(DreamRecipe, "jitter")
    smoothing: float = copy_knob(DreamRecipe, "smoothing")
    laplacian: Derived[int] = copy_knob(DreamRecipe, "laplacian")
    seed: int = seed_knob()
    max_side: int | None = max_side_knob(
        "A larger photo or video is", 4096, on_cpu=512, on_gpu=1024
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class VideoRecipe(MotionRecipe):
    """A dreamed video: each frame starts from the previous dream, warped by the motion."""

    kind: ClassVar[str] = "video"
    old_values: ClassVar[Mapping[str, Any]] = OLD_FRAME_VALUES

    carry: float = knob(
        0.9,
        (0.0, 1.0, 0.05),
        "Share of the previous dream that moves with the image; newly visible areas start fresh.",
    )
    first_octaves: int = knob(
        5, (0, 10), "Octaves of the first frame, a whole dream; 0 to dream it as all frames."
    )
    keep_colours: float = copy_knob(DreamRecipe, "keep_colours")
    quiet: float = copy_knob(DreamRecipe, "quiet")

    def first_frame_recipe(self) -> DreamRecipe:
        """Return the recipe of the first frame, from which the dream of the others goes on."""
        if not (self.first_octaves and self.carry):  # Without carry no later frame takes it over.
            return self.frame_recipe()
        octaves = max(self.first_octaves, self.octaves)
        return self.frame_recipe(octaves=octaves, iterations=FIRST_FRAME_FACTOR * self.iterations)


@dataclass(frozen=True)
class Keyframe:
    """The dream of a zoom from a time on, in seconds."""

    seconds: float
    dream: DreamRecipe


@dataclass(frozen=True, kw_only=True, repr=False)
class ZoomRecipe(MotionRecipe):
    """An endless zoom: each frame is the previous one, moved and dreamed for a few steps.

    Movement is per second, so it does not depend on the frame rate. The times of keyframes must
    increase.
    """

    kind: ClassVar[str] = "zoom"
    old_values: ClassVar[Mapping[str, Any]] = {"keep_colours": 0.0}

    layer: Derived[str] = knob(
        None,
        help="Layer to amplify; or keyframes of layers and seeds to blend between, as "
        "0 s: inception4c; 5 s: inception3b seed 7; 9 s: repeat, which must be last.",
        derived_default="several in turn, set by the network",
    )
    seconds: float = knob(5.0, (0.1, 3600.0, 0.5), "Length of the video in seconds.")
    fps: float = knob(24.0, (1.0, 120.0, 1.0), "Frames per second; 23.976 means 24000/1001.")
    zoom: float = knob(2.0, (1.0, 6.0, 0.1), "Zoom factor per second.")
    rotation: float = knob(
        0.0, (-180.0, 180.0, 1.0), "Clockwise rotation per second.", unit="degrees"
    )
    right: float = knob(
        0.0, (-1.0, 1.0, 0.01), "Movement to the right per second, in image widths."
    )
    down: float = knob(0.0, (-1.0, 1.0, 0.01), "Movement downwards per second, in image heights.")
    keep_colours: float = copy_knob(DreamRecipe, "keep_colours")

    def _derived_defaults(self) -> dict[str, Any]:
        return super()._derived_defaults() | {"layer": self.card.zoom_keyframes}

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

        The last one is the first dream again if they repeat.

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
            if match[2] == REPEAT:
                if not keyframes or part is not parts[-1] or match[3]:
                    raise RecipeError(
                        "repeat must be the last of several keyframes, without a seed"
                    )
                dream = keyframes[0].dream
            else:
                dream = self.frame_recipe(layer=match[2], seed=seed)
            keyframes.append(Keyframe(seconds, dream))
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
        start, end = keys[0].seconds, keys[-1].seconds
        if seconds > end and keys[-1].dream is keys[0].dream:
            seconds = start + (seconds - start) % (end - start)
        after = bisect_right([key.seconds for key in keys], seconds)
        first, second = keys[max(after - 1, 0)], keys[min(after, len(keys) - 1)]
        if first is second or seconds <= first.seconds:
            return first.dream, first.dream, 0.0
        share = (seconds - first.seconds) / (second.seconds - first.seconds)
        return first.dream, second.dream, share


@dataclass(frozen=True, kw_only=True, repr=False)
class LiveRecipe(PerFrameRecipe):
    """A live dream: each frame starts from the previous dream, warped by the motion.

    Growth and memory are per second, so they do not depend on the frame rate.
    """

    kind: ClassVar[str] = "live"
    old_values: ClassVar[Mapping[str, Any]] = OLD_FRAME_VALUES

    layer: Derived[str] = copy_knob(DreamRecipe, "layer")
    intensity: int = knob(5, (1, 10), "Speed of growth, from subtle to extreme.")
    memory: float = knob(
        2.0,
        (0.1, 10.0, 0.1),
        "How long a dream persists; newly visible areas start fresh.",
        unit="seconds",
    )
    fps: float = knob(
        10.0, (1.0, 120.0, 1.0), "Frames per second of the camera; growth and memory depend on it."
    )
    iterations: int = knob(1, (1, 8), "Steps per frame; more are slower and cleaner.")
    jitter: int = copy_knob(DreamRecipe, "jitter")
    smoothing: float = copy_knob(DreamRecipe, "smoothing")
    laplacian: Derived[int] = copy_knob(DreamRecipe, "laplacian")
    seed: int = seed_knob()
    # Two CPU cores render 320 pixels ten times per second.
    max_side: int | None = max_side_knob("Larger frames are", 4096, on_cpu=320, on_gpu=640)
    first_octaves: int = knob(
        3,
        (0, 10),
        "Octaves of the first frame, a whole dream at half its size; 0 to dream it as all frames.",
    )
    keep_colours: float = copy_knob(DreamRecipe, "keep_colours")
    quiet: float = copy_knob(DreamRecipe, "quiet")

    def first_frame_recipe(self) -> DreamRecipe:
        """Return the recipe of the dream of the first frame, at half its size."""
        return self.frame_recipe(
            layer=self.layer.rpartition(">")[2],  # That of all frames.
            octaves=self.first_octaves,
            iterations=FIRST_LIVE_STEPS,
            step=FIRST_LIVE_SECONDS * GROWTH_RATES[self.intensity - 1] / FIRST_LIVE_STEPS,
        )

    def frame_recipe(self, **changes: Any) -> DreamRecipe:
        """Return the recipe of one frame: one octave, with a step that fits the frame rate."""
        step = min(20.0, GROWTH_RATES[self.intensity - 1] / self.fps / self.iterations)
        # Its own intensity is a speed, not that of a dream.
        values = {"intensity": DreamRecipe.intensity, "step": step, "octaves": 1}
        return super().frame_recipe(**{**values, **changes})

    @property
    def layers(self) -> WeightedNames:
        """The modules of its single octave, with their weights."""
        return self.frame_recipe().layers_at(1, 1)

    @property
    def frame_carry(self) -> float:
        """The share of the previous dream that remains after one frame."""
        return math.exp(-1 / (self.fps * self.memory))


def exact_frame_rate(fps: float) -> Fraction:
    """Return the exact rate that a rounded one stands for: 23.976 is 24000/1001 (NTSC).

    >>> exact_frame_rate(23.976), exact_frame_rate(59.94), exact_frame_rate(12.5)
    (Fraction(24000, 1001), Fraction(60000, 1001), Fraction(25, 2))
    """
    ntsc = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    if fps != round(fps) and abs(ntsc - Fraction(fps)) < Fraction(1, 200):
        return ntsc
    return Fraction(fps).limit_denominator(1000)
