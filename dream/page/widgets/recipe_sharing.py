"""Recipe sharing: presets, text, an image or JSON file, a link; a summary in words."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

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
    control_values,
    recipe_in_photo,
)
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.presets import presets

LINK_MESSAGE = "The controls are set to the recipe of the link."
# Longer links break in transit, so leave larger guides and masks out of them.
MAX_LINK_IMAGE_LENGTH = 2000


def preset_gallery() -> gr.Gallery:
    """Build the gallery of presets, each with its small dream of the example photo."""
    gr.Markdown("**Presets**: choose one to dream with its recipe")
    return components.thumbnail_gallery(
        "choices",
        value=[(str(preset_image(name)), name) for name in presets()],
        columns=3,
        label="Presets",
        elem_id="presets",
    )


def preset_image(name: str) -> Path:
    """Return the path of a preset's image, which has the preset's recipe."""
    file_name = f"{name.lower().replace(' ', '-')}.webp"
    return components.EXAMPLES_FOLDER / "presets" / file_name


def connect_presets(gallery: gr.Gallery, controls: RecipeControls) -> None:
    """Dream with a chosen preset, and mark it as long as the controls are set to it."""
    recipes = list(presets().values())
    fields = {name: each for name, each in controls.by_name.items() if name not in UNSHARED_KNOBS}

    def apply_preset(event: gr.EventData, photo: str | None) -> Updates:
        recipe = components.selected_item(event, recipes, "preset")
        return controls.recipe_updates(recipe, photo, skip=UNSHARED_KNOBS)

    components.send_to_dream_tab(gallery.select, apply_preset, controls.photo, controls.outputs)
    values = [[control_values(recipe)[name] for name in fields] for recipe in recipes]
    components.run_in_browser(
        partial(gr.on, [each.change for each in fields.values()]),
        f"(...values) => markPreset({json.dumps(values)}, values)",
        list(fields.values()),
        gallery,
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
            # Above the buttons, so that it is in view when one is pressed.
            self._message = gr.HTML("", elem_id="recipe-said")
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
            link = link_field("link")
        self.linkable = gr.Textbox(linkable_json(first), visible=False)
        copy_link(copy_button, self.linkable, link)

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
            updates |= {self.text: recipe.to_json(), self.linkable: linkable_json(recipe)}
            return {**updates, target: status_line.status_html(message)}

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


class RecipeTab(Protocol):
    """A tab whose controls a recipe of its kind sets."""

    status: Any

    def recipe_updates(self, recipe: Any) -> Updates:
        """Return the updates that set the controls to a recipe."""


def link_updates(tabs: Mapping[str, RecipeTab], link: str) -> Updates:
    """Return the updates that show a link's recipe on another tab, if it is of that tab's kind."""
    try:
        tab = tabs[json.loads(link)["kind"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    try:
        updates = tab.recipe_updates(Recipe.from_json(link))
    except DreamError as error:
        return {tab.status: refusal_html(error)}
    return {**updates, tab.status: status_line.status_html(LINK_MESSAGE)}


def link_outputs(tabs: Mapping[str, RecipeTab]) -> list[Any]:
    """Return the components that `link_updates` may change, for the tabs by their kinds."""
    types = Recipe.types_by_kind()
    controls = [each for kind, tab in tabs.items() for each in tab.recipe_updates(types[kind]())]
    return list(dict.fromkeys([*controls, *(tab.status for tab in tabs.values())]))


def refusal_html(error: DreamError) -> str:
    """Return status HTML that says why a recipe cannot be used."""
    return status_line.status_html(status_line.to_sentence(f"This recipe cannot be used: {error}"))


def linkable_json(recipe: DreamRecipe) -> str:
    """Return the recipe for a link, without a guide or a mask that is too large for one."""
    images = {name: getattr(recipe, name) for name in ("guide", "mask")}
    large = [name for name, uri in images.items() if len(uri) > MAX_LINK_IMAGE_LENGTH]
    return recipe.with_changes(**dict.fromkeys(large, "")).to_json()


def describe_recipe(recipe: DreamRecipe) -> str:
    """Describe a recipe as HTML, always in three paragraphs."""
    mixed = [recipe.card.layer_label(name) for name, _ in recipe.layers]
    label = status_line.recipe_layer_label(recipe) if len(mixed) == 1 else " + ".join(mixed)
    lines = [
        f"{recipe.model.capitalize()}: {label}",
        f"Intensity {recipe.intensity}: {recipe.iterations} steps per octave, "
        f"{recipe.octaves} octaves, step {recipe.step:g}/255",
        f"Seed {recipe.seed}, at most {recipe.max_side} pixels per side"
        + (f", with a guide image ({recipe.objective})" if recipe.guide else "")
        + (", with a mask" if recipe.mask else ""),
    ]
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)
