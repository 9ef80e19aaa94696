"""The "Deep Dream" tab: a photo, its controls, and the dream."""

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
from dream.page.widgets.run import RunButtons
from dream.page.widgets.saved_visit import EXAMPLE_DREAM, EXAMPLE_PHOTO, Visit, VisitEntry
from dream.recipe.dream import DreamRecipe
from dream.service.job_runner import JobRunner

check_dream = partial(components.check_recipe, DreamRecipe)
STOPPED_MESSAGE = f"{status_line.STOPPED_MESSAGE} Dream deeper to continue from here."
EXAMPLE_PHOTOS = [
    components.EXAMPLES_FOLDER / f"{name}.jpg"
    for name in ("coffee", "cat", "clouds", "rocket", "galaxies")
]


def opening_recipe(engine: Engine) -> DreamRecipe:
    """Return the initial recipe; with Dreamlet, it reproduces the example dream."""
    example = read_recipe(EXAMPLE_DREAM, DreamRecipe).with_changes(max_side=None)
    model = engine.default_model()
    return engine.settle(example if model == example.model else example.with_changes(model=model))


@dataclass(frozen=True)
class DreamInputs:
    """The input components; other tabs may set the photo, layer, channels and guide."""

    photo: gr.Image
    go_button: gr.Button
    stop_button: gr.Button
    estimate_line: gr.HTML
    controls: RecipeControls
    recipe: gr.Textbox
    link_recipe: gr.Textbox
    recipe_loader: recipe_sharing.RecipeLoader
    comparison: comparison.ComparisonSection
    other_layers: gr.Gallery

    @property
    def components_set_by_tabs(self) -> list[Any]:
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


def build_tab(runner: JobRunner, page_load: Callable[..., Any]) -> DreamInputs:
    """Build the tab; `page_load` is the page's load event, whose link may have a recipe."""
    example = read_recipe(EXAMPLE_DREAM, DreamRecipe)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            inputs = _build_inputs(runner, opening_recipe(runner.engine), example)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            result = _build_outputs(inputs, example)
    controls = inputs.controls
    shown_outputs = {
        "view": result.view,
        "status": result.status,
        "download": result.download,
        "visit": result.strip.visit,
        "recipe": inputs.recipe,
        "linkable": inputs.link_recipe,
        "made_of": result.details.summary,
        "making": result.making.result,
    }
    _connect_buttons(runner, inputs, result, shown_outputs)
    estimate.connect(runner, inputs.estimate_line, inputs.photo, controls, result.strip.dreams)
    recipe_sharing.connect(
        controls,
        inputs.photo,
        result.status,
        inputs.recipe,
        inputs.link_recipe,
        inputs.recipe_loader,
    )
    history.connect(result.strip, controls, {"photo": inputs.photo, **shown_outputs})
    dream_details.connect(result.details, controls, result.status, inputs.link_recipe)
    strip = {"strip": result.strip.dreams, "all": result.strip.download_all_button}
    restore.connect(page_load, controls, inputs.photo, {**shown_outputs, **strip})
    return inputs


def _build_inputs(runner: JobRunner, first: DreamRecipe, example: DreamRecipe) -> DreamInputs:
    photo = components.photo_input(value=str(EXAMPLE_PHOTO), elem_id="photo")
    other_layers = dream_details.other_layers_gallery(photo)
    go, stop = components.go_and_stop_buttons("Dream this photo", "go", "stop")
    text = estimate.estimate_text(runner, first, estimate.photo_size(str(EXAMPLE_PHOTO)))
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
    recipe, link_recipe, recipe_loader = recipe_sharing.build_recipe_box(example)
    sheet = comparison.build_comparison(controls)
    fields = (controls, recipe, link_recipe, recipe_loader, sheet, other_layers)
    return DreamInputs(photo, go, stop, estimate_line, *fields)


def _build_outputs(inputs: DreamInputs, example: DreamRecipe) -> Result:
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
    runner: JobRunner, inputs: DreamInputs, result: Result, shown_outputs: dict[str, Any]
) -> None:
    """Connect the buttons that start dreams, and Stop."""
    others = [
        result.again_button,
        result.download,
        inputs.comparison.go_button,
        result.making.go_button,
        result.details.try_button,
    ]
    go, stop = inputs.go_button, inputs.stop_button
    run_buttons = RunButtons(go, stop, others, result.status, result.view)
    outputs = {
        **shown_outputs,
        "seed": inputs.controls.by_name["seed"],
        "strip": result.strip.dreams,
        "all": result.strip.download_all_button,
    }
    again_inputs = {**inputs.controls.inputs, "visit": result.strip.visit}
    go_inputs = {"photo": inputs.photo, **again_inputs}
    dream, dream_again = partial(stream_dream, runner), partial(_dream_again, runner)
    checks: Any = {"check": check_dream, "fetch_inputs": inputs.controls.fetch_mask_then}
    run_buttons.start_on(go.click, dream, go_inputs, outputs, photo=inputs.photo, **checks)
    again = result.again_button.click
    run_buttons.start_on(again, dream_again, again_inputs, outputs, **checks)
    _connect_sections(runner, run_buttons, inputs, result, checks)
    run_buttons.connect_stop()
    options = components.IMMEDIATE_EVENT
    stop.click(_download_after_stop, result.strip.visit, result.download, **options)


def _connect_sections(
    runner: JobRunner, run_buttons: RunButtons, inputs: DreamInputs, result: Result, checks: Any
) -> None:
    """Connect the buttons of the comparison, the making-of and the other layers."""
    sheet, video, knobs = inputs.comparison, result.making, inputs.controls.inputs
    photo, status = {"photo": inputs.photo}, {"status": result.status}
    run_buttons.start_on(
        sheet.go_button.click,
        partial(comparison.stream_sheet, runner),
        {**photo, **sheet.inputs, **knobs},
        {"sheet": sheet.sheet, **status},
        scroll_to_output=True,
        **{**checks, "check": comparison.check_comparison},
    )
    make = partial(making_of.stream_making_of, runner)
    making_of_inputs = {"visit": result.strip.visit, "playback_mode": video.playback_mode}
    for event in (video.go_button.click, video.playback_mode.input):
        run_buttons.start_on(event, make, making_of_inputs, {**video.outputs, **status})
    run_buttons.start_on(
        result.details.try_button.click,
        partial(dream_details.dream_other_layers, runner),
        {**photo, **knobs},
        {"dreams": result.details.gallery, **status},
        **checks,
    )


async def _download_after_stop(visit: Any) -> Any:
    return await wait_for_stopped_image(Visit.read(visit).shown.file)


def _dream_again(runner: JobRunner, visit: Any, **values: Any) -> Iterator[dict[str, Any]]:
    """Dream of the shown dream, and keep its photo as the "before" image."""
    entry = Visit.read(visit).require_shown()
    yield from stream_dream(runner, entry.file, visit, before=entry.before, **values)


def stream_dream(
    runner: JobRunner,
    photo: str | None,
    visit: Any,
    random_seed: bool,
    before: str | None = None,
    **knobs: Any,
) -> Iterator[dict[str, Any]]:
    """Yield the changes of the tab's outputs; `visit` comes from the browser."""
    photo = components.require_photo(photo)
    recipe = runner.engine.settle(read_controls(random_seed, knobs))
    after = ""
    try:
        for update in stream_render(runner, [recipe], photo, stopped_text=STOPPED_MESSAGE):
            if not update.frame:
                yield {"status": update.status}
                continue
            (made,), (after,) = update.frame.recipes, update.files
            assert isinstance(made, DreamRecipe)  # Its size is reduced if memory was scarce.
            before = before or after
            changes = {"view": (before, after), "status": update.status, "seed": made.seed}
            new_visit = replace(
                Visit.read(visit),
                shown=VisitEntry(after, photo, before),
                recipe=linkable_json(made),
            )
            if update.frame.step == 0 or update.frame.finished:
                changes |= {**dream_details.detail_updates(made), "visit": new_visit.to_browser()}
            if update.frame.finished:
                label = status_line.recipe_layer_label(made)
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
