"""Errors, whose one-line messages say what is wrong, what is allowed and what to do.

DreamError (a ValueError)
|- RecipeError
|- PictureError
|- DeviceError
|- OutOfTime
|  |- TimeLimitReached
|  `- LeaseError
`- WeightsError
   `- WeightsUnavailable
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

# The advice in messages of `OutOfTime`.
TIME_LIMIT_ADVICE = "fewer steps or a smaller image take less time"
MAX_MESSAGE_LENGTH = 1000
MAX_NAME_LENGTH = 80


class DreamError(ValueError):
    """An error that the user can correct; its one-line text is shown as it is."""

    def __init__(self, text: str = "") -> None:
        super().__init__(to_printable_line(text))


class RecipeError(DreamError):
    """A knob, a model, a layer or a saved recipe that cannot be used."""


class PictureError(DreamError):
    """A file or an image that cannot be read, dreamed or written."""


class DeviceError(DreamError):
    """A device that this machine does not have or whose memory is too small."""


class OutOfTime(DreamError):  # noqa: N818 - a public name.
    """A job that takes longer than allowed."""


class TimeLimitReached(OutOfTime):
    """A job that was ended at its time limit; its last frame has the image so far."""


class LeaseError(OutOfTime):
    """A GPU lease that was refused or ended early; the text is often that of the provider."""


class WeightsError(DreamError):
    """A weights file that is damaged or does not fit the network."""


class WeightsUnavailable(WeightsError):  # noqa: N818 - a public name.
    """Weights that no source has."""


def to_printable_line(text: str) -> str:
    """Return the text as one line of at most 1000 characters, control characters escaped."""
    if len(text) > MAX_MESSAGE_LENGTH:
        text = f"{text[: MAX_MESSAGE_LENGTH - 1]}…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def describe_value(value: Any, max_length: int = 40) -> str:
    """Return a value as a message shows it: short plain values, otherwise the type."""
    value_type = type(value)
    if value_type is str:
        return repr(value if len(value) <= max_length else f"{value[:max_length]}…")
    if value_type is int and value.bit_length() > 3 * max_length:
        return f"a number of {value.bit_length()} bits"
    if value is None or value_type in (bool, int, float):
        return repr(value)
    return f"a value of type {value_type.__name__:.{max_length}}"


def first_line(error: Exception) -> str:
    """Return the first line of another library's error, cut short, or its type if it is empty.

    An `OSError` is described by its `strerror`, without number and file path.
    """
    text = getattr(error, "strerror", None) or str(error)
    return next(iter(str(text).splitlines()), type(error).__name__)[:160]


def suggest_names(name: Any, names: Collection[str]) -> str:
    """Return advice for an unknown name: which close ones may be meant, or else all names."""
    close = close_matches(name, names)
    return ask_meaning(close) if close else f"try {', '.join(names)}"


def ask_meaning(names: Iterable[str]) -> str:
    """Return the question "did you mean vgg16, vgg19 or resnet50?"."""
    *others, last = names
    return f"did you mean {', '.join(others)}{' or ' * bool(others)}{last}?"


def close_matches(
    name: Any, names: Iterable[str], limit: int = 3, cutoff: float = 0.6
) -> list[str]:
    """Return up to `limit` similar names, the closest first."""
    word = name[:MAX_NAME_LENGTH] if isinstance(name, str) else ""
    return get_close_matches(word, list(names), limit, cutoff)
