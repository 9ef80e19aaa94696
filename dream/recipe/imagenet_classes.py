"""The names of the 1000 ImageNet classes, as in torchvision, and a search over them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from dream.errors import RecipeError, ask_meaning, close_matches, describe_value

NAMES_FILE = Path(__file__).with_suffix(".txt")
MAX_LISTED = 8
# Plurals, and what one does not count.
NO_ARTICLE = frozenset(
    (
        *("binoculars", "brass", "broccoli", "carbonara", "chain mail", "chocolate sauce"),
        *("consomme", "corn", "dough", "eggnog", "face powder", "guacamole", "hair spray", "hay"),
        *("ice cream", "mashed potato", "parallel bars", "perfume", "rapeseed", "sunglasses"),
        *("sunscreen", "swimming trunks", "thatch", "toilet tissue", "velvet", "wool"),
    )
)


@lru_cache(maxsize=1)
def class_names() -> tuple[str, ...]:
    """Return the class names in order of their numbers: tench, goldfish, great white shark, …."""
    # Torchvision has the same list, but importing it takes seconds.
    return tuple(NAMES_FILE.read_text(encoding="utf-8").splitlines())


def with_article(name: str) -> str:
    """Return a class name as in a sentence.

    >>> [with_article(name) for name in ("goldfish", "orange", "unicycle", "sunglasses")]
    ['a goldfish', 'an orange', 'a unicycle', 'sunglasses']
    """
    if name in NO_ARTICLE:
        return name
    has_vowel = name[0] in "aeiouAEIOU" or name == "hourglass"
    return f"{'an' if has_vowel and not name.startswith(('Eu', 'uni')) else 'a'} {name}"


def find_class(text: str) -> int:
    """Return the number of a class given by number, name or an unambiguous part of its name.

    Raises:
        RecipeError: if no class or more than one matches; the message lists candidates.

    >>> [find_class(text) for text in ("goldfish", "School BUS", "281", "loggerhead")]
    [1, 779, 281, 33]
    """
    query, known = " ".join(text.split()), class_names()
    if query in known:
        return known.index(query)
    if query.isascii() and query.isdigit() and len(query) < 9 and int(query) < len(known):
        return int(query)
    query = query.lower()
    lowered = [name.lower() for name in known]
    # Two names differ only in case: Cardigan is the dog, cardigan the garment.
    matches = [number for number, name in enumerate(lowered) if name == query]
    if query and not matches:
        matches = [number for number, name in enumerate(lowered) if query in name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        matches.sort(key=lambda number: not lowered[number].startswith(query))
        raise RecipeError(
            f"{describe_value(text)} may be {_format_classes(matches)}; name one of them"
        )
    similar = [lowered.index(name) for name in close_matches(query, lowered, 5)]
    advice = f"try {_format_classes([1, 107, 281])}, or a number from 0 to {len(known) - 1}"
    if similar:
        advice = ask_meaning(f"{known[number]} ({number})" for number in similar)
    raise RecipeError(f"there is no class {describe_value(text)}; {advice}")


def _format_classes(numbers: list[int]) -> str:
    """Return the names and numbers of the first classes and the count of the others."""
    shown = ", ".join(f"{class_names()[number]} ({number})" for number in numbers[:MAX_LISTED])
    more = len(numbers) - MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
