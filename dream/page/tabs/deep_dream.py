"""The "Deep Dream" tab: a photo, its controls, and the dream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.files.image import read_recipe
from dream.page import status_line
from dream.page.image_stream import lossless_path, stream_render, wait_for_stopped_image
from dream.page.widgets import components, estimate, recipe_sharing, visit
from dream.page.widgets.blend import BlendSection
from dream.page.widgets.components import Updates
from dream.page.widgets.making_of import MakingOfSection
from dream.page.widgets.recipe_controls import RecipeControls, read_controls
from dream.page.widgets.run import RunButtons
from dream.page.widgets.several_photos import SeveralPhotos
from dream.page.widgets.small_dreams import Comparison, OtherLayers
from dream.recipe.dream import DreamRecipe
from dream.service.job_runner import JobRunner

STOPPED_MESSAGE = f"{status_line.STOPPED_MESSAGE} Dream deeper to continue from here."
EXAMPLE_PHOTOS = [
    str(components.EXAMPLES_FOLDER / f"{name}.jpg")
    for name in ("coffee", "cat", "clouds", "rocket", "galaxies")
]


def opening_recipe(engine: Engine) -> DreamRecipe:
    """Return the initial recipe; with Dreamlet, it reproduces the example dream."""
    example = read_recipe(visit.EXAMPLE_DREAM, DreamRecipe).with_changes(max_side=None)
    model = engine.default_model()
    return engine.settle(example if model == example.model else example.with_changes(model=model))


class DreamTab:
    """The tab; other tabs may set its photo, layer, channels and guide, and start a dream."""

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner
        self.example = read_recipe(visit.EXAMPLE_DREAM, DreamRecipe)
        components.build_columns(self._build_inputs, self._build_outputs)
        self._connect_buttons()
        knobs = {name: self.controls.by_name[name] for name in estimate.COST_KNOBS}
        inputs = {"photo": self.photo, **knobs}
        estimate.connect(self.estimate_line, self.estimate_dream, inputs, self.outputs.strip)
        self.recipe_box.connect(self.controls, self.outputs.status)
        visit.connect_strip(self.outputs, self.controls)

    @property
    def components_set_by_tabs(self) -> list[Any]:
        """Components that another tab sets before it starts a dream here."""
        by_name = self.controls.by_name
        picker = self.controls.layer_picker.components
        return [*picker, by_name["channels"], self.photo, by_name["guide"]]

    def _build_inputs(self) -> None:
        first = opening_recipe(self.runner.engine)
        self.photo = components.photo_input(value=str(visit.EXAMPLE_PHOTO), elem_id="photo")
        self.other_layers = OtherLayers(self.photo)
        text = estimate.estimate_text(
            self.runner, first, estimate.photo_size(str(visit.EXAMPLE_PHOTO))
        )
        with components.foot():
            self.go, self.stop = components.go_and_stop_buttons("Dream this photo", "go", "stop")
            self.estimate_line = gr.HTML(
                text, elem_id="expected", elem_classes=["expected", "remark"]
            )
        components.privacy_line("A guide image or mask becomes part of the downloaded file.")
        gr.Examples(EXAMPLE_PHOTOS, self.photo, label="Or choose an example", elem_id="photos")
        presets = recipe_sharing.preset_gallery()
        self.controls = RecipeControls(first, self.photo, str(visit.EXAMPLE_PHOTO))
        recipe_sharing.connect_presets(presets, self.controls)
        self.several_photos = SeveralPhotos()
        self.recipe_box = recipe_sharing.RecipeBox(self.example)
        self.comparison = Comparison(self.controls)

    def _build_outputs(self) -> None:
        view = gr.ImageSlider(
            (str(visit.EXAMPLE_PHOTO), str(visit.EXAMPLE_DREAM)),
            type="filepath",
            image_mode=None,
            label="Before and after",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="view",
        )
        text = "Drag the divider to compare, or upload your own photo."
        status = components.status_field("status", text)
        with gr.Row():
            self.again_button = gr.Button("Dream deeper", elem_id="again", min_width=90)
            download = gr.DownloadButton(
                "Download", str(visit.EXAMPLE_DREAM), elem_id="download", min_width=90
            )
            blend_download = gr.Button(
                "Download blend", visible=False, elem_id="download-blend", min_width=90
            )
            making_of_button = gr.Button("Watch it form", elem_id="came-about", min_width=90)
        self.blend = BlendSection(blend_download)
        strip, download_all = visit.build_strip()
        self.comparison.sheet.render()  # type: ignore[no-untyped-call]
        self.making_of = MakingOfSection(making_of_button)
        self.outputs = visit.VisitOutputs(
            view=view,
            status=status,
            download=download,
            blend=self.blend.slider,
            visit=visit.browser_state("visit"),
            recipe=self.recipe_box.text,
            linkable=self.recipe_box.linkable,
            summary=self._build_details(),
            making_of=self.making_of.column,
            strip=strip,
            download_all=download_all,
        )

    def _build_details(self) -> gr.HTML:
        """Build the summary of the recipe, its link and the previews; return the summary."""
        with gr.Column(elem_classes="beside"):  # Hidden on phones.
            summary = gr.HTML(recipe_sharing.describe_recipe(self.example), elem_id="made-of")
            with gr.Row():
                self.other_layers.go_button.render()  # type: ignore[no-untyped-call]
                share_button = gr.Button("Copy link to this recipe", size="sm", elem_id="share")
            link = recipe_sharing.link_field("shared-link")
            self.other_layers.gallery.render()  # type: ignore[no-untyped-call]
        recipe_sharing.copy_link(share_button, self.recipe_box.linkable, link)
        return summary

    def _connect_buttons(self) -> None:
        """Connect the buttons that start dreams, and Stop."""
        outputs, controls = self.outputs, self.controls
        others = [
            self.again_button,
            outputs.download,
            self.blend.download_button,
            self.blend.share_button,
            self.several_photos.go_button,
            self.comparison.go_button,
            self.making_of.go_button,
            self.other_layers.go_button,
        ]
        run_buttons = RunButtons(self.go, self.stop, others, outputs.status, outputs.view)
        options: dict[str, Any] = {
            "outputs": [*vars(outputs).values(), controls.by_name["seed"]],
            "check": partial(components.check_recipe, DreamRecipe),
            "fetch_inputs": controls.fetch_mask_then,
        }
        inputs = {**controls.inputs, "saved": outputs.visit}
        go_inputs = {"photo": self.photo, **inputs}
        run_buttons.start_on(self.go.click, self.dream, go_inputs, photo=self.photo, **options)
        run_buttons.start_on(self.again_button.click, self.dream_again, inputs, **options)
        self.several_photos.connect(run_buttons, self.dream_by_recipe, inputs, options)
        self.comparison.connect(self.runner, run_buttons)
        self.making_of.connect(self.runner, run_buttons, outputs.visit)
        self.other_layers.connect(self.runner, run_buttons, controls)
        run_buttons.connect_stop()
        self.stop.click(
            _download_after_stop, outputs.visit, outputs.download, **components.IMMEDIATE_EVENT
        )

    def estimate_dream(self, photo: str | None, **values: Any) -> str:
        """Return the estimate of a dream; "" for a recipe that the button refuses."""
        try:
            recipe = DreamRecipe(**values)
            return estimate.estimate_text(self.runner, recipe, estimate.photo_size(photo))
        except DreamError:
            return ""

    def dream_again(self, saved: Any, **values: Any) -> Iterator[Updates]:
        """Dream of the shown dream, and keep its photo as the "before" image."""
        entry = visit.Visit.read(saved).require_shown()
        yield from self.dream(entry.file, saved, before=entry.before, **values)

    def dream(
        self,
        photo: str | None,
        saved: Any,
        random_seed: bool,
        before: str | None = None,
        **knobs: Any,
    ) -> Iterator[Updates]:
        """Yield the updates of the outputs while a dream forms; `saved` is the browser's visit."""
        photo = components.require_photo(photo)
        yield from self.dream_by_recipe(photo, saved, read_controls(random_seed, knobs), before)

    def dream_by_recipe(
        self, photo: str, saved: Any, recipe: DreamRecipe, before: str | None = None
    ) -> Iterator[Updates]:
        """Yield the updates while a photo is dreamed by a recipe, whatever the controls say."""
        recipe = self.runner.engine.settle(recipe)
        outputs, after = self.outputs, ""
        try:
            for update in stream_render(self.runner, [recipe], photo, stopped_text=STOPPED_MESSAGE):
                updates: Updates = {outputs.status: update.status}
                if frame := update.frame:
                    (made,), (after,) = frame.recipes, update.files
                    # Its size is reduced if memory was scarce.
                    assert isinstance(made, DreamRecipe)
                    before = before or after
                    updates |= {outputs.view: (before, after)}
                    updates |= {self.controls.by_name["seed"]: made.seed}
                    entry = visit.VisitEntry(after, photo, before)
                    new_visit = replace(
                        visit.Visit.read(saved),
                        shown=entry,
                        recipe=recipe_sharing.linkable_json(made),
                    )
                    if frame.step == 0 or frame.finished:
                        updates |= outputs.new_dream(made) | {outputs.visit: new_visit.to_browser()}
                    if frame.finished:
                        updates |= self._finished_dream(made, new_visit, update.seconds)
                yield updates
        except Exception:  # After any error, let the visitor download the image that is shown.
            if after:
                yield {outputs.download: lossless_path(after)}
            raise

    def _finished_dream(
        self, recipe: DreamRecipe, new_visit: visit.Visit, seconds: float
    ) -> Updates:
        label = status_line.recipe_layer_label(recipe)
        text = f"Dreamed in {seconds:.1f} s: {label}, seed {recipe.seed}."
        return {
            self.outputs.status: status_line.status_html(text),
            self.outputs.download: new_visit.shown.file,
            **self.outputs.added_dream(new_visit),
        }


async def _download_after_stop(saved: Any) -> Any:
    return await wait_for_stopped_image(visit.Visit.read(saved).shown.file)
