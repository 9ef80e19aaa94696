"""Regenerate the tables of `docs/knobs.md` and `docs/networks.md` from the code: `make tables`.

The first cell identifies a table: a kind of recipe, as in "knob of `DreamRecipe`", or "network".
"""

from __future__ import annotations

import re

from dream.networks import catalogue
from dream.networks.model_card import ModelCard
from dream.recipe import Recipe
from dream.recipe.knob import Knob, knobs
from tests.conftest import ROOT

PAGES = [ROOT / "docs" / name for name in ("knobs.md", "networks.md")]


def _knob(name: str, knob: Knob) -> str:
    default = knob.derived_default or knob.empty_meaning or f"`{knob.default_text}`"
    bounds = " or ".join(f"`{choice}`" for choice in knob.choices)
    if knob.is_image:
        bounds = "an image"
    if knob.value_type in (int, float):
        bounds = f"{knob.low:.10g} to {knob.high:.10g} {knob.unit}".strip()
    return f"| `{name}` | {default} | {bounds} | {knob.help} |"


def _network(card: ModelCard) -> str:
    size = "included" if card.source.is_shipped else f"{card.source.megabytes:g} MB"
    layers = ", ".join(
        f"`{layer}`" for layer in (card.low_layer, card.default_layer, card.high_layer)
    )
    return f"| `{card.name}` | {card.description} | {layers} | {size} | {card.licence} |"


ROWS = {
    f"knob of `{kind.__name__}`": [_knob(name, knob) for name, knob in knobs(kind).items()]
    for kind in Recipe.types_by_kind().values()
} | {"network": [_network(card) for card in catalogue.CARDS.values()]}
TABLE = re.compile(r"^(\| (.+?) \|.*\n\|---.*\n)((?:\|.*\n)*)", re.MULTILINE)


def regenerate(page: str) -> str:
    """Return the page with the rows of each table replaced by those of the code."""

    def replace_rows(table: re.Match[str]) -> str:
        rows = ROWS.get(table[2])
        return table[1] + ("".join(f"{row}\n" for row in rows) if rows else table[3])

    return TABLE.sub(replace_rows, page)


def main() -> None:
    for path in PAGES:
        path.write_text(regenerate(path.read_text(encoding="utf-8")), encoding="utf-8")
    print("The tables match the recipes and the catalogue now; git diff shows what changed.")


if __name__ == "__main__":
    main()
