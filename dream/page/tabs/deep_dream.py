"""The "Deep Dream" tab: a photo, its controls, and the dream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.files.metadata import read_recipe
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

STOPPED = f"{status_line.STOPPED} Dream deeper to continue from here."
EXAMPLE_PHOTOS = [
    components.EXAMPLES / f"{name}.jpg"
    for name in ("coffee", "cat", "clouds", "rocket", "galaxies")
]


def opening_recipe(engine: Engine) -> DreamRecipe:
    """Return the initial recipe; with Dreamlet, it reproduces the example dream."""
    example = read_recipe(EXAMPLE_DREAM, DreamRecipe).with_changes(max_side=None)
    model = engine.default_model()
    return engine.settle(example if model == example.model else example.with_changes(model=model))


@dataclass(frozen=True)
class Inputs:
    """The input components; other tabs may set the photo, layer, channels and guide."""

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
        """Components that another tab sets before it starts a dream here."""
        by_name = self.controls.by_name
        return [
            *self.controls.layer_picker.components,
            *(by_name["channels"], self.photo, by_name["guide"]),
        ]


@dataclass(frozen=True)
class Result:
    """The output components."""

    view: gr.ImageSlider
    status: gr.HTML
    again_button: gr.Button
    download: gr.DownloadButton
    strip: history.HistoryStrip
    making: making_of.MakingOfSection
    details: dream_details.DreamDetails


def build_tab(work: JobRunner, page_load: Callable[..., Any]) -> Inputs:
    """Build the tab; `page_load` is the page's load event, whose link may have a recipe."""
    example = read_recipe(EXAMPLE_DREAM, DreamRecipe)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            inputs = _build_inputs(work, opening_recipe(work.engine), example)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            result = _build_outputs(inputs, example)
    controls = inputs.controls
    shown_outputs = {
        "view": result.view,
        "status": result.status,
        "download": result.download,
        "visit": result.strip.history,
        "recipe": inputs.recipe,
        "linkable": inputs.link_recipe,
        "made_of": result.details.summary,
        "making": result.making.result,
    }
    _connect_buttons(work, inputs, result, shown_outputs)
    estimate.connect(work, inputs.estimate_line, inputs.photo, controls, result.strip.dreams)
    recipe_sharing.connect(
        controls, inputs.photo, result.status, inputs.recipe, inputs.link_recipe, inputs.load_from
    )
    history.connect(result.strip, controls, {"photo": inputs.photo, **shown_outputs})
    dream_details.connect(result.details, controls, result.status, inputs.link_recipe)
    strip = {"strip": result.strip.dreams, "all": result.strip.download_all_button}
    restore.connect(page_load, controls, inputs.photo, {**shown_outputs, **strip})
    return inputs


def _build_inputs(work: JobRunner, first: DreamRecipe, example: DreamRecipe) -> Inputs:
    photo = components.photo_input(value=str(EXAMPLE_PHOTO), elem_id="photo")
    other_layers = dream_details.other_layers_gallery(photo)
    go, stop = components.go_and_stop_buttons("Dream this photo", "go", "stop")
    text = estimate.estimate_text(work, first, estimate.photo_size(str(EXAMPLE_PHOTO)))
    estimate_line = gr.HTML(text, elem_id="expected", elem_classes="expected")
    gr.Examples(
        [str(path) for path in EXAMPLE_PHOTOS],
        photo,
        label="Or choose an example",
        elem_id="photos",
    )
    gr.Markdown("**Presets**")
    presets = gr.Row(elem_id="presets")
    controls = build_controls(first, photo, str(EXAMPLE_PHOTO))
    with presets:
        recipe_sharing.build_presets_row(controls, photo)
    recipe, link_recipe, load_from = recipe_sharing.build_recipe_box(example)
    sheet = comparison.build_comparison(controls)
    fields = (controls, recipe, link_recipe, load_from, sheet, other_layers)
    return Inputs(photo, go, stop, estimate_line, *fields)


def _build_outputs(inputs: Inputs, example: DreamRecipe) -> Result:
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
    text = status_line.status_html("Drag the divider to compare, or upload your own photo.")
    status = gr.HTML(text, elem_id="status", elem_classes="status")
    with gr.Row():
        again_button = gr.Button("Dream deeper", elem_id="again", min_width=90)
        download = gr.DownloadButton(
            "Download", str(EXAMPLE_DREAM), elem_id="download", min_width=90
        )
        making_of_button = making_of.build_button()
    strip = history.build_strip()
    inputs.comparison.sheet.render()  # type: ignore[no-untyped-call]
    making = making_of.build_section(making_of_button)
    details = dream_details.build_details(example, inputs.other_layers)
    return Result(view, status, again_button, download, strip, making, details)


def _connect_buttons(
    work: JobRunner, inputs: Inputs, result: Result, shown_outputs: dict[str, Any]
) -> None:
    """Connect the buttons that start dreams, and Stop."""
    others = [
        result.again_button,
        result.download,
        inputs.comparison.go_button,
        result.making.go_button,
        result.details.try_button,
    ]
    run = Run(inputs.go_button, inputs.stop_button, others, result.status, result.view)
    status, controls = {"status": result.status}, inputs.controls
    outputs = {
        **shown_outputs,
        "seed": controls.by_name["seed"],
        "strip": result.strip.dreams,
        "all": result.strip.download_all_button,
    }
    photo, knobs, fetch_mask = {"photo": inputs.photo}, controls.inputs, controls.fetch_mask_then
    visit_inputs = {**knobs, "visit": result.strip.history}
    sheet_outputs = {"sheet": inputs.comparison.sheet, **status}
    making_of_inputs = {"visit": result.strip.history, "way": result.making.playback_mode}
    making_of_outputs = {**result.making.outputs, **status}
    check = partial(components.check_recipe, DreamRecipe)
    other_layer_outputs = {"dreams": result.details.gallery, **status}
    dream_inputs = photo | visit_inputs
    dream, dream_again = partial(stream_dream, work), partial(_dream_again, work)
    rest = (outputs, check, fetch_mask)
    run.start_on(inputs.go_button.click, dream, dream_inputs, *rest, inputs.photo)
    run.start_on(result.again_button.click, dream_again, visit_inputs, *rest)
    run.start_on(
        inputs.comparison.go_button.click,
        partial(comparison.stream_sheet, work),
        {**photo, **inputs.comparison.inputs, **knobs},
        sheet_outputs,
        comparison.check_comparison,
        fetch_mask,
        scroll_to_output=True,
    )
    make = partial(making_of.stream_making_of, work)
    for event in (result.making.go_button.click, result.making.playback_mode.input):
        run.start_on(event, make, making_of_inputs, making_of_outputs)
    run.start_on(
        result.details.try_button.click,
        partial(dream_details.dream_other_layers, work),
        photo | knobs,
        other_layer_outputs,
        check,
        fetch_mask,
    )
    run.connect_stop()
    inputs.stop_button.click(
        _download_after_stop, result.strip.history, result.download, **components.IMMEDIATE_EVENT
    )


async def _download_after_stop(visit: Any) -> Any:
    return await wait_for_stopped_image(History.read(visit).shown.file)


def _dream_again(work: JobRunner, visit: Any, **values: Any) -> Iterator[dict[str, Any]]:
    """Dream of the shown dream, and keep its photo as the "before" image."""
    entry = History.read(visit).require_shown()
    yield from stream_dream(work, entry.file, visit, before=entry.before, **values)


def stream_dream(
    work: JobRunner,
    photo: str | None,
    visit: Any,
    random_seed: bool,
    before: str | None = None,
    **knobs: Any,
) -> Iterator[dict[str, Any]]:
    """Yield the changes of the tab's outputs; `visit` is the history from the browser."""
    photo = components.require_photo(photo)
    recipe = work.engine.settle(read_controls(random_seed, knobs))
    after = ""
    try:
        for update in stream_render(work, [recipe], photo, stopped_text=STOPPED):
            if not update.frame:
                yield {"status": update.status}
                continue
            (made,), (after,) = update.frame.recipes, update.files
            assert isinstance(made, DreamRecipe)  # Its size is reduced if memory was scarce.
            before = before or after
            changes = {"view": (before, after), "status": update.status, "seed": made.seed}
            new_visit = replace(
                History.read(visit),
                shown=HistoryEntry(after, photo, before),
                recipe=linkable_json(made),
            )
            if update.frame.step == 0 or update.frame.finished:
                changes |= {**dream_details.detail_updates(made), "visit": new_visit.to_browser()}
            if update.frame.finished:
                label = status_line.layers_label(made)
                text = f"Dreamed in {update.seconds:.1f} s: {label}, seed {made.seed}."
                changes |= {
                    "status": status_line.status_html(text),
                    "download": after,
                    **history.append_dream(new_visit),
                }
            yield changes
    except Exception:  # After any error, let the visitor download the image that is shown.
        if after:
            yield {"download": lossless_path(after)}
        raise
