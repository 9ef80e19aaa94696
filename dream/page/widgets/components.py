"""Components, event options and input checks that the tabs share."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import randint
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta

from dream.errors import DreamError
from dream.page.call_limits import HEAVY, SLOW, SLOW_THREADS
from dream.recipe.base import MAX_SEED, AnyRecipe, Recipe
from dream.recipe.knob import DATA_URI_PREFIX, Knob, knobs

EXAMPLES_FOLDER = Path(__file__).parents[3] / "examples"

# Event options. Renders wait in Gradio's queue; display updates run immediately.
QUEUED_EVENT: dict[str, Any] = {"concurrency_id": "dream"}
IMMEDIATE_EVENT: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
# Few updates that read images, or ZIPs and videos, run at a time, so they do not delay the others.
SLOW_EVENT: dict[str, Any] = {
    **IMMEDIATE_EVENT,
    "concurrency_id": SLOW,
    "concurrency_limit": SLOW_THREADS,
}
HEAVY_EVENT: dict[str, Any] = {**SLOW_EVENT, "concurrency_id": HEAVY}


def derive_component(base: type, **members: Any) -> Any:
    """Return a subclass of a Gradio component with changed members.

    Gradio creates components per session from their classes, so instances cannot be patched. The
    metaclass is bypassed, because it would write a stub file next to this module.
    """
    return ABCMeta.__new__(ComponentMeta, base.__name__, (base,), {"is_template": True, **members})


def _payload_path(self: gr.Image, payload: Any) -> Any:
    """Return the path of the file unread: Gradio reports a bad file only as "Error"."""
    return payload.path if payload else None


def _raw_payload(self: Any, payload: Any) -> Any:
    """Return the value unchecked, because the recipe reports a bad one better than Gradio."""
    return payload


ImageInput = derive_component(gr.Image, preprocess=_payload_path)
FileInput = derive_component(gr.File, preprocess=_payload_path)
RawText = derive_component(gr.Textbox, preprocess=_raw_payload)
RawNumber = derive_component(gr.Number, preprocess=_raw_payload)
RawInteger = partial(RawNumber, precision=0)


def photo_input(**options: Any) -> gr.Image:
    """Build an image input whose value is the path of the unread file."""
    defaults: dict[str, Any] = {"label": "Your photo", "height": 230, "buttons": []}
    defaults["sources"] = ["upload", "webcam", "clipboard"]
    # `page.js` mirrors the preview only.
    defaults["webcam_options"] = gr.WebcamOptions(mirror=False)
    photo: gr.Image = ImageInput(type="filepath", image_mode=None, **defaults | options)
    return photo


def thumbnail_gallery(**options: Any) -> gr.Gallery:
    """Build a gallery of thumbnails, one of which can be selected."""
    defaults: dict[str, Any] = {"object_fit": "cover", "allow_preview": False, "buttons": []}
    return gr.Gallery(height="auto", interactive=False, show_label=False, **defaults | options)


def go_and_stop_buttons(label: str, go_id: str, stop_id: str) -> tuple[gr.Button, gr.Button]:
    """Build a tab's main button, which Enter presses, and the Stop button that replaces it."""
    button = gr.Button(label, variant="primary", elem_id=go_id, elem_classes="go")
    return button, gr.Button(
        "Stop", variant="stop", visible=False, elem_id=stop_id, elem_classes="stop"
    )


def send_to_dream_tab(
    event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: list[Any]
) -> None:
    """On `event`, set the inputs of the Deep Dream tab from `handler`, and start the dream."""
    event(handler, inputs, outputs, **SLOW_EVENT).success(
        None, js="() => dreamThis()", api_visibility="private"
    )


def video_input(**options: Any) -> gr.File:
    """Build a video input whose value is the path of the unread file; Gradio's rejects GIFs."""
    video: gr.File = FileInput(file_types=[".mp4", ".mov", ".webm", ".gif"], **options)
    return video


def knob_control(kind: type[Recipe], name: str, value: Any, **options: Any) -> Any:
    """Build the control of a knob: checkbox, choice, slider, or number if the range is large."""
    knob = knobs(kind)[name]
    options |= {"label": knob_label(name, knob), "info": knob.help}
    if knob.value_type is bool:
        return gr.Checkbox(value, **options)
    if knob.choices and knob.derived_default:
        automatic = ("automatic", "")
        return gr.Dropdown(
            [automatic, *zip(knob.choices, knob.choices, strict=True)], value="", **options
        )
    if knob.choices:
        return gr.Radio(list(knob.choices), value=value, **options)
    if knob.high > 10_000:
        return gr.Number(value, precision=0, **options)
    return gr.Slider(knob.low, knob.high, value, step=knob.slider_step, **options)


def require_photo(photo: str | None) -> str:
    """Return the photo; raise DreamError if there is none."""
    if not photo:
        raise DreamError("Upload a photo first, or choose an example.")
    return photo


def check_recipe(kind: type[AnyRecipe], **values: Any) -> AnyRecipe:
    """Return a recipe from the knobs among `values`, without reading its images.

    Raises:
        RecipeError: if a knob has an invalid value.
    """
    recipe_knobs = knobs(kind)
    given = {
        name: each for name, each in values.items() if name in recipe_knobs and each is not None
    }
    return kind(
        **{
            name: DATA_URI_PREFIX if each and recipe_knobs[name].is_image else each
            for name, each in given.items()
        }
    )


def knob_label(name: str, knob: Knob) -> str:
    """Return the label of a knob."""
    label = "FPS" if name == "fps" else name.replace("_", " ").capitalize()
    return f"{label}, {knob.unit}" if knob.unit else label


def draw_seed() -> int:
    """Return a random seed."""
    return randint(0, MAX_SEED)


def knob_description(kind: type[Recipe], name: str) -> str:
    """Describe the effect, bounds and default of a knob in one line."""
    knob = knobs(kind)[name]
    if knob.value_type in (int, float):
        bounds = f" {knob.low:.10g} to {knob.high:.10g} {knob.unit}".rstrip() + "."
    else:
        bounds = f" One of {', '.join(knob.choices)}." if knob.choices else ""
    return f"{knob.help}{bounds} Default: {knob.default_text}."
