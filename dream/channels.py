"""Channels of a layer by the list: as typed, or spread over all of it."""

from __future__ import annotations

from dream import zoo
from dream.errors import RecipeError, shown
from dream.recipe import LIST_LIMIT


def channel_numbers(text: str, model: str, layer: str) -> tuple[int, ...]:
    """The channels of a list as "3,7,12" or "0-15"; each once, in that order.

    Raises:
        RecipeError: if it is no such list, too long, or the layer has no such channel.

    >>> channel_numbers("3, 10-12", "dreamlet", "inception4c")
    (3, 10, 11, 12)
    """
    card = zoo.card(model)
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
    channels = zoo.card(model).channel_count(layer)
    count = min(count, channels)
    return tuple(each * channels // count for each in range(count))
