"""The Deep Dream tab: a photo, one button, and the dream beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.files.picture import read_recipe
from dream.page import compare, estimate, history, parts, sharing
from dream.page.controls import controls, recipe_of
from dream.page.layers import LayerChoice
from dream.page.moments import moments, unspoilt
from dream.page.run import Run, told
from dream.page.work import Work
from dream.recipe.dream import DreamRecipe

PHOTO = parts.EXAMPLES / "coffee.jpg"
DREAMED = parts.EXAMPLES / "dream-coffee-inception4c-i5-seed0.png"
PHOTOS = [
    parts.EXAMPLES / f"{name}.jpg" for name in ("coffee", "cat", "clouds", "rocket", "galaxies")
]
OUTPUTS = ("view", "status", "seed", "download", "strip", "origins", "recipe", "linkable")


def opening(engine: Engine) -> DreamRecipe:
    """The recipe that the page opens on: with Dreamlet, one press makes again what is shown."""
    shown, model = read_recipe(DREAMED, DreamRecipe).but(max_side=None), engine.default_model()
    return engine.settle(shown if model == shown.model else shown.but(model=model))


@dataclass(frozen=True)
class Inputs:
    """What another tab may set here before it has this one dream."""

    photo: gr.Image
    choice: LayerChoice
    channels: gr.Textbox
    guide: gr.Image


def tab(work: Work, page_load: Callable[..., Any]) -> Inputs:
    """The tab; `page_load` is the event of the page's opening, whose link may carry a recipe."""
    first = opening(work.engine)
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
            expected = gr.HTML(estimate.said(work, first, str(PHOTO)), elem_id="expected")
            gr.Examples(
                [str(path) for path in PHOTOS], photo, label="Or one of these", elem_id="photos"
            )
            gr.Markdown("**Start from**")
            presets = gr.Row(elem_id="presets")
            made = controls(first, photo, str(PHOTO))
            with presets:
                sharing.presets_row(made, photo)
            recipe, linkable, load_from = sharing.recipe_box(read_recipe(DREAMED, DreamRecipe))
            compared = compare.section(made)
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
            strip, origins = history.strip()
            compared.sheet.render()  # type: ignore[no-untyped-call]

    run = Run(
        go, stop, [again, download, compared.go], status, "Stopped. Dream again goes on from here."
    )
    shown = [view, status, made.by_name["seed"], download, strip, origins, recipe, linkable]

    def dream_photo(photo: str | None, **values: Any) -> Iterator[tuple[Any, ...]]:
        yield from told(_dream(work, photo, None, **values), _but)

    def dream_again(view: tuple[str, str], **values: Any) -> Iterator[tuple[Any, ...]]:
        yield from told(_dream(work, unspoilt(view[1]), view[0], **values), _but)

    def sheet(**values: Any) -> Iterator[tuple[Any, ...]]:
        yield from told(compare.sheet(work, **values), compare.but)

    kept = {"strip": strip, "origins": origins}
    runs = [
        run.on(
            go.click, dream_photo, {"photo": photo, **kept, **made.inputs}, shown, made.hand_over
        ),
        run.on(
            again.click, dream_again, {"view": view, **kept, **made.inputs}, shown, made.hand_over
        ),
        run.on(
            compared.go.click,
            sheet,
            {"photo": photo, **compared.inputs, **made.inputs},
            [compared.sheet, status],
            made.hand_over,
            scroll_to_output=True,
        ),
    ]
    run.wire()
    estimate.wire(work, expected, photo, made, runs)
    sharing.wire(page_load, made, photo, status, recipe, linkable, load_from)
    history.wire(strip, origins, made, [photo, view, status, download, recipe, linkable])
    return Inputs(photo, made.choice, made.by_name["channels"], made.by_name["guide"])


def _dream(
    work: Work,
    photo: str | None,
    before: str | None,
    strip: history.Kept,
    origins: history.Origins,
    random_seed: bool,
    **knobs: Any,
) -> Iterator[dict[str, Any]]:
    """What the tab puts out as a dream goes on."""
    if not photo:
        raise DreamError("Drop a photo first, or pick one of the examples.")
    recipe = work.engine.settle(recipe_of(random_seed, knobs))
    for moment in moments(work, [recipe], photo):
        if not moment.frame:
            yield {"status": moment.words}
            continue
        (after,) = moment.files
        before = before or after
        changes = {"view": (before, after), "status": moment.words, "seed": recipe.seed}
        if moment.frame.finished:
            where = " ".join(filter(None, (recipe.layer, recipe.channels)))
            said = f"Dreamed in {moment.seconds:.1f} s at {where}, seed {recipe.seed}."
            longer, origins = history.longer(strip, origins, after, photo, before)
            changes |= {
                "status": parts.status(said),
                "download": after,
                "strip": longer,
                "origins": origins,
                "recipe": recipe.to_json(),
                "linkable": sharing.linked(recipe),
            }
        yield changes


def _but(**changes: Any) -> tuple[Any, ...]:
    """What the tab puts out, only that changed."""
    return tuple(changes.get(name, gr.skip()) for name in OUTPUTS)
