"""The recipe of a deep dream."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.errors import RecipeError, shown
from dream.networks import catalogue
from dream.recipe.knob import knob
from dream.recipe.recipe import LIST_LIMIT, SEED_LIMIT, Recipe, weighted

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

# What may be raised, and the knob that each needs.
OBJECTIVES = {
    "norm": "",
    "mean": "",
    "absolute": "",
    "channels": "channels",
    "match": "guide",
    "texture": "guide",
}


@dataclass(frozen=True, kw_only=True)
class DreamRecipe(Recipe):
    """A deep dream: octave gradient ascent on a photo (Mordvintsev et al. 2015).

    `layer`, `objective`, `step`, `iterations` and `laplacian` may be given as None: what the
    network, `intensity`, `guide` and `channels` say. They are filled in when the recipe is made, so
    that a recipe written down stays true when a default moves. `max_side` is filled in by the
    engine, which knows the device; it also takes the pictures that `guide` and `mask` name into the
    recipe itself.

    Raises:
        RecipeError: if a knob is out of bounds, or the network or a layer is not there.
    """

    kind: ClassVar[str] = "dream"

    layer: str = knob(
        None,
        kind=str,
        automatic="the network's own",
        help="Where in the network to dream; several with weights as inception3b:0.5,inception4c; "
        "others for coarse and for fine octaves as inception5a>inception3b.",
    )
    channels: str = knob(
        "",
        kind=str,
        empty="all",
        help="Only these channels of the layer, as 7 or with weights 7,12:0.5; empty for all.",
    )
    guide: str = knob(
        "",
        kind=str,
        file=True,
        empty="none",
        help="A picture to dream of what is in it; the network's high layer follows it best.",
    )
    objective: str = knob(
        None,
        kind=str,
        choices=tuple(OBJECTIVES),
        automatic="norm; channels or match where given",
        help="What to raise: the squared norm of the layer, its mean, the mean of its absolute "
        "values, its channels; the guide by best match, or by texture.",
    )
    border: int = knob(
        0,
        kind=int,
        low=0,
        high=8,
        unit="positions",
        help="So many positions at the edges of the layer do not count.",
    )
    mask: str = knob(
        "",
        kind=str,
        file=True,
        empty="everywhere",
        help="A picture, white where to dream; where it is black all stays as it is.",
    )
    feather: int = knob(
        8, kind=int, low=0, high=64, unit="pixels", help="How softly the mask begins, inwards."
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
    rule: str = knob(
        "normalised",
        kind=str,
        choices=("normalised", "adam"),
        help="How steps are taken: the gradient brought to one size, or Adam.",
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
    laplacian: int = knob(
        None,
        kind=int,
        low=1,
        high=8,
        automatic="1; 4 for googlenet and squeezenet1_1",
        unit="bands",
        help="Octaves of frequency that are brought to one strength in each step; 1 for none.",
    )
    total_variation: float = knob(
        0.0,
        kind=float,
        low=0.0,
        high=2.0,
        grain=0.05,
        help="How much each step also smooths, as a share of the step; flat areas, sharp edges.",
    )
    pull: float = knob(
        0.0,
        kind=float,
        low=0.0,
        high=1.0,
        grain=0.01,
        help="Which share of the way back to the photo each step goes; 0.02 is subtle.",
    )
    keep_colours: bool = knob(
        False, kind=bool, help="Whether the photo keeps its colours; only its brightness dreams."
    )
    seed: int = knob(
        0, kind=int, low=0, high=SEED_LIMIT, help="The same seed gives the same picture."
    )
    max_side: int = knob(
        None,
        kind=int,
        low=32,
        high=8192,
        unit="pixels",
        automatic="640 on a CPU, 1024 on a GPU",
        help="A larger photo is shrunk to this longest side.",
    )
    tile: int = knob(
        512,
        kind=int,
        low=128,
        high=2048,
        unit="pixels",
        help="An octave of four tiles of this side or more is read in tiles; it bounds the memory.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self._automatic().items():
            if getattr(self, name) is None:
                self._set(name, value)
        self.layers()
        self.channel_weights()
        self._check_objective()

    def _automatic(self) -> dict[str, Any]:
        """What knobs that are left open become, by the others."""
        card = catalogue.card(self.model)
        step, iterations = INTENSITIES[self.intensity - 1]
        named = "match" if self.guide else "channels" if self.channels else "norm"
        return {
            "layer": card.high if self.guide else card.default_layer,
            "objective": named,
            "step": step,
            "iterations": iterations,
            "laplacian": card.bands,
        }

    def _check_objective(self) -> None:
        if self.guide and self.channels:
            raise RecipeError("channels and a guide cannot both be followed; leave one out")
        need = OBJECTIVES[self.objective]
        if need and not getattr(self, need):
            raise RecipeError(
                f"objective {self.objective} needs {need}; give that, or leave the objective open"
            )
        for given in ("guide", "channels"):
            if getattr(self, given) and need != given:
                own = " or ".join(name for name, need in OBJECTIVES.items() if need == given)
                raise RecipeError(f"with {given} the objective is {own}, not {self.objective}")

    def octave_layers(self) -> tuple[tuple[tuple[str, float], ...], ...]:
        """The modules to dream at, each with its weight: by groups of octaves, coarse ones first.

        >>> DreamRecipe(layer="inception5a > inception3b:0.5, inception4c").octave_layers()
        ((('inception5a', 1.0),), (('inception3b', 0.5), ('inception4c', 1.0)))
        """
        card = catalogue.card(self.model)
        groups = []
        for text in self.layer.split(">", LIST_LIMIT):
            weights = weighted("layer", text)
            group = tuple((card.layer(name), weight) for name, weight in weights)
            if len(dict(group)) < len(group):
                raise RecipeError(f"layer names a place twice: {shown(text.strip(), 80)}")
            groups.append(group)
        return tuple(groups)

    def layers_at(self, octave: int, octaves: int) -> tuple[tuple[str, float], ...]:
        """The modules for an octave, counted from 1; the last group has the last octave always.

        >>> mixed = DreamRecipe(layer="inception5a>inception3b")
        >>> [mixed.layers_at(octave, 4)[0][0] for octave in (1, 2, 3, 4)]
        ['inception5a', 'inception5a', 'inception3b', 'inception3b']
        """
        groups = self.octave_layers()
        return groups[math.ceil(octave * len(groups) / octaves) - 1]

    def layers(self) -> tuple[tuple[str, float], ...]:
        """All modules to dream at, friendly names resolved, each with its weight.

        >>> DreamRecipe(layer="inception3b:0.5, inception4c").layers()
        (('inception3b', 0.5), ('inception4c', 1.0))
        """
        return tuple(dict(layer for group in self.octave_layers() for layer in group).items())

    def channel_weights(self) -> tuple[tuple[int, float], ...]:
        """The channels to dream of, each with its weight; none for all.

        >>> DreamRecipe(channels="7, 12:0.5").channel_weights()
        ((7, 1.0), (12, 0.5))
        """
        if not self.channels:
            return ()
        if len(self.octave_layers()) > 1 or len(self.layers()) > 1:
            raise RecipeError("channels belong to one layer; give a single layer with them")
        ((layer, _),) = self.layers()
        card, weights = catalogue.card(self.model), weighted("channel", self.channels)
        return tuple((card.channel(layer, text), weight) for text, weight in weights)

    def _follow(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        follow = super()._follow(changes)
        if "intensity" in changes:
            follow |= {"step": None, "iterations": None}
        if "model" in changes:
            follow["laplacian"] = None
        if "model" in changes or "layer" in changes:
            follow["channels"] = ""
        if "guide" in changes and self.layer == self._automatic()["layer"]:
            follow["layer"] = None
        then = {"guide": self.guide, "channels": self.channels} | follow | dict(changes)
        need = OBJECTIVES[self.objective]
        if not then[need] if need else then["guide"] or then["channels"]:
            follow["objective"] = None
        return follow
