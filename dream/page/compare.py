"""Comparing: the photo at several layers and intensities, on one sheet."""

from __future__ import annotations

import html
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import DreamError
from dream.files.picture import load_image
from dream.files.sheet import sheet
from dream.networks import catalogue
from dream.page import parts
from dream.page.controls import Controls, recipe_of
from dream.page.layers import choices
from dream.page.work import Work
from dream.recipe.variations import SIDE, variations

INTENSITIES = (3, 5, 8)


@dataclass(frozen=True)
class Section:
    """What chooses a sheet, and where it is put."""

    layers: gr.Dropdown
    intensities: gr.CheckboxGroup
    go: gr.Button
    sheet: gr.Image


def section(controls: Controls) -> Section:
    """Layers and intensities to compare; all else is as the controls are set.

    The sheet itself is left to be put where there is room.
    """
    model = controls.choice.model
    card = catalogue.card(model.value)
    with gr.Accordion("Compare layers and intensities", open=False, elem_id="comparing"):
        layers = gr.Dropdown(
            choices(model.value),
            value=[card.low, card.default_layer, card.high],
            multiselect=True,
            allow_custom_value=True,
            label="Layers",
            info="None for the one chosen above.",
        )
        intensities = gr.CheckboxGroup(
            [str(each) for each in range(1, 11)],
            value=[str(each) for each in INTENSITIES],
            label="Intensities",
        )
        go = gr.Button("Make a sheet", elem_id="make-sheet")
    sheet = gr.Image(
        type="filepath",
        label="Contact sheet",
        interactive=False,
        visible=False,
        buttons=["download", "fullscreen"],
        elem_id="sheet",
        render=False,
    )
    for event in controls.choice.events[:2]:
        event.then(
            lambda model: gr.update(choices=choices(model), value=[]),
            model,
            layers,
            **parts.AT_ONCE,
        )
    return Section(layers, intensities, go, sheet)


def live(
    work: Work,
    photo: str | None,
    layers: Sequence[str],
    intensities: Sequence[str],
    random_seed: bool,
    *values: Any,
) -> Iterator[tuple[Any, ...]]:
    """The sheet and the status, as one dream after the other is done."""
    same = gr.skip()
    try:
        if not photo:
            raise DreamError("Drop a photo first, or pick one of the examples.")
        strengths = sorted(map(int, intensities))
        with tempfile.TemporaryDirectory() as folder:
            recipe = recipe_of(random_seed, values)
            side = min(recipe.max_side or SIDE, SIDE)
            recipes = variations(recipe.but(max_side=side), layers, strengths)
            frames = work.paint(recipes, load_image(photo))
            for text in parts.fetching(work.engine.fetch(recipe.model)):
                yield same, text
            start = time.monotonic()
            pictures: list[Image.Image] = []
            for frame in frames:
                if frame.finished:
                    pictures.append(frame.picture())
                seconds = parts.left(frame, time.monotonic() - start)
                said = f"Dream {min(len(pictures) + 1, len(recipes))} of {len(recipes)}"
                yield same, parts.under_way(f"{said}, {seconds} left.")
            path = Path(folder) / f"sheet-{parts.stem(photo)}.png"
            sheet(recipes, pictures).save(path)
            said = f"{len(recipes)} dreams in {time.monotonic() - start:.1f} s."
            yield gr.update(value=str(path), visible=True), parts.status(said)
    except DreamError as error:
        said = parts.sentence(error)
        gr.Warning(html.escape(said), title="This cannot be compared")
        yield same, parts.status(said)
