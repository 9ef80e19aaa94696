"""The Deep Dream tab: a photo, one button, and the dream beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.files.picture import read_recipe
from dream.page import beside, compare, estimate, history, making, parts, restore, sharing
from dream.page.controls import Controls, controls, recipe_of
from dream.page.moments import moments, stopped_at, unspoilt
from dream.page.run import Run
from dream.page.saved_visit import DREAMED, PHOTO, Made, Visit
from dream.page.sharing import linked
from dream.recipe.dream import DreamRecipe
from dream.service.work import Work

STOPPED = f"{parts.STOPPED} Dream again goes on from here."
PHOTOS = [
    parts.EXAMPLES / f"{name}.jpg" for name in ("coffee", "cat", "clouds", "rocket", "galaxies")
]


def opening(engine: Engine) -> DreamRecipe:
    """The recipe that the page opens on: with Dreamlet, one press makes again what is shown."""
    shown, model = read_recipe(DREAMED, DreamRecipe).but(max_side=None), engine.default_model()
    return engine.settle(shown if model == shown.model else shown.but(model=model))


@dataclass(frozen=True)
class Inputs:
    """What is asked for; other tabs may set the photo, the layer, its channels and the guide."""

    photo: gr.Image
    go: gr.Button
    stop: gr.Button
    expected: gr.HTML
    controls: Controls
    recipe: gr.Textbox
    linkable: gr.Textbox
    load_from: dict[str, Any]
    compared: compare.Section
    small: gr.Gallery

    @property
    def carried(self) -> list[Any]:
        """What another tab sets before it has this one dream."""
        by_name = self.controls.by_name
        return [
            *self.controls.choice.components,
            *(by_name["channels"], self.photo, by_name["guide"]),
        ]


@dataclass(frozen=True)
class Result:
    """What was dreamed."""

    view: gr.ImageSlider
    status: gr.HTML
    again: gr.Button
    download: gr.DownloadButton
    strip: history.Strip
    making: making.Section
    below: beside.Beside


def tab(work: Work, page_load: Callable[..., Any]) -> Inputs:
    """The tab; `page_load` is the event of the page's opening, whose link may carry a recipe."""
    shown = read_recipe(DREAMED, DreamRecipe)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            asked = _asking(work, opening(work.engine), shown)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            made = _showing(asked, shown)
    controls = asked.controls
    shown_now = {
        "view": made.view,
        "status": made.status,
        "download": made.download,
        "visit": made.strip.visit,
        "recipe": asked.recipe,
        "linkable": asked.linkable,
        "made_of": made.below.made_of,
        "making": made.making.below,
    }
    _run(work, asked, made, shown_now)
    estimate.wire(work, asked.expected, asked.photo, controls, made.strip.dreams)
    sharing.wire(controls, asked.photo, made.status, asked.recipe, asked.linkable, asked.load_from)
    history.wire(made.strip, controls, {"photo": asked.photo, **shown_now})
    beside.wire(made.below, controls, made.status, asked.linkable)
    strip = {"strip": made.strip.dreams, "all": made.strip.all}
    restore.wire(page_load, controls, asked.photo, {**shown_now, **strip})
    return asked


def _asking(work: Work, first: DreamRecipe, shown: DreamRecipe) -> Inputs:
    photo = parts.photo_input(value=str(PHOTO), elem_id="photo")
    small = beside.small_dreams(photo)
    go, stop = parts.go_and_stop("Dream this photo", "go", "stop")
    words = estimate.said(work, first, estimate.size_of_photo(str(PHOTO)))
    expected = gr.HTML(words, elem_id="expected", elem_classes="expected")
    gr.Examples([str(path) for path in PHOTOS], photo, label="Or one of these", elem_id="photos")
    gr.Markdown("**Start from**")
    presets = gr.Row(elem_id="presets")
    made = controls(first, photo, str(PHOTO))
    with presets:
        sharing.presets_row(made, photo)
    recipe, linkable, load_from = sharing.recipe_box(shown)
    compared = compare.section(made)
    return Inputs(photo, go, stop, expected, made, recipe, linkable, load_from, compared, small)


def _showing(asked: Inputs, shown: DreamRecipe) -> Result:
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
    words = parts.status("Drag the line, or dream a photo of yours.")
    status = gr.HTML(words, elem_id="status", elem_classes="status")
    with gr.Row():
        again = gr.Button("Dream again", elem_id="again", min_width=90)
        download = gr.DownloadButton("Download", str(DREAMED), elem_id="download", min_width=90)
        came = making.button()
    strip = history.strip()
    asked.compared.sheet.render()  # type: ignore[no-untyped-call]
    how = making.section(came)
    below = beside.section(shown, asked.small)
    return Result(view, status, again, download, strip, how, below)


def _run(work: Work, asked: Inputs, made: Result, shown_now: dict[str, Any]) -> None:
    """What the buttons start; each is a dream, or several."""
    others = [made.again, made.download, asked.compared.go, made.making.go, made.below.go]
    run = Run(asked.go, asked.stop, others, made.status, made.view)
    status, controls = {"status": made.status}, asked.controls
    outputs = {
        **shown_now,
        "seed": controls.by_name["seed"],
        "strip": made.strip.dreams,
        "all": made.strip.all,
    }
    photo, knobs, first = {"photo": asked.photo}, controls.inputs, controls.hand_over
    knobs_and_kept = {**knobs, "visit": made.strip.visit}
    sheet = {"sheet": asked.compared.sheet, **status}
    forming = {"visit": made.strip.visit, "way": made.making.way}
    formed = {**made.making.outputs, **status}
    check = partial(parts.checked, DreamRecipe)
    small = {"dreams": made.below.dreams, **status}
    inputs = photo | knobs_and_kept
    run.on(asked.go.click, partial(dream, work), inputs, outputs, check, first, asked.photo)
    run.on(made.again.click, partial(_again, work), knobs_and_kept, outputs, check, first)
    run.on(
        asked.compared.go.click,
        partial(compare.sheet, work),
        {**photo, **asked.compared.inputs, **knobs},
        sheet,
        compare.checked,
        first,
        scroll_to_output=True,
    )
    for event in (made.making.go.click, made.making.way.input):
        run.on(event, partial(making.stream_making_of, work), forming, formed)
    run.on(made.below.go.click, partial(beside.tried, work), photo | knobs, small, check, first)
    run.wire()
    asked.stop.click(_stopped, made.strip.visit, made.download, **parts.AT_ONCE)


async def _stopped(visit: Any) -> Any:
    return await stopped_at(Visit.read(visit).shown.file)


def _again(work: Work, visit: Any, **values: Any) -> Iterator[dict[str, Any]]:
    """The dream dreamed on, beside what the first one was of."""
    made = Visit.read(visit).found()
    yield from dream(work, made.file, visit, before=made.before, **values)


def dream(
    work: Work,
    photo: str | None,
    visit: Any,
    random_seed: bool,
    before: str | None = None,
    **knobs: Any,
) -> Iterator[dict[str, Any]]:
    """What the tab puts out as a dream goes on; `visit` is what the browser kept."""
    photo = parts.needed(photo)
    recipe = work.engine.settle(recipe_of(random_seed, knobs))
    after = ""
    try:
        for moment in moments(work, [recipe], photo, stopped=STOPPED):
            if not moment.frame:
                yield {"status": moment.words}
                continue
            (made,), (after,) = moment.frame.recipes, moment.files
            assert isinstance(made, DreamRecipe)  # Smaller than asked for, where memory was scarce.
            before = before or after
            changes = {"view": (before, after), "status": moment.words, "seed": made.seed}
            now = replace(Visit.read(visit), shown=Made(after, photo, before), recipe=linked(made))
            if moment.frame.step == 0 or moment.frame.finished:
                changes |= {**beside.about(made), "visit": now.to_browser()}
            if moment.frame.finished:
                where = " ".join(filter(None, (made.layer, made.channels)))
                said = f"Dreamed in {moment.seconds:.1f} s at {where}, seed {made.seed}."
                changes |= {"status": parts.status(said), "download": after, **history.longer(now)}
            yield changes
    except Exception:  # Whatever went wrong, what is downloaded is what is shown.
        if after:
            yield {"download": unspoilt(after)}
        raise
