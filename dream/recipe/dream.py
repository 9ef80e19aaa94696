"""The recipe of a deep dream."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from dream.errors import RecipeError, describe_value
from dream.networks import catalogue
from dream.recipe.base import LIST_LIMIT, Recipe, WeightedNames, parse_weighted_names, seed_knob
from dream.recipe.knob import knob

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

# The longest side of a dream, in pixels, where none is asked for.
DEFAULT_CPU_SIDE, DEFAULT_GPU_SIDE = 640, 1024

# What may be raised, and the knob that each needs.
OBJECTIVE_REQUIREMENTS = {
    "norm": "",
    "mean": "",
    "absolute": "",
    "channels": "channels",
    "match": "guide",
    "texture": "guide",
}


def _default_bands_text() -> str:
    """How many bands each network has by default, in words: "1; 4 for googlenet"."""
    many = [card for card in catalogue.CARDS.values() if card.laplacian_bands > 1]
    return f"1; {many[0].laplacian_bands} for {' and '.join(card.name for card in many)}"


@dataclass(frozen=True, kw_only=True)
class DreamRecipe(Recipe):
    """A deep dream: octave gradient ascent on a photo (Mordvintsev et al. 2015).

    `layer`, `objective`, `step`, `iterations` and `laplacian` may be given as None: what the
    network, `intensity`, `guide` and `channels` say. They are filled in when the recipe is made, so
    that a recipe written down stays true when a default moves. `max_side` may be left open: what
    fits depends on the device. `guide` and `mask` are pictures themselves, as `embed_guide` and
    `embed_mask` make them of files.

    Raises:
        RecipeError: if a knob is out of bounds, or the network or a layer is not there.
    """

    kind: ClassVar[str] = "dream"
    size_knob_name: ClassVar[str] = "max_side"

    layer: str = knob(
        None,
        help="Where in the network to dream; several with weights as inception3b:0.5,inception4c; "
        "others for coarse and for fine octaves as inception5a>inception3b.",
        derived_default="the network's own",
    )
    channels: str = knob(
        "",
        help="Only these channels of the layer, as 7 or with weights 7,12:0.5; empty for all.",
        empty_meaning="all",
    )
    guide: str = knob(
        "",
        help="A picture to dream of what is in it; the network's high layer follows it best.",
        is_image=True,
        empty_meaning="none",
    )
    objective: str = knob(
        None,
        help="What to raise: the squared norm of the layer, its mean, the mean of its absolute "
        "values, its channels; the guide by best match, or by texture.",
        choices=tuple(OBJECTIVE_REQUIREMENTS),
        derived_default="norm; channels or match where given",
    )
    border: int = knob(
        0, 0, 8, "So many positions at the edges of the layer do not count.", unit="positions"
    )
    mask: str = knob(
        "",
        help="A picture, white where to dream; where it is black all stays as it is.",
        is_image=True,
        empty_meaning="everywhere",
    )
    feather: int = knob(8, 0, 64, "How softly the mask begins, inwards.", unit="pixels")
    intensity: int = knob(5, 1, 10, "How far to go, from a whisper to a fever.")
    octaves: int = knob(4, 1, 10, "Sizes to dream at; more make larger shapes.")
    scale: float = knob(1.4, 1.1, 2.0, "How much each octave is larger.", slider_step=0.05)
    iterations: int = knob(
        None,
        0,
        100,
        "Steps at each octave; more make it stronger and cleaner.",
        derived_default="by intensity",
    )
    step: float = knob(
        None,
        0.0,
        20.0,
        "Mean change of a pixel in one step.",
        slider_step=0.05,
        unit="grey levels",
        derived_default="by intensity",
    )
    rule: str = knob(
        "normalised",
        help="How steps are taken: the gradient brought to one size, or Adam.",
        choices=("normalised", "adam"),
    )
    jitter: int = knob(
        32,
        0,
        128,
        "Random shift before each step, at most a quarter of the side; hides the grid.",
        unit="pixels",
    )
    smoothing: float = knob(
        0.5,
        0.0,
        4.0,
        "Gaussian blur of each step; more makes larger, softer shapes.",
        slider_step=0.1,
        unit="pixels",
    )
    laplacian: int = knob(
        None,
        1,
        8,
        "Octaves of frequency that are brought to one strength in each step; 1 for none.",
        unit="bands",
        derived_default=_default_bands_text(),
    )
    total_variation: float = knob(
        0.0,
        0.0,
        2.0,
        "How much each step also smooths, as a share of the step; flat areas, sharp edges.",
        slider_step=0.05,
    )
    pull: float = knob(
        0.0,
        0.0,
        1.0,
        "Which share of the way back to the photo each step goes; 0.02 is subtle.",
        slider_step=0.01,
    )
    keep_colours: bool = knob(
        False, help="Whether the photo keeps its colours; only its brightness dreams."
    )
    seed: int = seed_knob()
    max_side: int = knob(
        None,
        32,
        8192,
        "A larger photo is shrunk to this longest side.",
        unit="pixels",
        derived_default=f"{DEFAULT_CPU_SIDE} on a CPU, {DEFAULT_GPU_SIDE} on a GPU",
    )
    tile: int = knob(
        512,
        128,
        2048,
        "An octave of four tiles of this side or more is read in tiles; it bounds the memory.",
        unit="pixels",
    )
    seamless: str = knob(
        "none",
        help="Which edges meet: the left and the right one, as in a panorama of 360 degrees "
        "(across), or all, as on a wallpaper.",
        choices=("none", "across", "all"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self._derived_defaults().items():
            if getattr(self, name) is None:
                self._set(name, value)
        self._check_objective()
        # Read here once: what cannot be read is refused at once, the rest is kept.
        _ = self.layer_groups, self.channel_weights

    def _derived_defaults(self) -> dict[str, Any]:
        """What knobs that are left open become, by the others."""
        card = self.card
        step, iterations = INTENSITIES[self.intensity - 1]
        named = "match" if self.guide else "channels" if self.channels else "norm"
        return {
            "layer": card.high_layer if self.guide else card.default_layer,
            "objective": named,
            "step": step,
            "iterations": iterations,
            "laplacian": card.laplacian_bands,
        }

    def _check_objective(self) -> None:
        if self.mask and self.seamless != "none":
            raise RecipeError(
                "outside of a mask all stays as it is, so edges cannot be made to meet; "
                "leave out the mask, or let seamless be none"
            )
        if self.guide and self.channels:
            raise RecipeError("channels and a guide cannot both be followed; leave one out")
        need = OBJECTIVE_REQUIREMENTS[self.objective]
        if need and not getattr(self, need):
            raise RecipeError(
                f"objective {self.objective} needs {need}; give that, or leave the objective open"
            )
        for given in ("guide", "channels"):
            if getattr(self, given) and need != given:
                own = " or ".join(
                    name for name, need in OBJECTIVE_REQUIREMENTS.items() if need == given
                )
                raise RecipeError(f"with {given} the objective is {own}, not {self.objective}")

    @cached_property
    def layer_groups(self) -> tuple[WeightedNames, ...]:
        """The modules to dream at, each with its weight: by groups of octaves, coarse ones first.

        >>> DreamRecipe(layer="inception5a > inception3b:0.5, inception4c").octave_layers
        ((('inception5a', 1.0),), (('inception3b', 0.5), ('inception4c', 1.0)))
        """
        if re.match(r"\s*\d+(\.\d+)?\s*s\s*:", self.layer):
            raise RecipeError("key frames are for a zoom; give a layer, as inception4c")
        groups = []
        for text in self.layer.split(">", LIST_LIMIT):
            weights = parse_weighted_names("layer", text)
            group = tuple((self.card.resolve_layer(name), weight) for name, weight in weights)
            if len(dict(group)) < len(group):
                raise RecipeError(f"layer names a place twice: {describe_value(text.strip(), 80)}")
            groups.append(group)
        return tuple(groups)

    def layers_at(self, octave: int, octaves: int) -> WeightedNames:
        """The modules for an octave, counted from 1; the last group has the last octave always.

        >>> mixed = DreamRecipe(layer="inception5a>inception3b")
        >>> [mixed.layers_at(octave, 4)[0][0] for octave in (1, 2, 3, 4)]
        ['inception5a', 'inception5a', 'inception3b', 'inception3b']
        """
        groups = self.layer_groups
        return groups[math.ceil(octave * len(groups) / octaves) - 1]

    @property
    def layers(self) -> WeightedNames:
        """All modules to dream at, friendly names resolved, each with its weight.

        >>> DreamRecipe(layer="inception3b:0.5, inception4c").layers
        (('inception3b', 0.5), ('inception4c', 1.0))
        """
        return tuple(dict(layer for group in self.layer_groups for layer in group).items())

    @cached_property
    def channel_weights(self) -> tuple[tuple[int, float], ...]:
        """The channels to dream of, each with its weight; none for all.

        >>> DreamRecipe(channels="7, 12:0.5").channel_weights
        ((7, 1.0), (12, 0.5))
        """
        if not self.channels:
            return ()
        if len(self.layer_groups) > 1 or len(self.layers) > 1:
            raise RecipeError("channels belong to one layer; give a single layer with them")
        ((layer, _),) = self.layers
        return tuple(
            (self.card.resolve_channel(layer, text), weight)
            for text, weight in parse_weighted_names("channel", self.channels)
        )

    def file_stem(self, photo: str = "") -> str:
        place = self._layer_label("+".join(filter(None, (self.layer, self.channels))))
        return f"dream-{photo}-{place}-i{self.intensity}-seed{self.seed}"

    def _open_defaults(self, device: str, photo: bool) -> dict[str, Any]:
        return {"max_side": DEFAULT_CPU_SIDE if device == "cpu" else DEFAULT_GPU_SIDE}

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        follow = super()._reset_dependents(changes)
        if "intensity" in changes:
            follow |= {"step": None, "iterations": None}
        if "model" in changes:
            follow["laplacian"] = None
        if "model" in changes or "layer" in changes:
            follow["channels"] = ""
        if "guide" in changes and self.layer == self._derived_defaults()["layer"]:
            follow["layer"] = None
        then = {"guide": self.guide, "channels": self.channels} | follow | dict(changes)
        need = OBJECTIVE_REQUIREMENTS[self.objective]
        if not then[need] if need else then["guide"] or then["channels"]:
            follow["objective"] = None
        return follow
