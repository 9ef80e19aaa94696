"""A recipe: all that decides a picture. The app, the API, the command line and PNGs speak it.

Each knob stands here once, with its default, bounds, unit and help; sliders, options, checks and
README's table follow from it. A recipe that exists is valid, and complete but for `max_side`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from dream import zoo
from dream.errors import RecipeError

VERSION = 1
SEED_LIMIT = 2**31 - 1
LAYER_LIMIT = 32

# Intensity 1 to 10 as (step in grey levels, iterations an octave): even steps to the eye, a mean
# change of 3 to 52 grey levels on photographs with Dreamlet at inception4c.
INTENSITIES = (
    (0.35, 6),
    (0.55, 7),
    (0.8, 8),
    (1.15, 9),
    (1.6, 10),
    (2.0, 13),
    (2.4, 17),
    (2.9, 22),
    (3.5, 28),
    (4.5, 36),
)


@dataclass(frozen=True)
class Knob:
    """What there is to know of one number or name in a recipe.

    `low` and `high` are included; `grain` is the step of its slider. `automatic` says in words
    what takes the place of a default of None.
    """

    kind: type
    help: str
    low: float = -math.inf
    high: float = math.inf
    grain: float = 1
    unit: str = ""
    automatic: str = ""

    def check(self, name: str, value: Any) -> Any:
        """The value in its own type.

        Raises:
            RecipeError: if it is of another type or out of bounds.
        """
        if value is None and self.automatic:
            return None
        if self.kind is str:
            if not isinstance(value, str):
                raise RecipeError(f"{name} must be a name, not {value!r:.40}")
            return value.strip()
        number = "whole number" if self.kind is int else "number"
        bounds = f"from {self.low:.10g} to {self.high:.10g}"
        wrong = f"{name} must be a {number} {bounds}, not {value!r:.40}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecipeError(wrong)
        # JSON and sliders send whole numbers as floats now and then.
        if not self.low <= value <= self.high or (self.kind is int and value != int(value)):
            raise RecipeError(wrong)
        return self.kind(value)


def knob(default: Any, **about: Any) -> Any:
    """A dataclass field that carries its `Knob`."""
    return field(default=default, metadata={"knob": Knob(**about)})


def knobs(recipe: type[Recipe] | Recipe) -> dict[str, Knob]:
    """The knobs of a recipe by name, in the order they are shown."""
    return {each.name: each.metadata["knob"] for each in fields(recipe)}


AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all recipes share: checking, changing, and the way to and from JSON."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for name, each in knobs(self).items():
            self._set(name, each.check(name, getattr(self, name)))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data, with its kind and the version of the format."""
        return {"deepdream": VERSION, "kind": self.kind, **asdict(self)}

    def to_json(self) -> str:
        """The recipe as one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls: type[AnyRecipe], data: Mapping[str, Any]) -> AnyRecipe:
        """The recipe that `to_dict` wrote. Missing knobs take their defaults.

        Raises:
            RecipeError: if it is of a newer version or another kind, has an unknown knob, or a
                value out of bounds.
        """
        given = dict(data)
        version, kind = given.pop("deepdream", VERSION), given.pop("kind", cls.kind)
        if version != VERSION:
            raise RecipeError(
                f"this recipe has version {version!r:.40}; this program reads {VERSION}"
            )
        if kind != cls.kind:
            raise RecipeError(
                f"this recipe is for {kind!r:.40}; a recipe for {cls.kind!r} is needed"
            )
        names = list(knobs(cls))
        for name in given:
            if name not in names:
                near = get_close_matches(str(name), names, n=3) or names
                raise RecipeError(f"{name!r:.40} is no part of a recipe; try {', '.join(near)}")
        return cls(**given)

    @classmethod
    def from_json(cls: type[AnyRecipe], text: str | bytes) -> AnyRecipe:
        """The recipe that `to_json` wrote.

        Raises:
            RecipeError: as `from_dict`, or if the text is no JSON object.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RecipeError("this is no recipe: it is not JSON") from error
        if not isinstance(data, dict):
            raise RecipeError("this is no recipe: it is not a JSON object")
        return cls.from_dict(data)


@dataclass(frozen=True, kw_only=True)
class DreamRecipe(Recipe):
    """A deep dream: octave gradient ascent on a photo (Mordvintsev et al. 2015).

    `layer`, `step` and `iterations` may be given as None: the network's own default, and what
    `intensity` says. They are filled in when the recipe is made, so that a recipe written down
    stays true when a default moves. `max_side` is filled in by the engine, which knows the device.

    Raises:
        RecipeError: if a knob is out of bounds, or the network or a layer is not there.
    """

    kind: ClassVar[str] = "dream"

    model: str = knob("dreamlet", kind=str, help="The network that dreams.")
    layer: str = knob(
        None,
        kind=str,
        automatic="the network's own",
        help="Where in the network to dream; several with weights as inception3b:0.5,inception4c.",
    )
    intensity: int = knob(
        5, kind=int, low=1, high=10, help="How far to go, from a whisper to a fever."
    )
    octaves: int = knob(
        4, kind=int, low=1, high=10, help="Sizes to dream at; more make larger shapes."
    )
    scale: float = knob(
        1.4, kind=float, low=1.1, high=2.0, grain=0.05, help="How much each octave is larger."
    )
    iterations: int = knob(
        None,
        kind=int,
        low=0,
        high=100,
        automatic="by intensity",
        help="Steps at each octave; more make it stronger and cleaner.",
    )
    step: float = knob(
        None,
        kind=float,
        low=0.0,
        high=20.0,
        grain=0.05,
        unit="grey levels",
        automatic="by intensity",
        help="Mean change of a pixel in one step.",
    )
    jitter: int = knob(
        32,
        kind=int,
        low=0,
        high=128,
        unit="pixels",
        help="Random shift before each step, at most a quarter of the side; hides the grid.",
    )
    smoothing: float = knob(
        0.5,
        kind=float,
        low=0.0,
        high=4.0,
        grain=0.1,
        unit="pixels",
        help="Gaussian blur of each step; more makes larger, softer shapes.",
    )
    seed: int = knob(
        0, kind=int, low=0, high=SEED_LIMIT, help="The same seed gives the same picture."
    )
    max_side: int = knob(
        None,
        kind=int,
        low=32,
        high=2048,
        unit="pixels",
        automatic="640 on a CPU, 1024 on a GPU",
        help="A larger photo is shrunk to this longest side.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.layer:
            self._set("layer", zoo.card(self.model).default_layer)
        step, iterations = INTENSITIES[self.intensity - 1]
        if self.step is None:
            self._set("step", step)
        if self.iterations is None:
            self._set("iterations", iterations)
        self.layers()

    def layers(self) -> tuple[tuple[str, float], ...]:
        """The modules to dream at, friendly names resolved, each with its weight.

        >>> DreamRecipe(layer="inception3b:0.5, inception4c").layers()
        (('inception3b', 0.5), ('inception4c', 1.0))
        """
        layers = tuple(self._weighted(part) for part in self.layer.split(",", LAYER_LIMIT))
        if len({name for name, _ in layers}) < len(layers):
            raise RecipeError(f"layer names a place twice: {self.layer!r:.80}")
        return layers

    def _weighted(self, part: str) -> tuple[str, float]:
        given, _, weight = (text.strip() for text in part.partition(":"))
        name = zoo.card(self.model).layer(given)
        try:
            number = float(weight or 1)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise RecipeError(f"the weight of layer {given} must be a number, not {weight!r:.40}")
        return name, number

    def but(self, **changes: Any) -> DreamRecipe:
        """This recipe with those knobs changed; what follows from them is worked out afresh.

        A new intensity brings its own step and iterations, a new model its own layer.
        """
        follow: dict[str, Any] = {}
        if "intensity" in changes:
            follow.update(step=None, iterations=None)
        if "model" in changes:
            follow.update(layer=None)
        return DreamRecipe(**{**asdict(self), **follow, **changes})
