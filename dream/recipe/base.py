"""A recipe: all that decides a picture. The app, the API, the command line and PNGs speak it.

Each knob stands here once, with its default, bounds, unit and help; sliders, options, checks and
tables follow from it. A recipe that exists is valid; what is left open in it (sizes that fit a
device) `Recipe.settled` fills in.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, ClassVar, TypeVar

from dream.errors import RecipeError, describe_value, suggest_names
from dream.networks import catalogue
from dream.networks.model_card import ModelCard
from dream.recipe.knob import knob, knobs

FORMAT_VERSION = 1
SEED_LIMIT = 2**31 - 1
LIST_LIMIT = 64
# More than any mix needs; from about 1e36 on sums overflow.
WEIGHT_LIMIT = 1000
DEFAULT_MODEL = "dreamlet"
# What a recipe that does not say its kind is for.
DEFAULT_KIND = "dream"

AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")
WeightedNames = tuple[tuple[str, float], ...]


def seed_knob() -> Any:
    """The seed, as each kind of recipe has it."""
    return knob(0, 0, SEED_LIMIT, "The same seed gives the same picture.")


def size_knob(noise: int, photo: int) -> Any:
    """The side of a picture that starts from noise, or of a photo, as those defaults say."""
    return knob(
        None,
        32,
        1024,
        "The side of the picture; a larger photo is shrunk to this longest side.",
        unit="pixels",
        derived_default=f"{noise}; on a photo {photo}",
    )


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """What all recipes share: checking, changing, settling, and the way to and from JSON."""

    kind: ClassVar[str] = ""
    # The knob that says how large the picture becomes.
    size_knob_name: ClassVar[str] = "size"

    model: str = knob(DEFAULT_MODEL, help="The network that dreams.")

    def __post_init__(self) -> None:
        for name, each in knobs(self).items():
            self._set(name, each.check(name, getattr(self, name)))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def card(self) -> ModelCard:
        """What is known of its network."""
        return catalogue.get_card(self.model)

    @property
    @abstractmethod
    def layers(self) -> WeightedNames:
        """The modules it reads, friendly names resolved, each with its weight."""

    def with_changes(self: AnyRecipe, **changes: Any) -> AnyRecipe:
        """This recipe with those knobs changed; what follows from them is worked out afresh.

        A new intensity brings its own step and iterations, a new model its own layer, a new layer
        its own channels.
        """
        about = knobs(self)
        for name in about.keys() & changes:
            changes[name] = about[name].check(name, changes[name])
        return type(self)(**{**asdict(self), **self._reset_dependents(changes), **changes})

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What those changes undo."""
        return {"layer": None} if "model" in changes else {}

    def with_defaults(self: AnyRecipe, device: str, photo: bool) -> AnyRecipe:
        """The recipe with nothing left open, as fits that type of device, and noise or a photo."""
        usual = self._open_defaults(device, photo)
        changes = {name: value for name, value in usual.items() if getattr(self, name) is None}
        return self.with_changes(**changes) if changes else self

    @abstractmethod
    def _open_defaults(self, device: str, photo: bool) -> dict[str, Any]:
        """What knobs become that were left open."""

    def with_max_side(self: AnyRecipe, side: int) -> AnyRecipe:
        """The recipe with a picture of at most so many pixels a side."""
        return self.with_changes(**{self.size_knob_name: side})

    def lasting(self, seconds: Fraction) -> Recipe:
        """What makes the first so many seconds of what it makes, and no more."""
        return self

    @abstractmethod
    def file_stem(self, photo: str = "") -> str:
        """What a picture of it, of a photo of that name, is called: without an ending."""

    def _layer_label(self, place: str) -> str:
        """A place in the network as files may be called; another network than usual is named."""
        return safe_name(place if self.model == DEFAULT_MODEL else f"{self.model}.{place}")

    def _check_size(self, size: int | None) -> None:
        if size is not None and size < self.card.min_side:
            raise RecipeError(f"{self.model} needs a size of {self.card.min_side} pixels or more")

    @classmethod
    def types_by_kind(cls) -> dict[str, type[Any]]:
        """The kinds of recipes that there are below this one, by name; or itself."""
        if not (below := cls.__subclasses__()):
            return {cls.kind: cls}
        return {name: kind for each in below for name, kind in each.types_by_kind().items()}

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data, with its kind and the version of the format."""
        return {"deepdream": FORMAT_VERSION, "kind": self.kind, **asdict(self)}

    def to_json(self) -> str:
        """The recipe as one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls: type[AnyRecipe], data: Mapping[str, Any]) -> AnyRecipe:
        """The recipe that `to_dict` wrote; of `Recipe` itself, whatever its kind.

        Missing knobs take their defaults, a missing kind is that of the class, or a dream.

        Raises:
            RecipeError: if it is no mapping, of a newer version or another kind, or has an unknown
                knob or a value out of bounds.
        """
        if not isinstance(data, Mapping):
            raise RecipeError("this is no recipe: it is not a JSON object")
        given = dict(data)
        version, kind = given.pop("deepdream", FORMAT_VERSION), given.pop("kind", cls.kind)
        if type(version) is not int or version != FORMAT_VERSION:
            raise RecipeError(
                f"this recipe has version {describe_value(version)}; this program reads {FORMAT_VERSION}"
            )
        kinds = cls.types_by_kind()
        if not isinstance(kind, str) or (kind or DEFAULT_KIND) not in kinds:
            raise RecipeError(
                f"this recipe is for {describe_value(kind)}; "
                f"a recipe for {' or '.join(map(repr, sorted(kinds)))} is needed"
            )
        recipe: type[AnyRecipe] = kinds[kind or DEFAULT_KIND]
        names = list(knobs(recipe))
        for name in given:
            if name not in names:
                raise RecipeError(
                    f"{describe_value(name)} is no part of a recipe; {suggest_names(name, names)}"
                )
        return recipe(**given)

    @classmethod
    def from_json(cls: type[AnyRecipe], text: str | bytes) -> AnyRecipe:
        """The recipe that `to_json` wrote.

        Raises:
            RecipeError: as `from_dict`, or if the text is no JSON object.
        """
        try:
            # What editors put before a text, a byte-order mark, says nothing.
            data = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
        except (TypeError, ValueError, RecursionError) as error:
            raise RecipeError("this is no recipe: it is not JSON") from error
        return cls.from_dict(data)


def safe_name(name: str) -> str:
    """That name as a part of a file's, at most 60 bytes, without hyphens, which part it."""
    return re.sub(r"[^\w.]+", "+", name).encode()[:60].decode(errors="ignore")


def parse_weighted_names(what: str, text: str) -> list[tuple[str, float]]:
    """The names in "a:0.5, b", each with its weight, 1 where none is given.

    Raises:
        RecipeError: if a weight is no number from -1000 to 1000.
    """
    weights = []
    for part in text.split(",", LIST_LIMIT):
        name, _, weight = (each.strip() for each in part.partition(":"))
        try:
            number = float(weight or 1)
        except ValueError:
            number = math.nan
        if not abs(number) <= WEIGHT_LIMIT:
            raise RecipeError(
                f"the weight of {what} {name:.60} must be a number "
                f"from {-WEIGHT_LIMIT} to {WEIGHT_LIMIT}, not {describe_value(weight)}"
            )
        weights.append((name, number))
    return weights
