"""A recipe: all that decides a picture. The app, the API, the command line and PNGs speak it.

Each knob stands here once, with its default, bounds, unit and help; sliders, options, checks and
README's tables follow from it. A recipe that exists is valid; what is left open in it (sizes that
fit a device) `Engine.settle` fills in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, TypeVar

from dream import classes, zoo
from dream.errors import RecipeError
from dream.knob import knob, knobs

VERSION = 1
SEED_LIMIT = 2**31 - 1
LIST_LIMIT = 64

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


AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all recipes share: checking, changing, and the way to and from JSON."""

    kind: ClassVar[str] = ""

    model: str = knob("dreamlet", kind=str, help="The network that dreams.")

    def __post_init__(self) -> None:
        for name, each in knobs(self).items():
            self._set(name, each.check(name, getattr(self, name)))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def layers(self) -> tuple[tuple[str, float], ...]:
        """The modules it reads, friendly names resolved, each with its weight."""
        raise NotImplementedError

    def but(self: AnyRecipe, **changes: Any) -> AnyRecipe:
        """This recipe with those knobs changed; what follows from them is worked out afresh.

        A new intensity brings its own step and iterations, a new model its own layer, a new layer
        its own channels.
        """
        return type(self)(**{**asdict(self), **self._follow(changes), **changes})

    def _follow(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What those changes undo."""
        return {"layer": None} if "model" in changes else {}

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain data, with its kind and the version of the format."""
        return {"deepdream": VERSION, "kind": self.kind, **asdict(self)}

    def to_json(self) -> str:
        """The recipe as one line of JSON."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls: type[AnyRecipe], data: Mapping[str, Any]) -> AnyRecipe:
        """The recipe that `to_dict` wrote; of `Recipe` itself, whatever its kind.

        Missing knobs take their defaults, a missing kind is that of the class, or a dream.

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
        kinds = {each.kind: each for each in cls.__subclasses__() or [cls]}
        if (kind or DreamRecipe.kind) not in kinds:
            raise RecipeError(
                f"this recipe is for {kind!r:.40}; "
                f"a recipe for {' or '.join(map(repr, kinds))} is needed"
            )
        recipe = kinds[kind or DreamRecipe.kind]
        names = list(knobs(recipe))
        for name in given:
            if name not in names:
                near = get_close_matches(str(name), names, n=3) or names
                raise RecipeError(f"{name!r:.40} is no part of a recipe; try {', '.join(near)}")
        return recipe(**given)

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

    layer: str = knob(
        None,
        kind=str,
        automatic="the network's own",
        help="Where in the network to dream; several with weights as inception3b:0.5,inception4c.",
    )
    channels: str = knob(
        "",
        kind=str,
        help="Only these channels of the layer, as 7 or with weights 7,12:0.5; empty for all.",
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
        self.channel_weights()

    def layers(self) -> tuple[tuple[str, float], ...]:
        """The modules to dream at, friendly names resolved, each with its weight.

        >>> DreamRecipe(layer="inception3b:0.5, inception4c").layers()
        (('inception3b', 0.5), ('inception4c', 1.0))
        """
        weights = weighted("layer", self.layer)
        layers = tuple((zoo.card(self.model).layer(name), weight) for name, weight in weights)
        if len({name for name, _ in layers}) < len(layers):
            raise RecipeError(f"layer names a place twice: {self.layer!r:.80}")
        return layers

    def channel_weights(self) -> tuple[tuple[int, float], ...]:
        """The channels to dream of, each with its weight; none for all.

        >>> DreamRecipe(channels="7, 12:0.5").channel_weights()
        ((7, 1.0), (12, 0.5))
        """
        if not self.channels:
            return ()
        if len(self.layers()) > 1:
            raise RecipeError("channels belong to one layer; give a single layer with them")
        ((layer, _),) = self.layers()
        weights = weighted("channel", self.channels)
        return tuple((zoo.channel(self.model, layer, text), weight) for text, weight in weights)

    def _follow(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        follow = super()._follow(changes)
        if "intensity" in changes:
            follow |= {"step": None, "iterations": None}
        if "model" in changes or "layer" in changes:
            follow["channels"] = ""
        return follow


@dataclass(frozen=True, kw_only=True)
class ChannelRecipe(Recipe):
    """What one channel of a layer looks for (Olah et al. 2017), from noise or in a photo.

    `size` and `steps` may be left open: what fits depends on whether there is a photo, which
    `Engine.settle` knows. The layer is written down by the name of its module.

    Raises:
        RecipeError: if a knob is out of bounds, or the network, the layer or the channel is not
            there, or the network does not read pictures so small.
    """

    kind: ClassVar[str] = "channel"

    layer: str = knob(
        None, kind=str, automatic="the network's own", help="The layer whose channel is shown."
    )
    channel: int = knob(0, kind=int, low=0, high=65535, help="The channel, counted from 0.")
    objective: str = knob(
        "channel",
        kind=str,
        choices=("channel", "neuron"),
        help="Raise it all over the picture (channel) or in its middle alone (neuron).",
    )
    canvas: str = knob(
        "fourier",
        kind=str,
        choices=("fourier", "pixels"),
        help="What noise is made of: waves, or pixels for comparison; a photo starts as it is.",
    )
    size: int = knob(
        None,
        kind=int,
        low=32,
        high=1024,
        unit="pixels",
        automatic="160; on a photo 448",
        help="The side of the picture; a larger photo is shrunk to this longest side.",
    )
    steps: int = knob(
        None,
        kind=int,
        low=0,
        high=400,
        automatic="128; on a photo 48",
        help="Steps of the ascent; on a photo spread over four octaves.",
    )
    seed: int = knob(
        0, kind=int, low=0, high=SEED_LIMIT, help="The same seed gives the same picture."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        card = zoo.card(self.model)
        self._set("layer", card.layer(self.layer or card.default_layer))
        zoo.channel(self.model, self.layer, self.channel)
        if self.size is not None and self.size < card.min_side:
            raise RecipeError(f"{self.model} needs a size of {card.min_side} pixels or more")

    def layers(self) -> tuple[tuple[str, float], ...]:
        """The one layer."""
        return ((self.layer, 1.0),)

    def _follow(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        follow = super()._follow(changes)
        if "model" in changes or "layer" in changes:
            follow["channel"] = 0
        return follow


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
        card = zoo.card(self.model)
        weights = weighted("class", self.target)
        numbers = [(classes.find(name), weight) for name, weight in weights]
        if len(dict(numbers)) < len(numbers):
            raise RecipeError(f"target names a class twice: {self.target!r:.80}")
        written = (f"{classes.names()[each]}:{weight:g}" for each, weight in numbers)
        self._set("target", ",".join(text.removesuffix(":1") for text in written))
        if self.size is not None and self.size < card.min_side:
            raise RecipeError(f"{self.model} needs a size of {card.min_side} pixels or more")

    def layers(self) -> tuple[tuple[str, float], ...]:
        """The last layer, which holds the logits."""
        return ((zoo.card(self.model).scores, 1.0),)

    def targets(self) -> tuple[tuple[int, float], ...]:
        """The number of each class, with its weight.

        >>> ClassRecipe(target="goldfish, jellyfish:0.5").targets()
        ((1, 1.0), (107, 0.5))
        """
        return tuple((classes.find(name), each) for name, each in weighted("class", self.target))

    def _follow(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {}


def weighted(what: str, text: str) -> list[tuple[str, float]]:
    """The names in "a:0.5, b", each with its weight, 1 where none is given.

    Raises:
        RecipeError: if a weight is no number.
    """
    weights = []
    for part in text.split(",", LIST_LIMIT):
        name, _, weight = (each.strip() for each in part.partition(":"))
        try:
            number = float(weight or 1)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise RecipeError(
                f"the weight of {what} {name:.60} must be a number, not {weight!r:.40}"
            )
        weights.append((name, number))
    return weights
