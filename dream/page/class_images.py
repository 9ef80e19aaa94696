"""The tab "Class image", and the endpoint /class_image beside it."""

from __future__ import annotations

import html
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.files.picture import load_image, read_recipe, save_image
from dream.networks import catalogue
from dream.page import deep_dream, parts
from dream.page.layers import named
from dream.page.work import Work
from dream.paint.class_image import Verdict
from dream.paint.frames import Frame
from dream.recipe import classes
from dream.recipe.class_image import ClassRecipe
from dream.recipe.knob import knobs

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
    before, after = _opening(first)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            target = gr.Dropdown(
                list(classes.names()),
                value=first.target,
                allow_custom_value=True,
                label="Class",
                info="Type a part of its name, or several as goldfish:1,jellyfish:0.5.",
            )
            go = gr.Button("Show me", variant="primary", elem_id="make", elem_classes="go")
            stop = gr.Button(
                "Stop", variant="stop", visible=False, elem_id="stop-make", elem_classes="stop"
            )
            gr.Examples(
                [[pick] for pick in PICKS.values()],
                target,
                label="Or one of these",
                example_labels=list(PICKS),
            )
            mode = gr.Radio(
                [(words, name) for name, words in MODES.items()], value=first.mode, label="How"
            )
            with gr.Accordion("Make my photo more of it", open=False):
                photo = parts.photo_input(
                    sources=["upload", "webcam", "clipboard"],
                    label="Your photo",
                    height=230,
                    buttons=[],
                    elem_id="class-photo",
                )
            model = gr.Dropdown(
                [(named(card), name) for name, card in catalogue.CARDS.items()],
                value=first.model,
                label="Network",
                info="Others are fetched once.",
            )
            with gr.Accordion("Advanced", open=False):
                controls = [_control(name, getattr(first, name)) for name in ADVANCED]
                random_seed = gr.Checkbox(False, label="Random seed")
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            picture = gr.Image(
                str(MADE),
                type="filepath",
                label="Class image",
                interactive=False,
                buttons=["fullscreen"],
                elem_id="class-image",
            )
            status = gr.HTML(
                parts.status(_said(before, after)), elem_id="make-status", elem_classes="status"
            )
            bars = gr.Label(
                dict(after.seen), num_top_classes=5, label="What the network sees", elem_id="bars"
            )
            with gr.Row():
                carry = gr.Button("Dream on with this", elem_id="dream-on", min_width=120)
                download = gr.DownloadButton(
                    "Download", str(MADE), elem_id="class-download", min_width=120
                )
    seed = controls[ADVANCED.index("seed")]

    def make(*values: Any) -> Iterator[tuple[Any, ...]]:
        yield from _live(work, *values)

    buttons = [go, stop, carry, download]
    go.click(lambda: _busy(True), None, buttons, **parts.AT_ONCE)
    run = go.click(
        make,
        [photo, random_seed, model, target, mode, *controls],
        [picture, status, bars, seed, download],
        show_progress="minimal",
        show_progress_on=status,
        api_visibility="private",
        **parts.WORK,
    )
    parts.stops(stop, [run], lambda: _busy(False), buttons, status)
    carry.click(
        lambda path: (gr.Tabs(selected="dream"), path),
        download,
        [tabs, dreams.photo],
        **parts.AT_ONCE,
    ).then(None, js="() => document.querySelector('#go').click()", api_visibility="private")


def _live(
    work: Work, photo: str | None, random_seed: bool, *values: Any
) -> Iterator[tuple[Any, ...]]:
    """Picture, status, bars, seed and download, as the picture forms."""
    same = gr.skip()
    try:
        recipe = ClassRecipe(
            **dict(zip(("model", "target", "mode", *ADVANCED), values, strict=True))
        )
        if random_seed:
            recipe = recipe.but(seed=parts.random_seed())
        image = load_image(photo) if photo else None
        recipe = work.engine.settle(recipe, image)
        frames = work.judged(recipe, image)
        for text in parts.fetching(work.engine.fetch(recipe.model)):
            yield same, text, same, same, same
        start, before = time.monotonic(), None
        with tempfile.TemporaryDirectory() as folder:
            for frame, verdict in frames:
                before = before or verdict
                text = parts.progress(frame, time.monotonic() - start)
                path = class_file(frame, recipe, photo, folder)
                if frame.finished:
                    text = parts.status(_said(before, verdict))
                yield (
                    path,
                    text,
                    dict(verdict.seen),
                    recipe.seed,
                    path if frame.finished else same,
                )
    except DreamError as error:
        said = parts.sentence(error)
        gr.Warning(html.escape(said), title="This cannot be made")
        yield same, parts.status(said), same, same, same


def _opening(recipe: ClassRecipe) -> tuple[Verdict, Verdict]:
    """What the network says of the noise, and of the picture that the page opens on.

    On the CPU: where GPUs are lent there is none as yet.
    """
    engine = Engine("cpu")
    start = next(iter(engine.class_image(recipe)))
    return engine.verdict(start.tensor, recipe), engine.verdict(load_image(MADE), recipe)


def _said(before: Verdict, after: Verdict) -> str:
    """Whether it worked, in one line."""
    return (
        f"{after.target}: probability {before.probability:.1%} → {after.probability:.1%}, "
        f"logit {before.logit:.1f} → {after.logit:.1f}, rank {before.rank} → {after.rank} of 1000."
    )


def _control(name: str, value: Any) -> Any:
    """The control of a knob; what the mode or a photo decides may be left empty."""
    knob = knobs(ClassRecipe)[name]
    if knob.automatic:
        about = f"{knob.help} Empty: {knob.automatic}."
        return gr.Number(None, label=parts.label(name, knob), info=about, precision=0)
    return parts.control(ClassRecipe, name, value)


def _busy(busy: bool) -> tuple[Any, ...]:
    """How the buttons make, stop, dream on and download look while a picture forms, and else."""
    return (
        gr.update(visible=not busy),
        gr.update(visible=busy),
        gr.update(interactive=not busy),
        gr.update(interactive=not busy),
    )


def class_file(frame: Frame, recipe: ClassRecipe, photo: str | None, folder: str) -> str:
    """The path of a preview (JPEG), or of the result (PNG with its recipe):
    class-goldfish-seed0.png.
    """
    target = re.sub(r"[^\w.]+", "+", recipe.target)[:60]
    words = ["class", target, parts.stem(photo) if photo else "", f"seed{recipe.seed}"]
    path = Path(folder) / "-".join(filter(None, words))
    if frame.finished:
        path = path.with_name(f"{path.name}.png")
        save_image(frame.picture(), path, recipe)
    else:
        path = path.with_name(f"{path.name}-{frame.step}.jpg")
        frame.picture().save(path, quality=90)
    return str(path)


def endpoint(work: Work) -> None:
    """The endpoint /class_image, on fields of its own that no page shows."""
    default = ClassRecipe()

    def class_image(
        target: str = default.target,
        model: str = default.model,
        mode: str = default.mode,
        size: int | None = None,
        steps: int | None = None,
        seed: int = default.seed,
        image: str | None = None,
        step: float = default.step,
        penalty: float = default.penalty,
        tries: int = default.tries,
    ) -> Iterator[tuple[str | None, dict[str, Any] | None, dict[str, Any] | None]]:
        """Show what a neural network takes for a class of ImageNet, from noise or in a photo.

        Sends previews (JPEG) first; the last answer is the picture as PNG, which carries its recipe
        inside, that recipe, and the verdict as JSON: the target's logit, probability and rank
        before and after, and the five classes that the network now sees.

        Args:
            target: A class by name, part of it or number; several as goldfish:1,jellyfish:0.5.
            model: The network: dreamlet comes with the app; others are fetched once.
            mode: growing (one large), fourier (many), octaves (bold), phase (painterly), classic.
            size: Side of the picture, 32 to 1024 pixels; empty for 224, or 320 on an image.
            steps: Steps of the ascent, 0 to 1000; empty for what the mode needs.
            seed: The same seed gives the same picture, 0 to 2147483647; by default 0.
            image: A photo to start from; empty to start from noise.
            step: Mean change of a pixel in one step of octaves and classic, 0 to 20 grey levels.
            penalty: The lambda of classic, 0 to 1.
            tries: Noises tried at the smallest size of growing and octaves, 1 to 8.
        """
        given: dict[str, Any] = {
            "target": target,
            "model": model,
            "mode": mode,
            "size": size,
            "steps": steps,
            "seed": seed,
            "step": step,
            "penalty": penalty,
            "tries": tries,
        }
        recipe = ClassRecipe(**given)
        photo = load_image(image) if image else None
        recipe = work.engine.settle(recipe, photo)
        frames = work.judged(recipe, photo)
        for _ in parts.fetching(work.engine.fetch(recipe.model)):
            yield None, None, None
        before = None
        with tempfile.TemporaryDirectory() as folder:
            for frame, verdict in frames:
                before = before or verdict
                path = class_file(frame, recipe, image, folder)
                if not frame.finished:
                    yield path, None, None
                    continue
                both = {"before": asdict(before), "after": asdict(verdict)}
                yield path, recipe.to_dict(), both

    def field(name: str) -> Any:
        return parts.hidden_field(ClassRecipe, name)

    gr.Button(visible=False).click(
        class_image,
        [
            *(field(name) for name in ("target", "model", "mode", "size", "steps", "seed")),
            parts.photo_input(label="image", visible=False),
            *(field(name) for name in ("step", "penalty", "tries")),
        ],
        [
            gr.Image(format="png", label="picture", visible=False),
            gr.JSON(label="recipe", visible=False),
            gr.JSON(label="verdict", visible=False),
        ],
        api_name="class_image",
        **parts.WORK,
    )
