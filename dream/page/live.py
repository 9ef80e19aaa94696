"""The tab "Live": the camera dreams while you move."""

from __future__ import annotations

import base64
import io
import time
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

import gradio as gr
from gradio.data_classes import Base64ImageData
from PIL import Image

from dream.errors import PictureError, first_line
from dream.files.film import Film
from dream.page import deep_dream, parts
from dream.page.layers import layer_pictures, pictured_layer
from dream.page.moments import before, fresh_folder
from dream.page.motion import player
from dream.paint.live import Mirror
from dream.recipe import LiveRecipe
from dream.service.aside import Aside
from dream.service.line import MINUTE, Place
from dream.service.work import Work
from dream.tensors import even

MADE = parts.EXAMPLES / "films" / "live-cat-inception4c-seed0.jpg"
# What a camera is asked for, on a CPU and on a GPU; and what is taken of one that has no such size.
SIZES = ((320, 240), (640, 480))
FRAME_BYTES, FRAME_SIDE = 1_000_000, 2048
# So often the browser sends a frame, in seconds, on a CPU and on a GPU.
EVERY = (0.08, 0.03)
# For how many seconds of work one stream may be dreamed, and how long a film is kept of it.
LIMIT, KEPT = 300, 10.0
# For how many seconds after a stream one may still have its still, or its film.
REMEMBERED = 120
QUALITY = 85
SECONDS_BETWEEN_WORDS, SECONDS_TO_READ = 2.0, 8.0
KNOBS = ("intensity", "memory")
SLOWEST, FASTEST = 1.0, 60.0
TICK = Fraction(1, 1000)
ASLEEP = "Allow the camera, then press Record: what stays still fills with creatures."
AWAY = "The mirror sleeps; press Record to wake it."
OVER = "Others wait, and your minute is over. Press Record to have your turn after theirs."


def _sent(self: gr.Image, payload: Any) -> str | None:
    """What a browser sent: `_frame` says what is wrong with it."""
    return payload.url if payload else None


def _frame(sent: str) -> Image.Image:
    """The frame in a data URI.

    Raises:
        PictureError: if there is none.
    """
    try:
        content = base64.b64decode(sent.partition("base64,")[2][: 4 * FRAME_BYTES // 3])
        image = Image.open(io.BytesIO(content), formats=["JPEG"])
        if max(image.size) > FRAME_SIDE:
            raise OSError(f"it has more than {FRAME_SIDE} pixels a side")
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"this is no frame of a camera: {first_line(error)}") from error


def _shown(self: gr.Image, jpeg: bytes | None) -> Base64ImageData | None:
    """A JPEG as the browser is sent it; it leaves no file."""
    if not jpeg:
        return None
    return Base64ImageData(url=f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}")


def _jpeg(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


Camera = parts.component_like(gr.Image, preprocess=_sent, sends_pictures=True)
View = parts.component_like(gr.Image, postprocess=_shown)


@dataclass
class Visit:
    """What there is of one visitor's stream, from frame to frame; nobody else has it."""

    mirror: Mirror | Aside
    place: Place
    recipe: LiveRecipe = field(default_factory=LiveRecipe)
    film: deque[tuple[float, bytes]] = field(default_factory=deque)
    still: Image.Image | None = None
    interval: float = 0.1
    told: float = 0.0
    said: str = AWAY

    def dreamed(self, seen: Image.Image, recipe: LiveRecipe) -> bytes:
        """The dream of the next frame, as a JPEG, which the film keeps."""
        now = time.monotonic()
        if self.film and now - self.film[-1][0] < 1 / SLOWEST:
            self.interval += 0.1 * (now - self.film[-1][0] - self.interval)
        fps = min(max(1 / self.interval, SLOWEST), FASTEST)
        self.recipe = recipe.but(fps=round(fps, 1))
        self.still = self.mirror.dreamed(seen, self.recipe)
        self.film.append((now, _jpeg(self.still)))
        while now - self.film[0][0] > KEPT:
            self.film.popleft()
        return self.film[-1][1]

    def words(self) -> Any:
        """How fast it goes, now and then."""
        if time.monotonic() - self.told < SECONDS_BETWEEN_WORDS:
            return gr.skip()
        self.told = time.monotonic()
        return f"<span>{self.recipe.fps:.0f} frames a second.</span>"


def tab(work: Work, tabs: gr.Tabs, dreams: deep_dream.Inputs) -> None:
    """The tab; a still of it can be carried over to the one that dreams."""
    first = LiveRecipe()
    on_gpu = work.engine.device.type != "cpu" and not work.lent
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            camera = _camera(*SIZES[on_gpu])
            # The browser keeps the layer, which the server would forget with the visit.
            layer = gr.Textbox(first.layer, visible=False)
            visit = gr.State(None, time_to_live=REMEMBERED)
            pictures = layer_pictures(first.layer, "What to dream of")
            knobs = {name: parts.control(LiveRecipe, name, getattr(first, name)) for name in KNOBS}
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            view, status, film, freeze, keep, wall, leave = _showing()
    pictures.select(pictured_layer, None, layer, **parts.AT_ONCE)
    begun = camera.stream(
        partial(_look, work),
        [camera, visit, layer, *knobs.values()],
        [view, status, visit],
        stream_every=EVERY[on_gpu],
        time_limit=LIMIT,
        show_progress="hidden",
        api_visibility="private",
        concurrency_id="live" if work.lent else parts.WORK["concurrency_id"],
    )
    for ended in (begun.then, begun.failure):
        ended(_left, visit, status, **parts.HEAVY_LOOK)  # A frame may be under way.
    parts.dream_this(freeze.click, _frozen, visit, [tabs, dreams.photo])
    # What nobody sees is not dreamed.
    tabs.change(None, js="() => stopCamera()", api_visibility="private")
    keep.click(_kept, visit, [film, status], **parts.HEAVY_LOOK)
    for button, does in ((wall, "fillScreen"), (leave, "leaveScreen")):
        button.click(None, js=f"() => {does}()", api_visibility="private")


def _camera(width: int, height: int) -> gr.Image:
    camera: gr.Image = Camera(
        sources=["webcam"],
        streaming=True,
        label="Your camera",
        webcam_options=gr.WebcamOptions(False, {"video": {"width": width, "height": height}}),
        height=240,
        buttons=[],
        elem_id="camera",
    )
    return camera


def _showing() -> tuple[Any, ...]:
    """The dream, what is said of it, the film, and the buttons."""
    view = View(
        MADE.read_bytes(),
        label="The dream",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="mirror",
    )
    status = gr.HTML(parts.status(ASLEEP), elem_id="live-status", elem_classes="status")
    with gr.Row():
        buttons = [
            gr.Button(words, min_width=90, elem_id=name)
            for name, words in (
                ("freeze", "Freeze"),
                ("keep", f"Keep {KEPT:.0f} s"),
                ("fill-screen", "Full screen"),
                ("leave-screen", "Leave"),
            )
        ]
    film = player(None, "The film", visible=False, elem_id="live-film")
    gr.Markdown(
        f"A stream lasts for {LIMIT // 60} minutes of work; while others wait, for {MINUTE:.0f} "
        f"seconds. Frames are dreamed, and forgotten after {REMEMBERED} seconds; nobody else sees "
        "them."
    )
    return view, status, film, *buttons


def _look(
    work: Work, sent: str | None, visit: Visit | None, layer: str, *values: Any
) -> tuple[Any, ...]:
    """The dream of a frame, what is said, and what is kept for the next one."""
    visit = visit or Visit(*work.mirror())
    if not sent:
        return gr.skip(), gr.skip(), visit
    if visit.place.over:
        visit.said = OVER
        raise gr.Error(OVER, title="Others wait", print_exception=False)
    recipe = LiveRecipe(layer=layer, **dict(zip(KNOBS, values, strict=True)))
    with visit.place.kept() as here:
        if not here:
            return gr.skip(), before(visit.place.line.left), visit
        picture = visit.dreamed(_frame(sent), recipe.settled(work.engine.device.type, photo=True))
    return picture, visit.words(), visit


def _left(visit: Visit | None) -> str:
    """What is said when a stream has ended, whose place is free then."""
    if not visit:
        return parts.status(ASLEEP)
    visit.place.leave()
    said, visit.said = visit.said, AWAY
    return parts.status(said)


def _frozen(visit: Visit | None) -> tuple[Any, ...]:
    """A still of the dream as the photo of the first tab, twice as large."""
    still = _begun(visit).still
    assert still
    path = fresh_folder() / "mirror.png"
    still.resize((2 * still.width, 2 * still.height), Image.Resampling.LANCZOS).save(path)
    return gr.Tabs(selected="dream"), str(path)


def _begun(visit: Visit | None) -> Visit:
    if not (visit and visit.film):
        said = f"No dream is here that is younger than {REMEMBERED} seconds; press Record first."
        raise gr.Error(said, print_exception=False)
    return visit


def _kept(visit: Visit | None) -> tuple[Any, ...]:
    """The last seconds as a video, each frame for as long as it was shown."""
    visit = _begun(visit)
    assert visit.still
    frames = list(visit.film)
    size = even((visit.still.height, visit.still.width))
    rate = Fraction(max(1, round(1 / visit.interval)))
    path = fresh_folder() / f"{visit.recipe.called()}.mp4"
    film = Film(path, visit.recipe, size, rate, TICK)
    ends = [time for time, _ in frames[1:]] + [frames[-1][0] + visit.interval]
    try:
        with film.part(Fraction(0)) as part:
            for (start, jpeg), end in zip(frames, ends, strict=True):
                begun, stop = (_ticks(each - frames[0][0]) for each in (start, end))
                image = Image.open(io.BytesIO(jpeg)).resize((size[1], size[0]))
                part.add(image, begun, stop - begun)
        film.finish()
    finally:
        film.drop()
    seconds = ends[-1] - frames[0][0]
    said = f"{len(frames)} frames, the last {seconds:.1f} seconds, are kept below."
    visit.told = time.monotonic() + SECONDS_TO_READ
    return gr.update(value=str(path), visible=True), parts.status(said)


def _ticks(seconds: float) -> Fraction:
    return round(seconds / TICK) * TICK
