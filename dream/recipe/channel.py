"""The recipe of what a channel looks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.errors import RecipeError, shown
from dream.networks import catalogue
from dream.recipe.knob import knob
from dream.recipe.recipe import LIST_LIMIT, SEED_LIMIT, Recipe


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
        card = catalogue.card(self.model)
        self._set("layer", card.layer(self.layer or card.default_layer))
        card.channel(self.layer, self.channel)
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


def channel_numbers(text: str, model: str, layer: str) -> tuple[int, ...]:
    """The channels of a list as "3,7,12" or "0-15"; each once, in that order.

    Raises:
        RecipeError: if it is no such list, too long, or the layer has no such channel.

    >>> channel_numbers("3, 10-12", "dreamlet", "inception4c")
    (3, 10, 11, 12)
    """
    card = catalogue.card(model)
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = (each.strip() for each in part.partition("-"))
        low = card.channel(layer, first)
        high = card.channel(layer, last) if last else low
        numbers.extend(range(low, high + 1)[: LIST_LIMIT + 1])
        if len(numbers) > LIST_LIMIT:
            raise RecipeError(f"that is too many channels at once; give {LIST_LIMIT} or fewer")
    return tuple(dict.fromkeys(numbers))


def spread_channels(count: int, model: str, layer: str) -> tuple[int, ...]:
    """So many channels of a layer (all, if it has no more), evenly spread.

    The channels of an inception block stand in groups of one kernel size; these come from all.

    >>> spread_channels(4, "dreamlet", "inception4c")
    (0, 80, 160, 240)
    """
    if not isinstance(count, int) or not 1 <= count <= LIST_LIMIT:
        raise RecipeError(f"a grid has 1 to {LIST_LIMIT} channels, not {shown(count)}")
    channels = catalogue.card(model).channel_count(layer)
    count = min(count, channels)
    return tuple(each * channels // count for each in range(count))
