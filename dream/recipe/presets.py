"""Recipes with names: those in `presets.json`, beside this file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from dream.errors import RecipeError, describe_value, suggest_names
from dream.recipe.dream import DreamRecipe

PRESETS_FILE = Path(__file__).with_suffix(".json")


def preset_names() -> list[str]:
    """The names of the presets, in the order they are shown."""
    return list(_load_presets())


@lru_cache(maxsize=1)
def presets() -> dict[str, DreamRecipe]:
    """Every preset by its name, in the order they are shown."""
    return {name: DreamRecipe.from_dict(knobs) for name, knobs in _load_presets().items()}


def preset(name: str) -> DreamRecipe:
    """The preset of that name, in large letters or small.

    Raises:
        RecipeError: if there is none.
    """
    for each in presets():
        if each.lower() == name.strip().lower():
            return presets()[each]
    raise RecipeError(
        f"there is no preset {describe_value(name)}; {suggest_names(name.title(), presets())}"
    )


def _load_presets() -> dict[str, Any]:
    return dict(json.loads(PRESETS_FILE.read_text(encoding="utf-8")))
