"""Comparing: the photo at several layers and intensities, on one sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import TimeIsUp
from dream.files import sheet as contact
from dream.files.picture import save_image
from dream.networks import catalogue
from dream.page import parts
from dream.page.controls import Controls, recipe_of
from dream.page.layers import choices
from dream.page.moments import Moment, fresh_folder, moments, stem
from dream.recipe.dream import DreamRecipe
from dream.recipe.variations import SIDE, variations
from dream.service.work import Work

INTENSITIES = (3, 5, 8)


@dataclass(frozen=True)
class Section:
    """What chooses a sheet, and where it is put."""

    layers: gr.Dropdown
    intensities: gr.CheckboxGroup
    go: gr.Button
    sheet: gr.Image

    @property
    def inputs(self) -> dict[str, Any]:
        """What `sheet` is given."""
        return {"layers": self.layers, "intensities": self.intensities}


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
    model.change(
        lambda model: gr.update(choices=choices(model), value=[]), model, layers, **parts.AT_ONCE
    )
    return Section(layers, intensities, go, sheet)


def sheet(
    work: Work,
    photo: str | None,
    layers: Sequence[str],
    intensities: Sequence[str],
    random_seed: bool,
    **knobs: Any,
) -> Iterator[dict[str, Any]]:
    """The sheet and the status, as one dream after the other is done."""
    photo = parts.needed(photo)
    recipes = _compared(recipe_of(random_seed, knobs), layers, intensities)
    late = None
    try:
        for moment, made in sheets(work, recipes, photo):
            if moment.frame:
                at = min(len(made) + 1, len(recipes))
                yield {"status": parts.under_way(f"Dream {at} of {len(recipes)}, {moment.left}.")}
            else:
                yield {"status": moment.words}
    except TimeIsUp as error:
        late = error
    path = sheet_file(recipes, made, photo)
    yield {
        "sheet": gr.update(value=path, visible=True),
        "status": parts.status(f"{len(made)} dreams in {moment.seconds:.1f} s."),
    }
    if late:
        raise late


def checked(layers: Sequence[str], intensities: Sequence[str], **values: Any) -> None:
    """See that there is something to compare; raises as `variations`."""
    _compared(parts.checked(DreamRecipe, **values), layers, intensities)


def _compared(
    recipe: DreamRecipe, layers: Sequence[str], intensities: Sequence[str]
) -> list[DreamRecipe]:
    recipe = recipe.but(max_side=min(recipe.max_side or SIDE, SIDE))
    return variations(recipe, layers, sorted(map(int, intensities)))


def sheets(
    work: Work, recipes: Sequence[DreamRecipe], photo: str
) -> Iterator[tuple[Moment, list[Image.Image]]]:
    """The dreams of a sheet as they are made, and those that are done, or as far as they came."""
    made: list[Image.Image] = []
    for moment in moments(work, recipes, photo, files=False):
        if moment.frame and (moment.frame.finished or moment.frame.ended):
            made.append(moment.frame.picture())
        yield moment, made


def sheet_file(recipes: Sequence[DreamRecipe], dreams: Sequence[Image.Image], photo: str) -> str:
    """The path of a sheet."""
    path = fresh_folder() / f"sheet-{stem(photo)}.png"
    save_image(contact.sheet(recipes, dreams), path, photo=True)
    return str(path)
