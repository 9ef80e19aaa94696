"""The base class of recipes, which the app, the API, the command line and PNG files share.

A recipe declares each knob once, with default, bounds, unit and help; sliders, options, checks and
tables are built from that. A recipe is validated when it is created. Knobs that depend on the
device, such as the size, may stay None until `Recipe.with_defaults` fills them in.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from dream.errors import RecipeError, describe_value, suggest_names
from dream.networks import catalogue
from dream.networks.model_card import ModelCard
from dream.recipe.knob import knob, knobs

FORMAT_VERSION = 1
MAX_SEED = 2**31 - 1
MAX_LIST_ITEMS = 64
# Far more than a mix needs; weights above about 1e36 would overflow the sums.
MAX_WEIGHT = 1000
DEFAULT_MODEL = "dreamlet"
DEFAULT_KIND = "dream"
# Deprecated names of methods, which go with the next release.
OLD_NAMES = {"but": "with_changes", "settled": "with_defaults"}
OLD_NAMES |= {"within": "with_max_side", "called": "file_stem"}

AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")
WeightedNames = tuple[tuple[str, float], ...]


def seed_knob() -> Any:
    """Return the `seed` field that all kinds of recipes have."""
    return knob(0, (0, MAX_SEED), "Random seed; the same seed gives the same image.")


def size_knob(noise: int, photo: int) -> Any:
    """Return a `size` field with these default sides, from noise and on a photo."""
    return knob(
        None,
        (32, 1024),
        "Side of the image; a larger photo is reduced to this longest side.",
        unit="pixels",
        derived_default=f"{noise}; on a photo {photo}",
        late_default=lambda recipe, device, has_photo: photo if has_photo else noise,
    )


def max_side_knob(larger: str, high: int, on_cpu: int, on_gpu: int) -> Any:
    """Return a `max_side` field with these defaults."""
    return knob(
        None,
        (32, high),
        f"{larger} reduced to this longest side.",
        unit="pixels",
        derived_default=f"{on_cpu} on a CPU, {on_gpu} on a GPU",
        late_default=lambda recipe, device, has_photo: on_cpu if device == "cpu" else on_gpu,
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class Recipe(ABC):
    """Base class of all recipes: validation, changes, defaults and JSON.

    Raises:
        RecipeError: if a knob is out of bounds or does not fit the others, if there is no such
            network, layer, channel or class, or if the size is too small for the network.
    """

    kind: ClassVar[str] = ""
    # The knob that limits the size of the image.
    size_knob_name: ClassVar[str] = "size"
    # Knobs that recipes of earlier versions lack, with the values that give the same image.
    old_values: ClassVar[Mapping[str, Any]] = {}
    # The knobs that return to their defaults when another one changes, by the latter.
    resets: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    model: str = knob(DEFAULT_MODEL, help="Network to use.")

    def __post_init__(self) -> None:
        for name, recipe_knob in knobs(self).items():
            self._set(name, recipe_knob.check(name, getattr(self, name)))
        for name, value in self._derived_defaults().items():
            if getattr(self, name) is None:
                self._set(name, value)
        _ = self.layers  # Parse now, so that errors appear when the recipe is created.

    def _derived_defaults(self) -> dict[str, Any]:
        """Return the values of knobs that follow from other knobs, where they are None."""
        return {}

    def __repr__(self) -> str:
        """Return one line with the knobs that are not at their defaults, long texts cut short."""
        values = (
            f"{name}={describe_value(getattr(self, name), 80)}"
            for name, recipe_knob in knobs(self).items()
            if getattr(self, name) != recipe_knob.default
        )
        return f"{type(self).__name__}({', '.join(values)})"

    if not TYPE_CHECKING:  # With `__getattr__`, mypy would accept any attribute.

        def __getattr__(self, name: str) -> Any:
            if name not in OLD_NAMES:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            warnings.warn(f"{name} is now {OLD_NAMES[name]}", DeprecationWarning, stacklevel=2)
            return getattr(self, OLD_NAMES[name])

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def card(self) -> ModelCard:
        """The model card of its network."""
        return catalogue.get_card(self.model)

    @property
    @abstractmethod
    def layers(self) -> WeightedNames:
        """All modules whose activations it uses, aliases resolved, with their weights."""

    def with_changes(self: AnyRecipe, **changes: Any) -> AnyRecipe:
        """Return a copy with these knobs changed; knobs that depend on them are derived again.

        A new model resets layer, channels and `laplacian`; a new layer the channels; an intensity
        `step` and `iterations`; a guide the default layer. An unfit objective is reset.
        """
        recipe_knobs = knobs(self)
        for name in recipe_knobs.keys() & changes:
            changes[name] = recipe_knobs[name].check(name, changes[name])
        return type(self)(**{**asdict(self), **self._reset_dependents(changes), **changes})

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the knobs that these changes reset, with their new values."""
        names = {name for changed in changes for name in self.resets.get(changed, ())}
        return {name: knobs(self)[name].default for name in names}

    def with_defaults(self: AnyRecipe, device: str, photo: bool) -> AnyRecipe:
        """Return a copy without None: defaults suit the device type, and noise or a photo."""
        changes = {
            name: recipe_knob.late_default(self, device, photo)
            for name, recipe_knob in knobs(self).items()
            if recipe_knob.late_default and getattr(self, name) is None
        }
        return self.with_changes(**changes) if changes else self

    def with_max_side(self: AnyRecipe, side: int) -> AnyRecipe:
        """Return a copy whose image has at most this many pixels a side."""
        return self.with_changes(**{self.size_knob_name: side})

    def with_max_seconds(self, seconds: Fraction) -> Recipe:
        """Return a recipe for only the first seconds of its video."""
        return self

    @abstractmethod
    def file_stem(self, photo: str = "") -> str:
        """Return the file stem for an image by this recipe; `photo` is the stem of its photo."""

    def _layer_label(self, layer: str) -> str:
        """Return a layer as part of a file name, with the model unless it is the default."""
        return safe_name(layer if self.model == DEFAULT_MODEL else f"{self.model}.{layer}")

    def _check_size(self, size: int | None) -> None:
        if size is not None and size < self.card.min_side:
            raise RecipeError(f"{self.model} needs a size of {self.card.min_side} pixels or more")

    @classmethod
    def types_by_kind(cls) -> dict[str, type[Any]]:
        """Return the recipe classes that name a kind, from this class down."""
        types = {cls.kind: cls} if vars(cls).get("kind") else {}
        for subclass in cls.__subclasses__():
            types |= subclass.types_by_kind()
        return types

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain data, with its kind and the format version."""
        return {"deepdream": FORMAT_VERSION, "kind": self.kind, **asdict(self)}

    def to_json(self) -> str:
        """Return the recipe as one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls: type[AnyRecipe], data: Mapping[str, Any]) -> AnyRecipe:
        """Return the recipe that `to_dict` wrote; `Recipe.from_dict` accepts every kind.

        Missing knobs take their defaults; a missing kind is that of the class, or "dream". In a
        recipe that `to_dict` wrote, knobs younger than it take the values that give the old image.

        Raises:
            RecipeError: if `data` is no mapping, or has another version or kind, an unknown knob
                or a value out of bounds.
        """
        if not isinstance(data, Mapping):
            raise RecipeError("a recipe must be a JSON object")
        values = dict(data)
        version, kind = values.pop("deepdream", FORMAT_VERSION), values.pop("kind", cls.kind)
        if type(version) is not int or version != FORMAT_VERSION:
            raise RecipeError(
                f"this recipe has version {describe_value(version)}; "
                f"this program reads version {FORMAT_VERSION}"
            )
        kinds = cls.types_by_kind()
        if not isinstance(kind, str) or (kind or DEFAULT_KIND) not in kinds:
            raise RecipeError(
                f"this recipe has kind {describe_value(kind)}; "
                f"kind {' or '.join(map(repr, sorted(kinds)))} is needed"
            )
        recipe: type[AnyRecipe] = kinds[kind or DEFAULT_KIND]
        names = list(knobs(recipe))
        for name in values:
            if name not in names:
                raise RecipeError(
                    f"a recipe has no knob {describe_value(name)}; {suggest_names(name, names)}"
                )
        # `to_dict` writes the version with all knobs; a recipe written by hand gets the defaults.
        old_values = recipe.old_values if "deepdream" in data else {}
        return recipe(**{**old_values, **values})

    @classmethod
    def from_json(cls: type[AnyRecipe], text: str | bytes) -> AnyRecipe:
        """Return the recipe that `to_json` wrote.

        Raises:
            RecipeError: as `from_dict`, or if the text is not JSON.
        """
        try:
            # Some editors put a byte-order mark before the text.
            data = json.loads(text.removeprefix("\ufeff") if isinstance(text, str) else text)
        except (TypeError, ValueError, RecursionError) as error:
            raise RecipeError("a recipe must be JSON, and this is not") from error
        return cls.from_dict(data)


def safe_name(name: str) -> str:
    """Return a name as part of a file name: at most 60 bytes, no hyphens, which separate parts.

    Accents that macOS has split from their letters are joined to them again.
    """
    name = unicodedata.normalize("NFC", name)
    return re.sub(r"[^\w.]+", "+", name).encode()[:60].decode(errors="ignore")


def parse_weighted_names(kind: str, text: str) -> list[tuple[str, float]]:
    """Return the names in "a:0.5, b" with their weights, 1 by default.

    Raises:
        RecipeError: if a weight is not a number from -1000 to 1000; it names the `kind` of name.
    """
    weights = []
    for part in text.split(",", MAX_LIST_ITEMS):
        name, _, weight = (each.strip() for each in part.partition(":"))
        try:
            number = float(weight or 1)
        except ValueError:
            number = math.nan
        if not abs(number) <= MAX_WEIGHT:
            raise RecipeError(
                f"the weight of {kind} {name:.60} must be a number "
                f"from {-MAX_WEIGHT} to {MAX_WEIGHT}, not {describe_value(weight)}"
            )
        weights.append((name, number))
    return weights
