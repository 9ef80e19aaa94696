"""What the tabs share: inputs, the status line, and files to show."""

from __future__ import annotations

import html
import inspect
import math
import re
import time
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import randint
from typing import Any

import gradio as gr
from gradio.component_meta import ComponentMeta

from dream.errors import DreamError
from dream.files.picture import save_image
from dream.networks.download import Download
from dream.paint.render import Frame
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import Knob, knobs
from dream.recipe.recipe import SEED_LIMIT, Recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS_BETWEEN_WORDS = 0.4
UNDER_WAY = " data-under-way"

# How events run: the work in line, as many at a time as `app.py` says; short looks in a line of
# their own; what follows from a click, without computing, at once.
WORK: dict[str, Any] = {"concurrency_id": "dream"}
GLANCE: dict[str, Any] = {
    "concurrency_id": "glance",
    "concurrency_limit": 4,
    "show_progress": "hidden",
    "api_visibility": "private",
}
AT_ONCE: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}


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
Text = component_like(gr.Textbox, preprocess=_as_it_came)
Number = component_like(gr.Number, preprocess=_as_it_came)


def photo_input(**about: Any) -> gr.Image:
    """A picture input that hands on the path of the file as it came."""
    photo: gr.Image = Photo(type="filepath", image_mode=None, **about)
    return photo


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


def label(name: str, knob: Knob) -> str:
    """What a knob is called on the page."""
    return name.replace("_", " ").capitalize() + (f", {knob.unit}" if knob.unit else "")


def random_seed() -> int:
    """A seed that nobody chose."""
    return randint(0, SEED_LIMIT)


def hidden_field(kind: type[Recipe], name: str) -> Any:
    """The field of a knob in an endpoint, which no page shows; empty for what is automatic."""
    knob = knobs(kind)[name]
    value = None if knob.automatic else getattr(kind(), name)
    if knob.file:
        return photo_input(label=name, visible=False)
    if knob.kind is bool:
        return gr.Checkbox(bool(value), label=name, visible=False)
    if knob.kind is str:
        return Text(value, label=name, visible=False)
    precision = 0 if knob.kind is int else None
    return Number(value, label=name, precision=precision, visible=False)


def with_knobs(
    work: Callable[..., Iterator[Any]],
    kind: type[Recipe],
    own: Mapping[str, str],
    skip: Sequence[str] = (),
) -> tuple[Callable[..., Iterator[Any]], list[str]]:
    """A handler of an endpoint that takes a parameter for each knob, and the names of those.

    `own` are parameters that come first, with what is said of each. `work` is given those, and a
    dict of the knobs that were sent. What Gradio tells API and MCP clients follows from the recipe;
    defaults are those of the fields.
    """
    about = {name: knob for name, knob in knobs(kind).items() if name not in skip}

    def handler(*values: Any) -> Iterator[Any]:
        given = dict(zip(about, values[len(own) :], strict=True))
        # A file that was left out comes as None, as do numbers and names that are automatic.
        sent = {name: value for name, value in given.items() if value is not None}
        yield from work(*values[: len(own)], sent)

    # Gradio takes the default of a field; where that is empty, only None here makes it optional.
    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD
    required = [inspect.Parameter(name, kinds) for name in own]
    optional = [inspect.Parameter(name, kinds, default=None) for name in about]
    handler.__signature__ = inspect.Signature(required + optional)  # type: ignore[attr-defined]
    lines = [f"    {name}: {said}" for name, said in own.items()]
    lines += [f"    {name}: {described(kind, name)}" for name in about]
    handler.__name__ = work.__name__
    handler.__doc__ = "\n".join([inspect.cleandoc(work.__doc__ or ""), "", "Args:", *lines])
    return handler, list(about)


def described(kind: type[Recipe], name: str) -> str:
    """What a knob does, what it may be and what it is when nothing is said, in one line."""
    knob = knobs(kind)[name]
    default = knob.automatic or knob.empty or str(getattr(kind(), name)).lower()
    if knob.kind in (int, float):
        bounds = f" {knob.low:.10g} to {knob.high:.10g} {knob.unit}".rstrip() + "."
    else:
        bounds = f" One of {', '.join(knob.choices)}." if knob.choices else ""
    return f"{knob.help}{bounds} Default: {default}."


def status(text: str, mark: str = "") -> str:
    """A line for the status, read out as it changes."""
    return f'<span role="status"{mark}>{html.escape(text)}</span>'


def under_way(text: str) -> str:
    """A line for the status that holds only while something runs."""
    return status(text, UNDER_WAY)


def stops(
    stop: gr.Button,
    runs: Sequence[Any],
    free: Callable[[], tuple[Any, ...]],
    buttons: Sequence[Any],
    line: gr.HTML,
    words: str = "Stopped.",
) -> None:
    """Let a button stop runs; at the end of each, `free` is what the buttons look like.

    A busy browser shows frames that it had received before the stop after the button's words: so
    they are said once more when the stream has ended.
    """
    said = status(words)

    def ended(shown: str | None) -> tuple[Any, ...]:
        return *free(), said if UNDER_WAY in str(shown) else gr.skip()

    stop.click(lambda: (*free(), said), None, [*buttons, line], cancels=list(runs), **AT_ONCE)
    for run in runs:
        # The stop and the end of the stream may both come to this.
        run.then(ended, line, [*buttons, line], trigger_mode="multiple", **AT_ONCE)


def sentence(error: DreamError | str) -> str:
    """What there is to say as a sentence; a file's name at its start keeps its letters."""
    text = str(error)
    if text.split(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    return f"{text}." if text and not text.endswith(".") else text


def progress(frame: Frame, seconds: float) -> str:
    """Where a dream is after so many seconds, and how long it still takes."""
    if frame.step == 0:
        return under_way("Falling asleep …")
    steps = frame.total // frame.octaves
    octave = f"Octave {frame.octave} of {frame.octaves}, " if frame.octaves > 1 else ""
    said = f"{octave}step {(frame.step - 1) % steps + 1} of {steps}, {left(frame, seconds)} left."
    return under_way(said[:1].upper() + said[1:])


def left(frame: Frame, seconds: float) -> str:
    """How long it still takes after so many seconds."""
    return f"{seconds / frame.done * (1 - frame.done):.1f} s" if frame.done else "some time"


def fetching(downloads: Iterator[Download]) -> Iterator[str]:
    """The status while the weights of a network are fetched, twice a second at most."""
    shown = -math.inf
    for each in downloads:
        if time.monotonic() - shown > SECONDS_BETWEEN_WORDS:
            yield under_way(f"Fetching {each.model} from {each.source}, once: {each.megabytes}.")
            shown = time.monotonic()


def preview(frame: Frame, photo: str, folder: str) -> str:
    """The path of the frame as a JPEG, to look at."""
    path = Path(folder) / f"{stem(photo)}-{frame.step}.jpg"
    frame.picture().save(path, quality=90)
    return str(path)


def result(frame: Frame, recipe: DreamRecipe, photo: str, folder: str) -> str:
    """The path of the frame as a PNG with its recipe, to keep: dream-cat-inception4c-i5-seed0."""
    place = "+".join(filter(None, (recipe.layer, recipe.channels)))
    if recipe.model != DreamRecipe().model:
        place = f"{recipe.model}.{place}"
    place = re.sub(r"[^\w.]+", "+", place)[:60]
    name = f"dream-{stem(photo)}-{place}-i{recipe.intensity}-seed{recipe.seed}.png"
    save_image(frame.picture(), Path(folder) / name, recipe)
    return str(Path(folder) / name)


def stem(photo: str) -> str:
    """What a photo is called, also where it is a dream of ours fed back in."""
    stem = Path(photo).stem
    dreamed = re.fullmatch(r"dream-(.+?)-[^-]+-i\d+-seed\d+", stem)
    return re.sub(r"[^\w-]+", "-", dreamed[1] if dreamed else stem)[:40].strip("-") or "photo"
