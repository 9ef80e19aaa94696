"""The Deep Dream tab: a photo, one button, and the dream beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.files.image import read_recipe
from dream.page import status_line
from dream.page.image_stream import lossless_path, stream_render, wait_for_stopped_image
from dream.page.widgets import (
    comparison,
    components,
    dream_details,
    estimate,
    history,
    making_of,
    recipe_sharing,
    restore,
)
from dream.page.widgets.recipe_controls import RecipeControls, build_controls, read_controls
from dream.page.widgets.recipe_sharing import linkable_json
from dream.page.widgets.run import Run
from dream.page.widgets.saved_visit import EXAMPLE_DREAM, EXAMPLE_PHOTO, History, HistoryEntry
from dream.recipe.dream import DreamRecipe
from dream.service.job_runner import JobRunner

STOPPED = f"{status_line.STOPPED} Dream again goes on from here."
EXAMPLE_PHOTOS = [
    components.EXAMPLES / f"{name}.jpg"
    for name in ("coffee", "cat", "clouds", "rocket", "galaxies")
]


def opening_recipe(engine: Engine) -> DreamRecipe:
    """The recipe that the page opens on: with Dreamlet, one press makes again what is shown."""
    shown, model = (
        read_recipe(EXAMPLE_DREAM, DreamRecipe).with_changes(max_side=None),
        engine.default_model(),
    )
    return engine.settle(shown if model == shown.model else shown.with_changes(model=model))


@dataclass(frozen=True)
class Inputs:
    """What is asked for; other tabs may set the photo, the layer, its channels and the guide."""

    photo: gr.Image
    go_button: gr.Button
    stop_button: gr.Button
    estimate_line: gr.HTML
    controls: RecipeControls
    recipe: gr.Textbox
    link_recipe: gr.Textbox
    load_from: dict[str, Any]
    comparison: comparison.ComparisonSection
    other_layers: gr.Gallery

    @property
    def settable_by_tabs(self) -> list[Any]:
        """What another tab sets before it has this one dream."""
        by_name = self.controls.by_name
        return [
            *self.controls.layer_picker.components,
            *(by_name["channels"], self.photo, by_name["guide"]),
        ]


@dataclass(frozen=True)
class Result:
    """What was dreamed."""

    view: gr.ImageSlider
    status: gr.HTML
    again_button: gr.Button
    download: gr.DownloadButton
    strip: history.HistoryStrip
    making: making_of.MakingOfSection
    details: dream_details.DreamDetails


def build_tab(work: JobRunner, page_load: Callable[..., Any]) -> Inputs:
    """The tab; `page_load` is the event of the page's opening, whose link may carry a recipe."""
    shown = read_recipe(EXAMPLE_DREAM, DreamRecipe)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            asked = _build_inputs(work, opening_recipe(work.engine), shown)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            made = _build_outputs(asked, shown)
    controls = asked.controls
    shown_now = {
        "view": made.view,
        "status": made.status,
        "download": made.download,
        "visit": made.strip.history,
        "recipe": asked.recipe,
        "linkable": asked.link_recipe,
        "made_of": made.details.summary,
        "making": made.making.result,
    }
    _connect_buttons(work, asked, made, shown_now)
    estimate.connect(work, asked.estimate_line, asked.photo, controls, made.strip.dreams)
    recipe_sharing.connect(
        controls, asked.photo, made.status, asked.recipe, asked.link_recipe, asked.load_from
    )
    history.connect(made.strip, controls, {"photo": asked.photo, **shown_now})
    dream_details.connect(made.details, controls, made.status, asked.link_recipe)
    strip = {"strip": made.strip.dreams, "all": made.strip.download_all_button}
    restore.wire(page_load, controls, asked.photo, {**shown_now, **strip})
    return asked


def _build_inputs(work: JobRunner, first: DreamRecipe, shown: DreamRecipe) -> Inputs:
    photo = components.photo_input(value=str(EXAMPLE_PHOTO), elem_id="photo")
    small = dream_details.other_layers_gallery(photo)
    go, stop = components.go_and_stop_buttons("Dream this photo", "go", "stop")
    words = estimate.estimate_text(work, first, estimate.photo_size(str(EXAMPLE_PHOTO)))
    expected = gr.HTML(words, elem_id="expected", elem_classes="expected")
    gr.Examples(
        [str(path) for path in EXAMPLE_PHOTOS], photo, label="Or one of these", elem_id="photos"
    )
    gr.Markdown("**Start from**")
    presets = gr.Row(elem_id="presets")
    made = build_controls(first, photo, str(EXAMPLE_PHOTO))
    with presets:
        recipe_sharing.build_presets_row(made, photo)
    recipe, linkable, load_from = recipe_sharing.build_recipe_box(shown)
    compared = comparison.build_comparison(made)
    return Inputs(photo, go, stop, expected, made, recipe, linkable, load_from, compared, small)


def _build_outputs(asked: Inputs, shown: DreamRecipe) -> Result:
    view = gr.ImageSlider(
        (str(EXAMPLE_PHOTO), str(EXAMPLE_DREAM)),
        type="filepath",
        image_mode=None,
        label="Before and after",
        max_height=560,
        interactive=False,
        buttons=["fullscreen"],
        elem_id="view",
    )
    words = status_line.status_html("Drag the line, or dream a photo of yours.")
    status = gr.HTML(words, elem_id="status", elem_classes="status")
    with gr.Row():
        again = gr.Button("Dream again", elem_id="again", min_width=90)
        download = gr.DownloadButton(
            "Download", str(EXAMPLE_DREAM), elem_id="download", min_width=90
        )
        came = making_of.build_button()
    strip = history.build_strip()
    asked.comparison.sheet.render()  # type: ignore[no-untyped-call]
    how = making_of.build_section(came)
    below = dream_details.build_details(shown, asked.other_layers)
    return Result(view, status, again, download, strip, how, below)


def _connect_buttons(
    work: JobRunner, asked: Inputs, made: Result, shown_now: dict[str, Any]
) -> None:
    """What the buttons start; each is a dream, or several."""
    others = [
        made.again_button,
        made.download,
        asked.comparison.go_button,
        made.making.go_button,
        made.details.try_button,
    ]
    run = Run(asked.go_button, asked.stop_button, others, made.status, made.view)
    status, controls = {"status": made.status}, asked.controls
    outputs = {
        **shown_now,
        "seed": controls.by_name["seed"],
        "strip": made.strip.dreams,
        "all": made.strip.download_all_button,
    }
    photo, knobs, first = {"photo": asked.photo}, controls.inputs, controls.fetch_mask_then
    knobs_and_kept = {**knobs, "visit": made.strip.history}
    sheet = {"sheet": asked.comparison.sheet, **status}
    forming = {"visit": made.strip.history, "way": made.making.playback_mode}
    formed = {**made.making.outputs, **status}
    check = partial(components.check_recipe, DreamRecipe)
    small = {"dreams": made.details.gallery, **status}
    inputs = photo | knobs_and_kept
    run.start_on(
        asked.go_button.click,
        partial(stream_dream, work),
        inputs,
        outputs,
        check,
        first,
        asked.photo,
    )
    run.start_on(
        made.again_button.click, partial(_dream_again, work), knobs_and_kept, outputs, check, first
    )
    run.start_on(
        asked.comparison.go_button.click,
        partial(comparison.stream_sheet, work),
        {**photo, **asked.comparison.inputs, **knobs},
        sheet,
        comparison.check_comparison,
        first,
        scroll_to_output=True,
    )
    for event in (made.making.go_button.click, made.making.playback_mode.input):
        run.start_on(event, partial(making_of.stream_making_of, work), forming, formed)
    run.start_on(
        made.details.try_button.click,
        partial(dream_details.dream_other_layers, work),
        photo | knobs,
        small,
        check,
        first,
    )
    run.connect_stop()
    asked.stop_button.click(
        _download_after_stop, made.strip.history, made.download, **components.IMMEDIATE_EVENT
    )


async def _download_after_stop(visit: Any) -> Any:
    return await wait_for_stopped_image(History.read(visit).shown.file)


def _dream_again(work: JobRunner, visit: Any, **values: Any) -> Iterator[dict[str, Any]]:
    """The dream dreamed on, beside what the first one was of."""
    made = History.read(visit).found()
    yield from stream_dream(work, made.file, visit, before=made.before, **values)


def stream_dream(
    work: JobRunner,
    photo: str | None,
    visit: Any,
    random_seed: bool,
    before: str | None = None,
    **knobs: Any,
) -> Iterator[dict[str, Any]]:
    """What the tab puts out as a dream goes on; `visit` is what the browser kept."""
    photo = components.require_photo(photo)
    recipe = work.engine.settle(read_controls(random_seed, knobs))
    after = ""
    try:
        for moment in stream_render(work, [recipe], photo, stopped=STOPPED):
            if not moment.frame:
                yield {"status": moment.status}
                continue
            (made,), (after,) = moment.frame.recipes, moment.files
            assert isinstance(made, DreamRecipe)  # Smaller than asked for, where memory was scarce.
            before = before or after
            changes = {"view": (before, after), "status": moment.status, "seed": made.seed}
            now = replace(
                History.read(visit),
                shown=HistoryEntry(after, photo, before),
                recipe=linkable_json(made),
            )
            if moment.frame.step == 0 or moment.frame.finished:
                changes |= {**dream_details.detail_updates(made), "visit": now.to_browser()}
            if moment.frame.finished:
                where = " ".join(filter(None, (made.layer, made.channels)))
                said = f"Dreamed in {moment.seconds:.1f} s at {where}, seed {made.seed}."
                changes |= {
                    "status": status_line.status_html(said),
                    "download": after,
                    **history.append_dream(now),
                }
            yield changes
    except Exception:  # Whatever went wrong, what is downloaded is what is shown.
        if after:
            yield {"download": lossless_path(after)}
        raise
