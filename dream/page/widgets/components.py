"""Components, event options and input checks that the tabs share."""

from __future__ import annotations

import html
from abc import ABCMeta
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import randint
from typing import Any, TypeVar

import gradio as gr
from gradio.component_meta import ComponentMeta

from dream.errors import DreamError
from dream.page import status_line
from dream.page.blocks import MAX_FILE_AGE_SECONDS
from dream.page.call_limits import HEAVY, SLOW, SLOW_THREADS
from dream.recipe.base import MAX_SEED, AnyRecipe, Recipe
from dream.recipe.knob import DATA_URI_PREFIX, Knob, knobs

Updates = dict[Any, Any]  # New values, or `gr.update`s, by component.
Item = TypeVar("Item")
# An installed package has its examples inside; in a checkout they are beside it.
PACKAGE_FOLDER = Path(__file__).parents[2]
EXAMPLES_FOLDER = PACKAGE_FOLDER / "examples"
if not EXAMPLES_FOLDER.is_dir():
    EXAMPLES_FOLDER = PACKAGE_FOLDER.parent / "examples"

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


def _payload_paths(self: gr.File, payload: Any) -> list[str]:
    """Return the paths of several files, unread, as `_payload_path`."""
    return [each.path for each in payload] if payload else []


def _raw_payload(self: Any, payload: Any) -> Any:
    """Return the value unchecked, because the recipe reports a bad one better than Gradio."""
    return payload


ImageInput = derive_component(gr.Image, preprocess=_payload_path)
FileInput = derive_component(gr.File, preprocess=_payload_path)
FilesInput = derive_component(gr.File, preprocess=_payload_paths)
RawText = derive_component(gr.Textbox, preprocess=_raw_payload)
RawNumber = derive_component(gr.Number, preprocess=_raw_payload)
RawInteger = partial(RawNumber, precision=0)


def run_in_browser(
    event: Callable[..., Any], script: str, inputs: Any = None, outputs: Any = None, **options: Any
) -> Any:
    """On `event`, run a script that sets the outputs; the server does not take part."""
    return event(None, inputs, outputs, js=script, api_visibility="private", **options)


def photo_input(**options: Any) -> gr.Image:
    """Build an image input whose value is the path of the unread file."""
    defaults: dict[str, Any] = {"label": "Your photo", "height": 230, "buttons": []}
    defaults["sources"] = ["upload", "webcam", "clipboard"]
    # `page.js` mirrors the preview only.
    defaults["webcam_options"] = gr.WebcamOptions(mirror=False)
    photo: gr.Image = ImageInput(type="filepath", image_mode=None, **defaults | options)
    return photo


def privacy_line(note: str = "") -> gr.HTML:
    """Build the line beside an upload that says how long the server keeps it, and a note."""
    hours = MAX_FILE_AGE_SECONDS / 3600
    text = f"The server deletes photos and dreams within {hours:g} hours. {note}".strip()
    return gr.HTML(f"<span>{html.escape(text)}</span>", elem_classes="expected remark")


def selected_item(event: gr.EventData, items: Sequence[Item], name: str) -> Item:
    """Return the item of a clicked image; raise DreamError, which names it so, if there is none."""
    index = int(event.index)
    if index >= len(items):
        raise DreamError(f"there is no {name} {index + 1}; reload the page")
    return items[index]


def thumbnail_gallery(*classes: str, **options: Any) -> gr.Gallery:
    """Build a gallery of thumbnails, one of which can be selected, with these CSS classes too."""
    defaults: dict[str, Any] = {"object_fit": "cover", "allow_preview": False, "buttons": []}
    defaults["elem_classes"] = ["thumbnails", *classes]
    return gr.Gallery(height="auto", interactive=False, show_label=False, **defaults | options)


def go_and_stop_buttons(label: str, go_id: str, stop_id: str) -> tuple[gr.Button, gr.Button]:
    """Build a tab's main button, which Enter presses, and the Stop button that replaces it."""
    with gr.Row(elem_classes="go-and-stop"):
        go = gr.Button(label, variant="primary", elem_id=go_id, elem_classes="go")
        stop = gr.Button(
            "Stop", variant="stop", visible=False, elem_id=stop_id, elem_classes="stop"
        )
    return go, stop


def build_columns(build_inputs: Callable[[], None], build_outputs: Callable[[], None]) -> None:
    """Build the two columns of a tab, which are one on a phone: inputs and result."""
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            build_inputs()
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            build_outputs()


def foot() -> gr.Column:
    """Build the place of the main button, which is the foot of the window on a phone."""
    return gr.Column(elem_classes="foot")


def send_to_dream_tab(
    event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: list[Any]
) -> None:
    """On `event`, set the inputs of the Deep Dream tab from `handler`, and start the dream."""
    run_in_browser(event(handler, inputs, outputs, **SLOW_EVENT).success, "() => dreamThis()")


def status_field(elem_id: str, *texts: str) -> gr.HTML:
    """Build the status line of a tab; texts as in `status_html`."""
    return gr.HTML(status_line.status_html(*texts), elem_id=elem_id, elem_classes="status")


def still_image(label: str, elem_id: str) -> gr.Image:
    """Build a hidden image that shows a frame or a GIF in place of a player."""
    options: dict[str, Any] = {"interactive": False, "visible": False, "buttons": []}
    return gr.Image(type="filepath", label=label, elem_id=elem_id, **options)


def video_player(value: str | None, label: str, **options: Any) -> gr.Video:
    """Build a looping video player."""
    return gr.Video(
        value, label=label, interactive=False, autoplay=True, loop=True, buttons=[], **options
    )


def player_updates(path: str) -> tuple[Any, Any, str]:
    """Return the updates of still image, player and download; browsers show a GIF as an image."""
    is_gif = path.endswith(".gif")
    still = gr.update(visible=is_gif, **({"value": path} if is_gif else {}))
    return still, gr.update(visible=not is_gif, value=None if is_gif else path), path


def knob_controls(recipe: Recipe, *names: str) -> dict[str, Any]:
    """Build the control of each knob, set to the recipe's value."""
    return {name: knob_control(recipe, name) for name in names}


def knob_control(recipe: Recipe, name: str, **options: Any) -> Any:
    """Build the control of a knob: choice, slider, or number if the range is large."""
    knob, value = knobs(type(recipe))[name], getattr(recipe, name)
    options |= {"label": knob_label(name, knob), "info": knob.help}
    if knob.choices and knob.derived_default:
        choices = [("automatic", ""), *zip(knob.choices, knob.choices, strict=True)]
        return gr.Dropdown(choices, value="", **options)
    if knob.choices:
        return gr.Radio(list(knob.choices), value=value, **options)
    if knob.high > 10_000:
        return gr.Number(value, precision=0, **options)
    return gr.Slider(knob.low, knob.high, value, step=knob.slider_step, **options)


def recipe_updates(recipe: Recipe, controls: Mapping[str, Any]) -> Updates:
    """Return the updates that set the controls of knobs, except for derived (None) knobs."""
    values = {control: getattr(recipe, name) for name, control in controls.items()}
    return {control: gr.skip() if value is None else value for control, value in values.items()}


def require_photo(photo: str | None) -> str:
    """Return the photo; raise DreamError if there is none."""
    if not photo:
        raise DreamError("Upload a photo first, or choose an example.")
    return photo


def check_recipe(kind: type[AnyRecipe], **values: Any) -> AnyRecipe:
    """Return a recipe of the knobs in `values`, its images unread; raise RecipeError if invalid."""
    given = {}
    for name, knob in knobs(kind).items():
        if (value := values.get(name)) is not None:
            given[name] = DATA_URI_PREFIX if value and knob.is_image else value
    return kind(**given)


def knob_label(name: str, knob: Knob) -> str:
    """Return the label of a knob."""
    label = "FPS" if name == "fps" else name.replace("_", " ").capitalize()
    return f"{label}, {knob.unit}" if knob.unit else label


def with_random_seed(values: dict[str, Any], random_seed: bool) -> dict[str, Any]:
    """Return the values of knobs, with a random seed if one is wanted."""
    return {**values, "seed": randint(0, MAX_SEED)} if random_seed else values


def knob_description(kind: type[Recipe], name: str) -> str:
    """Describe the effect, bounds and default of a knob in one line."""
    knob = knobs(kind)[name]
    if knob.value_type in (int, float):
        bounds = f" {knob.low:.10g} to {knob.high:.10g} {knob.unit}".rstrip() + "."
    else:
        bounds = f" One of {', '.join(knob.choices)}." if knob.choices else ""
    return f"{knob.help}{bounds} Default: {knob.default_text}."
