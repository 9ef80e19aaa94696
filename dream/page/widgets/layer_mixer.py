"""The layer mixer: several layers with weights, for coarse octaves, fine ones or all."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.page.widgets import components
from dream.page.widgets.layer_picker import NO_SELECTION, LayerPicker, layer_choices
from dream.recipe.dream import DreamRecipe

ROW_COUNT = 3
# The groups of octaves (0 coarse, 1 fine) that a row belongs to.
OCTAVE_GROUPS = {"all": (0, 1), "coarse": (0,), "fine": (1,)}
EMPTY_ROW = ("", 1.0, "all")

MixRow = tuple[str, float, str]

# Turns the values of all rows, in order, into the text of a recipe; "" if all rows are empty.
ROWS_TO_TEXT_SCRIPT = """(values) => {
  const groups = [[], []];
  for (let place = 0; place < values.length; place += 3) {
    const [name, weight, octaves] = values.slice(place, place + 3);
    const text = [1, null].includes(weight) ? name : `${name}:${Number(weight.toPrecision(6))}`;
    for (const group of name ? OCTAVES[octaves] : []) groups[group].push(text);
  }
  const texts = groups.filter((group) => group.length).map(String);
  return [...new Set(texts)].length === 1 ? texts[0] : texts.join(">");
}""".replace("OCTAVES", json.dumps(OCTAVE_GROUPS))


def build_mixer(layer_picker: LayerPicker, model: str, layer: str) -> None:
    """Build rows of layer, weight and octaves, which set the layer of the picker."""
    fields: list[Any] = []
    gr.Markdown(
        "Give each layer a weight; a negative one suppresses what the layer detects. "
        "Coarse octaves make large shapes."
    )
    for number, (name, weight, octaves) in enumerate(parse_rows(model, layer), start=1):
        layers = [("none", ""), *layer_choices(model)]
        options: dict[str, Any] = {"value": name, "allow_custom_value": True, "min_width": 80}
        with gr.Row():
            fields += [
                gr.Dropdown(layers, label=f"Layer {number}", **options),
                gr.Number(weight, label="Weight", step=0.1, min_width=80),
                gr.Dropdown(list(OCTAVE_GROUPS), value=octaves, label="Octaves", min_width=80),
            ]

    # This runs in the browser, because a late server response would undo newer choices.
    cleared_gallery = json.dumps(gr.update(selected_index=NO_SELECTION))
    components.run_in_browser(
        partial(gr.on, [field.input for field in fields]),
        f"""(layer, ...values) => {{
          const text = ({ROWS_TO_TEXT_SCRIPT})(values);
          return text ? [{cleared_gallery}, text] : [{json.dumps(gr.skip())}, layer];
        }}""",
        [layer_picker.layer, *fields],
        [layer_picker.gallery, layer_picker.layer],
    )
    # Two networks may have a layer of the same name; then only their lists differ.
    inputs = [layer_picker.model, layer_picker.layer]
    changes = [each.change for each in inputs]
    gr.on(changes, row_updates, inputs, fields, **components.IMMEDIATE_EVENT)


def row_updates(model: str, layer: str) -> list[Any]:
    """Return the updates of the rows for the layer text of a recipe."""
    updates: list[Any] = []
    for name, weight, octaves in parse_rows(model, layer):
        choices = [("none", ""), *layer_choices(model)]
        updates += [gr.update(choices=choices, value=name), weight, octaves]
    return updates


def parse_rows(model: str, layer: str) -> list[MixRow]:
    """Parse the text of `ROWS_TO_TEXT_SCRIPT`; return empty rows if it does not fit into them.

    >>> parse_rows("dreamlet", "inception5a>inception3b:0.5")[:2]
    [('inception5a', 1.0, 'coarse'), ('inception3b', 0.5, 'fine')]
    """
    try:
        groups = DreamRecipe(model=model, layer=layer).layer_groups
    except DreamError:
        return [EMPTY_ROW] * ROW_COUNT
    coarse, fine = groups[0], groups[-1]
    rows: list[MixRow] = [(*each, "all" if each in fine else "coarse") for each in coarse]
    rows += [(*each, "fine") for each in fine if each not in coarse]
    if len(groups) > 2 or len(rows) > ROW_COUNT:
        return [EMPTY_ROW] * ROW_COUNT
    return rows + [EMPTY_ROW] * (ROW_COUNT - len(rows))
