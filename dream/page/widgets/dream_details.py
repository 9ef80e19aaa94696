"""What stands below the dream where there is room: what it was made of, and other layers to try."""

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

OTHER_LAYERS = 4
THUMBNAIL_SIDE = 240


@dataclass(frozen=True)
class DreamDetails:
    """What a dream was made of, and small dreams at other layers; a click chooses one."""

    summary: gr.HTML
    try_button: gr.Button
    share_button: gr.Button
    link: gr.Textbox
    gallery: gr.Gallery


def other_layers_gallery(photo: gr.Image) -> gr.Gallery:
    """The small dreams, left to be put where there is room; they go with the photo they are of.

    At once, so that must be the first that the photo's change does: Gradio has what asks the server
    answered before it goes on, and new ones may form by then.
    """
    dreams = components.thumbnail_gallery(
        columns=OTHER_LAYERS,
        rows=1,
        label="At other layers",
        visible=False,
        render=False,
        elem_id="others",
    )
    hidden = json.dumps(gr.update(visible=False))
    photo.change(None, None, dreams, js=f"() => ({hidden})", api_visibility="private")
    return dreams


def build_details(first: DreamRecipe, dreams: gr.Gallery) -> DreamDetails:
    """The section, which phones do not show."""
    with gr.Column(elem_classes="beside"):
        summary = gr.HTML(describe_recipe(first), elem_id="made-of")
        with gr.Row():
            try_button = gr.Button(
                f"Try {OTHER_LAYERS} other layers", size="sm", elem_id="try-layers"
            )
            share_button = gr.Button("Copy a link to this recipe", size="sm", elem_id="share")
        link = link_field("shared-link")
        dreams.render()  # type: ignore[no-untyped-call]
    return DreamDetails(summary, try_button, share_button, link, dreams)


def detail_updates(recipe: DreamRecipe) -> dict[str, Any]:
    """What is said of the dream that is shown: its recipe, as a link has it too, and in words.

    How the one before it came about is hidden.
    """
    changes = {
        "recipe": recipe.to_json(),
        "linkable": linkable_json(recipe),
        "made_of": describe_recipe(recipe),
    }
    return {**changes, "making": gr.update(visible=False)}


def describe_recipe(recipe: DreamRecipe) -> str:
    """What a dream is made of, a line each."""
    brings = {layer.name: f" ({layer.effect.lower()})" for layer in recipe.card.layers}
    layers = " and ".join(f"{name}{brings.get(name, '')}" for name, _ in recipe.layers)
    raised = f", channels {recipe.channels}" if recipe.channels else ""
    lines = [
        f"{recipe.model.capitalize()} at {layers}{raised}",
        f"Intensity {recipe.intensity}: {recipe.iterations} steps of {recipe.step:g} grey levels "
        f"at each of {recipe.octaves} sizes",
    ]
    if recipe.guide:
        lines.append(f"A guide, by {recipe.objective}")
    if recipe.mask:
        lines.append("Only where it was painted")
    lines.append(f"Seed {recipe.seed}, at most {recipe.max_side} pixels a side")
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def pick_other_layers(recipe: DreamRecipe) -> list[Layer]:
    """Layers of the same network that the dream is not at, from low to high."""
    used = {name for name, _ in recipe.layers}
    others = [layer for layer in recipe.card.layers if layer.name not in used]
    count = min(OTHER_LAYERS, len(others))
    return [others[(2 * index + 1) * len(others) // (2 * count)] for index in range(count)]


def dream_other_layers(
    work: JobRunner, photo: str | None, random_seed: bool, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """Small dreams of the photo at other layers, one after the other."""
    photo = components.require_photo(photo)
    recipe = read_controls(random_seed, {**knobs, "channels": ""})
    layers = pick_other_layers(recipe)
    recipes = [recipe.with_changes(layer=layer.name, max_side=THUMBNAIL_SIDE) for layer in layers]
    items: list[tuple[str, str]] = []
    yield {"dreams": gr.update(value=[], visible=True)}
    for update in stream_render(work, recipes, photo):
        if update.frame and update.frame.finished:
            items.append((update.files[0], layers[len(items)].effect))
            yield {"dreams": items}
        elif not update.frame:
            yield {"status": update.status}
    yield {"status": status_line.status_html(f"{len(items)} other layers. Click one to choose it.")}


def connect(
    details: DreamDetails, controls: RecipeControls, status: gr.HTML, link_recipe: gr.Textbox
) -> None:
    """A click on a small dream chooses its layer; another copies the link."""
    copy_link(details.share_button, link_recipe, details.link)

    def choose_layer(event: gr.SelectData) -> tuple[Any, ...]:
        recipe = next((recipe_in_photo(file.get("path")) for file in find_files(event.value)), None)
        if not recipe:
            raise DreamError(FILE_GONE_MESSAGE)
        text = status_line.status_html(
            f"The layer is {recipe.layer} now. Dream this photo at its full size."
        )
        return *picker_updates(recipe.model, recipe.layer), "", text

    details.gallery.select(
        choose_layer,
        None,
        [*controls.layer_picker.components, controls.by_name["channels"], status],
        **controls.event_options,
    )
