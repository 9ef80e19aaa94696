"""Contact sheets that compare layers and intensities for one photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import TimeLimitReached
from dream.files import contact_sheet as contact
from dream.files.image import save_image
from dream.networks import catalogue
from dream.page import status_line
from dream.page.image_stream import RenderUpdate, new_output_folder, photo_stem, stream_render
from dream.page.widgets import components
from dream.page.widgets.layer_picker import layer_choices
from dream.page.widgets.recipe_controls import RecipeControls, read_controls
from dream.recipe.dream import DreamRecipe
from dream.recipe.presets import DEFAULT_SIDE, variations
from dream.service.job_runner import JobRunner

DEFAULT_INTENSITIES = (3, 5, 8)


@dataclass(frozen=True)
class ComparisonSection:
    """The inputs of a contact sheet, its button and its image."""

    layers: gr.Dropdown
    intensities: gr.CheckboxGroup
    go_button: gr.Button
    sheet: gr.Image

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs of `stream_sheet`, by name."""
        return {"layers": self.layers, "intensities": self.intensities}


def build_comparison(controls: RecipeControls) -> ComparisonSection:
    """Build the inputs for layers and intensities; the caller renders the sheet itself."""
    model = controls.layer_picker.model
    card = catalogue.get_card(model.value)
    with gr.Accordion("Compare layers and intensities", open=False, elem_id="comparing"):
        layers = gr.Dropdown(
            layer_choices(model.value),
            value=[card.low_layer, card.default_layer, card.high_layer],
            multiselect=True,
            allow_custom_value=True,
            label="Layers",
            info="Leave empty to use the layer chosen above.",
        )
        intensities = gr.CheckboxGroup(
            [str(each) for each in range(1, 11)],
            value=[str(each) for each in DEFAULT_INTENSITIES],
            label="Intensities",
        )
        go_button = gr.Button("Make contact sheet", elem_id="make-sheet")
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
        lambda model: gr.update(choices=layer_choices(model), value=[]),
        model,
        layers,
        **components.IMMEDIATE_EVENT,
    )
    return ComparisonSection(layers, intensities, go_button, sheet)


def stream_sheet(
    runner: JobRunner,
    photo: str | None,
    layers: Sequence[str],
    intensities: Sequence[str],
    random_seed: bool,
    **knobs: Any,
) -> Iterator[dict[str, Any]]:
    """Yield the status after each step, and the sheet at the end or at the time limit."""
    photo = components.require_photo(photo)
    recipes = _variation_recipes(read_controls(random_seed, knobs), layers, intensities)
    time_limit_error = None
    try:
        for update, dreams in stream_dreams(runner, recipes, photo):
            if update.frame:
                position = min(len(dreams) + 1, len(recipes))
                text = f"Dream {position} of {len(recipes)}, {update.remaining}."
                yield {"status": status_line.progress_html(text)}
            else:
                yield {"status": update.status}
    except TimeLimitReached as error:
        time_limit_error = error
    path = write_sheet(recipes, dreams, photo)
    text = f"Contact sheet of {len(dreams)} dreams, made in {update.seconds:.1f} s."
    yield {"sheet": gr.update(value=path, visible=True), "status": status_line.status_html(text)}
    if time_limit_error:
        raise time_limit_error


def check_comparison(layers: Sequence[str], intensities: Sequence[str], **values: Any) -> None:
    """Check that there is something to compare; raises as `variations`."""
    _variation_recipes(components.check_recipe(DreamRecipe, **values), layers, intensities)


def _variation_recipes(
    recipe: DreamRecipe, layers: Sequence[str], intensities: Sequence[str]
) -> list[DreamRecipe]:
    recipe = recipe.with_changes(max_side=min(recipe.max_side or DEFAULT_SIDE, DEFAULT_SIDE))
    return variations(recipe, layers, sorted(map(int, intensities)))


def stream_dreams(
    runner: JobRunner, recipes: Sequence[DreamRecipe], photo: str
) -> Iterator[tuple[RenderUpdate, list[Image.Image]]]:
    """Yield each update with the dreams so far, which end with one cut by the time limit."""
    dreams: list[Image.Image] = []
    for update in stream_render(runner, recipes, photo, with_files=False):
        if update.frame and (update.frame.finished or update.frame.ended):
            dreams.append(update.frame.picture())
        yield update, dreams


def write_sheet(recipes: Sequence[DreamRecipe], dreams: Sequence[Image.Image], photo: str) -> str:
    """Write the contact sheet and return its path."""
    path = new_output_folder() / f"sheet-{photo_stem(photo)}.png"
    save_image(contact.variations_sheet(recipes, dreams), path, photo=True)
    return str(path)
