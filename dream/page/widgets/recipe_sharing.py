"""Recipe sharing as text, as an image or JSON file, or as a link; presets; a summary in words."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import gradio as gr

from dream.errors import DreamError
from dream.files.image import read_recipe
from dream.files.image_formats import IMAGE_FORMATS
from dream.page import status_line
from dream.page.widgets import components
from dream.page.widgets.components import Updates
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


def build_presets_row(controls: RecipeControls) -> None:
    """Build one small button per preset."""
    recipes = presets()
    buttons = [gr.Button(name, size="sm", min_width=110) for name in recipes]

    def apply_preset(event: gr.EventData, photo: str | None) -> Updates:
        assert isinstance(event.target, gr.Button)
        return controls.recipe_updates(recipes[str(event.target.value)], photo, skip=UNSHARED_KNOBS)

    gr.on(
        [button.click for button in buttons],
        apply_preset,
        controls.photo,
        controls.outputs,
        **controls.event_options,
    )


class RecipeBox:
    """The section that shows the recipe of the current dream, and loads others.

    Attributes:
        text: the recipe as JSON.
        linkable: the recipe as `linkable_json`, hidden.
    """

    def __init__(self, first: DreamRecipe) -> None:
        with gr.Accordion("Recipe: save, share, load", open=False, elem_id="sharing"):
            self.text = gr.Textbox(
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
                self._use_button = gr.Button(
                    "Set the controls", size="sm", min_width=90, elem_id="use"
                )
                self._file_button = gr.UploadButton(
                    "Load image or JSON",
                    file_types=[*IMAGE_FORMATS, ".json"],
                    size="sm",
                    min_width=90,
                    elem_id="recipe-file",
                )
                copy_button = gr.Button("Copy link", size="sm", min_width=90, elem_id="copy-link")
            self._message = gr.HTML("", elem_id="recipe-said")
            link = link_field("link")
        self.linkable = gr.Textbox(linkable_json(first), visible=False)
        copy_link(copy_button, self.linkable, link)

    def updates(self, recipe: DreamRecipe) -> Updates:
        """Return the updates that show a recipe."""
        return {self.text: recipe.to_json(), self.linkable: linkable_json(recipe)}

    def connect(self, controls: RecipeControls, status: gr.HTML) -> None:
        """Set every control from a recipe that is pasted, loaded, or part of an uploaded photo."""

        def apply_recipe(
            read: Callable[[], DreamRecipe], photo: str | None, message: str, target: gr.HTML
        ) -> Updates:
            try:
                recipe = check_embedded_images(read())
                updates = controls.recipe_updates(recipe, photo)
            except DreamError as error:
                return {target: refusal_html(error)}
            return {**updates, **self.updates(recipe), target: status_line.status_html(message)}

        def apply_pasted(text: str, photo: str | None) -> Updates:
            message = "The controls are set to the recipe."
            return apply_recipe(lambda: DreamRecipe.from_json(text), photo, message, self._message)

        def apply_file(file: str | None, photo: str | None) -> Updates:
            if not file:
                raise DreamError("Choose an image or JSON file first.")
            message = f"The controls are set to the recipe in {Path(file).name}."
            return apply_recipe(
                lambda: read_recipe(file, DreamRecipe), photo, message, self._message
            )

        def apply_photo(photo: str | None) -> Updates:
            if not (recipe := recipe_in_photo(photo)):
                return {status: gr.skip()}
            message = "This photo is a dream. The controls are set to its recipe."
            return apply_recipe(lambda: recipe, photo, message, status)

        outputs = [*controls.outputs, self.text, self.linkable]
        loaded = {"outputs": [*outputs, self._message], **controls.event_options}
        photo = controls.photo
        self._use_button.click(apply_pasted, [self.text, photo], **loaded)
        self._file_button.upload(apply_file, [self._file_button, photo], **loaded)
        photo.upload(apply_photo, photo, [*outputs, status], **controls.event_options)


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
    script = f"(recipe) => copyLink(recipe, '#{link.elem_id}')"
    components.run_in_browser(button.click, script, linkable, link)


def refusal_html(error: DreamError) -> str:
    """Return status HTML that says why a recipe cannot be used."""
    return status_line.status_html(status_line.to_sentence(f"This recipe cannot be used: {error}"))


def linkable_json(recipe: DreamRecipe) -> str:
    """Return the recipe for a link, without a guide or a mask that is too large for one."""
    images = {name: getattr(recipe, name) for name in ("guide", "mask")}
    large = [name for name, uri in images.items() if len(uri) > MAX_LINK_IMAGE_LENGTH]
    return recipe.with_changes(**dict.fromkeys(large, "")).to_json()


def describe_recipe(recipe: DreamRecipe) -> str:
    """Describe a recipe as HTML, one paragraph per line."""
    mixed = [recipe.card.layer_label(name) for name, _ in recipe.layers]
    label = status_line.recipe_layer_label(recipe) if len(mixed) == 1 else " + ".join(mixed)
    lines = [
        f"{recipe.model.capitalize()}: {label}",
        f"Intensity {recipe.intensity}: {recipe.iterations} steps per octave, "
        f"{recipe.octaves} octaves, step {recipe.step:g}/255",
        f"With a guide image, objective {recipe.objective}" if recipe.guide else "",
        "With a mask" if recipe.mask else "",
        f"Seed {recipe.seed}, at most {recipe.max_side} pixels per side",
    ]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines if line)
