"""Recipe sharing as text, as a PNG or JSON file, or as a link; presets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

# Longer links break in transit, so leave larger guides and masks out of them.
MAX_LINK_IMAGE_LENGTH = 2000


@dataclass(frozen=True)
class RecipeLoader:
    """The buttons that load a recipe, pasted or from a file, and the message below them."""

    use_button: gr.Button
    file_button: gr.UploadButton
    message: gr.HTML


def build_presets_row(controls: RecipeControls, photo: gr.Image) -> None:
    """Build one small button per preset."""
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


def build_recipe_box(first: DreamRecipe) -> tuple[gr.Textbox, gr.Textbox, RecipeLoader]:
    """Build the section that shows the recipe of the current dream and loads others."""
    with gr.Accordion("Recipe: save, share, load", open=False, elem_id="sharing"):
        recipe_box = gr.Textbox(
            first.to_json(),
            label="Recipe of the current dream",
            info="To use another recipe, paste it here, then set the controls. With Dreamlet, "
            "the same photo and recipe gave the same image, bit for bit, on every x86-64 CPU "
            "tested. A GPU or an Arm chip, as in a Mac, gives a very similar one.",
            lines=3,
            max_lines=6,
            max_length=1_000_000,
            buttons=["copy"],
            elem_id="recipe",
        )
        with gr.Row():
            use_button = gr.Button("Set the controls", size="sm", min_width=90, elem_id="use")
            file_button = gr.UploadButton(
                "Load PNG or JSON",
                file_types=[".png", ".json"],
                size="sm",
                min_width=90,
                elem_id="recipe-file",
            )
            copy_button = gr.Button("Copy link", size="sm", min_width=90, elem_id="copy-link")
        message = gr.HTML("", elem_id="recipe-said")
        link = link_field("link")
    link_recipe = gr.Textbox(linkable_json(first), visible=False)
    copy_link(copy_button, link_recipe, link)
    return recipe_box, link_recipe, RecipeLoader(use_button, file_button, message)


def link_field(elem_id: str) -> gr.Textbox:
    """Build the hidden field that shows a link after it was copied, or to be copied by hand."""
    return gr.Textbox(
        info="A large guide image or mask is not part of the link.",
        interactive=True,  # A browser cannot select text in a disabled field.
        max_lines=2,
        buttons=["copy"],
        visible=False,
        elem_id=elem_id,
    )


def copy_link(button: gr.Button, linkable: gr.Textbox, link: gr.Textbox) -> None:
    """Connect a button that copies and shows a link to the page with a recipe."""
    js = f"(recipe) => copyLink(recipe, '#{link.elem_id}')"
    button.click(None, linkable, link, js=js, api_visibility="private")


def connect(
    controls: RecipeControls,
    photo: gr.Image,
    status: gr.HTML,
    text: gr.Textbox,
    link_recipe: gr.Textbox,
    loader: RecipeLoader,
) -> None:
    """Set every control from a recipe that is pasted, loaded, or part of an uploaded photo."""
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
        return apply_recipe(lambda: DreamRecipe.from_json(text), photo, message, loader.message)

    def apply_file(file: str | None, photo: str | None) -> dict[Any, Any]:
        if not file:
            raise DreamError("Choose a PNG or JSON file first.")
        message = f"The controls are set to the recipe in {Path(file).name}."
        return apply_recipe(lambda: read_recipe(file, DreamRecipe), photo, message, loader.message)

    def apply_photo(photo: str | None) -> dict[Any, Any]:
        recipe = recipe_in_photo(photo)
        if recipe is None:
            return {status: gr.skip()}
        message = "This photo is a dream. The controls are set to its recipe."
        return apply_recipe(lambda: recipe, photo, message)

    options, all_outputs = controls.event_options, [*outputs, loader.message]
    loader.use_button.click(apply_pasted, [text, photo], all_outputs, **options)
    loader.file_button.upload(apply_file, [loader.file_button, photo], all_outputs, **options)
    photo.upload(apply_photo, photo, [*outputs, status], **options)


def refusal_html(error: DreamError) -> str:
    """Return status HTML that says why a recipe cannot be used."""
    return status_line.status_html(status_line.to_sentence(f"This recipe cannot be used: {error}"))


def linkable_json(recipe: DreamRecipe) -> str:
    """Return the recipe for a link, without a guide or a mask that is too large for one."""
    if len(recipe.guide) > MAX_LINK_IMAGE_LENGTH:
        recipe = recipe.with_changes(guide="")
    if len(recipe.mask) > MAX_LINK_IMAGE_LENGTH:
        recipe = recipe.with_changes(mask="")
    return recipe.to_json()
