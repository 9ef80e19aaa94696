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
from dream.networks import catalogue
from dream.page import status_line, video_stream
from dream.page.blocks import upload_name, upload_path
from dream.page.call_limits import run_in_thread
from dream.page.widgets import components, estimate
from dream.page.widgets.layer_picker import network_dropdown
from dream.page.widgets.players import player_updates, still_image, video_player
from dream.page.widgets.run import RunButtons
from dream.recipe import VideoRecipe, ZoomRecipe
from dream.recipe.knob import knobs
from dream.recipe.motion import MotionRecipe
from dream.service.job_runner import JobRunner

EXAMPLE_PHOTO = components.EXAMPLES_FOLDER / "coffee.jpg"
EXAMPLE_FOLDER = components.EXAMPLES_FOLDER / "films"
EXAMPLE_ZOOM = EXAMPLE_FOLDER / "zoom-coffee-inception4c-seed0.mp4"
EXAMPLE_VIDEOS = {
    "Endless zoom": EXAMPLE_ZOOM,
    "Dreamed video": EXAMPLE_FOLDER / "video-cat-inception4c-seed0.mp4",
    "How a dream forms": EXAMPLE_FOLDER / "making-of-dream-coffee-inception4c-i5-seed0.mp4",
}
MAX_SLIDER_SECONDS = 30
FORMAT_CHOICES = {"MP4": "mp4", "WebM": "webm", "GIF": "gif"}
VIDEO_OUTPUTS = ("picture", "film", "download")
# Knobs that are always visible; the others are in the Advanced section.
MAIN_KNOBS = ("seconds", "zoom", "rotation")
ADVANCED_KNOBS = ("right", "down", "fps")
FRAME_KNOBS = [name for name in knobs(MotionRecipe) if name not in ("model", "layer")]


def build_tab(runner: JobRunner) -> None:
    """Build the tab."""
    first = runner.engine.settle(ZoomRecipe(model=runner.engine.default_model()))
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            inputs = _build_inputs(runner, first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            outputs = _build_outputs()
    go, video_button, stop = map(inputs.pop, ("go", "video_button", "stop"))
    zoom_estimate, video_estimate = map(inputs.pop, ("zoom_estimate", "video_estimate"))
    dream_knobs = {name: inputs[name] for name in ("model", "layer", *FRAME_KNOBS)}
    motion_knobs = {name: inputs[name] for name in (*MAIN_KNOBS, *ADVANCED_KNOBS)}
    common_inputs = {name: inputs[name] for name in ("ending", "random_seed")} | dream_knobs
    run_buttons = RunButtons(go, stop, [video_button, outputs["download"]], outputs["status"])
    zoom_inputs = {"photo": inputs["photo"], **common_inputs, **motion_knobs}
    video_inputs = {"video": inputs["video"], "carry": inputs["carry"], **common_inputs}
    check_zoom = partial(components.check_recipe, ZoomRecipe)
    check_video = partial(components.check_recipe, VideoRecipe)
    stream_video = partial(_stream_video, runner)
    run_buttons.start_on(go.click, partial(_stream_zoom, runner), zoom_inputs, outputs, check_zoom)
    run_buttons.start_on(video_button.click, stream_video, video_inputs, outputs, check_video)
    run_buttons.connect_stop()
    last_videos = [outputs["made"], outputs["download"]]
    stop_outputs = [outputs[name] for name in (*VIDEO_OUTPUTS, "status")]
    stop.click(_stopped_video, last_videos, stop_outputs, **components.HEAVY_EVENT)
    _connect_estimates(
        runner, zoom_estimate, video_estimate, inputs, dream_knobs, motion_knobs, outputs["film"]
    )


def _build_inputs(runner: JobRunner, first: ZoomRecipe) -> dict[str, Any]:
    """Build the input components by name, with the buttons and the estimates."""
    photo = components.photo_input(value=str(EXAMPLE_PHOTO), elem_id="zoom-photo")
    go, stop = components.go_and_stop_buttons("Zoom into this photo", "film", "stop-film")
    text = _zoom_estimate(runner, first, str(EXAMPLE_PHOTO))
    zoom_estimate = gr.HTML(text, elem_classes="expected")
    controls = {
        name: components.knob_control(ZoomRecipe, name, getattr(first, name)) for name in MAIN_KNOBS
    }
    controls["seconds"].maximum = MAX_SLIDER_SECONDS
    controls["layer"] = gr.Textbox(
        first.layer,
        label="Layer, or layers by keyframe",
        info="For example inception4c; in a zoom also 0 s: inception4c; 3 s: inception3b.",
        elem_id="zoom-layer",
    )
    with gr.Accordion("Dream a video", open=False, elem_id="dreaming-video"):
        video = components.video_input(label="Your video", height=120, elem_id="video")
        video_button = gr.Button("Dream this video", elem_id="dream-video")
        text = f"<span>{video_stream.LIMITS_TEXT}</span>"
        video_estimate = gr.HTML(text, elem_classes="expected")
        controls["carry"] = components.knob_control(
            VideoRecipe, "carry", knobs(VideoRecipe)["carry"].default
        )
    with gr.Accordion("Advanced", open=False):
        controls["model"] = network_dropdown(first.model)
        controls |= {
            name: components.knob_control(ZoomRecipe, name, getattr(first, name))
            for name in (*ADVANCED_KNOBS, *FRAME_KNOBS)
        }
        random_seed = gr.Checkbox(False, label="Random seed")
        ending = gr.Radio(list(FORMAT_CHOICES.items()), value="mp4", label="Format")
    controls["model"].input(
        lambda model: catalogue.get_card(model).default_layer,
        controls["model"],
        controls["layer"],
        **components.IMMEDIATE_EVENT,
    )
    inputs = {"photo": photo, "video": video, "ending": ending, "random_seed": random_seed}
    buttons = {"go": go, "video_button": video_button, "stop": stop}
    estimates = {"zoom_estimate": zoom_estimate, "video_estimate": video_estimate}
    return {**inputs, **buttons, **estimates, **controls}


def _build_outputs() -> dict[str, Any]:
    """Build the output components, by name."""
    image = still_image("Current frame", "frame")
    player = video_player(str(EXAMPLE_ZOOM), "Video", elem_id="player")
    text = status_line.status_html(
        "This zoom is an example. Zoom into your own photo to replace it."
    )
    status = gr.HTML(text, elem_id="film-status", elem_classes="status")
    download = gr.DownloadButton("Download", str(EXAMPLE_ZOOM), elem_id="film-download")
    with gr.Row(elem_classes="examples"):
        buttons = [gr.Button(name, size="sm", min_width=110) for name in EXAMPLE_VIDEOS]
    example_outputs = [image, player, download, status]
    gr.on(
        [button.click for button in buttons],
        _show_example,
        None,
        example_outputs,
        **components.IMMEDIATE_EVENT,
    )
    return {
        "picture": image,
        "film": player,
        "status": status,
        "download": download,
        "made": gr.Textbox(visible=False),
    }


def _show_example(event: gr.EventData) -> tuple[Any, ...]:
    assert isinstance(event.target, gr.Button)
    name = str(event.target.value)
    path = str(EXAMPLE_VIDEOS[name])
    return *player_updates(path), path, status_line.status_html(f"Example: {name}.")


def _stream_zoom(
    runner: JobRunner, photo: str | None, ending: str, random_seed: bool, **knob_values: Any
) -> Iterator[dict[str, Any]]:
    recipe = ZoomRecipe(**_with_random_seed(knob_values, random_seed))
    yield from video_outputs(
        video_stream.stream_zoom(runner, recipe, components.require_photo(photo), ending)
    )


def _stream_video(
    runner: JobRunner, video: str | None, ending: str, random_seed: bool, **knob_values: Any
) -> Iterator[dict[str, Any]]:
    if not video:
        raise DreamError("Upload a video first.")
    recipe = VideoRecipe(**_with_random_seed(knob_values, random_seed))
    yield from video_outputs(video_stream.stream_video(runner, recipe, video, ending))


def _with_random_seed(knob_values: dict[str, Any], random_seed: bool) -> dict[str, Any]:
    return {**knob_values, "seed": components.draw_seed()} if random_seed else knob_values


def video_outputs(updates: video_stream.VideoUpdates) -> Iterator[dict[str, Any]]:
    """Yield the changes of the outputs; after an error, show the unfinished or previous video."""
    path = ""
    try:
        for update in updates:
            changes: dict[str, Any] = {"status": update.status, "made": upload_name(update.path)}
            if update.preview:
                changes["picture"] = gr.update(value=update.preview, visible=True)
                changes["film"] = gr.update(visible=False)
                path = update.path
            if update.done:
                changes |= finished_video_updates(update.path)
            yield changes
    except Exception:  # After any error, let the visitor download the video that is shown.
        if path:
            yield (
                finished_video_updates(path)
                if Path(path).is_file()
                else {"picture": gr.update(visible=False), "film": gr.update(visible=True)}
            )
        raise


def finished_video_updates(path: str) -> dict[str, Any]:
    """Return the changes that show a video and offer it for download."""
    return dict(zip(VIDEO_OUTPUTS, (*player_updates(path), path), strict=True))


async def _stopped_video(made: str, previous: str | None) -> tuple[Any, ...]:
    """Return the outputs for the frames of a stopped video; without any, the `previous` video."""
    path = upload_path(made)
    if path == previous or not (video_path := await video_stream.wait_for_stopped_video(path)):
        return *player_updates(previous or str(EXAMPLE_ZOOM)), gr.skip(), gr.skip()
    video = await run_in_thread(read_video_info, video_path)
    seconds = float(video.times[-1])
    text = f"Stopped. The video has {video.frame_count} frames, {seconds:.1f} seconds."
    return *player_updates(video_path), video_path, status_line.status_html(text)


def _zoom_estimate(runner: JobRunner, recipe: ZoomRecipe, photo: str | None) -> str:
    return estimate.estimate_text(runner, recipe, estimate.photo_size(photo))


def _connect_estimates(
    runner: JobRunner,
    zoom_estimate: gr.HTML,
    video_estimate: gr.HTML,
    inputs: dict[str, Any],
    dream_knobs: dict[str, Any],
    motion_knobs: dict[str, Any],
    player: gr.Video,
) -> None:
    """Update the estimated times of a zoom and of an uploaded video when inputs change."""

    def estimate_zoom(photo: str | None, **values: Any) -> str:
        try:
            recipe = video_stream.check_frame_count(ZoomRecipe(**values))
            return _zoom_estimate(runner, recipe, photo)
        except DreamError:
            return ""  # The button shows the error.

    def estimate_video(video: str | None, **values: Any) -> str:
        try:
            if not video:
                return f"<span>{video_stream.LIMITS_TEXT}</span>"
            info = read_video_info(video, video_stream.UPLOAD_LIMITS)
            recipe = VideoRecipe(**values)
            return estimate.estimate_text(runner, recipe, info.size, info.frame_count)
        except DreamError as error:
            return f"<span>{html.escape(status_line.to_sentence(error))}</span>"

    cost_inputs = [*dream_knobs.values(), *motion_knobs.values()]
    zoom_inputs = {"photo": inputs["photo"], **dream_knobs, **motion_knobs}
    gr.on(
        [inputs["photo"].change, player.change, *(each.change for each in cost_inputs)],
        estimate_zoom,
        None,
        zoom_estimate,
        inputs_kwargs=zoom_inputs,
        trigger_mode="always_last",
        **components.SLOW_EVENT,
    )
    gr.on(
        [inputs["video"].change, *(each.change for each in dream_knobs.values())],
        estimate_video,
        None,
        video_estimate,
        inputs_kwargs={"video": inputs["video"], **dream_knobs},
        trigger_mode="always_last",
        **components.HEAVY_EVENT,
    )
