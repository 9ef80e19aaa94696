"""Named recipes from `presets.json`."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from dream.errors import RecipeError, describe_value, suggest_names
from dream.recipe.dream import DreamRecipe

PRESETS_FILE = Path(__file__).with_suffix(".json")


def preset_names() -> list[str]:
    """Return the names of the presets, in display order."""
    return list(_load_presets())


@lru_cache(maxsize=1)
def presets() -> dict[str, DreamRecipe]:
    """Return all presets by name, in display order."""
    return {name: DreamRecipe.from_dict(knobs) for name, knobs in _load_presets().items()}


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


def _load_presets() -> dict[str, Any]:
    return dict(json.loads(PRESETS_FILE.read_text(encoding="utf-8")))
