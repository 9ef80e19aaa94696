"""The controls of a dream, one per knob, with conversions from and to a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files import embedded_images
from dream.files.image import read_recipe
from dream.networks import catalogue
from dream.page.widgets import components, mask_editor
from dream.page.widgets.components import Updates
from dream.page.widgets.layer_picker import LayerPicker, build_mixer, picker_updates
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


class RecipeControls:
    """The controls of a dream, set to the recipe `first`; changes of one update the others.

    Attributes:
        by_name: the component of each knob, in the recipe's order.
        editor_photo: the photo for which a recipe last set the mask editor.
        mask_layer: receives the painted layer from the browser.
    """

    def __init__(self, first: DreamRecipe, photo: gr.Image, opening_photo: str) -> None:
        self.photo = photo
        built = self._build(first, opening_photo)
        self.by_name = {name: built[name] for name in knobs(DreamRecipe)}
        self.editor_photo = gr.State(None)
        self._connect_mask_editor()
        self._connect_layer_and_channels()
        self._connect_guide()
        self._connect_intensity()

        def reset_controls(photo: str | None) -> Updates:
            return self.recipe_updates(first, photo)

        self.reset_button.click(reset_controls, photo, self.outputs, **self.event_options)

    def _build(self, first: DreamRecipe, opening_photo: str) -> dict[str, Any]:
        """Build the controls; return those of the knobs by name."""
        # Gradio's reset button triggers no `input` event, so iterations and step would not follow.
        intensity = components.knob_control(first, "intensity", buttons=[])
        self.layer_picker = LayerPicker(
            first.model, first.layer, "What to dream of", "Mix several layers below."
        )
        built = {"intensity": intensity, "model": self.layer_picker.model}
        built["layer"] = self.layer_picker.layer
        with gr.Accordion("Guide image", open=False, elem_id="guiding"):
            built["guide"] = components.photo_input(
                sources=["upload", "clipboard"],
                label="Guide image",
                height=200,
                format="png",
                elem_id="guide",
            )
            gr.Markdown("The dream takes its objects or its texture from the guide image.")
            built |= components.knob_controls(first, "objective", "guide_colour")
        with gr.Accordion("Mask", open=False, elem_id="masking"):
            gr.Markdown("Paint the area to dream in. The rest of the photo stays unchanged.")
            built["mask"] = mask_editor.build_mask_editor(opening_photo)
            self.mask_layer = components.photo_input(visible=False)
            built |= components.knob_controls(first, "feather")
        with gr.Accordion("Mix layers and channels", open=False, elem_id="mixing"):
            build_mixer(self.layer_picker, first.model, first.layer)
            built["channels"] = gr.Textbox(
                "",
                label="Channels",
                info=knobs(DreamRecipe)["channels"].help,
                placeholder="all channels of the layer",
                elem_id="only",
            )
            built |= components.knob_controls(first, "border")
        with gr.Accordion("Advanced", open=False):
            others = [name for name in knobs(DreamRecipe) if name not in built]
            built |= components.knob_controls(first, *others)
            self.random_seed = gr.Checkbox(False, label="Random seed")
            self.reset_button = gr.Button("Reset all")
        return built

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs of `read_controls`, to be read after `fetch_mask_then`."""
        return {"random_seed": self.random_seed, **self.by_name, "mask": self.mask_layer}

    @property
    def outputs(self) -> list[Any]:
        """Components that `recipe_updates` may change."""
        extra = [self.layer_picker.gallery, self.random_seed, self.editor_photo]
        return [*extra, *self.by_name.values()]

    @property
    def event_options(self) -> dict[str, Any]:
        """Event options for handlers that update the controls; no progress on the mask editor."""
        return {**components.SLOW_EVENT, "show_progress_on": self.random_seed}

    def fetch_mask_then(self, event: Callable[..., Any]) -> Any:
        """On `event`, copy the painted layer to `mask_layer`, so that handlers can read it."""
        return components.run_in_browser(
            event, mask_editor.MASK_LAYER_SCRIPT, self.by_name["mask"], self.mask_layer
        )

    def recipe_updates(
        self, recipe: DreamRecipe, photo: str | None, skip: Sequence[str] = ()
    ) -> Updates:
        """Return the updates that show a recipe, except for skipped and derived (None) knobs.

        Raises:
            RecipeError: if the guide is not an image.
        """
        values = control_values(recipe)
        skip = [*skip, *(name for name, value in values.items() if value is None)]
        gallery_update, _, values["layer"] = picker_updates(recipe.model, recipe.layer)
        values["guide"] = (
            to_pil_image(embedded_images.decode_guide(recipe.guide)) if recipe.guide else None
        )
        values["mask"] = mask_editor.editor_update(photo, recipe.mask)
        updates = {self.by_name[name]: value for name, value in values.items() if name not in skip}
        if "mask" not in skip:
            updates[self.editor_photo] = photo
        if "seed" not in skip:
            updates[self.random_seed] = False
        return updates | {self.layer_picker.gallery: gallery_update}

    def _connect_mask_editor(self) -> None:
        editor = self.by_name["mask"]

        def update_editor(photo: str | None, editor_photo: str | None) -> Any:
            if photo and photo == editor_photo:
                return gr.skip()
            recipe = recipe_in_photo(photo)
            return mask_editor.editor_update(photo, recipe.mask if recipe else "")

        # Progress is shown on the photo, not on the mask editor; see `event_options`.
        options = {**components.SLOW_EVENT, "show_progress_on": self.photo}
        self.photo.change(update_editor, [self.photo, self.editor_photo], editor, **options)
        # The editor's own Clear button would remove the photo too.
        editor.clear(mask_editor.editor_update, self.photo, editor, **options)

    def _connect_layer_and_channels(self) -> None:
        model, channels = self.layer_picker.model, self.by_name["channels"]
        # Channel numbers belong to one layer, so clear them.
        self.layer_picker.on_change(lambda: "", None, channels, **components.IMMEDIATE_EVENT)
        model.input(
            lambda model: catalogue.get_card(model).laplacian_bands,
            model,
            self.by_name["laplacian"],
            **components.IMMEDIATE_EVENT,
        )

    def _connect_guide(self) -> None:
        guide, channels = self.by_name["guide"], self.by_name["channels"]
        objective, picker = self.by_name["objective"], self.layer_picker

        def update_layer(guide: str | None, model: str, layer: str) -> tuple[Any, ...]:
            card = catalogue.get_card(model)
            default, for_guide = card.default_layer, card.high_layer
            if guide and layer == default:
                return *picker_updates(model, for_guide), ""
            if not guide and layer == for_guide:
                return *picker_updates(model, default), gr.skip()
            return gr.skip(), gr.skip(), gr.skip(), "" if guide else gr.skip()

        gr.on(
            [guide.upload, guide.clear],
            update_layer,
            [guide, picker.model, picker.layer],
            [*picker.components, channels],
            **components.IMMEDIATE_EVENT,
        )
        # Reset an objective that does not fit the guide and channels, because a recipe rejects it.
        components.run_in_browser(
            partial(gr.on, [guide.change, channels.change]),
            OBJECTIVE_SCRIPT,
            [guide, channels, objective],
            objective,
        )

    def _connect_intensity(self) -> None:
        """Set iterations and step when the intensity changes."""
        schedule = [[iterations, step] for step, iterations in STEPS_BY_INTENSITY]
        # Gradio clamps a typed number to the bounds later, so clamp it here too.
        place = f"Math.min(Math.max(Math.round(typed), 1), {len(schedule)}) - 1"
        components.run_in_browser(
            self.by_name["intensity"].input,
            f"(typed) => {schedule}[{place}]",
            self.by_name["intensity"],
            [self.by_name["iterations"], self.by_name["step"]],
        )


def control_values(recipe: DreamRecipe) -> dict[str, Any]:
    """Return the values of a recipe's knobs, as controls have them except for images."""
    values = {name: getattr(recipe, name) for name in knobs(DreamRecipe)}
    is_automatic = recipe.objective == recipe.with_changes(objective=None).objective
    return {**values, "objective": ""} if is_automatic else values


def read_controls(random_seed: bool, knobs: Mapping[str, Any]) -> DreamRecipe:
    """Return the recipe that the controls are set to; raise RecipeError if it is invalid."""
    values = dict(knobs)
    values["guide"] = embedded_images.embed_guide(values["guide"]) if values["guide"] else ""
    values["mask"] = mask_editor.encode_painted_mask(values["mask"])
    return DreamRecipe(**components.with_random_seed(values, random_seed))


def check_embedded_images(recipe: DreamRecipe) -> DreamRecipe:
    """Return a recipe from a file or a link; raise DreamError if an image in it is invalid."""
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
