"""The 1000 classes of ImageNet: their names, as torchvision has them, and how to find one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dream.errors import RecipeError, close_matches, describe_value

NAMES_FILE = Path(__file__).with_suffix(".txt")
MAX_LISTED = 8


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """The name of each class, by its number from 0: tench, goldfish, great white shark, …"""
    # Torchvision has them too, but takes seconds to load.
    return tuple(NAMES_FILE.read_text(encoding="utf-8").splitlines())


def find_class(text: str) -> int:
    """The number of a class given by its number, its name, or a part of the name that no other has.

    Raises:
        RecipeError: if there is none, or more than one; the message lists what is near.

    >>> find("goldfish"), find("School BUS"), find("281"), find("loggerhead")
    (1, 779, 281, 33)
    """
    wanted, known = " ".join(text.split()), class_names()
    if wanted in known:
        return known.index(wanted)
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and int(wanted) < len(known):
        return int(wanted)
    wanted = wanted.lower()
    lowered = [name.lower() for name in known]
    # The dog is a Cardigan, the garment a cardigan: a name may still be two classes'.
    found = [number for number, name in enumerate(lowered) if name == wanted]
    if wanted and not found:
        found = [number for number, name in enumerate(lowered) if wanted in name]
    if len(found) == 1:
        return found[0]
    if found:
        found.sort(key=lambda number: not lowered[number].startswith(wanted))
        raise RecipeError(
            f"{describe_value(text)} may be {_format_classes(found)}; name one of them"
        )
    like = [lowered.index(name) for name in close_matches(wanted, lowered, 5)]
    raise RecipeError(
        f"there is no class {describe_value(text)}; try {_format_classes(like or [1, 107, 281])}, "
        f"or a number from 0 to {len(known) - 1}"
    )


def _format_classes(numbers: list[int]) -> str:
    shown = ", ".join(f"{class_names()[number]} ({number})" for number in numbers[:MAX_LISTED])
    more = len(numbers) - MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
