"""Choosing a layer: by a picture of what it brings, or by network and name."""

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
    """The components that choose a layer, and what is called when one is chosen."""

    gallery: gr.Gallery
    model: gr.Dropdown
    layer: gr.Dropdown
    on_change: Callable[..., Any]

    @property
    def components(self) -> tuple[gr.Gallery, gr.Dropdown, gr.Dropdown]:
        return self.gallery, self.model, self.layer


def layer_gallery(layer: str, title: str) -> gr.Gallery:
    """The pictures of Dreamlet's layers; see `pictured_layer`."""
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
    """The layer whose picture was chosen.

    Raises:
        DreamError: if there are not so many.
    """
    names, index = _layer_names_with_image(DEFAULT_MODEL), int(event.index)
    if index >= len(names):
        raise DreamError(f"there is no picture {index + 1} of a layer; reload the page")
    return names[index]


def build_layer_picker(model: str, layer: str, title: str, info: str) -> LayerPicker:
    """The pictures of Dreamlet's layers, all networks, and all their layers."""
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
        # A session has components of its own: they are told apart by their kinds and labels.
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
    """How the components of a `LayerChoice` look when that layer is chosen."""
    names = _layer_names_with_image(model)
    # None would leave it as it is: a gallery lets go of what is selected for a place it has not.
    index = names.index(layer) if layer in names else NO_SELECTION
    return (
        gr.update(selected_index=index),
        model,
        gr.update(choices=layer_choices(model), value=layer),
    )


def _layers_with_image(model: str) -> list[Layer]:
    """The layers of a network of which there is a picture: those of Dreamlet."""
    return [
        layer
        for layer in catalogue.get_card(model).layers
        if catalogue.get_card(model).source.is_shipped and _layer_image(layer.name).exists()
    ]


def _layer_names_with_image(model: str) -> list[str]:
    return [layer.name for layer in _layers_with_image(model)]


def _layer_image(layer: str) -> Path:
    return components.EXAMPLES / "layers" / f"{layer}.png"


def network_label(card: ModelCard) -> str:
    """A network and what it costs to have it."""
    size = "here" if card.source.is_shipped else f"{card.source.megabytes:.0f} MB"
    return f"{card.name} · {size}"


def network_dropdown(model: str, **options: Any) -> gr.Dropdown:
    """All networks."""
    networks = [(network_label(card), name) for name, card in catalogue.CARDS.items()]
    info = "Others are fetched once."
    return gr.Dropdown(networks, value=model, label="Network", info=info, **options)


def layer_choices(model: str) -> list[tuple[str, str]]:
    """The layers of a network by what they bring."""
    return [
        (f"{layer.effect} · {layer.alias or layer.name}", layer.name)
        for layer in catalogue.get_card(model).layers
    ]
