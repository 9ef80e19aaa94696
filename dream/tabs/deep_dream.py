"""The Deep Dream tab, and the endpoint /deep_dream beside it."""

from __future__ import annotations

import html
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.knob import knobs
from dream.picture import load_image, read_recipe
from dream.recipe import INTENSITIES, DreamRecipe
from dream.tabs import parts
from dream.tabs.layers import LayerChoice, choose_layer, chosen

PHOTO = parts.EXAMPLES / "coffee.jpg"
DREAMED = parts.EXAMPLES / "dream-coffee-inception4c-i5-seed0.png"
PHOTOS = [
    parts.EXAMPLES / f"{name}.jpg" for name in ("coffee", "cat", "clouds", "rocket", "galaxies")
]


def opening(engine: Engine) -> DreamRecipe:
    """The recipe of the dream that the page opens on; one press makes it again."""
    return engine.settle(read_recipe(DREAMED, DreamRecipe).but(max_side=None))


def endpoint(engine: Engine) -> None:
    """The endpoint /deep_dream, on fields of its own that no page shows."""
    default = DreamRecipe()

    def deep_dream(
        image: str,
        model: str = default.model,
        layer: str | None = None,
        channels: str = default.channels,
        intensity: int = default.intensity,
        octaves: int = default.octaves,
        scale: float = default.scale,
        iterations: int | None = None,
        step: float | None = None,
        jitter: int = default.jitter,
        smoothing: float = default.smoothing,
        seed: int = default.seed,
        max_side: int | None = None,
    ) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
        """Dream a photo: raise what a neural network sees in it, octave by octave.

        Sends nothing but signs of life while the network is fetched, then previews (JPEG,
        without a recipe); the last answer is the dream as PNG, which carries its recipe inside,
        and that recipe as JSON.

        Args:
            image: The photo: PNG, JPEG, WebP, BMP, GIF or TIFF of at most 40 megapixels.
            model: The network that dreams: dreamlet comes with the app; vgg16, vgg19, googlenet,
                inception_v3, resnet50, alexnet, squeezenet1_1, mobilenet_v2 and densenet121 are
                fetched once.
            layer: Where in the network to dream, as inception4c, relu4_3 or features.22; several
                with weights as inception3b:0.5,inception4c; empty for the network's own.
            channels: Only these channels of the layer, as 7, or with weights as 7,12:0.5; empty for
                all of them.
            intensity: How far to go, from 1, a whisper, to 10, a fever.
            octaves: Sizes to dream at, 1 to 10; more make larger shapes.
            scale: How much each octave is larger, 1.1 to 2.
            iterations: Steps at each octave, 0 to 100; empty for what the intensity says.
            step: Mean change of a pixel in one step, 0 to 20 grey levels; empty as iterations.
            jitter: Random shift before each step, 0 to 128 pixels; hides the grid.
            smoothing: Gaussian blur of each step, 0 to 4 pixels; more makes softer shapes.
            seed: The same seed gives the same picture, 0 to 2147483647.
            max_side: A larger photo is shrunk to this longest side, 32 to 2048 pixels; empty
                for what fits the device.
        """
        given: dict[str, Any] = {
            "model": model,
            "layer": layer,
            "channels": channels,
            "intensity": intensity,
            "octaves": octaves,
            "scale": scale,
            "iterations": iterations,
            "step": step,
            "jitter": jitter,
            "smoothing": smoothing,
            "seed": seed,
            "max_side": max_side,
        }
        try:
            recipe = engine.settle(DreamRecipe(**given))
            with tempfile.TemporaryDirectory() as folder:
                frames = engine.dream(load_image(image), recipe)
                for _ in parts.fetching(engine.prepare(recipe)):
                    yield None, None
                for frame in parts.worth_showing(frames):
                    if frame.finished:
                        yield parts.result(frame, recipe, image, folder), recipe.to_dict()
                    else:
                        yield parts.preview(frame, image, folder), None
        except DreamError as error:
            raise gr.Error(str(error), print_exception=False) from error

    fields = [parts.hidden_field(DreamRecipe, name) for name in knobs(DreamRecipe)]
    gr.Button(visible=False).click(
        deep_dream,
        [parts.photo_input(label="image", visible=False), *fields],
        [
            gr.Image(format="png", label="dream", visible=False),
            gr.JSON(label="recipe", visible=False),
        ],
        api_name="deep_dream",
        **parts.WORK,
    )


@dataclass(frozen=True)
class Inputs:
    """What another tab may set here before it has this one dream."""

    photo: gr.Image
    choice: LayerChoice
    channels: gr.Textbox


def tab(engine: Engine) -> Inputs:
    """The Deep Dream tab: a photo, one button, and the dream beside it."""
    first = opening(engine)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            photo = parts.photo_input(
                value=str(PHOTO),
                sources=["upload", "webcam", "clipboard"],
                label="Your photo",
                height=230,
                buttons=[],
                elem_id="photo",
            )
            go = gr.Button("Dream this photo", variant="primary", elem_id="go", elem_classes="go")
            stop = gr.Button(
                "Stop", variant="stop", elem_id="stop", elem_classes="stop", visible=False
            )
            gr.Examples([str(path) for path in PHOTOS], photo, label="Or one of these")
            controls, random_seed, choice = _controls(first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            view = gr.ImageSlider(
                (str(PHOTO), str(DREAMED)),
                type="filepath",
                image_mode=None,
                label="Before and after",
                max_height=560,
                interactive=False,
                buttons=["fullscreen"],
                elem_id="view",
            )
            status = gr.HTML(
                parts.status("Drag the line, or dream a photo of yours."),
                elem_id="status",
                elem_classes="status",
            )
            with gr.Row():
                again = gr.Button("Dream again", elem_id="again", min_width=120)
                download = gr.DownloadButton(
                    "Download", str(DREAMED), elem_id="download", min_width=120
                )

    def dream_photo(photo: str | None, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from _live(engine, photo, None, *values)

    def dream_again(pair: tuple[str, str], *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from _live(engine, pair[1], pair[0], *values)

    buttons = [go, stop, again, download]
    runs: list[Any] = []
    for button, handler, source in ((go, dream_photo, photo), (again, dream_again, view)):
        button.click(lambda: _busy(True), None, buttons, **parts.AT_ONCE)
        run = button.click(
            handler,
            [source, random_seed, *controls.values()],
            [view, status, controls["seed"], download],
            show_progress="minimal",
            show_progress_on=status,
            api_visibility="private",
            **parts.WORK,
        )
        run.then(lambda: _busy(False), None, buttons, **parts.AT_ONCE)
        runs.append(run)
    stop.click(
        lambda: (*_busy(False), parts.status("Stopped. Dream again goes on from here.")),
        None,
        [*buttons, status],
        cancels=runs,
        **parts.AT_ONCE,
    )
    return Inputs(photo, choice, controls["channels"])


def _live(
    engine: Engine, photo: str | None, before: str | None, random_seed: bool, *values: Any
) -> Iterator[tuple[Any, ...]]:
    """Before and after, status, seed and download, as a dream goes on."""
    same = gr.skip()
    try:
        if not photo:
            raise DreamError("Drop a photo first, or pick one of the examples.")
        recipe = engine.settle(DreamRecipe(**dict(zip(knobs(DreamRecipe), values, strict=True))))
        if random_seed:
            recipe = recipe.but(seed=parts.random_seed())
        with tempfile.TemporaryDirectory() as folder:
            frames = engine.dream(load_image(photo), recipe)
            for text in parts.fetching(engine.prepare(recipe)):
                yield same, text, same, same
            start = time.monotonic()
            for frame in parts.worth_showing(frames):
                seconds = time.monotonic() - start
                before = before or parts.preview(frame, photo, folder)
                if frame.finished:
                    after = parts.result(frame, recipe, photo, folder)
                    where = " ".join(filter(None, (recipe.layer, recipe.channels)))
                    done = f"Dreamed in {seconds:.1f} s at {where}, seed {recipe.seed}."
                    yield (before, after), parts.status(done), recipe.seed, after
                else:
                    after = parts.preview(frame, photo, folder)
                    yield (before, after), parts.progress(frame, seconds), recipe.seed, same
    except DreamError as error:
        said = parts.sentence(error)
        gr.Warning(html.escape(said), title="This cannot be dreamed")
        yield same, parts.status(said), same, same


def _busy(busy: bool) -> tuple[Any, ...]:
    """How the buttons go, stop, again and download look in and out of a dream."""
    return (
        gr.update(visible=not busy),
        gr.update(visible=busy),
        gr.update(interactive=not busy),
        gr.update(interactive=not busy),
    )


def _controls(first: DreamRecipe) -> tuple[dict[str, Any], gr.Checkbox, LayerChoice]:
    """The control of each knob, in the recipe's order, set to that recipe; and random seed."""
    # Gradio's reset button would not count as input, and leave iterations and step behind.
    intensity = parts.control(DreamRecipe, "intensity", first.intensity, buttons=[])
    about = knobs(DreamRecipe)
    choice = choose_layer(first.model, first.layer, "What to dream of", "Or a:0.5,b for several.")
    channels = gr.Textbox(
        "",
        label="Channels",
        info=about["channels"].help,
        placeholder="all of the layer",
        elem_id="only",
    )
    controls: dict[str, Any] = {
        "model": choice.model,
        "layer": choice.layer,
        "channels": channels,
        "intensity": intensity,
    }
    with gr.Accordion("Advanced", open=False):
        for name in list(about)[len(controls) :]:
            controls[name] = parts.control(DreamRecipe, name, getattr(first, name))
        random_seed = gr.Checkbox(False, label="Random seed")
        reset = gr.Button("Reset all")

    def start_over() -> tuple[Any, ...]:
        values = [getattr(first, name) for name in list(controls)[2:]]
        return False, *chosen(first.model, first.layer), *values

    # What follows from a choice is shown at once: channels are those of one layer.
    for event in choice.events:
        event.then(lambda: "", None, channels, **parts.AT_ONCE)
    follow = [[iterations, step] for step, iterations in INTENSITIES]
    intensity.input(
        None,
        intensity,
        [controls["iterations"], controls["step"]],
        js=f"(intensity) => {follow}[intensity - 1]",
        api_visibility="private",
    )
    everything = [random_seed, *choice.components, *list(controls.values())[2:]]
    reset.click(start_over, None, everything, **parts.AT_ONCE)
    return controls, random_seed, choice
