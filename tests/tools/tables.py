"""Makes the tables of `docs/knobs.md` and `docs/networks.md` anew, from the code: `make tables`.

A table is known by its first cell: a kind of recipe, as "knob of `DreamRecipe`", or "network".
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
    if knob.value_type is bool:
        bounds = "`true` or `false`"
    if knob.is_image:
        bounds = "a picture"
    if knob.value_type in (int, float):
        bounds = f"{knob.low:.10g} to {knob.high:.10g} {knob.unit}".strip()
    return f"| `{name}` | {default} | {bounds} | {knob.help} |"


def _network(card: ModelCard) -> str:
    size = "comes with it" if card.source.is_shipped else f"{card.source.megabytes:g} MB"
    layers = ", ".join(
        f"`{layer}`" for layer in (card.low_layer, card.default_layer, card.high_layer)
    )
    return f"| `{card.name}` | {card.description} | {layers} | {size} | {card.licence} |"


ROWS = {
    f"knob of `{kind.__name__}`": [_knob(name, knob) for name, knob in knobs(kind).items()]
    for kind in Recipe.types_by_kind().values()
} | {"network": [_network(card) for card in catalogue.CARDS.values()]}
TABLE = re.compile(r"^(\| (.+?) \|.*\n\|---.*\n)((?:\|.*\n)*)", re.MULTILINE)


def made_anew(page: str) -> str:
    """That page with the rows of every table that is made here, whatever they were."""

    def whole(table: re.Match[str]) -> str:
        rows = ROWS.get(table[2])
        return table[1] + ("".join(f"{row}\n" for row in rows) if rows else table[3])

    return TABLE.sub(whole, page)


def main() -> None:
    for path in PAGES:
        path.write_text(made_anew(path.read_text(encoding="utf-8")), encoding="utf-8")
    print("The tables say what recipes and catalogue say now; git diff says what changed.")


if __name__ == "__main__":
    main()
