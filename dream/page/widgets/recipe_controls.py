"""The controls of a dream, one per knob, with conversions from and to a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import DreamError
from dream.files import embedded_images
from dream.files.image import read_recipe
from dream.networks import catalogue
from dream.page.widgets import components, layer_mixer, mask_editor
from dream.page.widgets.layer_picker import LayerPicker, build_layer_picker, picker_updates
from dream.recipe.dream import OBJECTIVE_REQUIREMENTS, STEPS_BY_INTENSITY, DreamRecipe
from dream.recipe.knob import knobs
from dream.tensors import to_pil_image

# Keeps the chosen objective if the guide and channels allow it; else selects the automatic one.
OBJECTIVE_SCRIPT = f"""(guide, channels, objective) => {{
  const need = {json.dumps(OBJECTIVE_REQUIREMENTS)}[objective];
  return (need ? {{ guide, channels }}[need] : !guide && !channels) ? objective : "";
}}"""
# Knobs that presets do not change, because they depend on the photo or the machine.
UNSHARED_KNOBS = ("mask", "feather", "seed", "max_side", "tile")


@dataclass(frozen=True)
class RecipeControls:
    """The component of each knob, in the recipe's order, and the components next to them.

    `editor_photo` is the photo for which a recipe last set the mask editor; `mask_layer` receives
    the painted layer from the browser.
    """

    by_name: dict[str, Any]
    layer_picker: LayerPicker
    random_seed: gr.Checkbox
    editor_photo: gr.State
    mask_layer: gr.Image

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs of `read_controls`, to be read after `fetch_mask_then`."""
        return {"random_seed": self.random_seed, **self.by_name, "mask": self.mask_layer}

    @property
    def outputs(self) -> list[Any]:
        """Components that `recipe_updates` may change."""
        return [
            self.layer_picker.gallery,
            self.random_seed,
            self.editor_photo,
            *self.by_name.values(),
        ]

    @property
    def event_options(self) -> dict[str, Any]:
        """Event options for handlers that update the controls; no progress on the mask editor."""
        return {**components.SLOW_EVENT, "show_progress_on": self.random_seed}

    def fetch_mask_then(self, event: Callable[..., Any]) -> Any:
        """On `event`, copy the painted layer to `mask_layer`, so that handlers can read it."""
        return event(
            None,
            self.by_name["mask"],
            self.mask_layer,
            js=mask_editor.MASK_LAYER_SCRIPT,
            api_visibility="private",
        )

    def recipe_updates(
        self, recipe: DreamRecipe, photo: str | None, skip: Sequence[str] = ()
    ) -> dict[Any, Any]:
        """Return the updates that show a recipe, except for skipped and derived (None) knobs.

        Raises:
            RecipeError: if the guide is not an image.
        """
        values: dict[str, Any] = {name: getattr(recipe, name) for name in self.by_name}
        skip = [*skip, *(name for name, value in values.items() if value is None)]
        gallery_update, _, values["layer"] = picker_updates(recipe.model, recipe.layer)
        if recipe.objective == recipe.with_changes(objective=None).objective:
            values["objective"] = ""
        values["guide"] = _guide_image(recipe.guide)
        values["mask"] = mask_editor.editor_update(photo, recipe.mask)
        updates = {self.by_name[name]: value for name, value in values.items() if name not in skip}
        if "mask" not in skip:
            updates[self.editor_photo] = photo
        if "seed" not in skip:
            updates[self.random_seed] = False
        return updates | {self.layer_picker.gallery: gallery_update}


def read_controls(random_seed: bool, knobs: Mapping[str, Any]) -> DreamRecipe:
    """Return the recipe that the controls are set to; raise RecipeError if it is invalid."""
    values = dict(knobs)
    values["guide"] = embedded_images.embed_guide(values["guide"]) if values["guide"] else ""
    values["mask"] = mask_editor.encode_painted_mask(values["mask"])
    if random_seed:
        values["seed"] = components.draw_seed()
    return DreamRecipe(**values)


def check_embedded_images(recipe: DreamRecipe) -> DreamRecipe:
    """Check the images in a recipe from a file or a link, and return the recipe.

    Raises:
        RecipeError: if the guide or the mask has a wrong format.
        PictureError: if one is damaged.
    """
    if recipe.guide:
        embedded_images.decode_guide(recipe.guide)
    if recipe.mask:
        side = max(embedded_images.MASK_SIDES)
        embedded_images.decode_mask(recipe.mask, (side, side))
    return recipe


def recipe_in_photo(photo: str | None) -> DreamRecipe | None:
    """Return the recipe stored in an image; None if there is no valid one."""
    try:
        return check_embedded_images(read_recipe(photo, DreamRecipe)) if photo else None
    except DreamError:
        return None


def build_controls(first: DreamRecipe, photo: gr.Image, opening_photo: str) -> RecipeControls:
    """Build the controls, set to a recipe, with the file `opening_photo` in the mask editor."""
    by_name: dict[str, Any] = {}
    recipe_knobs = knobs(DreamRecipe)

    def add_controls(*names: str) -> None:
        for name in names:
            by_name[name] = components.knob_control(DreamRecipe, name, getattr(first, name))

    # Gradio's reset button triggers no `input` event, so iterations and step would not follow.
    by_name["intensity"] = components.knob_control(
        DreamRecipe, "intensity", first.intensity, buttons=[]
    )
    layer_picker = build_layer_picker(
        first.model, first.layer, "What to dream of", "Mix several layers below."
    )
    by_name |= {"model": layer_picker.model, "layer": layer_picker.layer}
    with gr.Accordion("Guide image", open=False, elem_id="guiding"):
        by_name["guide"] = components.photo_input(
            sources=["upload", "clipboard"],
            label="Guide image",
            height=200,
            format="png",
            elem_id="guide",
        )
        gr.Markdown("The dream takes its objects or its texture from the guide image.")
        add_controls("objective")
    with gr.Accordion("Mask", open=False, elem_id="masking"):
        gr.Markdown("Paint the area to dream in. The rest of the photo stays unchanged.")
        by_name["mask"] = mask_editor.build_mask_editor(opening_photo)
        mask_layer = components.photo_input(visible=False)
        add_controls("feather")
    with gr.Accordion("Mix layers and channels", open=False, elem_id="mixing"):
        layer_mixer.build_mixer(layer_picker, first.model, first.layer)
        by_name["channels"] = gr.Textbox(
            "",
            label="Channels",
            info=recipe_knobs["channels"].help,
            placeholder="all channels of the layer",
            elem_id="only",
        )
        add_controls("border")
    with gr.Accordion("Advanced", open=False):
        add_controls(*(name for name in recipe_knobs if name not in by_name))
        random_seed = gr.Checkbox(False, label="Random seed")
        reset = gr.Button("Reset all")
    controls = RecipeControls(
        {name: by_name[name] for name in recipe_knobs},
        layer_picker,
        random_seed,
        gr.State(None),
        mask_layer,
    )
    _connect(controls, first, photo, reset)
    return controls


def _connect(
    controls: RecipeControls, first: DreamRecipe, photo: gr.Image, reset_button: gr.Button
) -> None:
    """Update dependent controls when another control changes."""
    by_name, layer_picker = controls.by_name, controls.layer_picker
    editor, guide, layer = by_name["mask"], by_name["guide"], by_name["layer"]

    def update_editor(photo: str | None, editor_photo: str | None) -> Any:
        if photo and photo == editor_photo:
            return gr.skip()
        recipe = recipe_in_photo(photo)
        return mask_editor.editor_update(photo, recipe.mask if recipe else "")

    def update_layer(guide: str | None, model: str, layer: str) -> tuple[Any, ...]:
        card = catalogue.get_card(model)
        default, for_guide = card.default_layer, card.high_layer
        if guide and layer == default:
            return *picker_updates(model, for_guide), ""
        if not guide and layer == for_guide:
            return *picker_updates(model, default), gr.skip()
        return gr.skip(), gr.skip(), gr.skip(), "" if guide else gr.skip()

    def reset_controls(photo: str | None) -> dict[Any, Any]:
        return controls.recipe_updates(first, photo)

    # Progress is shown on the photo, not on the mask editor; see `RecipeControls.event_options`.
    photo_event_options = {**components.SLOW_EVENT, "show_progress_on": photo}
    photo.change(update_editor, [photo, controls.editor_photo], editor, **photo_event_options)
    # The editor's own Clear button would remove the photo too.
    editor.clear(mask_editor.empty_editor_update, photo, editor, **photo_event_options)
    # Channel numbers belong to one layer, so clear them.
    layer_picker.on_change(lambda: "", None, by_name["channels"], **components.IMMEDIATE_EVENT)
    layer_picker.model.input(
        lambda model: catalogue.get_card(model).laplacian_bands,
        layer_picker.model,
        by_name["laplacian"],
        **components.IMMEDIATE_EVENT,
    )
    gr.on(
        [guide.upload, guide.clear],
        update_layer,
        [guide, layer_picker.model, layer],
        [*layer_picker.components, by_name["channels"]],
        **components.IMMEDIATE_EVENT,
    )
    # Reset an objective that does not fit the guide and channels, because a recipe rejects it.
    gr.on(
        [guide.change, by_name["channels"].change],
        None,
        [guide, by_name["channels"], by_name["objective"]],
        by_name["objective"],
        js=OBJECTIVE_SCRIPT,
        api_visibility="private",
    )
    schedule = [[iterations, step] for step, iterations in STEPS_BY_INTENSITY]
    by_name["intensity"].input(
        None,
        by_name["intensity"],
        [by_name["iterations"], by_name["step"]],
        # Gradio clamps a typed number to the bounds later, so clamp it here too.
        js=f"(typed) => {schedule}[Math.min(Math.max(Math.round(typed), 1), {len(schedule)}) - 1]",
        api_visibility="private",
    )
    reset_button.click(reset_controls, photo, controls.outputs, **controls.event_options)


def _guide_image(uri: str) -> Image.Image | None:
    """Return the guide of a recipe as an image to show."""
    return to_pil_image(embedded_images.decode_guide(uri)) if uri else None
