"""The "Class image" tab: an image that a network classifies as a class, and its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import WeightsError
from dream.files.image import load_image, read_recipe
from dream.page import status_line
from dream.page.blocks import upload_name, upload_path
from dream.page.image_stream import lossless_path, stream_render, wait_for_stopped_image
from dream.page.tabs import deep_dream
from dream.page.widgets import components
from dream.page.widgets.layer_picker import network_dropdown
from dream.page.widgets.run import RunButtons
from dream.recipe import imagenet_classes
from dream.recipe.class_image import ClassRecipe
from dream.recipe.knob import knobs
from dream.render.class_image import Verdict
from dream.service.job_runner import JobRunner

EXAMPLE_IMAGE = components.EXAMPLES_FOLDER / "class-goldfish-seed0.png"
EXAMPLE_TARGETS = {
    **{name: name for name in ("flamingo", "tabby", "ladybug", "jellyfish", "school bus", "pizza")},
    "goldfish and volcano": "goldfish:1,volcano:1",
}
MODE_LABELS = {
    "growing": "One large subject",
    "fourier": "Many small subjects",
    "octaves": "Bold shapes",
    "phase": "Painterly",
    "classic": "Classic (2013)",
}
ADVANCED_KNOBS = [name for name in knobs(ClassRecipe) if name not in ("model", "target", "mode")]


def build_tab(runner: JobRunner, tabs: gr.Tabs, dream_inputs: deep_dream.DreamInputs) -> None:
    """Build the tab; its image can be sent to the Deep Dream tab."""
    first = runner.engine.settle(read_recipe(EXAMPLE_IMAGE, ClassRecipe))
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            go, stop, inputs = _build_inputs(first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            dream_button, outputs = _build_outputs(first)
    download = outputs["download"]
    run_buttons = RunButtons(go, stop, [dream_button, download], outputs["status"])
    run_buttons.start_on(
        go.click,
        partial(_stream_class_image, runner),
        inputs,
        {**outputs, "seed": inputs["seed"]},
        _check_recipe,
    )
    run_buttons.connect_stop()
    stop.click(_download_after_stop, outputs["made"], download, **components.IMMEDIATE_EVENT)
    targets = [tabs, dream_inputs.photo]
    components.send_to_dream_tab(
        dream_button.click, lambda path: (gr.Tabs(selected="dream"), path), download, targets
    )


def _build_inputs(first: ClassRecipe) -> tuple[gr.Button, gr.Button, dict[str, Any]]:
    """Build the go and stop buttons, and the input components by name."""
    target = gr.Dropdown(
        list(imagenet_classes.class_names()),
        value=first.target,
        allow_custom_value=True,
        label="Class",
        info="Type part of a name, or several classes with weights: goldfish:1,jellyfish:0.5.",
    )
    go, stop = components.go_and_stop_buttons("Make class image", "make", "stop-make")
    examples = [[pick] for pick in EXAMPLE_TARGETS.values()]
    gr.Examples(
        examples, target, label="Or choose an example", example_labels=list(EXAMPLE_TARGETS)
    )
    modes = [(words, name) for name, words in MODE_LABELS.items()]
    mode = gr.Radio(modes, value=first.mode, label="Style")
    with gr.Accordion("Push my photo towards this class", open=False):
        photo = components.photo_input(elem_id="class-photo")
    model = network_dropdown(first.model)
    with gr.Accordion("Advanced", open=False):
        controls = {name: _knob_control(name, getattr(first, name)) for name in ADVANCED_KNOBS}
        random_seed = gr.Checkbox(False, label="Random seed")
    inputs = {"photo": photo, "random_seed": random_seed, "model": model, "target": target}
    return go, stop, {**inputs, "mode": mode, **controls}


def _build_outputs(first: ClassRecipe) -> tuple[gr.Button, dict[str, Any]]:
    """Build the button to the Deep Dream tab, and the output components by name."""
    text, probabilities = _example_verdicts(first)
    image = gr.Image(
        str(EXAMPLE_IMAGE),
        type="filepath",
        label="Class image",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="class-image",
    )
    status = gr.HTML(status_line.status_html(text), elem_id="make-status", elem_classes="status")
    bars = gr.Label(probabilities, num_top_classes=5, label="Predicted classes", elem_id="bars")
    with gr.Row():
        dream_button = gr.Button("Dream this image", elem_id="dream-on", min_width=120)
        download = gr.DownloadButton(
            "Download", str(EXAMPLE_IMAGE), elem_id="class-download", min_width=120
        )
    outputs = {"picture": image, "status": status, "bars": bars, "download": download}
    # The browser stores the upload name of the image, because the server may lose sessions.
    return dream_button, {**outputs, "made": gr.Textbox(visible=False)}


async def _download_after_stop(made: str) -> Any:
    return await wait_for_stopped_image(upload_path(made))


def _stream_class_image(
    runner: JobRunner, photo: str | None, random_seed: bool, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """Yield the changes of the tab's outputs as the image forms."""
    recipe = ClassRecipe(**_zeros_to_none(knobs))
    if random_seed:
        recipe = recipe.with_changes(seed=components.draw_seed())
    first_verdict, path = None, ""
    try:
        for update in stream_render(runner, [recipe], photo, with_verdict=True):
            if not (update.frame and update.verdict):
                yield {"status": update.status}
                continue
            first_verdict = first_verdict or update.verdict
            (path,) = update.files
            changes: dict[str, Any] = {"picture": path, "made": upload_name(path)}
            changes |= {"bars": dict(update.verdict.seen), "status": update.status}
            changes["seed"] = recipe.seed
            if update.frame.finished:
                words = status_line.status_html(_describe_verdicts(first_verdict, update.verdict))
                changes |= {"status": words, "download": path}
            yield changes
    except Exception:  # After any error, let the visitor download the image that is shown.
        if path:
            yield {"download": lossless_path(path)}
        raise


def _example_verdicts(recipe: ClassRecipe) -> tuple[str, dict[str, float]]:
    """Return the status text and the predictions for the example image.

    This runs on the CPU, because on ZeroGPU no GPU is leased yet.
    """
    engine = Engine("cpu")
    try:
        start = next(iter(engine.class_image(recipe)))
        before = engine.verdict(start.tensor, recipe)
        after = engine.verdict(load_image(EXAMPLE_IMAGE), recipe)
    except WeightsError as error:
        return status_line.to_sentence(error), {}
    return _describe_verdicts(before, after), dict(after.seen)


def _describe_verdicts(before: Verdict, after: Verdict) -> str:
    """Describe in one line how the network's verdict changed."""
    return (
        f"{after.target}: probability {before.probability:.1%} → {after.probability:.1%}, "
        f"logit {before.logit:.1f} → {after.logit:.1f}, rank {before.rank} → {after.rank} of 1000."
    )


def _check_recipe(**values: Any) -> None:
    """Check the knobs; raises as `components.check_recipe`."""
    components.check_recipe(ClassRecipe, **_zeros_to_none(values))


def _knob_control(name: str, value: Any) -> Any:
    """Return the control of a knob; 0 stands for a default that depends on other knobs."""
    knob = knobs(ClassRecipe)[name]
    if knob.derived_default:
        help_text = f"{knob.help} 0 for the default: {knob.derived_default}."
        return gr.Number(0, label=components.knob_label(name, knob), info=help_text, precision=0)
    return components.knob_control(ClassRecipe, name, value)


def _zeros_to_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace 0 or "" by None for derived knobs, because Gradio shows an empty number as 0."""
    derived = {name for name, knob in knobs(ClassRecipe).items() if knob.derived_default}
    return {name: each or None if name in derived else each for name, each in values.items()}
