"""The "Class image" tab: an image that a network classifies as a class, and its predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import WeightsError
from dream.files.image import load_image, read_recipe
from dream.page import status_line
from dream.page.blocks import upload_name, upload_path
from dream.page.image_stream import lossless_path, stream_render, wait_for_stopped_image
from dream.page.tabs.deep_dream import DreamTab
from dream.page.widgets import components
from dream.page.widgets.components import Updates
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
    "single": "One large subject",
    "growing": "Large shapes",
    "fourier": "Many small subjects",
    "octaves": "Bold shapes",
    "phase": "Painterly",
    "classic": "Classic (2013)",
}


class ClassImageTab:
    """The tab; its image can be sent to the Deep Dream tab."""

    def __init__(self, runner: JobRunner, tabs: gr.Tabs, dream_tab: DreamTab) -> None:
        self.runner = runner
        self.first = runner.engine.settle(read_recipe(EXAMPLE_IMAGE, ClassRecipe))
        components.build_columns(self._build_inputs, self._build_outputs)
        others = [self.dream_button, self.download]
        run_buttons = RunButtons(self.go, self.stop, others, self.status)
        outputs = [self.image, self.bars, self.download, self.made, self.inputs["seed"]]
        run_buttons.start_on(self.go.click, self.stream, self.inputs, outputs, _check_recipe)
        run_buttons.connect_stop()
        self.stop.click(
            _download_after_stop, self.made, self.download, **components.IMMEDIATE_EVENT
        )
        components.send_to_dream_tab(
            self.dream_button.click,
            lambda path: (gr.Tabs(selected="dream"), path),
            self.download,
            [tabs, dream_tab.photo],
        )

    def _build_inputs(self) -> None:
        first = self.first
        target = gr.Dropdown(
            list(imagenet_classes.class_names()),
            value=first.target,
            allow_custom_value=True,
            label="Class",
            info="Type part of a name, or several classes with weights: goldfish:1,jellyfish:0.5.",
        )
        with components.foot():
            self.go, self.stop = components.go_and_stop_buttons(
                "Make class image", "make", "stop-make"
            )
        gr.Examples(
            [[pick] for pick in EXAMPLE_TARGETS.values()],
            target,
            label="Or choose an example",
            example_labels=list(EXAMPLE_TARGETS),
        )
        modes = [(words, name) for name, words in MODE_LABELS.items()]
        mode = gr.Radio(modes, value=first.mode, label="Style")
        with gr.Accordion("Push my photo towards this class", open=False):
            photo = components.photo_input(elem_id="class-photo")
            components.privacy_line()
        model = network_dropdown(first.model)
        self.inputs = {"photo": photo, "model": model, "target": target, "mode": mode}
        with gr.Accordion("Advanced", open=False):
            for name in knobs(ClassRecipe):
                if name not in self.inputs:
                    self.inputs[name] = _knob_control(first, name)
            self.inputs["random_seed"] = gr.Checkbox(False, label="Random seed")

    def _build_outputs(self) -> None:
        texts, probabilities = _example_verdicts(self.first)
        self.image = gr.Image(
            str(EXAMPLE_IMAGE),
            type="filepath",
            label="Class image",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="class-image",
        )
        self.status = components.status_field("make-status", *texts)
        self.bars = gr.Label(
            probabilities, num_top_classes=5, label="Predicted classes", elem_id="bars"
        )
        with gr.Row():
            self.dream_button = gr.Button("Dream this image", elem_id="dream-on", min_width=120)
            self.download = gr.DownloadButton(
                "Download", str(EXAMPLE_IMAGE), elem_id="class-download", min_width=120
            )
        # The browser stores the upload name of the image, because the server may lose sessions.
        self.made = gr.Textbox(visible=False)

    def recipe_updates(self, recipe: ClassRecipe) -> Updates:
        """Return the updates that set the controls to a recipe."""
        controls = {name: self.inputs[name] for name in knobs(ClassRecipe)}
        return components.recipe_updates(recipe, controls)

    def stream(self, photo: str | None, random_seed: bool, **knobs: Any) -> Iterator[Updates]:
        """Yield the updates of the outputs while the image forms."""
        recipe = ClassRecipe(**components.with_random_seed(_zeros_to_none(knobs), random_seed))
        first_verdict, path = None, ""
        try:
            for update in stream_render(self.runner, [recipe], photo):
                updates: Updates = {self.status: update.status}
                if (frame := update.frame) and frame.verdict:
                    first_verdict = first_verdict or frame.verdict
                    (path,) = update.files
                    updates |= {self.image: path, self.made: upload_name(path)}
                    updates |= {self.bars: dict(frame.verdict.seen)}
                    updates |= {self.inputs["seed"]: recipe.seed}
                    if frame.finished:
                        texts = _describe_verdicts(first_verdict, frame.verdict)
                        updates[self.status] = status_line.status_html(*texts)
                        updates[self.download] = path
                yield updates
        except Exception:  # After any error, let the visitor download the image that is shown.
            if path:
                yield {self.download: lossless_path(path)}
            raise


async def _download_after_stop(made: str) -> Any:
    return await wait_for_stopped_image(upload_path(made))


def _example_verdicts(recipe: ClassRecipe) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return the status texts and the predictions for the example image.

    This runs on the CPU, because on ZeroGPU no GPU is leased yet.
    """
    engine = Engine("cpu")
    try:
        start = next(iter(engine.class_image(recipe)))
        before = engine.verdict(start.tensor, recipe)
        after = engine.verdict(load_image(EXAMPLE_IMAGE), recipe)
    except WeightsError as error:
        return (status_line.to_sentence(error),), {}
    return _describe_verdicts(before, after), dict(after.seen)


def _describe_verdicts(before: Verdict, after: Verdict) -> tuple[str, str]:
    """Describe in words how sure the network is, and in numbers how its verdict changed."""
    words = (
        f"The network is {100 * after.probability:.0f} % sure this is "
        f"{imagenet_classes.with_article(after.target)}; before, {100 * before.probability:.0f} %."
    )
    numbers = (
        f"Probability {before.probability:.1%} → {after.probability:.1%}, "
        f"logit {before.logit:.1f} → {after.logit:.1f}, rank {before.rank} → {after.rank} of 1000."
    )
    return words, numbers


def _check_recipe(**values: Any) -> None:
    """Check the knobs; raises as `components.check_recipe`."""
    components.check_recipe(ClassRecipe, **_zeros_to_none(values))


def _knob_control(recipe: ClassRecipe, name: str) -> Any:
    """Return the control of a knob; 0 stands for a default that depends on other knobs."""
    knob = knobs(ClassRecipe)[name]
    if knob.derived_default:
        help_text = f"{knob.help} 0 for the default: {knob.derived_default}."
        return gr.Number(0, label=components.knob_label(name, knob), info=help_text, precision=0)
    return components.knob_control(recipe, name)


def _zeros_to_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace 0 or "" by None for derived knobs, because Gradio shows an empty number as 0."""
    derived = {name for name, knob in knobs(ClassRecipe).items() if knob.derived_default}
    return {name: each or None if name in derived else each for name, each in values.items()}
