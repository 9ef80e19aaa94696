"""The "Zoom and video" tab: endless zoom videos and dreamed videos."""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.video_reader import read_video_info
from dream.page import status_line, video_stream
from dream.page.blocks import upload_name, upload_path
from dream.page.call_limits import run_in_thread
from dream.page.widgets import components, estimate
from dream.page.widgets.components import Updates
from dream.page.widgets.layer_picker import network_dropdown
from dream.page.widgets.run import RunButtons
from dream.recipe import VideoRecipe, ZoomRecipe
from dream.recipe.knob import knobs
from dream.recipe.motion import MotionRecipe
from dream.service.job_runner import JobRunner

EXAMPLE_PHOTO = components.EXAMPLES_FOLDER / "coffee.jpg"
EXAMPLE_FOLDER = components.EXAMPLES_FOLDER / "films"
EXAMPLE_ZOOM = EXAMPLE_FOLDER / "zoom-coffee-seed0.mp4"
EXAMPLE_VIDEOS = {
    "Endless zoom": EXAMPLE_ZOOM,
    "Dreamed video": EXAMPLE_FOLDER / "video-cat-inception4c-seed0.mp4",
    "How a dream forms": EXAMPLE_FOLDER / "making-of-dream-coffee-inception4c-i5-seed0.mp4",
}
MAX_SLIDER_SECONDS = 30
LIMITS_HTML = f"<span>{video_stream.LIMITS_TEXT}</span>"
FORMAT_CHOICES = {"MP4": "mp4", "WebM": "webm", "GIF": "gif"}
# Knobs that are always visible; the others are in the Advanced section.
MAIN_KNOBS = ("seconds", "zoom", "rotation")
ADVANCED_KNOBS = ("right", "down", "fps")
VIDEO_KNOBS = ("carry", "first_octaves", "quiet")
FRAME_KNOBS = [*(name for name in knobs(MotionRecipe) if name not in ("model", "layer"))]
FRAME_KNOBS.append("keep_colours")


class ZoomAndVideoTab:
    """The tab: a zoom into a photo, and a dreamed video; one player shows either.

    `dream_knobs` are the knobs of both, `motion_knobs` those of a zoom only and `video_knobs` those
    of a video only.
    """

    def __init__(self, runner: JobRunner) -> None:
        self.runner = runner
        components.build_columns(self._build_inputs, self._build_outputs)
        self._connect_runs()
        self._connect_estimates()

    def _build_inputs(self) -> None:
        engine = self.runner.engine
        first = engine.settle(ZoomRecipe(model=engine.default_model()))
        self.photo = components.photo_input(value=str(EXAMPLE_PHOTO), elem_id="zoom-photo")
        components.privacy_line()
        text = self._zoom_estimate(first, str(EXAMPLE_PHOTO))
        with components.foot():
            self.go, self.stop = components.go_and_stop_buttons(
                "Zoom into this photo", "film", "stop-film"
            )
            self.zoom_line = gr.HTML(text, elem_classes=["expected", "remark"])
        self.motion_knobs = components.knob_controls(first, *MAIN_KNOBS)
        self.motion_knobs["seconds"].maximum = MAX_SLIDER_SECONDS
        layer = gr.Textbox(
            label="Layer, or layers by keyframe",
            placeholder="A zoom passes through several; a video stays at one",
            info="For example inception4c; in a zoom also 0 s: inception4c; 3 s: inception3b.",
            elem_id="zoom-layer",
        )
        with gr.Accordion("Dream a video", open=False, elem_id="dreaming-video"):
            self.video = components.FileInput(  # Gradio's video input rejects GIFs.
                file_types=[".mp4", ".mov", ".webm", ".gif"],
                label="Your video",
                height=120,
                elem_id="video",
            )
            self.video_button = gr.Button("Dream this video", elem_id="dream-video")
            self.video_line = gr.HTML(LIMITS_HTML, elem_classes=["expected", "remark"])
            self.video_knobs = components.knob_controls(VideoRecipe(), *VIDEO_KNOBS)
        with gr.Accordion("Advanced", open=False):
            model = network_dropdown(first.model)
            self.motion_knobs |= components.knob_controls(first, *ADVANCED_KNOBS)
            frame_knobs = components.knob_controls(first, *FRAME_KNOBS)
            random_seed = gr.Checkbox(False, label="Random seed")
            ending = gr.Radio(list(FORMAT_CHOICES.items()), value="mp4", label="Format")
        self.dream_knobs = {"model": model, "layer": layer, **frame_knobs}
        self.options = {"ending": ending, "random_seed": random_seed}
        model.input(lambda: "", None, layer, **components.IMMEDIATE_EVENT)

    def _build_outputs(self) -> None:
        self.image = components.still_image("Current frame", "frame")
        self.player = components.video_player(str(EXAMPLE_ZOOM), "Video", elem_id="player")
        text = "This zoom is an example. Zoom into your own photo to replace it."
        self.status = components.status_field("film-status", text)
        self.download = gr.DownloadButton("Download", str(EXAMPLE_ZOOM), elem_id="film-download")
        with gr.Row(elem_classes="examples"):
            buttons = [gr.Button(name, size="sm", min_width=110) for name in EXAMPLE_VIDEOS]
        self.made = gr.Textbox(visible=False)  # The upload name of the latest video.
        gr.on(
            [button.click for button in buttons],
            self._show_example,
            None,
            [self.image, self.player, self.download, self.status],
            **components.IMMEDIATE_EVENT,
        )

    def recipe_updates(self, recipe: ZoomRecipe | VideoRecipe) -> Updates:
        """Return the updates that set the controls to a recipe."""
        own = self.motion_knobs if isinstance(recipe, ZoomRecipe) else self.video_knobs
        return components.recipe_updates(recipe, {**self.dream_knobs, **own})

    def _connect_runs(self) -> None:
        """Connect the buttons that start videos, and Stop."""
        others = [self.video_button, self.download]
        run_buttons = RunButtons(self.go, self.stop, others, self.status)
        outputs = [self.image, self.player, self.download, self.made]
        common_inputs = {**self.options, **self.dream_knobs}
        run_buttons.start_on(
            self.go.click,
            self.stream_zoom,
            {"photo": self.photo, **common_inputs, **self.motion_knobs},
            outputs,
            partial(components.check_recipe, ZoomRecipe),
        )
        run_buttons.start_on(
            self.video_button.click,
            self.stream_video,
            {"video": self.video, **common_inputs, **self.video_knobs},
            outputs,
            partial(components.check_recipe, VideoRecipe),
        )
        run_buttons.connect_stop()
        self.stop.click(
            self._stopped_video,
            [self.made, self.download],
            [self.image, self.player, self.download, self.status],
            **components.HEAVY_EVENT,
        )

    def _connect_estimates(self) -> None:
        """Update the estimated times of a zoom and of an uploaded video when inputs change."""
        inputs = {"photo": self.photo, **self.dream_knobs, **self.motion_knobs}
        estimate.connect(self.zoom_line, self.estimate_zoom, inputs, self.player)
        inputs = {"video": self.video, **self.dream_knobs, **self.video_knobs}
        estimate.connect(self.video_line, self.estimate_video, inputs, **components.HEAVY_EVENT)

    def estimate_zoom(self, photo: str | None, **values: Any) -> str:
        """Return the estimate of a zoom; "" for a recipe that the button refuses."""
        try:
            recipe = video_stream.check_frame_count(ZoomRecipe(**values))
            return self._zoom_estimate(recipe, photo)
        except DreamError:
            return ""

    def _zoom_estimate(self, recipe: ZoomRecipe, photo: str | None) -> str:
        return estimate.estimate_text(self.runner, recipe, estimate.photo_size(photo))

    def estimate_video(self, video: str | None, **values: Any) -> str:
        """Return the estimate of a video, the limits without one, or what is wrong with it."""
        if not video:
            return LIMITS_HTML
        try:
            info = read_video_info(video, video_stream.UPLOAD_LIMITS)
            recipe = VideoRecipe(**values)
            return estimate.estimate_text(self.runner, recipe, info.size, info.frame_count)
        except DreamError as error:
            return f"<span>{html.escape(status_line.to_sentence(error))}</span>"

    def stream_zoom(
        self, photo: str | None, ending: str, random_seed: bool, **knob_values: Any
    ) -> Iterator[Updates]:
        """Yield the updates of the outputs while a zoom is made."""
        recipe = ZoomRecipe(**components.with_random_seed(knob_values, random_seed))
        photo = components.require_photo(photo)
        yield from self.show_video(video_stream.stream_zoom(self.runner, recipe, photo, ending))

    def stream_video(
        self, video: str | None, ending: str, random_seed: bool, **knob_values: Any
    ) -> Iterator[Updates]:
        """Yield the updates of the outputs while a video is dreamed."""
        if not video:
            raise DreamError("Upload a video first.")
        recipe = VideoRecipe(**components.with_random_seed(knob_values, random_seed))
        yield from self.show_video(video_stream.stream_video(self.runner, recipe, video, ending))

    def show_video(self, stream: video_stream.VideoUpdates) -> Iterator[Updates]:
        """Yield the updates of the outputs; after an error, of the unfinished or previous video."""
        path = ""
        try:
            for update in stream:
                updates: Updates = {self.status: update.status, self.made: upload_name(update.path)}
                if update.preview:
                    updates[self.image] = gr.update(value=update.preview, visible=True)
                    updates[self.player] = gr.update(visible=False)
                    path = update.path
                if update.done:
                    updates |= self._finished_video(update.path)
                yield updates
        except Exception:  # After any error, let the visitor download the video that is shown.
            if Path(path).is_file():
                yield self._finished_video(path)
            elif path:
                yield {self.image: gr.update(visible=False), self.player: gr.update(visible=True)}
            raise

    def _finished_video(self, path: str) -> Updates:
        """Return the updates that show a video and offer it for download."""
        outputs = (self.image, self.player, self.download)
        return dict(zip(outputs, components.player_updates(path), strict=True))

    def _show_example(self, event: gr.EventData) -> Updates:
        assert isinstance(event.target, gr.Button)
        name = str(event.target.value)
        text = status_line.status_html(f"Example: {name}.")
        return {**self._finished_video(str(EXAMPLE_VIDEOS[name])), self.status: text}

    async def _stopped_video(self, made: str, previous: str | None) -> Updates:
        """Show the frames of a stopped video; without any, the `previous` video."""
        path = upload_path(made)
        if path == previous or not await video_stream.wait_for_stopped_video(path):
            updates = self._finished_video(previous or str(EXAMPLE_ZOOM))
            return {**updates, self.download: gr.skip()}
        video = await run_in_thread(read_video_info, path)
        seconds = float(video.times[-1])
        text = f"Stopped. The video has {video.frame_count} frames, {seconds:.1f} seconds."
        return {**self._finished_video(path), self.status: status_line.status_html(text)}
