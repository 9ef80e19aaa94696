"""The "Live" tab: dream the frames of a camera."""

from __future__ import annotations

import base64
import io
import time
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

import gradio as gr
from gradio.data_classes import Base64ImageData
from PIL import Image

from dream.errors import PictureError, RecipeError, first_line
from dream.files.video_writer import VideoWriter
from dream.page import status_line
from dream.page.image_stream import new_output_folder, queue_status
from dream.page.tabs.deep_dream import DreamTab
from dream.page.widgets import components
from dream.page.widgets.components import Updates
from dream.page.widgets.layer_picker import layer_gallery, picker_updates, selected_layer
from dream.recipe import LiveRecipe
from dream.recipe.base import DEFAULT_MODEL
from dream.render.live import LiveDreamer
from dream.service.device_queue import MAX_SHARED_SECONDS, StreamTurn
from dream.service.job_runner import JobRunner
from dream.service.live_process import LiveProcess
from dream.tensors import even_size

EXAMPLE_IMAGE = components.EXAMPLES_FOLDER / "films" / "live-cat-inception4c-seed0.jpg"
# Requested camera sizes, and limits for cameras that have no such size.
CPU_CAMERA_SIZE, GPU_CAMERA_SIZE = (320, 240), (640, 480)
MAX_FRAME_BYTES, MAX_FRAME_SIDE = 1_000_000, 2048
# Time between frames that the browser sends.
CPU_FRAME_SECONDS, GPU_FRAME_SECONDS = 0.08, 0.03
# Limit on the processing time of one stream, and length of the clip that can be saved.
MAX_STREAM_SECONDS, CLIP_SECONDS = 300, 10.0
# Time after a stream in which its last frame and its clip can be saved.
SESSION_SECONDS = 120
JPEG_QUALITY = 85
STATUS_SECONDS, CLIP_STATUS_SECONDS = 2.0, 8.0
LIVE_KNOBS = ("intensity", "memory")
MIN_FPS, MAX_FPS = 1.0, 60.0
TIME_BASE = Fraction(1, 1000)
START_MESSAGE = "Allow the camera, then press Record. Whatever stays still fills with creatures."
ENDED_MESSAGE = "The live dream is stopped. Press Record to start it."
TURN_OVER_MESSAGE = (
    "Other visitors are waiting and your minute is over. Press Record to join the queue again."
)


def _camera_payload(self: gr.Image, payload: Any) -> str | None:
    """Return the data URI that a browser sent; `_decode_frame` checks it."""
    return payload.url if payload else None


def _decode_frame(data_uri: str) -> Image.Image:
    """Return the frame in a data URI; raise PictureError if there is none."""
    try:
        content = base64.b64decode(data_uri.partition("base64,")[2][: 4 * MAX_FRAME_BYTES // 3])
        image = Image.open(io.BytesIO(content), formats=["JPEG"])
        if max(image.size) > MAX_FRAME_SIDE:
            raise OSError(f"it has more than {MAX_FRAME_SIDE} pixels a side")
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"this is not a camera frame: {first_line(error)}") from error


def _jpeg_payload(self: gr.Image, jpeg: bytes | None) -> Base64ImageData | None:
    """Return a JPEG as a data URI for the browser; no file is written."""
    if not jpeg:
        return None
    return Base64ImageData(url=f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")


def _encode_jpeg(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()


CameraInput = components.derive_component(gr.Image, preprocess=_camera_payload, sends_pictures=True)
LiveView = components.derive_component(gr.Image, postprocess=_jpeg_payload)


@dataclass
class LiveSession:
    """The state of one visitor's stream, kept between frames."""

    dreamer: LiveDreamer | LiveProcess
    turn: StreamTurn
    recipe: LiveRecipe = field(default_factory=LiveRecipe)
    recent_frames: deque[tuple[float, bytes]] = field(default_factory=deque)
    still: Image.Image | None = None
    interval: float = 0.1
    last_status: float = 0.0
    end_message: str = ENDED_MESSAGE

    def dream_frame(self, image: Image.Image, recipe: LiveRecipe) -> bytes:
        """Return the dream of the next frame as a JPEG, and add it to the recent frames."""
        now = time.monotonic()
        # The first frame takes longer than the others.
        if len(self.recent_frames) > 1 and now - self.recent_frames[-1][0] < 1 / MIN_FPS:
            # So does the first of a new scene, which must not change the rate much.
            sample = min(now - self.recent_frames[-1][0], 2 * self.interval)
            self.interval += 0.1 * (sample - self.interval)
        fps = min(max(1 / self.interval, MIN_FPS), MAX_FPS)
        self.recipe = recipe.with_changes(fps=round(fps, 1))
        self.still = self.dreamer.dream_frame(image, self.recipe)
        self.recent_frames.append((now, _encode_jpeg(self.still)))
        while now - self.recent_frames[0][0] > CLIP_SECONDS:
            self.recent_frames.popleft()
        return self.recent_frames[-1][1]

    def status_update(self) -> Any:
        """Return the frame rate as a status, every `STATUS_SECONDS`."""
        if time.monotonic() - self.last_status < STATUS_SECONDS:
            return gr.skip()
        self.last_status = time.monotonic()
        return f"<span>{self.recipe.fps:.0f} frames per second.</span>"


class LiveTab:
    """The tab; a frame can be sent to the Deep Dream tab."""

    def __init__(self, runner: JobRunner, tabs: gr.Tabs, dream_tab: DreamTab) -> None:
        self.runner = runner
        self.has_gpu = runner.engine.device.type != "cpu" and not runner.uses_leased_gpu
        components.build_columns(self._build_inputs, self._build_outputs)
        self._connect_stream()
        targets = [tabs, dream_tab.photo]
        components.send_to_dream_tab(self.freeze.click, _freeze_frame, self.session, targets)
        # Stop the camera when its tab is hidden.
        components.run_in_browser(tabs.change, "() => stopCamera()")
        self.keep.click(
            _save_clip, self.session, [self.clip, self.status], **components.HEAVY_EVENT
        )
        components.run_in_browser(self.fill_screen.click, "() => fillScreen()")
        components.run_in_browser(self.leave_screen.click, "() => leaveScreen()")

    def _build_inputs(self) -> None:
        first = LiveRecipe()
        width, height = GPU_CAMERA_SIZE if self.has_gpu else CPU_CAMERA_SIZE
        self.camera = CameraInput(
            sources=["webcam"],
            streaming=True,
            label="Your camera",
            webcam_options=gr.WebcamOptions(False, {"video": {"width": width, "height": height}}),
            height=240,
            buttons=[],
            elem_id="camera",
        )
        # The browser stores the layer, because the server may lose the session.
        self.layer = gr.Textbox(first.layer, visible=False)
        self.session = gr.State(None, time_to_live=SESSION_SECONDS)
        self.layer_images = layer_gallery(first.layer, "What to dream of")
        self.layer_images.select(selected_layer, None, self.layer, **components.IMMEDIATE_EVENT)
        self.knobs = components.knob_controls(first, *LIVE_KNOBS)

    def _build_outputs(self) -> None:
        self.view = LiveView(
            EXAMPLE_IMAGE.read_bytes(),
            label="Live dream",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="mirror",
        )
        self.status = components.status_field("live-status", START_MESSAGE)
        with gr.Row():
            self.freeze, self.keep, self.fill_screen, self.leave_screen = (
                gr.Button(words, min_width=90, elem_id=name)
                for name, words in (
                    ("freeze", "Dream frame"),
                    ("keep", f"Save last {CLIP_SECONDS:.0f} s"),
                    ("fill-screen", "Full screen"),
                    ("leave-screen", "Exit full screen"),
                )
            )
        self.clip = components.video_player(None, "Saved clip", visible=False, elem_id="live-film")
        gr.Markdown(
            f"A session is limited to {MAX_STREAM_SECONDS // 60} minutes of processing. While "
            f"others wait, a turn lasts {MAX_SHARED_SECONDS:.0f} seconds. Frames are deleted after "
            f"{SESSION_SECONDS} seconds, and nobody else sees them."
        )

    def recipe_updates(self, recipe: LiveRecipe) -> Updates:
        """Return the updates that set the controls; raise RecipeError for another network."""
        if recipe.model != DEFAULT_MODEL:
            raise RecipeError(f"this tab dreams with {DEFAULT_MODEL}, not with {recipe.model}")
        layer_images, _, _ = picker_updates(recipe.model, recipe.layer)
        return {
            **components.recipe_updates(recipe, {"layer": self.layer, **self.knobs}),
            self.layer_images: layer_images,
        }

    def _connect_stream(self) -> None:
        uses_lease = self.runner.uses_leased_gpu
        stream_event = self.camera.stream(
            self._dream_camera_frame,
            [self.camera, self.session, self.layer, *self.knobs.values()],
            [self.view, self.status, self.session],
            stream_every=GPU_FRAME_SECONDS if self.has_gpu else CPU_FRAME_SECONDS,
            time_limit=MAX_STREAM_SECONDS,
            show_progress="hidden",
            api_visibility="private",
            concurrency_id="live" if uses_lease else components.QUEUED_EVENT["concurrency_id"],
        )
        for ended in (stream_event.then, stream_event.failure):
            # It waits for the frame.
            ended(_end_stream, self.session, self.status, **components.HEAVY_EVENT)

    def _dream_camera_frame(
        self, data_uri: str | None, session: LiveSession | None, layer: str, *values: Any
    ) -> tuple[Any, ...]:
        """Return the dream of a frame, the status, and the session for the next frame."""
        session = session or LiveSession(*self.runner.open_live_session())
        if not data_uri:
            return gr.skip(), gr.skip(), session
        if session.turn.is_expired:
            session.end_message = TURN_OVER_MESSAGE
            raise gr.Error(TURN_OVER_MESSAGE, title="Your turn is over", print_exception=False)
        recipe = LiveRecipe(layer=layer, **dict(zip(LIVE_KNOBS, values, strict=True)))
        recipe = recipe.with_defaults(self.runner.engine.device.type, photo=True)
        with session.turn.hold() as has_turn:
            if not has_turn:
                return gr.skip(), queue_status(session.turn.queue.expected_wait), session
            image = session.dream_frame(_decode_frame(data_uri), recipe)
        return image, session.status_update(), session


def _end_stream(session: LiveSession | None) -> str:
    """Release the turn of a stream that has ended, and return the status."""
    if not session:
        return status_line.status_html(START_MESSAGE)
    session.turn.release()
    message, session.end_message = session.end_message, ENDED_MESSAGE
    return status_line.status_html(message)


def _freeze_frame(session: LiveSession | None) -> tuple[Any, ...]:
    """Send the latest dreamed frame, at twice its size, to the Deep Dream tab as the photo."""
    still = _require_started(session).still
    assert still
    path = new_output_folder() / "mirror.png"
    still.resize((2 * still.width, 2 * still.height), Image.Resampling.LANCZOS).save(path)
    return gr.Tabs(selected="dream"), str(path)


def _require_started(session: LiveSession | None) -> LiveSession:
    if not (session and session.recent_frames):
        message = f"There is no live dream from the last {SESSION_SECONDS} seconds. Press Record."
        raise gr.Error(message, print_exception=False)
    return session


def _save_clip(session: LiveSession | None) -> tuple[Any, ...]:
    """Save the last seconds as a video; each frame lasts as long as it was shown."""
    session = _require_started(session)
    assert session.still
    frames = list(session.recent_frames)
    size = even_size((session.still.height, session.still.width))
    rate = Fraction(max(1, round(1 / session.interval)))
    path = new_output_folder() / f"{session.recipe.file_stem()}.mp4"
    writer = VideoWriter(path, session.recipe, size, rate, TIME_BASE)
    begun, ended = frames[0][0], frames[-1][0] + session.interval
    times = [round((each - begun) / TIME_BASE) * TIME_BASE for each, _ in [*frames, (ended, b"")]]
    try:
        with writer.open_part(Fraction(0)) as part:
            for (_, jpeg), (start, end) in zip(frames, pairwise(times), strict=True):
                image = Image.open(io.BytesIO(jpeg)).resize((size[1], size[0]))
                part.add(image, start, end - start)
        writer.finish()
    finally:
        writer.discard_parts()
    text = f"The last {ended - begun:.1f} seconds ({len(frames)} frames) are saved below."
    session.last_status = time.monotonic() + CLIP_STATUS_SECONDS
    return gr.update(value=str(path), visible=True), status_line.status_html(text)
