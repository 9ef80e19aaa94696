"""Stream the updates of a running job: tabs display them, endpoints return them."""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
import unicodedata
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio.utils import get_upload_folder

from dream.errors import DreamError, PictureError, TimeLimitReached, WeightsUnavailable
from dream.files.image import load_image, save_image, save_preview
from dream.files.image_formats import FORMAT_KNOB, check_image_options
from dream.networks import catalogue
from dream.page import status_line
from dream.recipe import Recipe
from dream.render.job_loop import Frame
from dream.render.layer_response import ChannelResponse, LayerResponse
from dream.service.job_runner import JobRunner

# Previews kept behind the current one: about ten seconds of them, for slow connections.
MAX_PREVIEWS = 25
# To wait for the result after Stop: the current step must end and the video must be written.
STOP_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.2
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderUpdate:
    """A status line, and the state of the job; no frame while weights download or the job waits.

    Attributes:
        status: HTML of the status line.
        frame: the progress frame.
        files: paths of the frame's images: JPEG previews, of which the first and the latest are
            kept; in the end complete images, with recipes unless the time limit ended the job.
        seconds: time since the job started.
        remaining: remaining time in words.
        response: activations of a layer for a photo.
        top_channels: its most active channels, the strongest first.
    """

    status: str
    frame: Frame | None = None
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    remaining: str = ""
    response: LayerResponse | None = None
    top_channels: Sequence[ChannelResponse] = ()


RenderUpdates = Generator[RenderUpdate, None, None]
Update = TypeVar("Update")


def stream_render(
    runner: JobRunner,
    recipes: Sequence[Recipe],
    photo: str | None = None,
    *,
    use_cache: bool = False,
    with_files: bool = True,
    stopped_text: str = status_line.STOPPED_MESSAGE,
    file_format: str = FORMAT_KNOB.default,
) -> RenderUpdates:
    """Stream images by recipes, from noise or a photo; all inputs are checked before this returns.

    `use_cache` returns cached channel images (see `Engine.plan`), `with_files` writes the images,
    in the end in a `file_format` of `FORMAT_KNOB`, and `stopped_text` is shown after Stop.

    Raises:
        DreamError: as `check_image_format`, `load_image`, `JobRunner.render` and `Engine.fetch`.
    """
    file_format = check_image_format(file_format, recipes)
    image = load_image(photo) if photo else None
    frames = runner.render(recipes, image, use_cache=use_cache)
    updates = frame_updates(frames, photo, with_files, stopped_text, file_format)
    return stream_in_turn(runner, recipes[0].model, RenderUpdate, updates)


def check_image_format(file_format: str, recipes: Sequence[Recipe] = ()) -> str:
    """Return the file format; raise DreamError if it is none, or a recipe too long for it."""
    checked: str = FORMAT_KNOB.check("format", file_format)
    check_image_options(f"image.{checked}", recipes)
    return checked


def stream_in_turn(
    runner: JobRunner, model: str, make_update: Callable[[str], Update], stream: Iterator[Update]
) -> Generator[Update, None, None]:
    """Yield status updates while the weights download and the job waits, then the stream.

    Raises:
        DreamError: if the weights are unavailable, in words for visitors; and as the stream does.
    """
    try:
        yield from map(make_update, status_line.download_status(runner.engine.fetch(model)))
    except WeightsUnavailable as error:
        LOGGER.warning(error)  # The log has the details, which help only the operator.
        is_shipped = catalogue.get_card(model).source.is_shipped
        cause = "is damaged on this server" if is_shipped else "cannot be downloaded right now"
        raise DreamError(f"{model} {cause}. Choose another network.") from error
    with runner.turn() as waiting:
        yield from (make_update(queue_status(seconds)) for seconds in waiting)
        yield from stream


def queue_status(seconds: float) -> str:
    """Return the status while another job has its turn for about `seconds` more."""
    wait = f", about {math.ceil(seconds)} s" if seconds else ""
    return status_line.progress_html(f"1 dream before yours{wait}.")


def frame_updates(
    frames: Iterator[Frame],
    photo: str | None,
    with_files: bool = True,
    stopped_text: str = status_line.STOPPED_MESSAGE,
    file_format: str = FORMAT_KNOB.default,
) -> RenderUpdates:
    """Yield an update per frame; arguments as in `stream_render`.

    Raises:
        TimeLimitReached: after the update with the unfinished image, if time ran out.
    """
    folder, previews = new_output_folder() if with_files else Path(), deque[tuple[str, ...]]()
    start, remaining_time = time.monotonic(), status_line.RemainingTime()
    frame, remark = None, ""
    paths: tuple[str, ...] = ()
    try:
        for frame in frames:
            elapsed, remaining = time.monotonic() - start, remaining_time.text(frame.done)
            paths = tuple(_write_images(frame, photo, folder, file_format)) if with_files else ()
            if with_files and frame.step and not (frame.finished or frame.ended):
                previews.append(paths)
            if frame.remark != remark:
                status_line.show_toast(frame.remark, "Size reduced")
                remark = frame.remark
            status = status_line.frame_progress_html(frame, remaining, stopped_text)
            yield RenderUpdate(status, frame, paths, elapsed, remaining)
            if frame.ended:
                raise TimeLimitReached(frame.ended)
            if len(previews) > MAX_PREVIEWS:
                for path in previews.popleft():
                    Path(path).unlink(missing_ok=True)
    finally:
        # A stopped dream can be continued, so save the full image as PNG, not as JPEG.
        if frame and paths and not (frame.finished or frame.ended):
            with suppress(PictureError):  # The disk may be full.
                png_path = Path(paths[0]).with_suffix(".png")
                save_image(frame.picture(), png_path, photo=bool(photo))


def lossless_path(path: str) -> str:
    """Return the path of the lossless PNG behind a preview; the preview's own if there is none."""
    if path.endswith(".png"):
        return path
    # The PNG has another name if one more step finished after the last preview.
    return str(next(Path(path).parent.glob("*.png"), path))


async def wait_for_stopped_image(path: str, timeout: float = STOP_TIMEOUT_SECONDS) -> Any:
    """Return the path of the full image after a stop, as soon as it is written."""
    if not path:
        return gr.skip()

    def is_expected() -> bool:
        return Path(path).parent.is_dir() and not lossless_path(path).endswith(".png")

    await wait_while(is_expected, timeout)
    png_path = lossless_path(path)
    return png_path if png_path.endswith(".png") and Path(png_path).is_file() else gr.skip()


async def wait_while(is_expected: Callable[[], bool], seconds: float) -> None:
    """Wait while `is_expected`, at most for some seconds.

    This polls without a thread, because anyone may wait as often as they like.
    """
    deadline = time.monotonic() + seconds
    while is_expected() and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)


def new_output_folder() -> Path:
    """Create a folder whose files the page may show; the sweeper deletes it after a day.

    Raises:
        PictureError: if it cannot be created.
    """
    folder = Path(get_upload_folder(), uuid.uuid4().hex)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise PictureError(f"the server cannot save images: {error.strerror}") from error
    return folder


def _write_images(frame: Frame, photo: str | None, folder: Path, file_format: str) -> Iterator[str]:
    """Write the frame's images, finished ones with their recipes, and yield the paths."""
    step = "" if frame.finished else f"-{frame.step}"
    for recipe, image in zip(frame.recipes, frame.pictures(), strict=True):
        path = folder / f"{recipe.file_stem(photo_stem(photo) if photo else '')}{step}"
        if frame.finished or frame.ended:
            path = path.with_name(f"{path.name}.{file_format}")
            save_image(image, path, recipe if frame.finished else None, photo=bool(photo))
        else:
            path = path.with_name(f"{path.name}.jpg")
            save_preview(image, path, from_photo=bool(photo))
        yield str(path)


def photo_stem(photo: str) -> str:
    """Return a short file stem for a photo; for one of our dreams, that of its photo."""
    stem = unicodedata.normalize("NFC", Path(photo).stem)
    match = re.fullmatch(r"dream-(.+?)-[^-]+-i\d+-seed\d+(-\d+)?(-blend\d+)?", stem)
    return re.sub(r"[^\w-]+", "-", match[1] if match else stem)[:40].strip("-") or "photo"
