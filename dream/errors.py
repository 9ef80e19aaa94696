"""What can go wrong, said in one line: what was given, what is allowed, what to do.

DreamError (a ValueError)
|- RecipeError              a knob, a model, a layer or a saved recipe that cannot be used
|- PictureError             a file or a picture that cannot be read, dreamed or written
|- DeviceError              a device that is not there, or whose memory is too small
|- OutOfTime                work that takes longer than it may
|  |- TimeIsUp              it was ended, with the picture so far
|  `- LeaseError            a GPU that is not lent, or was taken back
`- WeightsError             a weights file that is damaged or does not fit
   `- WeightsUnavailable    weights that no source has
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

# What to do about `OutOfTime`.
TIME_LIMIT_ADVICE = "fewer steps, or a smaller picture, make it quicker"
MAX_MESSAGE_LENGTH = 1000
MAX_NAME_LENGTH = 80


class DreamError(ValueError):
    """Anything a user can put right; its text, one line, is meant to be shown as it is."""

    def __init__(self, text: str = "") -> None:
        super().__init__(to_printable_line(text))


class RecipeError(DreamError):
    """A knob, a model, a layer or a saved recipe that cannot be used."""


class PictureError(DreamError):
    """A file or a picture that cannot be read, dreamed or written."""


class DeviceError(DreamError):
    """A device that this machine does not have, or whose memory is too small."""


class OutOfTime(DreamError):
    """Work that takes longer than it may."""


class TimeLimitReached(OutOfTime):
    """Work that was ended as it took longer than it may; what came last is the picture so far."""


class LeaseError(OutOfTime):
    """A GPU that is not lent, or was taken back before the end; often in the lender's words."""


class WeightsError(DreamError):
    """A weights file that is damaged or does not fit the network."""


class WeightsUnavailable(WeightsError):
    """Weights that no source has."""


def to_printable_line(text: str) -> str:
    """The text in one line of at most 1000 characters; what a terminal would obey, as \\x1b."""
    if len(text) > MAX_MESSAGE_LENGTH:
        text = f"{text[: MAX_MESSAGE_LENGTH - 1]}…"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def describe_value(value: Any, max_length: int = 40) -> str:
    """Any value as a message shows it: plain ones, cut short; of all others the type."""
    kind = type(value)
    if kind is str:
        return repr(value if len(value) <= max_length else f"{value[:max_length]}…")
    if kind is int and value.bit_length() > 3 * max_length:
        return f"a number of {value.bit_length()} bits"
    if value is None or kind in (bool, int, float):
        return repr(value)
    return f"a value of type {kind.__name__:.{max_length}}"


def first_line(error: Exception) -> str:
    """The first line of what an error of a library says, cut short; its type if it says nothing.

    An error of the system says what is wrong, without its number and the path of a file.
    """
    said = getattr(error, "strerror", None) or str(error)
    return next(iter(str(said).splitlines()), type(error).__name__)[:160]


def suggest_names(name: Any, names: Iterable[str]) -> str:
    """What to try where a name is not known: `try vgg16, vgg19`; all of them if none is near."""
    return f"try {', '.join(close_matches(name, names) or names)}"


def close_matches(
    name: Any, names: Iterable[str], limit: int = 3, cutoff: float = 0.6
) -> list[str]:
    """Those of the names that are like that one, the nearest first."""
    word = name[:MAX_NAME_LENGTH] if isinstance(name, str) else ""
    return get_close_matches(word, list(names), limit, cutoff)
