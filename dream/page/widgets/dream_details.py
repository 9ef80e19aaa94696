"""The details section below a dream: recipe summary and previews at other layers."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.networks.model_card import Layer
from dream.page import status_line
from dream.page.blocks import FILE_GONE_MESSAGE, find_files
from dream.page.image_stream import stream_render
from dream.page.widgets import components
from dream.page.widgets.layer_picker import picker_updates
from dream.page.widgets.recipe_controls import RecipeControls, read_controls, recipe_in_photo
from dream.page.widgets.recipe_sharing import copy_link, link_field, linkable_json
from dream.recipe.dream import DreamRecipe
from dream.service.job_runner import JobRunner

OTHER_LAYER_COUNT = 4
THUMBNAIL_SIDE = 240


@dataclass(frozen=True)
class DreamDetails:
    """The recipe summary of a dream, its link, and selectable previews at other layers."""

    summary: gr.HTML
    try_button: gr.Button
    share_button: gr.Button
    link: gr.Textbox
    gallery: gr.Gallery


def other_layers_gallery(photo: gr.Image) -> gr.Gallery:
    """Build the unrendered gallery of previews, which is hidden when the photo changes.

    This must be the photo's first `change` handler: Gradio waits for server handlers, and new
    previews could appear meanwhile.
    """
    dreams = components.thumbnail_gallery(
        columns=OTHER_LAYER_COUNT,
        rows=1,
        label="Previews at other layers",
        visible=False,
        render=False,
        elem_id="others",
    )
    hidden = json.dumps(gr.update(visible=False))
    photo.change(None, None, dreams, js=f"() => ({hidden})", api_visibility="private")
    return dreams


def build_details(first: DreamRecipe, dreams: gr.Gallery) -> DreamDetails:
    """Build the section, which is hidden on phones."""
    with gr.Column(elem_classes="beside"):
        summary = gr.HTML(describe_recipe(first), elem_id="made-of")
        with gr.Row():
            try_button = gr.Button(
                f"Try {OTHER_LAYER_COUNT} other layers", size="sm", elem_id="try-layers"
            )
            share_button = gr.Button("Copy link to this recipe", size="sm", elem_id="share")
        link = link_field("shared-link")
        dreams.render()  # type: ignore[no-untyped-call]
    return DreamDetails(summary, try_button, share_button, link, dreams)


def detail_updates(recipe: DreamRecipe) -> dict[str, Any]:
    """Return the changes for a new dream: its recipe, link and summary; hide the old making-of."""
    changes = {
        "recipe": recipe.to_json(),
        "linkable": linkable_json(recipe),
        "made_of": describe_recipe(recipe),
    }
    return {**changes, "making": gr.update(visible=False)}


def describe_recipe(recipe: DreamRecipe) -> str:
    """Describe a recipe as HTML, one paragraph per line."""
    mixed = [status_line.layer_label(recipe.card, name) for name, _ in recipe.layers]
    label = status_line.recipe_layer_label(recipe) if len(mixed) == 1 else " + ".join(mixed)
    lines = [
        f"{recipe.model.capitalize()}: {label}",
        f"Intensity {recipe.intensity}: {recipe.iterations} steps per octave, "
        f"{recipe.octaves} octaves, step {recipe.step:g}/255",
    ]
    if recipe.guide:
        lines.append(f"With a guide image, objective {recipe.objective}")
    if recipe.mask:
        lines.append("With a mask")
    lines.append(f"Seed {recipe.seed}, at most {recipe.max_side} pixels per side")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def pick_other_layers(recipe: DreamRecipe) -> list[Layer]:
    """Return evenly spread layers of the same network that the recipe does not use."""
    used = {name for name, _ in recipe.layers}
    others = [layer for layer in recipe.card.layers if layer.name not in used]
    count = min(OTHER_LAYER_COUNT, len(others))
    return [others[(2 * index + 1) * len(others) // (2 * count)] for index in range(count)]


def dream_other_layers(
    runner: JobRunner, photo: str | None, random_seed: bool, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """Yield small dreams of the photo at other layers, one after another."""
    photo = components.require_photo(photo)
    recipe = read_controls(random_seed, {**knobs, "channels": ""})
    layers = pick_other_layers(recipe)
    recipes = [recipe.with_changes(layer=layer.name, max_side=THUMBNAIL_SIDE) for layer in layers]
    items: list[tuple[str, str]] = []
    yield {"dreams": gr.update(value=[], visible=True)}
    for update in stream_render(runner, recipes, photo):
        if update.frame and update.frame.finished:
            items.append((update.files[0], layers[len(items)].effect))
            yield {"dreams": items}
        elif not update.frame:
            yield {"status": update.status}
    text = f"Previews at {len(items)} other layers. Click one to choose its layer."
    yield {"status": status_line.status_html(text)}


def connect(
    details: DreamDetails, controls: RecipeControls, status: gr.HTML, link_recipe: gr.Textbox
) -> None:
    """Choose the layer of a clicked preview, and copy the link on a click on its button."""
    copy_link(details.share_button, link_recipe, details.link)

    def choose_layer(event: gr.SelectData) -> tuple[Any, ...]:
        recipe = next((recipe_in_photo(file.get("path")) for file in find_files(event.value)), None)
        if not recipe:
            raise DreamError(FILE_GONE_MESSAGE)
        label = status_line.recipe_layer_label(recipe)
        text = status_line.status_html(
            f"The layer is set to {label}. Dream this photo to see it at full size."
        )
        return *picker_updates(recipe.model, recipe.layer), "", text

    details.gallery.select(
        choose_layer,
        None,
        [*controls.layer_picker.components, controls.by_name["channels"], status],
        **controls.event_options,
    )
