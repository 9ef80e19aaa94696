"""The tab "Class image": what a network takes for a class, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import WeightsError
from dream.files.picture import load_image, read_recipe
from dream.page import deep_dream, parts
from dream.page.blocks import upload_name, upload_path
from dream.page.layers import network_choice
from dream.page.moments import moments, stopped_at, unspoilt
from dream.page.run import Run
from dream.paint.class_image import Verdict
from dream.recipe import classes
from dream.recipe.class_image import ClassRecipe
from dream.recipe.knob import knobs
from dream.service.work import Work

MADE = parts.EXAMPLES / "class-goldfish-seed0.png"
PICKS = {
    **{name: name for name in ("flamingo", "tabby", "ladybug", "jellyfish", "school bus", "pizza")},
    "goldfish and volcano": "goldfish:1,volcano:1",
}
MODES = {
    "growing": "One large subject",
    "fourier": "Many small ones",
    "octaves": "Bold shapes",
    "phase": "Painterly",
    "classic": "Classic, 2013",
}
ADVANCED = [name for name in knobs(ClassRecipe) if name not in ("model", "target", "mode")]


def tab(work: Work, tabs: gr.Tabs, dreams: deep_dream.Inputs) -> None:
    """The tab: a class to choose, its picture, and what the network says of it."""
    first = work.engine.settle(read_recipe(MADE, ClassRecipe))
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            go, stop, inputs = _asking(first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            carry, outputs = _showing(first)
    download = outputs["download"]
    run = Run(go, stop, [carry, download], outputs["status"])
    run.on(go.click, partial(_make, work), inputs, {**outputs, "seed": inputs["seed"]}, _check)
    run.wire()
    run.stop.click(_stopped, outputs["made"], download, **parts.AT_ONCE)
    carried = [tabs, dreams.photo]
    parts.dream_this(carry.click, lambda path: (gr.Tabs(selected="dream"), path), download, carried)


def _asking(first: ClassRecipe) -> tuple[gr.Button, gr.Button, dict[str, Any]]:
    """The buttons to go and to stop, and what is asked for, by name."""
    target = gr.Dropdown(
        list(classes.names()),
        value=first.target,
        allow_custom_value=True,
        label="Class",
        info="Type a part of its name, or several as goldfish:1,jellyfish:0.5.",
    )
    go, stop = parts.go_and_stop("Show me", "make", "stop-make")
    picks = [[pick] for pick in PICKS.values()]
    gr.Examples(picks, target, label="Or one of these", example_labels=list(PICKS))
    ways = [(words, name) for name, words in MODES.items()]
    mode = gr.Radio(ways, value=first.mode, label="How")
    with gr.Accordion("Make my photo more of it", open=False):
        photo = parts.photo_input(elem_id="class-photo")
    model = network_choice(first.model)
    with gr.Accordion("Advanced", open=False):
        controls = {name: _control(name, getattr(first, name)) for name in ADVANCED}
        random_seed = gr.Checkbox(False, label="Random seed")
    given = {"photo": photo, "random_seed": random_seed, "model": model, "target": target}
    return go, stop, {**given, "mode": mode, **controls}


def _showing(first: ClassRecipe) -> tuple[gr.Button, dict[str, Any]]:
    """The button that dreams on, and what is put out, by name."""
    words, seen = _opening(first)
    picture = gr.Image(
        str(MADE),
        type="filepath",
        label="Class image",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="class-image",
    )
    status = gr.HTML(parts.status(words), elem_id="make-status", elem_classes="status")
    bars = gr.Label(seen, num_top_classes=5, label="What the network sees", elem_id="bars")
    with gr.Row():
        carry = gr.Button("Dream on with this", elem_id="dream-on", min_width=120)
        download = gr.DownloadButton("Download", str(MADE), elem_id="class-download", min_width=120)
    shown = {"picture": picture, "status": status, "bars": bars, "download": download}
    # What the picture is an upload of, for the browser to keep: the server may forget.
    return carry, {**shown, "made": gr.Textbox(visible=False)}


async def _stopped(made: str) -> Any:
    return await stopped_at(upload_path(made))


def _make(
    work: Work, photo: str | None, random_seed: bool, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """What the tab puts out, as the picture forms."""
    recipe = ClassRecipe(**_open(knobs))
    if random_seed:
        recipe = recipe.but(seed=parts.random_seed())
    before, path = None, ""
    try:
        for moment in moments(work, [recipe], photo, judged=True):
            if not (moment.frame and moment.verdict):
                yield {"status": moment.words}
                continue
            before = before or moment.verdict
            (path,) = moment.files
            changes: dict[str, Any] = {"picture": path, "made": upload_name(path)}
            changes |= {"bars": dict(moment.verdict.seen), "status": moment.words}
            changes["seed"] = recipe.seed
            if moment.frame.finished:
                words = parts.status(_said(before, moment.verdict))
                changes |= {"status": words, "download": path}
            yield changes
    except Exception:  # Whatever went wrong, what is downloaded is what is shown.
        if path:
            yield {"download": unspoilt(path)}
        raise


def _opening(recipe: ClassRecipe) -> tuple[str, dict[str, float]]:
    """What the network says of the picture that the page opens on, in one line and by class.

    On the CPU: where GPUs are lent there is none as yet.
    """
    engine = Engine("cpu")
    try:
        start = next(iter(engine.class_image(recipe)))
        before = engine.verdict(start.tensor, recipe)
        after = engine.verdict(load_image(MADE), recipe)
    except WeightsError as error:
        return parts.sentence(error), {}
    return _said(before, after), dict(after.seen)


def _said(before: Verdict, after: Verdict) -> str:
    """Whether it worked, in one line."""
    return (
        f"{after.target}: probability {before.probability:.1%} → {after.probability:.1%}, "
        f"logit {before.logit:.1f} → {after.logit:.1f}, rank {before.rank} → {after.rank} of 1000."
    )


def _check(**values: Any) -> None:
    """See that there can be such a picture; raises as `parts.checked`."""
    parts.checked(ClassRecipe, **_open(values))


def _control(name: str, value: Any) -> Any:
    """The control of a knob; what the mode or a photo decides may be left at 0."""
    knob = knobs(ClassRecipe)[name]
    if knob.automatic:
        about = f"{knob.help} 0: {knob.automatic}."
        return gr.Number(0, label=parts.label(name, knob), info=about, precision=0)
    return parts.control(ClassRecipe, name, value)


def _open(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same, and what is 0, or empty, left open: Gradio shows an empty number as 0."""
    automatic = {name for name, knob in knobs(ClassRecipe).items() if knob.automatic}
    return {name: each or None if name in automatic else each for name, each in values.items()}
