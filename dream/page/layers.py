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
from dream.page import parts
from dream.recipe.recipe import MODEL

NOWHERE = -1


@dataclass(frozen=True)
class LayerChoice:
    """The components that choose a layer, and what is called when one is chosen."""

    pictures: gr.Gallery
    model: gr.Dropdown
    layer: gr.Dropdown
    then: Callable[..., Any]

    @property
    def components(self) -> tuple[gr.Gallery, gr.Dropdown, gr.Dropdown]:
        return self.pictures, self.model, self.layer


def layer_pictures(layer: str, title: str) -> gr.Gallery:
    """The pictures of Dreamlet's layers; see `pictured_layer`."""
    names = _pictured(MODEL)
    gr.Markdown(f"**{title}**")
    return parts.pictures(
        value=[(str(_picture(each.name)), each.brings) for each in _layers(MODEL)],
        selected_index=names.index(layer) if layer in names else None,
        columns=3,
        label=title,
        elem_classes="layers",
    )


def pictured_layer(event: gr.EventData) -> str:
    """The layer whose picture was chosen.

    Raises:
        DreamError: if there are not so many.
    """
    names, place = _pictured(MODEL), int(event.index)
    if place >= len(names):
        raise DreamError(f"there is no picture {place + 1} of a layer; reload the page")
    return names[place]


def choose_layer(model: str, layer: str, title: str, info: str) -> LayerChoice:
    """The pictures of Dreamlet's layers, all networks, and all their layers."""
    pictures = layer_pictures(layer if model == MODEL else "", title)
    with gr.Row():
        networks = network_choice(model, scale=4, min_width=150)
        layers = gr.Dropdown(
            choices(model),
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
            return chosen(MODEL, pictured_layer(event))
        if getattr(event.target, "label", None) == networks.label:
            return chosen(model, catalogue.card(model).default_layer)
        return chosen(model, layer)[0], gr.skip(), gr.skip()

    choosing = gr.on(
        [pictures.select, networks.input, layers.input],
        choose,
        [networks, layers],
        [pictures, networks, layers],
        **parts.AT_ONCE,
    )
    return LayerChoice(pictures, networks, layers, choosing.then)


def chosen(model: str, layer: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """How the components of a `LayerChoice` look when that layer is chosen."""
    names = _pictured(model)
    # None would leave it as it is: a gallery lets go of what is selected for a place it has not.
    place = names.index(layer) if layer in names else NOWHERE
    return (
        gr.update(selected_index=place),
        model,
        gr.update(choices=choices(model), value=layer),
    )


def _layers(model: str) -> list[Layer]:
    """The layers of a network of which there is a picture: those of Dreamlet."""
    return [
        layer
        for layer in catalogue.card(model).layers
        if catalogue.card(model).source.shipped and _picture(layer.name).exists()
    ]


def _pictured(model: str) -> list[str]:
    return [layer.name for layer in _layers(model)]


def _picture(layer: str) -> Path:
    return parts.EXAMPLES / "layers" / f"{layer}.png"


def named(card: ModelCard) -> str:
    """A network and what it costs to have it."""
    size = "here" if card.source.shipped else f"{card.source.megabytes:.0f} MB"
    return f"{card.name} · {size}"


def network_choice(model: str, **about: Any) -> gr.Dropdown:
    """All networks."""
    networks = [(named(card), name) for name, card in catalogue.CARDS.items()]
    info = "Others are fetched once."
    return gr.Dropdown(networks, value=model, label="Network", info=info, **about)


def choices(model: str) -> list[tuple[str, str]]:
    """The layers of a network by what they bring."""
    return [
        (f"{layer.brings} · {layer.alias or layer.name}", layer.name)
        for layer in catalogue.card(model).layers
    ]
