"""What the tabs share: inputs, the status line, and files to show."""

from __future__ import annotations

import html
import math
import time
from abc import ABCMeta
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import randint
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta

from dream.errors import DreamError
from dream.networks.download import Download
from dream.page.call_limits import HEAVY, SLOW, SLOW_THREADS
from dream.paint.frames import Frame
from dream.recipe.knob import URI, Knob, knobs
from dream.recipe.recipe import SEED_LIMIT, AnyRecipe, Recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS_BETWEEN_WORDS = 0.4
STOPPED = "Stopped."

# How events run: the work in line, as many at a time as `app.py` says; looks, and what follows from
# a click, at once, however many dreams wait.
WORK: dict[str, Any] = {"concurrency_id": "dream"}
AT_ONCE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
# Looks that read visitors' pictures, and what handles ZIPs and videos: few at a time of either, so
# that they hold up no others.
SLOW_LOOK: dict[str, Any] = {
    **AT_ONCE,
    "concurrency_id": SLOW,
    "concurrency_limit": SLOW_THREADS,
}
HEAVY_LOOK: dict[str, Any] = {**SLOW_LOOK, "concurrency_id": HEAVY}


def component_like(base: type, **own: Any) -> Any:
    """A class of component that is `base` but for what is given.

    A class, since Gradio makes components anew for each session, from their classes; and made so,
    since its metaclass would write a stub beside this file.
    """
    return ABCMeta.__new__(ComponentMeta, base.__name__, (base,), {"is_template": True, **own})


def _path(self: gr.Image, payload: Any) -> Any:
    """The path of the file as it came: Gradio would open it first, and answer a bad one with a bare
    "Error"; `load_image` says what is wrong with it.
    """
    return payload.path if payload else None


def _as_it_came(self: Any, payload: Any) -> Any:
    """What was sent: the recipe says what is wrong with it, where Gradio would answer nothing."""
    return payload


Photo = component_like(gr.Image, preprocess=_path)
File = component_like(gr.File, preprocess=_path)
Text = component_like(gr.Textbox, preprocess=_as_it_came)
Number = component_like(gr.Number, preprocess=_as_it_came)
Integer = partial(Number, precision=0)


def photo_input(**about: Any) -> gr.Image:
    """A picture input that hands on the path of the file as it came."""
    usual: dict[str, Any] = {"label": "Your photo", "height": 230, "buttons": []}
    usual["sources"] = ["upload", "webcam", "clipboard"]
    usual["webcam_options"] = gr.WebcamOptions(mirror=False)  # A photo is no mirror; see `page.js`.
    photo: gr.Image = Photo(type="filepath", image_mode=None, **usual | about)
    return photo


def pictures(**about: Any) -> gr.Gallery:
    """Small pictures, one of which can be chosen."""
    usual: dict[str, Any] = {"object_fit": "cover", "allow_preview": False, "buttons": []}
    return gr.Gallery(height="auto", interactive=False, show_label=False, **usual | about)


def go_and_stop(words: str, go: str, stop: str) -> tuple[gr.Button, gr.Button]:
    """The button of a tab, which Enter presses, and the one in its place while it runs."""
    button = gr.Button(words, variant="primary", elem_id=go, elem_classes="go")
    return button, gr.Button(
        "Stop", variant="stop", visible=False, elem_id=stop, elem_classes="stop"
    )


def dream_this(
    event: Callable[..., Any], chosen: Callable[..., Any], given: Any, carried: list[Any]
) -> None:
    """On that event the first tab is given what is chosen, and dreams it, if there is anything."""
    event(chosen, given, carried, **SLOW_LOOK).success(
        None, js="() => dreamThis()", api_visibility="private"
    )


def video_input(**about: Any) -> gr.File:
    """A video input that hands on the path of the file as it came; Gradio's own takes no GIF."""
    video: gr.File = File(file_types=[".mp4", ".mov", ".webm", ".gif"], **about)
    return video


def control(kind: type[Recipe], name: str, value: Any, **about: Any) -> Any:
    """The slider of a knob; a plain number where that is too coarse, a choice among names."""
    knob = knobs(kind)[name]
    about |= {"label": label(name, knob), "info": knob.help}
    if knob.kind is bool:
        return gr.Checkbox(value, **about)
    if knob.choices and knob.automatic:
        own = ("automatic", "")
        return gr.Dropdown([own, *zip(knob.choices, knob.choices, strict=True)], value="", **about)
    if knob.choices:
        return gr.Radio(list(knob.choices), value=value, **about)
    if knob.high > 10_000:
        return gr.Number(value, precision=0, **about)
    return gr.Slider(knob.low, knob.high, value, step=knob.grain, **about)


def needed(photo: str | None) -> str:
    """The photo.

    Raises:
        DreamError: if there is none.
    """
    if not photo:
        raise DreamError("Drop a photo first, or pick one of the examples.")
    return photo


def checked(kind: type[AnyRecipe], **values: Any) -> AnyRecipe:
    """A recipe of that kind by the knobs among those values, before its pictures are read.

    Raises:
        RecipeError: if there can be none.
    """
    about = knobs(kind)
    given = {name: each for name, each in values.items() if name in about and each is not None}
    return kind(
        **{name: URI if each and about[name].picture else each for name, each in given.items()}
    )


def label(name: str, knob: Knob) -> str:
    """What a knob is called on the page."""
    return name.replace("_", " ").capitalize() + (f", {knob.unit}" if knob.unit else "")


def random_seed() -> int:
    """A seed that nobody chose."""
    return randint(0, SEED_LIMIT)


def described(kind: type[Recipe], name: str) -> str:
    """What a knob does, what it may be and what it is when nothing is said, in one line."""
    knob = knobs(kind)[name]
    if knob.kind in (int, float):
        bounds = f" {knob.low:.10g} to {knob.high:.10g} {knob.unit}".rstrip() + "."
    else:
        bounds = f" One of {', '.join(knob.choices)}." if knob.choices else ""
    return f"{knob.help}{bounds} Default: {knob.usual}."


def status(text: str, mark: str = "") -> str:
    """A line for the status, read out as it changes."""
    return f'<span role="status"{mark}>{html.escape(text)}</span>'


def under_way(text: str, stopped: str = STOPPED) -> str:
    """A line for the status that holds only while something runs, and what it becomes by a stop."""
    return status(text, f' data-under-way="{html.escape(stopped)}"')


def warned(error: DreamError, title: str) -> str:
    """A line for the status that says what went wrong, which a toast says too."""
    toast(error, title)
    return status(sentence(error))


def toast(text: DreamError | str, title: str) -> None:
    """Say it in a corner of the page; clients of the API find it among the messages of a job."""
    gr.Warning(html.escape(sentence(text)), title=title)


def sentence(error: DreamError | str) -> str:
    """What there is to say as a sentence; a file's name at its start keeps its letters."""
    text = str(error)
    if text.split(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    return f"{text}." if text and not text.endswith(".") else text


class Clock:
    """How long work still takes, by how long its own steps took, not what came before them."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def left(self, done: float) -> str:
        """In words, when that share of the work, from 0 to 1, is done."""
        now = time.monotonic()
        if not done:
            self.begun = now
            return "some time left"
        seconds = (now - self.begun) / done * (1 - done)
        return f"{seconds:.{int(seconds < 60)}f} s left"


def progress(frame: Frame, left: str, stopped: str = STOPPED) -> str:
    """Where a dream is, and how long it still takes, in words."""
    if frame.step == 0:
        return under_way("Falling asleep …")
    said = f"Step {frame.step} of {frame.total}"
    if frame.octaves > 1:
        step = f"step {frame.octave_step} of {frame.octave_steps}"
        said = f"Octave {frame.octave} of {frame.octaves}, {step}"
    return under_way(f"{said}, {left}. {sentence(frame.remark)}".strip(), stopped)


def fetching(downloads: Iterator[Download]) -> Iterator[str]:
    """The status while the weights of a network are fetched, twice a second at most."""
    shown = -math.inf
    for each in downloads:
        if time.monotonic() - shown > SECONDS_BETWEEN_WORDS:
            yield under_way(f"Fetching {each.model} from {each.source}, once: {each.megabytes}.")
            shown = time.monotonic()
