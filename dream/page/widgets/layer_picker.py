"""The layer picker, by an image of its effect or by network and name; the mixer of layers."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.networks import catalogue
from dream.networks.model_card import Layer
from dream.page.widgets import components
from dream.recipe.base import DEFAULT_MODEL
from dream.recipe.dream import DreamRecipe

NO_SELECTION = -1
ROW_COUNT = 3
# The groups of octaves (0 coarse, 1 fine) that a row belongs to.
OCTAVE_GROUPS = {"all": (0, 1), "coarse": (0,), "fine": (1,)}
EMPTY_ROW = ("", 1.0, "all")

MixRow = tuple[str, float, str]


def layer_gallery(layer: str, title: str) -> gr.Gallery:
    """Build the gallery of Dreamlet's layers; see `selected_layer`."""
    layers = _layers_with_image(DEFAULT_MODEL)
    gr.Markdown(f"**{title}**")
    return components.thumbnail_gallery(
        "choices",
        "layers",
        value=[(str(_layer_image(name)), each.effect) for name, each in layers.items()],
        selected_index=list(layers).index(layer) if layer in layers else None,
        columns=3,
        label=title,
    )


def selected_layer(event: gr.EventData) -> str:
    """Return the layer of a clicked image; raise DreamError if there is none."""
    return components.selected_item(event, list(_layers_with_image(DEFAULT_MODEL)), "layer image")


class LayerPicker:
    """The gallery of Dreamlet's layers, and the lists of all networks and of their layers.

    `on_change` registers an event after each choice.
    """

    def __init__(self, model: str, layer: str, title: str, info: str) -> None:
        self.gallery = layer_gallery(layer if model == DEFAULT_MODEL else "", title)
        with gr.Row():
            self.model = network_dropdown(model, scale=4, min_width=150)
            self.layer = gr.Dropdown(
                layer_choices(model),
                value=layer,
                allow_custom_value=True,
                label="Layer",
                info=info,
                scale=5,
                min_width=220,
            )
        # The components as `picker_updates` returns them.
        self.components = [self.gallery, self.model, self.layer]

        def choose(event: gr.EventData, model: str, layer: str) -> tuple[Any, ...]:
            # Each session has its own components, so identify the target by type and label.
            if isinstance(event.target, gr.Gallery):
                return picker_updates(DEFAULT_MODEL, selected_layer(event))
            if getattr(event.target, "label", None) == self.model.label:
                return picker_updates(model, catalogue.get_card(model).default_layer)
            return picker_updates(model, layer)[0], gr.skip(), gr.skip()

        self.on_change = gr.on(
            [self.gallery.select, self.model.input, self.layer.input],
            choose,
            [self.model, self.layer],
            self.components,
            **components.IMMEDIATE_EVENT,
        ).then


def picker_updates(model: str, layer: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Return the updates of the picker's components for a layer."""
    names = list(_layers_with_image(model))
    # None would leave the selection unchanged; an index that does not exist clears it.
    index = names.index(layer) if layer in names else NO_SELECTION
    return (
        gr.update(selected_index=index),
        model,
        gr.update(choices=layer_choices(model), value=layer),
    )


def _layers_with_image(model: str) -> dict[str, Layer]:
    """Return the layers of a network that have an image, by name; only Dreamlet has any."""
    card = catalogue.get_card(model)
    return {
        layer.name: layer
        for layer in card.layers
        if card.source.is_shipped and _layer_image(layer.name).exists()
    }


def _layer_image(layer: str) -> Path:
    return components.EXAMPLES_FOLDER / "layers" / f"{layer}.png"


def network_dropdown(model: str, **options: Any) -> gr.Dropdown:
    """Build the list of all networks, with the sizes of downloads."""
    networks = []
    for name, card in catalogue.CARDS.items():
        size = "" if card.source.is_shipped else f" · {card.source.megabytes:.0f} MB"
        networks.append((f"{card.name}{size}", name))
    info = "Other networks are downloaded on first use."
    return gr.Dropdown(networks, value=model, label="Network", info=info, **options)


def layer_choices(model: str) -> list[tuple[str, str]]:
    """Return the (label, name) pairs of a network's layers."""
    return [
        (f"{layer.effect} · {layer.alias or layer.name}", layer.name)
        for layer in catalogue.get_card(model).layers
    ]


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
    components.run_in_browser(
        partial(gr.on, [field.input for field in fields]),
        f"(layer, ...rows) => mixLayers({json.dumps(OCTAVE_GROUPS)}, layer, rows)",
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
    """Parse the text of `mixText` in `page.js`; return empty rows if it does not fit into them.

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
