"""Recipes with names: those in `presets.json`, beside this file."""

from __future__ import annotations

import json
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from dream.dream_recipe import DreamRecipe
from dream.errors import RecipeError

FILE = Path(__file__).with_suffix(".json")


@lru_cache(maxsize=1)
def presets() -> dict[str, DreamRecipe]:
    """Every preset by its name, in the order they are shown."""
    return {
        name: DreamRecipe.from_dict(knobs)
        for name, knobs in json.loads(FILE.read_text(encoding="utf-8")).items()
    }


def preset(name: str) -> DreamRecipe:
    """The preset of that name, in large letters or small.

    Raises:
        RecipeError: if there is none.
    """
    names = {each.lower(): each for each in presets()}
    if name.strip().lower() not in names:
        near = get_close_matches(name.strip().lower(), names, n=2) or list(names)
        raise RecipeError(
            f"there is no preset {name!r:.40}; try {', '.join(names[each] for each in near)}"
        )
    return presets()[names[name.strip().lower()]]
