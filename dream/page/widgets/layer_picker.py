"""The layer picker: by an image of its effect, or by network and name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.networks import catalogue
from dream.networks.model_card import Layer, ModelCard
from dream.page.widgets import components
from dream.recipe.base import DEFAULT_MODEL

NO_SELECTION = -1


@dataclass(frozen=True)
class LayerPicker:
    """The components that choose a layer, and the event of a choice."""

    gallery: gr.Gallery
    model: gr.Dropdown
    layer: gr.Dropdown
    on_change: Callable[..., Any]

    @property
    def components(self) -> tuple[gr.Gallery, gr.Dropdown, gr.Dropdown]:
        """Gallery, network and layer, as `picker_updates` returns them."""
        return self.gallery, self.model, self.layer


def layer_gallery(layer: str, title: str) -> gr.Gallery:
    """Build the gallery of Dreamlet's layers; see `selected_layer`."""
    names = _layer_names_with_image(DEFAULT_MODEL)
    gr.Markdown(f"**{title}**")
    return components.thumbnail_gallery(
        value=[
            (str(_layer_image(each.name)), each.effect)
            for each in _layers_with_image(DEFAULT_MODEL)
        ],
        selected_index=names.index(layer) if layer in names else None,
        columns=3,
        label=title,
        elem_classes="layers",
    )


def selected_layer(event: gr.EventData) -> str:
    """Return the layer of a clicked image; raise DreamError if there is none."""
    names, index = _layer_names_with_image(DEFAULT_MODEL), int(event.index)
    if index >= len(names):
        raise DreamError(f"there is no layer image {index + 1}; reload the page")
    return names[index]


def build_layer_picker(model: str, layer: str, title: str, info: str) -> LayerPicker:
    """Build the gallery of Dreamlet's layers, and the lists of all networks and layers."""
    gallery = layer_gallery(layer if model == DEFAULT_MODEL else "", title)
    with gr.Row():
        network_list = network_dropdown(model, scale=4, min_width=150)
        layer_list = gr.Dropdown(
            layer_choices(model),
            value=layer,
            allow_custom_value=True,
            label="Layer",
            info=info,
            scale=5,
            min_width=220,
        )

    def choose(event: gr.EventData, model: str, layer: str) -> tuple[Any, ...]:
        # Each session has its own components, so identify the target by type and label.
        if isinstance(event.target, gr.Gallery):
            return picker_updates(DEFAULT_MODEL, selected_layer(event))
        if getattr(event.target, "label", None) == network_list.label:
            return picker_updates(model, catalogue.get_card(model).default_layer)
        return picker_updates(model, layer)[0], gr.skip(), gr.skip()

    chosen = gr.on(
        [gallery.select, network_list.input, layer_list.input],
        choose,
        [network_list, layer_list],
        [gallery, network_list, layer_list],
        **components.IMMEDIATE_EVENT,
    )
    return LayerPicker(gallery, network_list, layer_list, chosen.then)


def picker_updates(model: str, layer: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Return the updates of the picker's components for a layer."""
    names = _layer_names_with_image(model)
    # None would leave the selection unchanged; an index that does not exist clears it.
    index = names.index(layer) if layer in names else NO_SELECTION
    return (
        gr.update(selected_index=index),
        model,
        gr.update(choices=layer_choices(model), value=layer),
    )


def _layers_with_image(model: str) -> list[Layer]:
    """Return the layers of a network that have an image; only Dreamlet has any."""
    return [
        layer
        for layer in catalogue.get_card(model).layers
        if catalogue.get_card(model).source.is_shipped and _layer_image(layer.name).exists()
    ]


def _layer_names_with_image(model: str) -> list[str]:
    return [layer.name for layer in _layers_with_image(model)]


def _layer_image(layer: str) -> Path:
    return components.EXAMPLES_FOLDER / "layers" / f"{layer}.png"


def network_label(card: ModelCard) -> str:
    """Return the name of a network, with its download size if it needs a download."""
    size = "" if card.source.is_shipped else f" · {card.source.megabytes:.0f} MB"
    return f"{card.name}{size}"


def network_dropdown(model: str, **options: Any) -> gr.Dropdown:
    """Build the list of all networks."""
    networks = [(network_label(card), name) for name, card in catalogue.CARDS.items()]
    info = "Other networks are downloaded on first use."
    return gr.Dropdown(networks, value=model, label="Network", info=info, **options)


def layer_choices(model: str) -> list[tuple[str, str]]:
    """Return the (label, name) pairs of a network's layers."""
    return [
        (f"{layer.effect} · {layer.alias or layer.name}", layer.name)
        for layer in catalogue.get_card(model).layers
    ]
