"""The recipe of a channel image, and lists of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dream.errors import RecipeError, describe_value
from dream.networks import catalogue
from dream.recipe.base import MAX_LIST_ITEMS, Recipe, WeightedNames, seed_knob, size_knob
from dream.recipe.knob import Derived, Knob, knob

DEFAULT_NOISE_SIDE, DEFAULT_PHOTO_SIDE = 160, 448
DEFAULT_NOISE_STEPS, DEFAULT_PHOTO_STEPS = 128, 48
# Above every real channel; the model card checks the number for each layer.
MAX_CHANNEL = 99_999_999
# How many of a layer's most active channels to list; a layer with fewer lists those.
COUNT_KNOB = Knob("Number of channels.", 1, 65536, value_type=int)


@dataclass(frozen=True, kw_only=True, repr=False)
class ChannelRecipe(Recipe):
    """An image that activates one channel (Olah et al. 2017), from noise or in a photo.

    `size` and `steps` may be None, because their defaults depend on whether there is a photo. The
    layer is stored by its module name.
    """

    kind: ClassVar[str] = "channel"
    resets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "model": ("layer", "channel"),
        "layer": ("channel",),
    }

    layer: Derived[str] = knob(
        None, help="Layer of the channel.", derived_default="set by the network"
    )
    channel: int = knob(0, (0, MAX_CHANNEL), "Channel number, starting at 0.")
    objective: str = knob(
        "channel",
        help="Maximise the channel over the whole image (channel) or only at its centre (neuron).",
        choices=("channel", "neuron"),
    )
    canvas: str = knob(
        "fourier",
        help="What is optimised when starting from noise: Fourier coefficients, or pixels for "
        "comparison; photos always use pixels.",
        choices=("fourier", "pixels"),
    )
    size: int | None = size_knob(DEFAULT_NOISE_SIDE, DEFAULT_PHOTO_SIDE)
    steps: int | None = knob(
        None,
        (0, 400),
        "Number of steps; on a photo, spread over four octaves.",
        derived_default=f"{DEFAULT_NOISE_STEPS}; on a photo {DEFAULT_PHOTO_STEPS}",
        late_default=lambda recipe, device, has_photo: (
            DEFAULT_PHOTO_STEPS if has_photo else DEFAULT_NOISE_STEPS
        ),
    )
    seed: int = seed_knob()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("layer", self.card.resolve_layer(self.layer or self.card.default_layer))
        self.card.resolve_channel(self.layer, self.channel)
        self._check_size(self.size)

    @property
    def layers(self) -> WeightedNames:
        """The layer, with weight 1."""
        return ((self.layer, 1.0),)

    def file_stem(self, photo: str = "") -> str:
        """Return "channel-PHOTO-LAYER-CHANNEL-seedSEED", without PHOTO if there is none."""
        parts = (photo, self._layer_label(self.layer), str(self.channel), f"seed{self.seed}")
        return "-".join(("channel", *filter(None, parts)))


def parse_channels(text: str, model: str, layer: str) -> tuple[int, ...]:
    """Return the channels in a list such as "3,7,12" or "0-15", in order, without repeats.

    Raises:
        RecipeError: if the list is malformed or too long, or the layer has no such channel.

    >>> parse_channels("3, 10-12", "dreamlet", "inception4c")
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
                f"a range of channels must ascend: {high}-{low}, not {describe_value(part.strip())}"
            )
        numbers.extend(range(low, high + 1)[: MAX_LIST_ITEMS + 1])
        if len(numbers) > MAX_LIST_ITEMS:
            raise RecipeError(f"too many channels; give {MAX_LIST_ITEMS} or fewer")
    return tuple(dict.fromkeys(numbers))


def evenly_spaced_channels(count: int, model: str, layer: str) -> tuple[int, ...]:
    """Return up to `count` evenly spaced channels of a layer.

    Even spacing covers all branches of an inception block, whose channels are grouped by branch.

    >>> evenly_spaced_channels(4, "dreamlet", "inception4c")
    (0, 80, 160, 240)
    """
    if not isinstance(count, int) or not 1 <= count <= MAX_LIST_ITEMS:
        raise RecipeError(f"a grid has 1 to {MAX_LIST_ITEMS} channels, not {describe_value(count)}")
    total = catalogue.get_card(model).channel_count(layer)
    count = min(count, total)
    return tuple(index * total // count for index in range(count))
