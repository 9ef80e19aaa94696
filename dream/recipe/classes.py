"""The 1000 classes of ImageNet: their names, as torchvision has them, and how to find one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dream.errors import RecipeError, near, shown

FILE = Path(__file__).with_suffix(".txt")
MOST_LISTED = 8


@lru_cache(maxsize=1)
def names() -> tuple[str, ...]:
    """The name of each class, by its number from 0: tench, goldfish, great white shark, …"""
    # Torchvision has them too, but takes seconds to load.
    return tuple(FILE.read_text(encoding="utf-8").splitlines())


def find(text: str) -> int:
    """The number of a class given by its number, its name, or a part of the name that no other has.

    Raises:
        RecipeError: if there is none, or more than one; the message lists what is near.

    >>> find("goldfish"), find("School BUS"), find("281"), find("loggerhead")
    (1, 779, 281, 33)
    """
    wanted, known = " ".join(text.split()), names()
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
        raise RecipeError(f"{shown(text)} may be {_listed(found)}; name one of them")
    like = [lowered.index(name) for name in near(wanted, lowered, 5)]
    raise RecipeError(
        f"there is no class {shown(text)}; try {_listed(like or [1, 107, 281])}, "
        f"or a number from 0 to {len(known) - 1}"
    )


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(f"{names()[number]} ({number})" for number in numbers[:MOST_LISTED])
    more = len(numbers) - MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
