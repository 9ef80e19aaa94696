"""The page and its API: wires Gradio to `dream`, and nothing else."""

from __future__ import annotations

import html
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import randint
from typing import Any

import gradio as gr
import torch

from dream import DreamError, DreamRecipe, Engine, Frame, load_image, read_recipe, save_image, zoo
from dream.recipe import INTENSITIES, SEED_LIMIT, knobs

EXAMPLES = Path(__file__).parent / "examples"
PHOTO = EXAMPLES / "coffee.jpg"
DREAMED = EXAMPLES / "dream-coffee-inception4c-i5-seed0.png"
LAYERS = EXAMPLES / "layers"
PHOTOS = [EXAMPLES / f"{name}.jpg" for name in ("coffee", "cat", "clouds", "rocket", "galaxies")]

SECONDS_BETWEEN_PREVIEWS = 0.4
TIME_LIMIT = float(os.environ.get("DREAM_TIME_LIMIT", "120"))
# One dream at a time; the others wait in line.
QUEUED: dict[str, Any] = {"concurrency_id": "dream", "concurrency_limit": 1}

THEME = gr.themes.Soft(
    primary_hue="indigo",
    secondary_hue="rose",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
)
CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#title h1 { font-size: 2rem; line-height: 1.1; margin: 0; }
#title p { font-size: 1.1rem; margin: .3rem 0 .1rem; }
#title small { color: var(--body-text-color-subdued); }
#status { min-height: 3.2em; font-variant-numeric: tabular-nums; }
#layers .grid-wrap { min-height: 0; padding: 0; }
#layers .grid-container { grid-template-columns: repeat(3, minmax(0, 1fr)); }
#layers .thumbnail-lg { aspect-ratio: 3 / 2; }
#layers .caption-label { font-size: .75rem; padding: 0 .3rem; }
#result { position: sticky; top: 1rem; align-self: flex-start; }
@media (max-width: 768px) {
  #columns { flex-direction: column; }
  #result { order: -1; position: static; }
}
"""
KEYS = """
<script>
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, button, a, [role=slider]") && event.key !== "Escape")
    return;
  const button = { Enter: "#go", Escape: "#stop" }[event.key];
  if (button) document.querySelector(button)?.click();
});
</script>
"""

if cores := os.environ.get("CPU_CORES"):
    # A Space sees every core of its host but may use only these.
    torch.set_num_threads(max(1, int(float(cores))))
engine = Engine()
engine.network(DreamRecipe().model)
DEVICE = "a CPU" if engine.device.type == "cpu" else "a GPU"
DEFAULT = engine.settle(DreamRecipe())
# The page opens on a dream and the recipe that made it; one press makes it again.
OPENING = engine.settle(read_recipe(DREAMED).but(max_side=None))


def deep_dream(
    image: str,
    model: str = DEFAULT.model,
    layer: str | None = None,
    intensity: int = DEFAULT.intensity,
    octaves: int = DEFAULT.octaves,
    scale: float = DEFAULT.scale,
    iterations: int | None = None,
    step: float | None = None,
    jitter: int = DEFAULT.jitter,
    smoothing: float = DEFAULT.smoothing,
    seed: int = DEFAULT.seed,
    max_side: int | None = None,
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Dream a photo: raise what a neural network sees in it, octave by octave.

    Sends previews (JPEG, without a recipe) while it works; the last answer is the dream as PNG,
    which carries its recipe inside, and that recipe as JSON.

    Args:
        image: The photo: PNG, JPEG, WebP, BMP, GIF or TIFF of at most 40 megapixels.
        model: The network that dreams.
        layer: Where in the network to dream, as inception4c; empty for the network's own.
        intensity: How far to go, from 1, a whisper, to 10, a fever.
        octaves: Sizes to dream at, 1 to 10; more make larger shapes.
        scale: How much each octave is larger, 1.1 to 2.
        iterations: Steps at each octave, 0 to 100; empty for what the intensity says.
        step: Mean change of a pixel in one step, in grey levels, 0 to 20; empty as iterations.
        jitter: Random shift before each step, 0 to 128 pixels; hides the grid.
        smoothing: Gaussian blur of each step, 0 to 4 pixels; more makes larger, softer shapes.
        seed: The same seed gives the same picture.
        max_side: A larger photo is shrunk to this longest side, 32 to 2048 pixels; empty for
            what fits the device.
    """
    given = {name: value for name, value in locals().items() if name in knobs(DreamRecipe)}
    try:
        recipe = engine.settle(DreamRecipe(**given))
        with tempfile.TemporaryDirectory() as folder:
            for frame, last in _shown(engine.dream(load_image(image), recipe)):
                if last:
                    yield _written(frame, recipe, image, folder), recipe.to_dict()
                else:
                    yield _preview(frame, image, folder), None
    except DreamError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _shown(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    """The frames worth showing, each with whether it is the last.

    Raises:
        DreamError: when the time limit is passed.
    """
    start = shown = time.monotonic()
    for frame in frames:
        now = time.monotonic()
        if frame.step == frame.total:
            yield frame, True
        elif now - start > TIME_LIMIT:
            raise DreamError(
                f"this dream takes more than {TIME_LIMIT:g} seconds here; "
                "fewer iterations or octaves, or a smaller picture, make it quicker"
            )
        elif frame.step == 0 or now - shown > SECONDS_BETWEEN_PREVIEWS:
            yield frame, False
            shown = time.monotonic()


def _preview(frame: Frame, photo: str, folder: str) -> str:
    path = Path(folder) / f"{_stem(photo)}-{frame.step}.jpg"
    frame.picture().save(path, quality=90)
    return str(path)


def _written(frame: Frame, recipe: DreamRecipe, photo: str, folder: str) -> str:
    layer = re.sub(r"[^\w.]+", "-", recipe.layer)
    name = f"dream-{_stem(photo)}-{layer}-i{recipe.intensity}-seed{recipe.seed}.png"
    save_image(frame.picture(), Path(folder) / name, recipe)
    return str(Path(folder) / name)


def _stem(photo: str) -> str:
    """What a photo is called, also where it is a dream of ours fed back in."""
    stem = Path(photo).stem
    dreamed = re.fullmatch(r"dream-(.+?)-[^-]+-i\d+-seed\d+", stem)
    return re.sub(r"[^\w-]+", "-", dreamed[1] if dreamed else stem)[:40].strip("-") or "photo"


def _status(text: str) -> str:
    return f'<span role="status">{html.escape(text)}</span>'


def _progress(frame: Frame, seconds: float) -> str:
    if frame.step == 0:
        return _status("Falling asleep …")
    step = (frame.step - 1) % (frame.total // frame.octaves) + 1
    left = seconds / frame.done * (1 - frame.done)
    return _status(
        f"Octave {frame.octave} of {frame.octaves}, step {step} of "
        f"{frame.total // frame.octaves}, {left:.1f} s left."
    )


# The knobs on the page, in the order in which its handlers get their values.
ON_PAGE = [name for name in knobs(DreamRecipe) if name != "model"]
FIRST = ("layer", "intensity")


def dream_photo(photo: str | None, *values: Any) -> Iterator[tuple[Any, ...]]:
    """Dream the photo for the page: before and after, status, seed and download as they change."""
    yield from _live(photo, None, *values)


def dream_again(pair: tuple[str, str], *values: Any) -> Iterator[tuple[Any, ...]]:
    """Dream what the page shows once more; what it was compared with stays."""
    yield from _live(pair[1], pair[0], *values)


def _live(
    photo: str | None, before: str | None, random_seed: bool, *values: Any
) -> Iterator[tuple[Any, ...]]:
    same = gr.skip()
    try:
        if not photo:
            raise DreamError("Drop a photo first, or pick one of the examples.")
        recipe = engine.settle(DreamRecipe(**dict(zip(ON_PAGE, values, strict=True))))
        if random_seed:
            recipe = recipe.but(seed=randint(0, SEED_LIMIT))
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for frame, last in _shown(engine.dream(load_image(photo), recipe)):
                seconds = time.monotonic() - start
                before = before or _preview(frame, photo, folder)
                if last:
                    after = _written(frame, recipe, photo, folder)
                    yield (before, after), _done(recipe, seconds), recipe.seed, after
                else:
                    after = _preview(frame, photo, folder)
                    yield (before, after), _progress(frame, seconds), recipe.seed, same
    except DreamError as error:
        gr.Warning(str(error), title="This cannot be dreamed")
        yield same, _status(str(error)), same, same


def _done(recipe: DreamRecipe, seconds: float) -> str:
    return _status(
        f"Dreamed in {seconds:.1f} s at {recipe.layer}, seed {recipe.seed}. "
        "The download carries its recipe."
    )


def _photo(**about: Any) -> gr.Image:
    """A picture input that hands on the file as it came."""
    photo = gr.Image(type="filepath", image_mode=None, **about)
    opened = photo.preprocess
    # Gradio would open the file first and answer a bad one with a bare "Error"; `load_image` says
    # what is wrong with it.
    photo.preprocess = lambda data: (  # type: ignore[method-assign, assignment]
        data.path if data and data.path else opened(data)
    )
    return photo


def _control(name: str, **about: Any) -> gr.Slider | gr.Number:
    """The slider of a knob; a plain number where a slider would be too coarse."""
    knob, value = knobs(DreamRecipe)[name], getattr(OPENING, name)
    unit = f", {knob.unit}" if knob.unit else ""
    about |= {"label": name.replace("_", " ").capitalize() + unit, "info": knob.help}
    if knob.high > 10_000:
        return gr.Number(value, precision=0, **about)
    return gr.Slider(knob.low, knob.high, value, step=knob.grain, **about)


def _thumb(layer: zoo.Layer) -> Path:
    return LAYERS / f"{layer.name}.png"


def dream_tab() -> None:
    """The Deep Dream tab: a photo, one button, and the dream beside it."""
    layers = zoo.card(OPENING.model).layers
    # A layer with a picture of what it brings can be chosen by that picture.
    pictured = [layer for layer in layers if _thumb(layer).exists()]
    names = [layer.name for layer in pictured]
    with gr.Row(elem_id="columns"):
        with gr.Column(scale=2, min_width=320):
            photo = _photo(
                value=str(PHOTO),
                sources=["upload", "webcam", "clipboard"],
                label="Your photo",
                height=230,
                buttons=[],
                elem_id="photo",
            )
            go = gr.Button("Dream this photo", variant="primary", elem_id="go")
            stop = gr.Button("Stop", variant="stop", elem_id="stop", visible=False)
            gr.Examples([str(path) for path in PHOTOS], photo, label="Or one of these")
            # Gradio's reset button would not count as input, and leave iterations and step behind.
            intensity = _control("intensity", buttons=[])
            gr.Markdown("**What to dream of**")
            thumbs = gr.Gallery(
                [(str(_thumb(layer)), layer.brings) for layer in pictured],
                selected_index=names.index(OPENING.layer),
                columns=3,
                height="auto",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                label="What to dream of",
                show_label=False,
                elem_id="layers",
            )
            with gr.Accordion("Advanced", open=False):
                layer = gr.Dropdown(
                    [(f"{layer.brings} · {layer.name}", layer.name) for layer in layers],
                    value=OPENING.layer,
                    allow_custom_value=True,
                    label="Layer",
                    info=knobs(DreamRecipe)["layer"].help,
                )
                rest = {name: _control(name) for name in ON_PAGE if name not in FIRST}
                random_seed = gr.Checkbox(False, label="Random seed")
                reset = gr.Button("Reset all")
        with gr.Column(scale=3, min_width=320, elem_id="result"):
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
            status = gr.HTML(_status("Drag the line, or dream a photo of yours."), elem_id="status")
            with gr.Row(elem_id="after"):
                again = gr.Button("Dream again", elem_id="again", min_width=120)
                download = gr.DownloadButton(
                    "Download", str(DREAMED), elem_id="download", min_width=120
                )

    controls = {"layer": layer, "intensity": intensity, **rest}
    inputs = [random_seed, *(controls[name] for name in ON_PAGE)]
    outputs = [view, status, rest["seed"], download]
    buttons = [go, stop, again, download]
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    runs: list[Any] = []
    for button, handler, source in ((go, dream_photo, photo), (again, dream_again, view)):
        button.click(lambda: _dreaming(True), None, buttons, **quiet)
        run = button.click(
            handler,
            [source, *inputs],
            outputs,
            show_progress="minimal",
            show_progress_on=status,
            api_visibility="private",
            **QUEUED,
        )
        run.then(lambda: _dreaming(False), None, buttons, **quiet)
        runs.append(run)
    stop.click(
        lambda: (*_dreaming(False), _status("Stopped. Dream again goes on from here.")),
        None,
        [*buttons, status],
        cancels=runs,
        **quiet,
    )

    # What follows from a choice is shown at once.
    def chosen(event: gr.SelectData) -> str:
        return names[event.index]

    def shown(name: str) -> dict[str, Any]:
        return gr.update(selected_index=names.index(name) if name in names else None)

    thumbs.select(chosen, None, layer, **quiet)
    layer.input(shown, layer, thumbs, **quiet)
    steps = [[iterations, step] for step, iterations in INTENSITIES]
    intensity.input(
        None,
        intensity,
        [rest["iterations"], rest["step"]],
        js=f"(intensity) => {steps}[intensity - 1]",
        api_visibility="private",
    )
    reset.click(
        lambda: (shown(OPENING.layer), False, *(getattr(OPENING, name) for name in ON_PAGE)),
        None,
        [thumbs, *inputs],
        **quiet,
    )


def _dreaming(busy: bool) -> tuple[Any, ...]:
    """How the buttons go, stop, again and download look in and out of a dream."""
    return (
        gr.update(visible=not busy),
        gr.update(visible=busy),
        gr.update(interactive=not busy),
        gr.update(interactive=not busy),
    )


def dream_api() -> None:
    """The endpoint /deep_dream, on fields of its own that no page shows."""
    fields: list[Any] = [_photo(label="image", visible=False)]
    for name, knob in knobs(DreamRecipe).items():
        value = None if knob.automatic else getattr(DEFAULT, name)
        if knob.kind is str:
            fields.append(gr.Textbox(value, label=name, visible=False))
        else:
            precision = 0 if knob.kind is int else None
            fields.append(gr.Number(value, label=name, precision=precision, visible=False))
    answers = [
        gr.Image(format="png", label="dream", visible=False),
        gr.JSON(label="recipe", visible=False),
    ]
    trigger = gr.Button(visible=False)
    trigger.click(deep_dream, fields, answers, api_name="deep_dream", **QUEUED)


def build() -> gr.Blocks:
    """The whole page."""
    with gr.Blocks(title="Deep Dream", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(
            "<h1>Deep Dream</h1><p>Watch a neural network dream into your photo.</p>"
            f"<small>{OPENING.model.capitalize()} on {DEVICE}</small>",
            elem_id="title",
        )
        with gr.Tab("Deep Dream"):
            dream_tab()
        dream_api()
    return page.queue(max_size=20)


def main() -> None:
    """Serve the page; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where."""
    build().launch(
        theme=THEME,
        css=CSS,
        head=KEYS,
        max_file_size="50mb",
        footer_links=["api", "gradio", "settings"],
    )


if __name__ == "__main__":
    main()
