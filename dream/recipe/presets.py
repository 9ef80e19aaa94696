"""Lists of recipes: the named ones of `presets.json`, contact sheets, and sweeps over knobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from dream.errors import RecipeError, describe_value, suggest_names
from dream.recipe.base import AnyRecipe
from dream.recipe.dream import DreamRecipe

MAX_VARIATIONS = 36
# Default longest side of an image on a contact sheet, in pixels.
DEFAULT_SIDE = 320
MAX_SHEET_MEGAPIXELS = 64
PRESETS_FILE = Path(__file__).with_suffix(".json")


@lru_cache(maxsize=1)
def presets() -> dict[str, DreamRecipe]:
    """Return all presets by name, in display order."""
    listed = json.loads(PRESETS_FILE.read_text(encoding="utf-8"))
    return {name: DreamRecipe.from_dict(knobs) for name, knobs in listed.items()}


def preset_names() -> list[str]:
    """Return the names of all presets, without reading their recipes."""
    return list(json.loads(PRESETS_FILE.read_text(encoding="utf-8")))


def preset(name: str) -> DreamRecipe:
    """Return a preset by its name; case does not matter.

    Raises:
        RecipeError: if there is no such preset.
    """
    for known, recipe in presets().items():
        if known.lower() == name.strip().lower():
            return recipe
    raise RecipeError(
        f"there is no preset {describe_value(name)}; {suggest_names(name.title(), presets())}"
    )


def sweep(
    recipe: AnyRecipe, values: Mapping[str, Sequence[Any]], **overrides: Any
) -> list[AnyRecipe]:
    """Return the recipe at each combination of values; the last knob varies fastest.

    `overrides` take precedence over knobs that a swept value resets (see `Recipe.with_changes`).

    Raises:
        RecipeError: if a value is out of bounds or does not fit the others.

    >>> recipes = sweep(DreamRecipe(), {"layer": ["conv3", "inception3a"], "octaves": [2, 3]})
    >>> [(recipe.layer, recipe.octaves) for recipe in recipes]
    [('conv3', 2), ('conv3', 3), ('inception3a', 2), ('inception3a', 3)]
    """
    unique = [dict.fromkeys(each) for each in values.values()]
    return [
        recipe.with_changes(**overrides | dict(zip(values, choice, strict=True)))
        for choice in product(*unique)
    ]


def variations(
    recipe: DreamRecipe, layers: Sequence[str] = (), intensities: Sequence[int] = ()
) -> list[DreamRecipe]:
    """Return the recipe at each layer and each intensity; an empty list keeps the recipe's value.

    Layers are given as in `DreamRecipe.layer`.

    Raises:
        RecipeError: if there are fewer than 2 variations or more than 36, a value is not valid, or
            the contact sheet might have more than 64 megapixels.
    """
    count = len(set(layers) or {recipe.layer}) * len(set(intensities) or {recipe.intensity})
    if not 2 <= count <= MAX_VARIATIONS:
        raise RecipeError(
            f"a contact sheet compares 2 to {MAX_VARIATIONS} dreams, not {count}; "
            "give several layers, several intensities or both"
        )
    max_side = recipe.max_side or DEFAULT_SIDE
    if count * max_side**2 > MAX_SHEET_MEGAPIXELS * 1e6:
        side = int((MAX_SHEET_MEGAPIXELS * 1e6 / count) ** 0.5)
        raise RecipeError(f"a contact sheet of {count} dreams needs a max_side of {side} or less")
    values = {"layer": layers, "intensity": intensities}
    listed_values = {name: listed for name, listed in values.items() if listed}
    return sweep(recipe.with_changes(max_side=max_side), listed_values)


def parse_names(text: str) -> list[str]:
    """Return the names in "a, b, c"."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_intensities(text: str) -> list[int]:
    """Return the intensities in "3, 5, 8".

    Raises:
        RecipeError: if one is not an integer.
    """
    try:
        return [int(name) for name in parse_names(text)]
    except ValueError as error:
        raise RecipeError(
            f"intensities must be whole numbers such as 3,5,8, not {describe_value(text)}"
        ) from error
