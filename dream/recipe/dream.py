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
from dream.recipe.base import (
    MAX_LIST_ITEMS,
    Recipe,
    WeightedNames,
    max_side_knob,
    parse_weighted_names,
    seed_knob,
)
from dream.recipe.knob import Derived, knob

# (step in grey levels, iterations per octave) for intensity 1 to 10, in about even increments: the
# mean change of photographs with Dreamlet at inception4c grows by 2 to 4 grey levels a row, to 35.
STEPS_BY_INTENSITY = (
    (0.35, 6),
    (0.55, 7),
    (0.85, 8),
    (1.25, 9),
    (1.75, 10),
    (1.95, 13),
    (2.2, 16),
    (2.45, 19),
    (2.6, 23),
    (2.85, 27),
)

# Each objective with the knob that it needs.
OBJECTIVE_REQUIREMENTS = {
    "norm": "",
    "mean": "",
    "absolute": "",
    "channels": "channels",
    "likeness": "guide",
    "match": "guide",
    "texture": "guide",
}
DEFAULT_OBJECTIVES = {"": "norm", "channels": "channels", "guide": "likeness"}


def _default_bands_text() -> str:
    """Return the default number of bands in words, such as "1; 4 for googlenet"."""
    cards = [card for card in catalogue.CARDS.values() if card.laplacian_bands > 1]
    return f"1; {cards[0].laplacian_bands} for {' and '.join(card.name for card in cards)}"


@dataclass(frozen=True, kw_only=True, repr=False)
class DreamRecipe(Recipe):
    """A deep dream: octave gradient ascent on a photo (Mordvintsev et al. 2015).

    For `layer`, `objective`, `step`, `iterations` and `laplacian`, None means: derive the value
    from the network, `intensity`, `guide` and `channels` when the recipe is created. A saved recipe
    therefore stays the same when a default changes. `max_side` may stay None, because its default
    depends on the device. `guide` and `mask` are data URIs, which `embed_guide` and `embed_mask`
    make from files.
    """

    kind: ClassVar[str] = "dream"
    size_knob_name: ClassVar[str] = "max_side"
    old_values: ClassVar[Mapping[str, Any]] = {"quiet": 0.0, "guide_colour": 0.0}
    resets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "model": ("layer", "channels", "laplacian"),
        "layer": ("channels",),
        "intensity": ("step", "iterations"),
    }

    layer: Derived[str] = knob(
        None,
        help="Layer to amplify; mix layers with weights as inception3b:0.5,inception4c; use other "
        "layers for coarse and fine octaves as inception5a>inception3b.",
        derived_default="set by the network",
    )
    channels: str = knob(
        "",
        help="Channels of the layer to amplify, with optional weights as 7,12:0.5; empty for all.",
        empty_meaning="all",
    )
    guide: str = knob(
        "",
        help="Guide image, whose content appears in the dream; works best at a high layer.",
        is_image=True,
        empty_meaning="none",
    )
    objective: Derived[str] = knob(
        None,
        help="What to maximise: the layer's squared norm (norm), mean, mean absolute value "
        "(absolute) or channels; or similarity to the guide: to its objects (likeness), to all of "
        "it (match), or by texture.",
        choices=tuple(OBJECTIVE_REQUIREMENTS),
        derived_default="norm; channels with channels, likeness with a guide",
    )
    border: int = knob(
        0, (0, 8), "Positions to ignore at each edge of the layer's activations.", unit="positions"
    )
    mask: str = knob(
        "",
        help="Mask image: white areas dream, black areas stay unchanged.",
        is_image=True,
        empty_meaning="everywhere",
    )
    feather: int = knob(8, (0, 64), "Width of the soft edge inside the mask.", unit="pixels")
    intensity: int = knob(5, (1, 10), "Strength, from subtle to extreme.")
    octaves: int = knob(5, (1, 10), "Number of octaves (image sizes); more give larger shapes.")
    scale: float = knob(1.4, (1.1, 2.0, 0.05), "Size ratio of successive octaves.")
    iterations: Derived[int] = knob(
        None,
        (0, 100),
        "Steps per octave; more make the dream stronger and cleaner.",
        derived_default="set by intensity",
    )
    step: Derived[float] = knob(
        None,
        (0.0, 20.0, 0.05),
        "Mean change of a pixel per step.",
        unit="grey levels",
        derived_default="set by intensity",
    )
    rule: str = knob(
        "normalised",
        help="Optimizer: the gradient scaled to a fixed step size (normalised), or Adam.",
        choices=("normalised", "adam"),
    )
    jitter: int = knob(
        32,
        (0, 128),
        "Random shift before each step, at most a quarter of the side; hides grid artefacts.",
        unit="pixels",
    )
    smoothing: float = knob(
        0.5,
        (0.0, 4.0, 0.1),
        "Gaussian blur of each step; more gives larger, softer shapes.",
        unit="pixels",
    )
    laplacian: Derived[int] = knob(
        None,
        (1, 8),
        "Frequency bands of the gradient that each step scales to equal strength; 1 for none.",
        unit="bands",
        derived_default=_default_bands_text(),
    )
    total_variation: float = knob(
        0.0,
        (0.0, 2.0, 0.05),
        "Total-variation smoothing, as a share of the step; gives flat areas and sharp edges.",
    )
    pull: float = knob(
        0.0,
        (0.0, 1.0, 0.01),
        "Pull towards the photo: share of the difference that each step undoes; 0.02 is subtle.",
    )
    keep_colours: float = knob(
        0.6,
        (0.0, 1.0, 0.05),
        "How much the photo keeps its colours: 0 lets them change freely, at 1 only the "
        "brightness changes.",
        was_bool=True,
    )
    seed: int = seed_knob()
    max_side: int | None = max_side_knob("A larger photo is", 8192, on_cpu=640, on_gpu=1024)
    tile: int = knob(
        512,
        (128, 2048),
        "Side of a tile; octaves of four tiles or more are processed in tiles to limit memory.",
        unit="pixels",
    )
    seamless: str = knob(
        "none",
        help="Edges that match: left and right, for 360-degree panoramas (across), or all four, "
        "for repeating wallpapers (all).",
        choices=("none", "across", "all"),
    )
    quiet: float = knob(
        0.9,
        (0.0, 1.0, 0.05),
        "How much weaker the dream is where the photo is smooth, such as sky, water and walls.",
    )
    guide_colour: float = knob(
        0.5,
        (0.0, 1.0, 0.05),
        "Share of the colours that become those of the guide, if there is one; none with "
        "keep_colours 1.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_combinations()
        _ = self.channel_weights  # Parse now, as the layers.

    def _derived_defaults(self) -> dict[str, Any]:
        card = self.card
        step, iterations = STEPS_BY_INTENSITY[self.intensity - 1]
        return {
            "layer": card.high_layer if self.guide else card.default_layer,
            "objective": DEFAULT_OBJECTIVES[_steering_knob(self.guide, self.channels)],
            "step": step,
            "iterations": iterations,
            "laplacian": card.laplacian_bands,
        }

    def _check_combinations(self) -> None:
        if self.mask and self.seamless != "none":
            raise RecipeError(
                "a mask and seamless edges cannot be combined, because a mask keeps the edges as "
                "they are; remove the mask or set seamless to none"
            )
        if self.guide and self.channels:
            raise RecipeError("channels and a guide cannot be combined; remove one of them")
        need = OBJECTIVE_REQUIREMENTS[self.objective]
        if need and not getattr(self, need):
            raise RecipeError(
                f"objective {self.objective} needs {need}; set {need} or leave out the objective"
            )
        if need != (given := _steering_knob(self.guide, self.channels)):
            fitting = [key for key, need in OBJECTIVE_REQUIREMENTS.items() if need == given]
            raise RecipeError(
                f"with {given} set, objective must be {' or '.join(fitting)}, not {self.objective}"
            )

    @cached_property
    def layer_groups(self) -> tuple[WeightedNames, ...]:
        """The modules with their weights, one group per range of octaves, coarse octaves first.

        >>> DreamRecipe(layer="inception5a > inception3b:0.5, inception4c").layer_groups
        ((('inception5a', 1.0),), (('inception3b', 0.5), ('inception4c', 1.0)))
        """
        if re.match(r"\s*\d+(\.\d+)?\s*s\s*:", self.layer):
            raise RecipeError("only a zoom takes keyframes; give a layer such as inception4c")
        groups = []
        for text in self.layer.split(">", MAX_LIST_ITEMS):
            weights = parse_weighted_names("layer", text)
            group = tuple((self.card.resolve_layer(name), weight) for name, weight in weights)
            if len(dict(group)) < len(group):
                raise RecipeError(f"a layer is listed twice: {describe_value(text.strip(), 80)}")
            groups.append(group)
        return tuple(groups)

    def layers_at(self, octave: int, octaves: int) -> WeightedNames:
        """Return the modules for an octave, counted from 1; the last octave has the last group.

        >>> mixed = DreamRecipe(layer="inception5a>inception3b")
        >>> [mixed.layers_at(octave, 4)[0][0] for octave in (1, 2, 3, 4)]
        ['inception5a', 'inception5a', 'inception3b', 'inception3b']
        """
        groups = self.layer_groups
        return groups[math.ceil(octave * len(groups) / octaves) - 1]

    @property
    def layers(self) -> WeightedNames:
        """All modules to amplify, aliases resolved, with their weights.

        >>> DreamRecipe(layer="inception3b:0.5, inception4c").layers
        (('inception3b', 0.5), ('inception4c', 1.0))
        """
        return tuple(dict(layer for group in self.layer_groups for layer in group).items())

    @cached_property
    def channel_weights(self) -> tuple[tuple[int, float], ...]:
        """The channels to amplify with their weights; empty for all.

        >>> DreamRecipe(channels="7, 12:0.5").channel_weights
        ((7, 1.0), (12, 0.5))
        """
        if not self.channels:
            return ()
        if len(self.layer_groups) > 1 or len(self.layers) > 1:
            raise RecipeError("channels need a single layer, not a mix; give one layer")
        ((layer, _),) = self.layers
        return tuple(
            (self.card.resolve_channel(layer, text), weight)
            for text, weight in parse_weighted_names("channel", self.channels)
        )

    def file_stem(self, photo: str = "") -> str:
        """Return "dream-PHOTO-LAYER-iINTENSITY-seedSEED"."""
        layer = self._layer_label("+".join(filter(None, (self.layer, self.channels))))
        return f"dream-{photo}-{layer}-i{self.intensity}-seed{self.seed}"

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        resets = super()._reset_dependents(changes)
        if "guide" in changes and self.layer == self._derived_defaults()["layer"]:
            resets["layer"] = None
        after = {"guide": self.guide, "channels": self.channels} | resets | dict(changes)
        given = _steering_knob(after["guide"], after["channels"])
        if OBJECTIVE_REQUIREMENTS[self.objective] != given:
            resets["objective"] = None
        return resets


def _steering_knob(guide: str, channels: str) -> str:
    """Return the name of the knob that an objective must fit, or "" if neither is set."""
    return "guide" if guide else "channels" if channels else ""
