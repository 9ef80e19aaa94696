"""The recipe of what a network takes for a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.errors import RecipeError, shown
from dream.networks import catalogue
from dream.recipe import classes
from dream.recipe.knob import knob
from dream.recipe.recipe import SEED_LIMIT, Recipe, weighted


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
        kind=str,
        help="The class, by name, part of it or number; several as goldfish:1,jellyfish:0.5.",
    )
    mode: str = knob(
        "growing",
        kind=str,
        choices=("growing", "fourier", "octaves", "phase", "classic"),
        help="How it is made; growing gives one large subject, classic is the equation of 2013.",
    )
    size: int = knob(
        None,
        kind=int,
        low=32,
        high=1024,
        unit="pixels",
        automatic="224; on a photo 320",
        help="The side of the picture; a larger photo is shrunk to this longest side.",
    )
    steps: int = knob(
        None,
        kind=int,
        low=0,
        high=1000,
        automatic="248 growing, 128 fourier and phase, 192 octaves, 200 classic; on a photo 64",
        help="Steps of the ascent, over all sizes.",
    )
    step: float = knob(
        2.0,
        kind=float,
        low=0.0,
        high=20.0,
        grain=0.1,
        unit="grey levels",
        help="Mean change of a pixel in one step of octaves and classic.",
    )
    penalty: float = knob(
        0.001,
        kind=float,
        low=0.0,
        high=1.0,
        grain=0.001,
        help="The lambda of classic: by how much the squared norm of the picture counts.",
    )
    tries: int = knob(
        2,
        kind=int,
        low=1,
        high=8,
        help="Noises tried at the smallest size of growing and octaves; the best is kept.",
    )
    seed: int = knob(
        0, kind=int, low=0, high=SEED_LIMIT, help="The same seed gives the same picture."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        card = catalogue.card(self.model)
        weights = weighted("class", self.target)
        numbers = [(classes.find(name), weight) for name, weight in weights]
        if len(dict(numbers)) < len(numbers):
            raise RecipeError(f"target names a class twice: {shown(self.target, 80)}")
        written = (f"{classes.names()[each]}:{weight:g}" for each, weight in numbers)
        self._set("target", ",".join(text.removesuffix(":1") for text in written))
        if self.size is not None and self.size < card.min_side:
            raise RecipeError(f"{self.model} needs a size of {card.min_side} pixels or more")

    def layers(self) -> tuple[tuple[str, float], ...]:
        """The last layer, which holds the logits."""
        return ((catalogue.card(self.model).scores, 1.0),)

    def targets(self) -> tuple[tuple[int, float], ...]:
        """The number of each class, with its weight.

        >>> ClassRecipe(target="goldfish, jellyfish:0.5").targets()
        ((1, 1.0), (107, 0.5))
        """
        return tuple((classes.find(name), each) for name, each in weighted("class", self.target))

    def _follow(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {}
