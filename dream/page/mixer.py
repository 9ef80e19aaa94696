"""Mixing layers: several with weights, others at coarse octaves than at fine ones."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.page import parts
from dream.page.layers import NOWHERE, LayerChoice, choices
from dream.recipe.dream import DreamRecipe

ROWS = 3
# Which of the two groups of octaves, coarse and fine, a row belongs to.
OCTAVES = {"all": (0, 1), "coarse": (0,), "fine": (1,)}
EMPTY = ("", 1.0, "all")

Row = tuple[str, float, str]

# The rows, all their values one after the other, as a recipe has them; "" if all are empty.
WRITTEN = """(values) => {
  const groups = [[], []];
  for (let place = 0; place < values.length; place += 3) {
    const [name, weight, octaves] = values.slice(place, place + 3);
    const text = [1, null].includes(weight) ? name : `${name}:${Number(weight.toPrecision(6))}`;
    for (const group of name ? OCTAVES[octaves] : []) groups[group].push(text);
  }
  const texts = groups.filter((group) => group.length).map(String);
  return [...new Set(texts)].length === 1 ? texts[0] : texts.join(">");
}""".replace("OCTAVES", json.dumps(OCTAVES))


def mixer(choice: LayerChoice, model: str, layer: str) -> list[Any]:
    """A few rows of layer, weight and octaves, which write the text of the chosen layer."""
    components: list[Any] = []
    gr.Markdown(
        "Each with its weight; below 0 to see less of it. Coarse octaves make large shapes."
    )
    for place, (name, weight, octaves) in enumerate(rows_of(model, layer), start=1):
        with gr.Row():
            components += [
                gr.Dropdown(
                    [("none", ""), *choices(model)],
                    value=name,
                    allow_custom_value=True,
                    label=f"Layer {place}",
                    min_width=80,
                ),
                gr.Number(weight, label="Weight", step=0.1, min_width=80),
                gr.Dropdown(list(OCTAVES), value=octaves, label="Octaves", min_width=80),
            ]

    # In the browser: an answer that came late would undo what was chosen meanwhile.
    chosen, skipped = json.dumps(gr.update(selected_index=NOWHERE)), json.dumps(gr.skip())
    gr.on(
        [component.input for component in components],
        None,
        [choice.layer, *components],
        [choice.pictures, choice.layer],
        js=f"""(layer, ...values) => {{
          const text = ({WRITTEN})(values);
          return text ? [{chosen}, text] : [{skipped}, layer];
        }}""",
        api_visibility="private",
    )
    # Two networks may have layers of one name, and then only their lists differ.
    which = [choice.model, choice.layer]
    gr.on([each.change for each in which], shown, which, components, **parts.AT_ONCE)
    return components


def shown(model: str, layer: str) -> list[Any]:
    """How the rows look for that text."""
    updates: list[Any] = []
    for name, weight, octaves in rows_of(model, layer):
        updates += [
            gr.update(choices=[("none", ""), *choices(model)], value=name),
            weight,
            octaves,
        ]
    return updates


def rows_of(model: str, layer: str) -> list[Row]:
    """What `WRITTEN` wrote, as rows; empty ones where the text says more than they can.

    >>> rows_of("dreamlet", "inception5a>inception3b:0.5")[:2]
    [('inception5a', 1.0, 'coarse'), ('inception3b', 0.5, 'fine')]
    """
    try:
        groups = DreamRecipe(model=model, layer=layer).octave_layers
    except DreamError:
        return [EMPTY] * ROWS
    coarse, fine = groups[0], groups[-1]
    rows: list[Row] = [(*each, "all" if each in fine else "coarse") for each in coarse]
    rows += [(*each, "fine") for each in fine if each not in coarse]
    if len(groups) > 2 or len(rows) > ROWS:
        return [EMPTY] * ROWS
    return rows + [EMPTY] * (ROWS - len(rows))
