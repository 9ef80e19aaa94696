"""One recipe in several ways: a sheet of layers and intensities, or a sweep over any knobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from dream.errors import RecipeError, describe_value
from dream.recipe.base import AnyRecipe
from dream.recipe.dream import DreamRecipe

MAX_VARIATIONS = 36
# The longest side of a picture on a sheet, in pixels, where the recipe leaves it open.
DEFAULT_SIDE = 320
MAX_SHEET_MEGAPIXELS = 64


def sweep(
    recipe: AnyRecipe, values: Mapping[str, Sequence[Any]], **overrides: Any
) -> list[AnyRecipe]:
    """The recipe with each choice of those values of its knobs; those of the last one change first.

    What knobs bring that are chosen (see `Recipe.but`) gives way to the values that are `kept`.

    Raises:
        RecipeError: if one is out of bounds, or does not go with others.

    >>> made = sweep(DreamRecipe(), {"layer": ["conv3", "inception3a"], "octaves": [2, 3]})
    >>> [(each.layer, each.octaves) for each in made]
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
    """The recipe at each of those layers, and there at each of those intensities.

    Where none are given the recipe's own is taken. Layers are as `DreamRecipe.layer` takes them.

    Raises:
        RecipeError: if there are none to compare or more than 36, one is not there, or the sheet
            might have more than 64 megapixels.
    """
    places = list(dict.fromkeys(layers)) or [recipe.layer]
    strengths = list(dict.fromkeys(intensities)) or [recipe.intensity]
    count = len(places) * len(strengths)
    if not 2 <= count <= MAX_VARIATIONS:
        raise RecipeError(
            f"a sheet compares 2 to {MAX_VARIATIONS} dreams, not {count}; "
            "give several layers, several intensities or both"
        )
    recipe = recipe.with_changes(max_side=recipe.max_side or DEFAULT_SIDE)
    if count * recipe.max_side**2 > MAX_SHEET_MEGAPIXELS * 1e6:
        most = int((MAX_SHEET_MEGAPIXELS * 1e6 / count) ** 0.5)
        raise RecipeError(f"{count} dreams fit on a sheet with a max_side of {most} or less")
    given = {"layer": layers, "intensity": intensities}
    return sweep(recipe, {name: values for name, values in given.items() if values})


def parse_names(text: str) -> list[str]:
    """The names in "a, b, c"; none in an empty text."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_integers(text: str) -> list[int]:
    """The whole numbers in "3, 5, 8".

    Raises:
        RecipeError: if one is none.
    """
    try:
        return [int(name) for name in parse_names(text)]
    except ValueError as error:
        raise RecipeError(
            f"intensities are whole numbers as 3,5,8, not {describe_value(text)}"
        ) from error
