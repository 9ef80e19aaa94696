"""The tab "Zoom and video": a photo that one zooms into for ever, and a video that is dreamed."""

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
from dream.page.widgets.run import Run
from dream.recipe import VideoRecipe, ZoomRecipe
from dream.recipe.knob import knobs
from dream.recipe.motion import MotionRecipe
from dream.service.job_runner import JobRunner

EXAMPLE_PHOTO = components.EXAMPLES / "coffee.jpg"
EXAMPLE_FOLDER = components.EXAMPLES / "films"
EXAMPLE_ZOOM = EXAMPLE_FOLDER / "zoom-coffee-inception4c-seed0.mp4"
EXAMPLE_VIDEOS = {
    "Endless zoom": EXAMPLE_ZOOM,
    "A dreamed video": EXAMPLE_FOLDER / "video-cat-inception4c-seed0.mp4",
    "How a dream came about": EXAMPLE_FOLDER / "making-of-dream-coffee-inception4c-i5-seed0.mp4",
}
# What the slider goes up to.
MAX_SLIDER_SECONDS = 30
FORMAT_CHOICES = {"MP4": "mp4", "WebM": "webm", "GIF": "gif"}
SHOWN = ("picture", "film", "download")
# The knobs in reach; the others of a frame are folded.
MAIN_KNOBS = ("seconds", "zoom", "rotation")
ADVANCED_KNOBS = ("right", "down", "fps")
FRAME_KNOBS = [name for name in knobs(MotionRecipe) if name not in ("model", "layer")]


def build_tab(work: JobRunner) -> None:
    """The tab."""
    first = work.engine.settle(ZoomRecipe(model=work.engine.default_model()))
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            asked = _build_inputs(work, first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            outputs = _build_outputs()
    go, other, stop = asked.pop("go"), asked.pop("other"), asked.pop("stop")
    expected, priced = asked.pop("expected"), asked.pop("priced")
    dream = {name: asked[name] for name in ("model", "layer", *FRAME_KNOBS)}
    moves = {name: asked[name] for name in (*MAIN_KNOBS, *ADVANCED_KNOBS)}
    given = {"ending": asked["ending"], "random_seed": asked["random_seed"], **dream}
    run = Run(go, stop, [other, outputs["download"]], outputs["status"])
    zoomed = {"photo": asked["photo"], **given, **moves}
    dreamed = {"video": asked["video"], "carry": asked["carry"], **given}
    run.start_on(
        go.click,
        partial(_stream_zoom, work),
        zoomed,
        outputs,
        partial(components.check_recipe, ZoomRecipe),
    )
    check = partial(components.check_recipe, VideoRecipe)
    run.start_on(other.click, partial(_stream_video, work), dreamed, outputs, check)
    run.connect_stop()
    told = [outputs[name] for name in (*SHOWN, "status")]
    stop.click(
        _stopped_video, [outputs["made"], outputs["download"]], told, **components.HEAVY_LOOK
    )
    _connect_estimates(work, expected, priced, asked, dream, moves, outputs["film"])


def _build_inputs(work: JobRunner, first: ZoomRecipe) -> dict[str, Any]:
    """What is asked for, by name, with the buttons and what is said beside them."""
    photo = components.photo_input(value=str(EXAMPLE_PHOTO), elem_id="zoom-photo")
    go, stop = components.go_and_stop_buttons("Zoom into this photo", "film", "stop-film")
    expected = gr.HTML(_zoom_estimate(work, first, str(EXAMPLE_PHOTO)), elem_classes="expected")
    controls = {
        name: components.knob_control(ZoomRecipe, name, getattr(first, name)) for name in MAIN_KNOBS
    }
    controls["seconds"].maximum = MAX_SLIDER_SECONDS
    controls["layer"] = gr.Textbox(
        first.layer,
        label="Layer, or layers along the way",
        info="As inception4c; in a zoom also by key frames, as 0 s: inception4c; 3 s: inception3b.",
        elem_id="zoom-layer",
    )
    with gr.Accordion("Dream a video", open=False, elem_id="dreaming-video"):
        video = components.video_input(label="Your video", height=120, elem_id="video")
        other = gr.Button("Dream this video", elem_id="dream-video")
        priced = gr.HTML(f"<span>{video_stream.LIMITS_TEXT}</span>", elem_classes="expected")
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
    asked = {"photo": photo, "video": video, "ending": ending, "random_seed": random_seed}
    buttons = {"go": go, "other": other, "stop": stop, "expected": expected, "priced": priced}
    return {**asked, **buttons, **controls}


def _build_outputs() -> dict[str, Any]:
    """What is put out, by name."""
    picture = still_image("The frame that is dreamed", "frame")
    film = video_player(str(EXAMPLE_ZOOM), "The video", elem_id="player")
    words = status_line.status_html(
        "A zoom that was made here; press the button to make one of your photo."
    )
    status = gr.HTML(words, elem_id="film-status", elem_classes="status")
    download = gr.DownloadButton("Download", str(EXAMPLE_ZOOM), elem_id="film-download")
    with gr.Row(elem_classes="examples"):
        buttons = [gr.Button(name, size="sm", min_width=110) for name in EXAMPLE_VIDEOS]
    shown = [picture, film, download, status]
    gr.on(
        [button.click for button in buttons],
        _show_example,
        None,
        shown,
        **components.IMMEDIATE_EVENT,
    )
    return {
        "picture": picture,
        "film": film,
        "status": status,
        "download": download,
        "made": gr.Textbox(visible=False),
    }


def _show_example(event: gr.EventData) -> tuple[Any, ...]:
    assert isinstance(event.target, gr.Button)
    name = str(event.target.value)
    path = str(EXAMPLE_VIDEOS[name])
    return *player_updates(path), path, status_line.status_html(f"{name}, made here.")


def _stream_zoom(
    work: JobRunner, photo: str | None, ending: str, random_seed: bool, **given: Any
) -> Iterator[dict[str, Any]]:
    recipe = ZoomRecipe(**_with_random_seed(given, random_seed))
    yield from video_outputs(
        video_stream.stream_zoom(work, recipe, components.require_photo(photo), ending)
    )


def _stream_video(
    work: JobRunner, video: str | None, ending: str, random_seed: bool, **given: Any
) -> Iterator[dict[str, Any]]:
    if not video:
        raise DreamError("Drop a video first.")
    recipe = VideoRecipe(**_with_random_seed(given, random_seed))
    yield from video_outputs(video_stream.stream_video(work, recipe, video, ending))


def _with_random_seed(given: dict[str, Any], random_seed: bool) -> dict[str, Any]:
    return {**given, "seed": components.random_seed()} if random_seed else given


def video_outputs(made: video_stream.VideoUpdates) -> Iterator[dict[str, Any]]:
    """What is put out as a video is made; what there is of one that fails, or the one before."""
    path = ""
    try:
        for moment in made:
            changes: dict[str, Any] = {"status": moment.status, "made": upload_name(moment.path)}
            if moment.preview:
                changes["picture"] = gr.update(value=moment.preview, visible=True)
                changes["film"] = gr.update(visible=False)
                path = moment.path
            if moment.done:
                changes |= show_video(moment.path)
            yield changes
    except Exception:  # Whatever went wrong, what is downloaded is what is shown.
        if path:
            yield (
                show_video(path)
                if Path(path).is_file()
                else {"picture": gr.update(visible=False), "film": gr.update(visible=True)}
            )
        raise


def show_video(path: str) -> dict[str, Any]:
    """What shows that video, and hands it over."""
    return dict(zip(SHOWN, (*player_updates(path), path), strict=True))


async def _stopped_video(made: str, whole: str | None) -> tuple[Any, ...]:
    """What there is of a video that was stopped, to be played; else the `whole` one before."""
    path = upload_path(made)
    if path == whole or not (film := await video_stream.wait_for_stopped_video(path)):
        return *player_updates(whole or str(EXAMPLE_ZOOM)), gr.skip(), gr.skip()
    video = await run_in_thread(read_video_info, film)
    words = f"Stopped; {video.frame_count} frames, {float(video.times[-1]):.1f} seconds, are kept."
    return *player_updates(film), film, status_line.status_html(words)


def _zoom_estimate(work: JobRunner, recipe: ZoomRecipe, photo: str | None) -> str:
    return estimate.estimate_text(work, recipe, estimate.photo_size(photo))


def _connect_estimates(
    work: JobRunner,
    expected: gr.HTML,
    priced: gr.HTML,
    asked: dict[str, Any],
    dream: dict[str, Any],
    moves: dict[str, Any],
    made: gr.Video,
) -> None:
    """What a zoom, or the video that was dropped, will take: said as it is chosen."""

    def zoom_price(photo: str | None, **given: Any) -> str:
        try:
            return _zoom_estimate(work, video_stream.check_length(ZoomRecipe(**given)), photo)
        except DreamError:
            return ""  # The button says what is wrong.

    def video_price(video: str | None, **given: Any) -> str:
        try:
            if not video:
                return f"<span>{video_stream.LIMITS_TEXT}</span>"
            seen = read_video_info(video, video_stream.UPLOAD_LIMITS)
            return estimate.estimate_text(work, VideoRecipe(**given), seen.size, seen.frame_count)
        except DreamError as error:
            return f"<span>{html.escape(status_line.to_sentence(error))}</span>"

    costly = [*dream.values(), *moves.values()]
    follow = {"photo": asked["photo"], **dream, **moves}
    gr.on(
        [asked["photo"].change, made.change, *(each.change for each in costly)],
        zoom_price,
        None,
        expected,
        inputs_kwargs=follow,
        trigger_mode="always_last",
        **components.SLOW_LOOK,
    )
    gr.on(
        [asked["video"].change, *(each.change for each in dream.values())],
        video_price,
        None,
        priced,
        inputs_kwargs={"video": asked["video"], **dream},
        trigger_mode="always_last",
        **components.HEAVY_LOOK,
    )
