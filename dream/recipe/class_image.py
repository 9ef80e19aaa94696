"""The recipe of a class image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

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

# Default step count of each mode, from noise.
DEFAULT_STEPS = {
    "single": 248,
    "growing": 248,
    "fourier": 128,
    "octaves": 192,
    "phase": 128,
    "classic": 200,
}
DEFAULT_PHOTO_STEPS = 64


@dataclass(frozen=True, kw_only=True, repr=False)
class ClassRecipe(Recipe):
    """An image that maximises ImageNet classes (Simonyan et al. 2013), from noise or a photo.

    `size` and `steps` may be None, as in a `ChannelRecipe`. Targets are stored by name, and must
    not be ambiguous.
    """

    kind: ClassVar[str] = "class"

    target: str = knob(
        "goldfish",
        help="Class by name, part of a name, or number; mix several: goldfish:1,jellyfish:0.5.",
    )
    mode: str = knob(
        "single",
        help="Method; single gives one large subject, classic is that of Simonyan et al. 2013.",
        choices=tuple(DEFAULT_STEPS),
    )
    size: int | None = size_knob(noise=224, photo=320)
    steps: int | None = knob(
        None,
        (0, 1000),
        "Number of steps, over all octaves.",
        derived_default=", ".join(f"{steps} {mode}" for mode, steps in DEFAULT_STEPS.items())
        + f"; on a photo {DEFAULT_PHOTO_STEPS}",
        late_default=lambda recipe, device, has_photo: (
            DEFAULT_PHOTO_STEPS if has_photo else DEFAULT_STEPS[recipe.mode]
        ),
    )
    step: float = knob(
        2.0,
        (0.0, 20.0, 0.1),
        "Mean change of a pixel per step; used by octaves and classic.",
        unit="grey levels",
    )
    penalty: float = knob(
        0.001, (0.0, 1.0, 0.001), "Weight (lambda) of the image's squared norm; used by classic."
    )
    tries: int = knob(
        2,
        (1, 8),
        "Random starts at the smallest octave, best one kept; used by single, growing and octaves.",
    )
    seed: int = seed_knob()

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = parse_weighted_names("class", self.target)
        numbers = [(imagenet_classes.find_class(name), weight) for name, weight in weights]
        if len(dict(numbers)) < len(numbers):
            raise RecipeError(f"target lists a class twice: {describe_value(self.target, 80)}")
        names = imagenet_classes.class_names()
        parts = (f"{names[number]}:{weight:g}" for number, weight in numbers)
        self._set("target", ",".join(part.removesuffix(":1") for part in parts))
        self._check_size(self.size)

    @property
    def layers(self) -> WeightedNames:
        """The layer that computes the logits."""
        return ((self.card.logit_layer, 1.0),)

    @cached_property
    def targets(self) -> tuple[tuple[int, float], ...]:
        """The class numbers with their weights.

        >>> ClassRecipe(target="goldfish, jellyfish:0.5").targets
        ((1, 1.0), (107, 0.5))
        """
        return tuple(
            (imagenet_classes.find_class(name), weight)
            for name, weight in parse_weighted_names("class", self.target)
        )

    def file_stem(self, photo: str = "") -> str:
        """Return "class-TARGET-PHOTO-seedSEED", without PHOTO if there is none."""
        parts = (safe_name(self.target), photo, f"seed{self.seed}")
        return "-".join(("class", *filter(None, parts)))
