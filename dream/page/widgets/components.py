"""What the tabs share: inputs, the status line, and files to show."""

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
from dream.recipe.base import SEED_LIMIT, AnyRecipe, Recipe
from dream.recipe.knob import DATA_URI_PREFIX, Knob, knobs

EXAMPLES = Path(__file__).parents[3] / "examples"

# How events run: the work in line, as many at a time as `app.py` says; looks, and what follows from
# a click, at once, however many dreams wait.
QUEUED_EVENT: dict[str, Any] = {"concurrency_id": "dream"}
IMMEDIATE_EVENT: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
# Looks that read visitors' pictures, and what handles ZIPs and videos: few at a time of either, so
# that they hold up no others.
SLOW_LOOK: dict[str, Any] = {
    **IMMEDIATE_EVENT,
    "concurrency_id": SLOW,
    "concurrency_limit": SLOW_THREADS,
}
HEAVY_LOOK: dict[str, Any] = {**SLOW_LOOK, "concurrency_id": HEAVY}


def derive_component(base: type, **members: Any) -> Any:
    """A class of component that is `base` but for what is given.

    A class, since Gradio makes components anew for each session, from their classes; and made so,
    since its metaclass would write a stub beside this file.
    """
    return ABCMeta.__new__(ComponentMeta, base.__name__, (base,), {"is_template": True, **members})


def _payload_path(self: gr.Image, payload: Any) -> Any:
    """The path of the file as it came: Gradio would open it first, and answer a bad one with a bare
    "Error"; `load_image` says what is wrong with it.
    """
    return payload.path if payload else None


def _raw_payload(self: Any, payload: Any) -> Any:
    """What was sent: the recipe says what is wrong with it, where Gradio would answer nothing."""
    return payload


ImageInput = derive_component(gr.Image, preprocess=_payload_path)
FileInput = derive_component(gr.File, preprocess=_payload_path)
RawText = derive_component(gr.Textbox, preprocess=_raw_payload)
RawNumber = derive_component(gr.Number, preprocess=_raw_payload)
RawInteger = partial(RawNumber, precision=0)


def photo_input(**options: Any) -> gr.Image:
    """A picture input that hands on the path of the file as it came."""
    defaults: dict[str, Any] = {"label": "Your photo", "height": 230, "buttons": []}
    defaults["sources"] = ["upload", "webcam", "clipboard"]
    defaults["webcam_options"] = gr.WebcamOptions(
        mirror=False
    )  # A photo is no mirror; see `page.js`.
    photo: gr.Image = ImageInput(type="filepath", image_mode=None, **defaults | options)
    return photo


def thumbnail_gallery(**options: Any) -> gr.Gallery:
    """Small pictures, one of which can be chosen."""
    defaults: dict[str, Any] = {"object_fit": "cover", "allow_preview": False, "buttons": []}
    return gr.Gallery(height="auto", interactive=False, show_label=False, **defaults | options)


def go_and_stop_buttons(label: str, go_id: str, stop_id: str) -> tuple[gr.Button, gr.Button]:
    """The button of a tab, which Enter presses, and the one in its place while it runs."""
    go_button = gr.Button(label, variant="primary", elem_id=go_id, elem_classes="go")
    return go_button, gr.Button(
        "Stop", variant="stop", visible=False, elem_id=stop_id, elem_classes="stop"
    )


def send_to_dream_tab(
    event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: list[Any]
) -> None:
    """On that event the first tab is given what is chosen, and dreams it, if there is anything."""
    event(handler, inputs, outputs, **SLOW_LOOK).success(
        None, js="() => dreamThis()", api_visibility="private"
    )


def video_input(**options: Any) -> gr.File:
    """A video input that hands on the path of the file as it came; Gradio's own takes no GIF."""
    video: gr.File = FileInput(file_types=[".mp4", ".mov", ".webm", ".gif"], **options)
    return video


def knob_control(kind: type[Recipe], name: str, value: Any, **options: Any) -> Any:
    """The slider of a knob; a plain number where that is too coarse, a choice among names."""
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
    """The photo.

    Raises:
        DreamError: if there is none.
    """
    if not photo:
        raise DreamError("Drop a photo first, or pick one of the examples.")
    return photo


def check_recipe(kind: type[AnyRecipe], **values: Any) -> AnyRecipe:
    """A recipe of that kind by the knobs among those values, before its pictures are read.

    Raises:
        RecipeError: if there can be none.
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
    """What a knob is called on the page."""
    return name.replace("_", " ").capitalize() + (f", {knob.unit}" if knob.unit else "")


def random_seed() -> int:
    """A seed that nobody chose."""
    return randint(0, SEED_LIMIT)


def knob_description(kind: type[Recipe], name: str) -> str:
    """What a knob does, what it may be and what it is when nothing is said, in one line."""
    knob = knobs(kind)[name]
    if knob.value_type in (int, float):
        bounds = f" {knob.low:.10g} to {knob.high:.10g} {knob.unit}".rstrip() + "."
    else:
        bounds = f" One of {', '.join(knob.choices)}." if knob.choices else ""
    return f"{knob.help}{bounds} Default: {knob.default_text}."
