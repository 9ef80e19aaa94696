"""Sharing recipes: as text, as the picture that carries one, as a link; and presets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.image import read_recipe
from dream.page import status_line
from dream.page.widgets.recipe_controls import (
    UNSHARED_KNOBS,
    RecipeControls,
    check_embedded_images,
    recipe_in_photo,
)
from dream.recipe.dream import DreamRecipe
from dream.recipe.presets import presets

# A link longer than this breaks on its way; pictures that are larger are left out of it.
MAX_LINK_IMAGE_LENGTH = 2000

ShowRecipe = Callable[[DreamRecipe], dict[Any, Any]]


def build_presets_row(controls: RecipeControls, photo: gr.Image) -> None:
    """The presets, one small button each."""
    recipes = presets()
    buttons = [gr.Button(name, size="sm", min_width=110) for name in recipes]

    def apply_preset(event: gr.EventData, photo: str | None) -> dict[Any, Any]:
        assert isinstance(event.target, gr.Button)
        return controls.recipe_updates(recipes[str(event.target.value)], photo, skip=UNSHARED_KNOBS)

    gr.on(
        [button.click for button in buttons],
        apply_preset,
        photo,
        controls.outputs,
        **controls.event_options,
    )


def build_recipe_box(first: DreamRecipe) -> tuple[gr.Textbox, gr.Textbox, dict[str, Any]]:
    """Where the recipe of the dream that is shown stands, and others are put in."""
    with gr.Accordion("Recipe: keep, share, load", open=False, elem_id="sharing"):
        recipe_box = gr.Textbox(
            first.to_json(),
            label="Recipe of the dream that is shown",
            info="Or paste another, and set the controls to it. With Dreamlet, the same photo and "
            "recipe make the same picture on a PC's processor (x86-64), bit by bit as far as was "
            "measured; on a GPU, or an Arm chip as in a Mac, one much like it.",
            lines=3,
            max_lines=6,
            max_length=1_000_000,
            buttons=["copy"],
            elem_id="recipe",
        )
        with gr.Row():
            use_button = gr.Button("Set the controls", size="sm", min_width=90, elem_id="use")
            file_button = gr.UploadButton(
                "From a PNG or JSON file",
                file_types=[".png", ".json"],
                size="sm",
                min_width=90,
                elem_id="recipe-file",
            )
            copy_button = gr.Button("Copy a link", size="sm", min_width=90, elem_id="copy-link")
        message = gr.HTML("", elem_id="recipe-said")
        link = link_field("link")
    link_recipe = gr.Textbox(linkable_json(first), visible=False)
    copy_link(copy_button, link_recipe, link)
    return recipe_box, link_recipe, {"use": use_button, "file": file_button, "said": message}


def link_field(elem_id: str) -> gr.Textbox:
    """The field in which a link is shown once it was copied, or for a hand to copy it."""
    return gr.Textbox(
        info="Without the guide and the mask where they are large.",
        interactive=True,  # Else a browser selects nothing in it.
        max_lines=2,
        buttons=["copy"],
        visible=False,
        elem_id=elem_id,
    )


def copy_link(button: gr.Button, linkable: gr.Textbox, link: gr.Textbox) -> None:
    """Have a button put the page's address with that recipe on the clipboard, and show it."""
    js = f"(recipe) => copyLink(recipe, '#{link.elem_id}')"
    button.click(None, linkable, link, js=js, api_visibility="private")


def connect(
    controls: RecipeControls,
    photo: gr.Image,
    status: gr.HTML,
    text: gr.Textbox,
    link_recipe: gr.Textbox,
    events: dict[str, Any],
) -> None:
    """A recipe that is pasted or dropped sets every control; beside the button that was pressed, or
    in the status, it is said whether it did.
    """
    outputs = [*controls.outputs, text, link_recipe]

    def apply_recipe(
        read: Callable[[], DreamRecipe], photo: str | None, message: str, target: gr.HTML = status
    ) -> dict[Any, Any]:
        try:
            recipe = check_embedded_images(read())
            updates = controls.recipe_updates(recipe, photo)
        except DreamError as error:
            return {target: refusal_html(error)}
        shown = {text: recipe.to_json(), link_recipe: linkable_json(recipe)}
        return updates | shown | {target: status_line.status_html(message)}

    def apply_pasted(text: str, photo: str | None) -> dict[Any, Any]:
        message = "The controls are set to the recipe."
        return apply_recipe(lambda: DreamRecipe.from_json(text), photo, message, events["said"])

    def apply_file(file: str | None, photo: str | None) -> dict[Any, Any]:
        if not file:
            raise DreamError("Choose a PNG or JSON file first.")
        message = f"The controls are set to the recipe in {Path(file).name}."
        return apply_recipe(lambda: read_recipe(file, DreamRecipe), photo, message, events["said"])

    def apply_photo(photo: str | None) -> dict[Any, Any]:
        recipe = recipe_in_photo(photo)
        if recipe is None:
            return {status: gr.skip()}
        message = "This picture was dreamed here; the controls are set to its recipe."
        return apply_recipe(lambda: recipe, photo, message)

    outputs_with_message = [*outputs, events["said"]]
    events["use"].click(apply_pasted, [text, photo], outputs_with_message, **controls.event_options)
    events["file"].upload(
        apply_file, [events["file"], photo], outputs_with_message, **controls.event_options
    )
    photo.upload(apply_photo, photo, [*outputs, status], **controls.event_options)


def refusal_html(error: DreamError) -> str:
    """A line for the status that says why a recipe is not taken."""
    return status_line.status_html(status_line.to_sentence(f"This recipe cannot be used: {error}"))


def linkable_json(recipe: DreamRecipe) -> str:
    """The recipe as a link carries it: without a guide or a mask that is too large for one."""
    if len(recipe.guide) > MAX_LINK_IMAGE_LENGTH:
        recipe = recipe.with_changes(guide="")
    if len(recipe.mask) > MAX_LINK_IMAGE_LENGTH:
        recipe = recipe.with_changes(mask="")
    return recipe.to_json()
