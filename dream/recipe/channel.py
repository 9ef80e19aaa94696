"""The recipe of what a channel looks for, and channels by the list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dream.errors import RecipeError, describe_value
from dream.networks import catalogue
from dream.recipe.base import LIST_LIMIT, Recipe, WeightedNames, seed_knob, size_knob
from dream.recipe.knob import knob

# Sides and steps from noise, and on a photo.
DEFAULT_SIZES = (160, 448)
DEFAULT_STEPS = (128, 48)
# More than any layer has: which ones a layer has, its card says.
MOST_CHANNELS = 99_999_999


@dataclass(frozen=True, kw_only=True)
class ChannelRecipe(Recipe):
    """What one channel of a layer looks for (Olah et al. 2017), from noise or in a photo.

    `size` and `steps` may be left open: what fits depends on whether there is a photo. The layer is
    written down by the name of its module.

    Raises:
        RecipeError: if a knob is out of bounds, or the network, the layer or the channel is not
            there, or the network does not read pictures so small.
    """

    kind: ClassVar[str] = "channel"

    layer: str = knob(
        None, help="The layer whose channel is shown.", derived_default="the network's own"
    )
    channel: int = knob(0, 0, MOST_CHANNELS, "The channel, counted from 0.")
    objective: str = knob(
        "channel",
        help="Raise it all over the picture (channel) or in its middle alone (neuron).",
        choices=("channel", "neuron"),
    )
    canvas: str = knob(
        "fourier",
        help="What noise is made of: waves, or pixels for comparison; a photo starts as it is.",
        choices=("fourier", "pixels"),
    )
    size: int = size_knob(*DEFAULT_SIZES)
    steps: int = knob(
        None,
        0,
        400,
        "Steps of the ascent; on a photo spread over four octaves.",
        derived_default=f"{DEFAULT_STEPS[0]}; on a photo {DEFAULT_STEPS[1]}",
    )
    seed: int = seed_knob()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("layer", self.card.resolve_layer(self.layer or self.card.default_layer))
        self.card.resolve_channel(self.layer, self.channel)
        self._check_size(self.size)

    @property
    def layers(self) -> WeightedNames:
        """The one layer."""
        return ((self.layer, 1.0),)

    def _reset_dependents(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        follow = super()._reset_dependents(changes)
        if "model" in changes or "layer" in changes:
            follow["channel"] = 0
        return follow

    def file_stem(self, photo: str = "") -> str:
        parts = (photo, self._layer_label(self.layer), str(self.channel), f"seed{self.seed}")
        return "-".join(("channel", *filter(None, parts)))

    def _open_defaults(self, device: str, photo: bool) -> dict[str, Any]:
        return {"size": DEFAULT_SIZES[photo], "steps": DEFAULT_STEPS[photo]}


def parse_channels(text: str, model: str, layer: str) -> tuple[int, ...]:
    """The channels of a list as "3,7,12" or "0-15"; each once, in that order.

    Raises:
        RecipeError: if it is no such list, too long, or the layer has no such channel.

    >>> channel_numbers("3, 10-12", "dreamlet", "inception4c")
    (3, 10, 11, 12)
    """
    card = catalogue.get_card(model)
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = (each.strip() for each in part.partition("-"))
        low = card.resolve_channel(layer, first)
        high = card.resolve_channel(layer, last) if last else low
        if high < low:
            raise RecipeError(
                f"channels run upwards, as {high}-{low}, not {describe_value(part.strip())}"
            )
        numbers.extend(range(low, high + 1)[: LIST_LIMIT + 1])
        if len(numbers) > LIST_LIMIT:
            raise RecipeError(f"that is too many channels at once; give {LIST_LIMIT} or fewer")
    return tuple(dict.fromkeys(numbers))


def evenly_spaced_channels(count: int, model: str, layer: str) -> tuple[int, ...]:
    """So many channels of a layer (all, if it has no more), evenly spread.

    The channels of an inception block stand in groups of one kernel size; these come from all.

    >>> spread_channels(4, "dreamlet", "inception4c")
    (0, 80, 160, 240)
    """
    if not isinstance(count, int) or not 1 <= count <= LIST_LIMIT:
        raise RecipeError(f"a grid has 1 to {LIST_LIMIT} channels, not {describe_value(count)}")
    channels = catalogue.get_card(model).channel_count(layer)
    count = min(count, channels)
    return tuple(each * channels // count for each in range(count))
