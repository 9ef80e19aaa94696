"""Small dreams of one photo: contact sheets of layers and intensities, previews at other layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import DreamError, TimeLimitReached
from dream.files import contact_sheet as contact
from dream.files.image import save_image
from dream.files.image_formats import FORMAT_KNOB
from dream.networks import catalogue
from dream.networks.model_card import Layer
from dream.page import status_line
from dream.page.blocks import FILE_GONE_MESSAGE, find_files, is_uploaded
from dream.page.image_stream import RenderUpdate, new_output_folder, photo_stem, stream_render
from dream.page.widgets import components
from dream.page.widgets.components import Updates
from dream.page.widgets.layer_picker import layer_choices, picker_updates
from dream.page.widgets.recipe_controls import RecipeControls, read_controls, recipe_in_photo
from dream.page.widgets.run import RunButtons
from dream.recipe.dream import DreamRecipe
from dream.recipe.presets import DEFAULT_SIDE, variations
from dream.service.job_runner import JobRunner

DEFAULT_INTENSITIES = (3, 5, 8)
OTHER_LAYER_COUNT = 4
THUMBNAIL_SIDE = 240

UNFORMED_MESSAGE = "this dream has not formed yet; choose it when it has"


class Comparison:
    """The inputs of a contact sheet and its button; the caller renders the sheet itself."""

    def __init__(self, controls: RecipeControls) -> None:
        self.controls = controls
        model = controls.layer_picker.model
        card = catalogue.get_card(model.value)
        with gr.Accordion("Compare layers and intensities", open=False, elem_id="comparing"):
            self.layers = gr.Dropdown(
                layer_choices(model.value),
                value=[card.low_layer, card.default_layer, card.high_layer],
                multiselect=True,
                allow_custom_value=True,
                label="Layers",
                info="Leave empty to use the layer chosen above.",
            )
            self.intensities = gr.CheckboxGroup(
                [str(each) for each in range(1, 11)],
                value=[str(each) for each in DEFAULT_INTENSITIES],
                label="Intensities",
            )
            self.go_button = gr.Button("Make contact sheet", elem_id="make-sheet")
        self.sheet = gr.Image(
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
            self.layers,
            **components.IMMEDIATE_EVENT,
        )

    def connect(self, runner: JobRunner, run_buttons: RunButtons) -> None:
        """Make the sheet on a click."""
        inputs = {"layers": self.layers, "intensities": self.intensities, **self.controls.inputs}
        run_buttons.start_on(
            self.go_button.click,
            partial(self.stream, runner, run_buttons.status),
            {"photo": self.controls.photo, **inputs},
            [self.sheet],
            check_comparison,
            self.controls.fetch_mask_then,
            scroll_to_output=True,
        )

    def stream(
        self,
        runner: JobRunner,
        status: Any,
        photo: str | None,
        layers: Sequence[str],
        intensities: Sequence[str],
        random_seed: bool,
        **knobs: Any,
    ) -> Iterator[Updates]:
        """Yield the status after each step, and the sheet at the end or at the time limit."""
        photo = components.require_photo(photo)
        recipes = _variation_recipes(read_controls(random_seed, knobs), layers, intensities)
        for update, count, path in stream_sheet(runner, recipes, photo):
            updates: Updates = {status: update.status}
            if path:
                text = f"Contact sheet of {count} dreams, made in {update.seconds:.1f} s."
                updates = {status: status_line.status_html(text)}
                updates[self.sheet] = gr.update(value=path, visible=True)
            elif update.frame:
                position = min(count + 1, len(recipes))
                text = f"Dream {position} of {len(recipes)}, {update.remaining}."
                updates = {status: status_line.progress_html(text)}
            yield updates


def check_comparison(layers: Sequence[str], intensities: Sequence[str], **values: Any) -> None:
    """Check that there is something to compare; raises as `variations`."""
    _variation_recipes(components.check_recipe(DreamRecipe, **values), layers, intensities)


def _variation_recipes(
    recipe: DreamRecipe, layers: Sequence[str], intensities: Sequence[str]
) -> list[DreamRecipe]:
    recipe = recipe.with_changes(max_side=min(recipe.max_side or DEFAULT_SIDE, DEFAULT_SIDE))
    return variations(recipe, layers, sorted(map(int, intensities)))


def stream_sheet(
    runner: JobRunner,
    recipes: Sequence[DreamRecipe],
    photo: str,
    file_format: str = FORMAT_KNOB.default,
) -> Iterator[tuple[RenderUpdate, int, str]]:
    """Yield each update with the number of dreams so far, and in the end the path of their sheet.

    Raises:
        TimeLimitReached: after the sheet, whose last dream is unfinished, if time ran out.
    """
    dreams: list[Image.Image] = []
    time_limit_error = None
    try:
        for update in stream_render(runner, recipes, photo, with_files=False):
            if update.frame and (update.frame.finished or update.frame.ended):
                dreams.append(update.frame.picture())
            yield update, len(dreams), ""
    except TimeLimitReached as error:
        time_limit_error = error
    path = new_output_folder() / f"sheet-{photo_stem(photo)}.{file_format}"
    save_image(contact.variations_sheet(recipes, dreams), path, photo=True)
    yield update, len(dreams), str(path)
    if time_limit_error:
        raise time_limit_error


class OtherLayers:
    """Previews at other layers, hidden at first; the caller renders button and gallery itself.

    Build this right after the photo: its `change` handler must be the photo's first, because Gradio
    waits for server handlers, and new previews could appear meanwhile.
    """

    def __init__(self, photo: gr.Image) -> None:
        label = f"Try {OTHER_LAYER_COUNT} other layers"
        self.go_button = gr.Button(label, size="sm", elem_id="try-layers", render=False)
        self.gallery = components.thumbnail_gallery(
            columns=OTHER_LAYER_COUNT,
            rows=1,
            label="Previews at other layers",
            visible=False,
            render=False,
            elem_id="others",
        )
        hidden = json.dumps(gr.update(visible=False))
        components.run_in_browser(photo.change, f"() => ({hidden})", None, self.gallery)

    def connect(self, runner: JobRunner, run_buttons: RunButtons, controls: RecipeControls) -> None:
        """Dream the previews on a click; choose the layer of a clicked one."""
        status = run_buttons.status
        run_buttons.start_on(
            self.go_button.click,
            partial(self.stream, runner, status),
            {"photo": controls.photo, **controls.inputs},
            [self.gallery],
            partial(components.check_recipe, DreamRecipe),
            controls.fetch_mask_then,
        )

        def choose_layer(event: gr.SelectData) -> tuple[Any, ...]:
            files = find_files(event.value)
            recipe = next((recipe_in_photo(file.get("path")) for file in files), None)
            if not recipe:
                is_forming = any(is_uploaded(file.get("path")) for file in files)
                raise DreamError(UNFORMED_MESSAGE if is_forming else FILE_GONE_MESSAGE)
            label = status_line.recipe_layer_label(recipe)
            text = f"The layer is set to {label}. Dream this photo to see it at full size."
            layer = picker_updates(recipe.model, recipe.layer)
            return *layer, "", status_line.status_html(text)

        outputs = [*controls.layer_picker.components, controls.by_name["channels"], status]
        self.gallery.select(choose_layer, None, outputs, **controls.event_options)

    def stream(
        self, runner: JobRunner, status: Any, photo: str | None, random_seed: bool, **knobs: Any
    ) -> Iterator[Updates]:
        """Yield small dreams at other layers; each place shows the photo until it is done."""
        photo = components.require_photo(photo)
        recipe = read_controls(random_seed, {**knobs, "channels": ""})
        layers = pick_other_layers(recipe)
        recipes = [
            recipe.with_changes(layer=layer.name, max_side=THUMBNAIL_SIDE) for layer in layers
        ]
        items: list[tuple[str, str]] = []
        done = 0
        for update in stream_render(runner, recipes, photo):
            if not update.frame:
                yield {status: update.status}
                continue
            if not items:
                items = [(update.files[0], layer.effect) for layer in layers]
                yield {self.gallery: gr.update(value=items, visible=True)}
            if update.frame.finished:
                items[done] = (update.files[0], layers[done].effect)
                done += 1
                yield {self.gallery: items}
        text = f"Previews at {len(items)} other layers. Click one to choose its layer."
        yield {status: status_line.status_html(text)}


def pick_other_layers(recipe: DreamRecipe) -> list[Layer]:
    """Return evenly spread layers of the same network that the recipe does not use."""
    used = {name for name, _ in recipe.layers}
    others = [layer for layer in recipe.card.layers if layer.name not in used]
    count = min(OTHER_LAYER_COUNT, len(others))
    return [others[(2 * index + 1) * len(others) // (2 * count)] for index in range(count)]
