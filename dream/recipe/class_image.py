"""The recipe of what a network takes for a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from dream.errors import RecipeError, describe_value
from dream.recipe import imagenet_classes
from dream.recipe.base import (
    Recipe,
    WeightedNames,
    parse_weighted_names,
    safe_name,
    seed_knob,
    size_knob,
)
from dream.recipe.knob import knob

# Sides from noise, and on a photo.
DEFAULT_SIZES = (224, 320)
# The modes, and how many steps each takes where nothing is said.
DEFAULT_STEPS = {"growing": 248, "fourier": 128, "octaves": 192, "phase": 128, "classic": 200}
DEFAULT_PHOTO_STEPS = 64


@dataclass(frozen=True, kw_only=True)
class ClassRecipe(Recipe):
    """What a network takes for a class of ImageNet (Simonyan et al. 2013), from noise or a photo.

    `size` and `steps` may be left open, as in a `ChannelRecipe`. Targets are written down by their
    names.

    Raises:
        RecipeError: if a knob is out of bounds, or the network or a class is not there or unclear.
    """

    kind: ClassVar[str] = "class"

    target: str = knob(
        "goldfish",
        help="The class, by name, part of it or number; several as goldfish:1,jellyfish:0.5.",
    )
    mode: str = knob(
        "growing",
        help="How it is made; growing gives one large subject, classic is the equation of 2013.",
        choices=tuple(DEFAULT_STEPS),
    )
    size: int = size_knob(*DEFAULT_SIZES)
    steps: int = knob(
        None,
        0,
        1000,
        "Steps of the ascent, over all sizes.",
        derived_default=", ".join(f"{steps} {mode}" for mode, steps in DEFAULT_STEPS.items())
        + f"; on a photo {DEFAULT_PHOTO_STEPS}",
    )
    step: float = knob(
        2.0,
        0.0,
        20.0,
        "Mean change of a pixel in one step of octaves and classic.",
        slider_step=0.1,
        unit="grey levels",
    )
    penalty: float = knob(
        0.001,
        0.0,
        1.0,
        "The lambda of classic: by how much the squared norm of the picture counts.",
        slider_step=0.001,
    )
    tries: int = knob(
        2, 1, 8, "Noises tried at the smallest size of growing and octaves; the best is kept."
    )
    seed: int = seed_knob()

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = parse_weighted_names("class", self.target)
        numbers = [(imagenet_classes.find_class(name), weight) for name, weight in weights]
        if len(dict(numbers)) < len(numbers):
            raise RecipeError(f"target names a class twice: {describe_value(self.target, 80)}")
        written = (f"{imagenet_classes.class_names()[each]}:{weight:g}" for each, weight in numbers)
        self._set("target", ",".join(text.removesuffix(":1") for text in written))
        self._check_size(self.size)

    @property
    def layers(self) -> WeightedNames:
        """The last layer, which holds the logits."""
        return ((self.card.logit_layer, 1.0),)

    @cached_property
    def targets(self) -> tuple[tuple[int, float], ...]:
        """The number of each class, with its weight.

        >>> ClassRecipe(target="goldfish, jellyfish:0.5").targets
        ((1, 1.0), (107, 0.5))
        """
        return tuple(
            (imagenet_classes.find_class(name), each)
            for name, each in parse_weighted_names("class", self.target)
        )

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def file_stem(self, photo: str = "") -> str:
        parts = (safe_name(self.target), photo, f"seed{self.seed}")
        return "-".join(("class", *filter(None, parts)))

    def _open_defaults(self, device: str, photo: bool) -> dict[str, Any]:
        return {
            "size": DEFAULT_SIZES[photo],
            "steps": DEFAULT_PHOTO_STEPS if photo else DEFAULT_STEPS[self.mode],
        }
