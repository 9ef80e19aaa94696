"""What there is to show of pictures while they are made: tabs put it on the page, endpoints answer
with it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
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
from dream.networks import catalogue
from dream.page import status_line
from dream.recipe import ClassRecipe, Recipe
from dream.render.class_image import Verdict
from dream.render.loop import Frame
from dream.render.response import ChannelResponse, LayerResponse
from dream.service.job_runner import JobRunner

# So many previews stay behind the one that is shown: ten seconds of them, for those who are slow to
# fetch them.
MAX_PREVIEWS = 25
# For how many seconds one waits for what a stop leaves: a step has to end, a video to be written.
STOP_TIMEOUT_SECONDS = 20.0
POLL_SECONDS = 0.2
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class RenderUpdate:
    """A moment of the work, in words for the status; without a frame while weights are fetched, or
    others are before it.

    `files` are the paths of the frame's pictures: previews (JPEG), in the end PNGs with their
    recipes, which one that ended before it was done has none of. Of the previews the first and the
    last ones stay. `left` is how long it still takes, in words, `seen` what a layer answers to a
    photo, and its channels that answer most.
    """

    status: str
    frame: Frame | None = None
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    remaining: str = ""
    verdict: Verdict | None = None
    response: tuple[LayerResponse, list[ChannelResponse]] | None = None


RenderUpdates = Generator[RenderUpdate, None, None]
Update = TypeVar("Update")


def stream_render(
    work: JobRunner,
    recipes: Sequence[Recipe],
    photo: str | None = None,
    *,
    use_cache: bool = False,
    with_verdict: bool = False,
    with_files: bool = True,
    stopped_text: str = status_line.STOPPED,
) -> RenderUpdates:
    """Pictures by those recipes, from noise or in a photo; all is checked before this returns.

    `kept` lets those that were made before be taken (see `Engine.plan`), `judged` has the one class
    image judged at each frame; `files` may be left out where they are not shown. `stopped` is what
    is said of a step where one stops.

    Raises:
        DreamError: as `load_image`, `Work.paint` and `Engine.fetch`.
    """
    image = load_image(photo) if photo else None
    if with_verdict:
        (recipe,) = recipes
        assert isinstance(recipe, ClassRecipe)
        frames: Iterator[tuple[Frame, Verdict | None]] = work.render_class_image(recipe, image)
    else:
        rendered = work.render(recipes, image, use_cache=use_cache)
        frames = ((frame, None) for frame in rendered)
    return stream_in_turn(
        work, recipes[0].model, RenderUpdate, frame_updates(frames, photo, with_files, stopped_text)
    )


def stream_in_turn(
    work: JobRunner, model: str, make_update: Callable[[str], Update], stream: Iterator[Update]
) -> Generator[Update, None, None]:
    """That stream, once its network is there and its turn has come; what is `said` before that.

    Raises:
        DreamError: if no source has its weights, in words for visitors; and as the stream does.
    """
    try:
        yield from map(make_update, status_line.download_status(work.engine.fetch(model)))
    except WeightsUnavailable as error:
        LOGGER.warning(error)  # With the details, which only the operator can act on.
        is_shipped = catalogue.get_card(model).source.is_shipped
        cause = "is damaged on this server" if is_shipped else "cannot be downloaded right now"
        raise DreamError(f"{model} {cause}. Choose another network.") from error
    with work.turn() as waiting:
        yield from (make_update(queue_status(seconds)) for seconds in waiting)
        yield from stream


def queue_status(seconds: float) -> str:
    """The status while another's turn takes about so many seconds more."""
    wait = f", for about {math.ceil(seconds)} s more" if seconds else ""
    return status_line.progress_html(f"1 dream before yours{wait}.")


def frame_updates(
    frames: Iterator[tuple[Frame, Verdict | None]],
    photo: str | None,
    with_files: bool = True,
    stopped_text: str = status_line.STOPPED,
) -> RenderUpdates:
    """The moments of frames; as `moments`.

    Raises:
        TimeIsUp: after the picture so far, where there was no time for more.
    """
    folder, previews = new_output_folder() if with_files else Path(), deque[tuple[str, ...]]()
    start, clock = time.monotonic(), status_line.Clock()
    frame, remark = None, ""
    paths: tuple[str, ...] = ()
    try:
        for frame, verdict in frames:
            elapsed, remaining = time.monotonic() - start, clock.remaining_text(frame.done)
            paths = tuple(_write_images(frame, photo, folder)) if with_files else ()
            if with_files and frame.step and not (frame.finished or frame.ended):
                previews.append(paths)
            if frame.remark != remark:
                status_line.show_toast(frame.remark, "Made smaller")
                remark = frame.remark
            status = status_line.progress_text(frame, remaining, stopped_text)
            yield RenderUpdate(status, frame, paths, elapsed, remaining, verdict)
            if frame.ended:
                raise TimeLimitReached(frame.ended)
            if len(previews) > MAX_PREVIEWS:
                for path in previews.popleft():
                    Path(path).unlink(missing_ok=True)
    finally:
        # Where it was stopped one may go on from here: from all of the picture, not from a JPEG.
        if frame and paths and not (frame.finished or frame.ended):
            with suppress(PictureError):  # The disk is full.
                png_path = Path(paths[0]).with_suffix(".png")
                save_image(frame.picture(), png_path, photo=bool(photo))


def lossless_path(path: str) -> str:
    """The picture of which a preview is shown, without what JPEG took from it, where it was stopped
    at; the preview itself if that is not there.
    """
    if path.endswith(".png"):
        return path
    # By another name, if a step ended that was not put out.
    return str(next(Path(path).parent.glob("*.png"), path))


async def wait_for_stopped_image(path: str, timeout: float = STOP_TIMEOUT_SECONDS) -> Any:
    """What is downloaded after a stop: all of the picture that was put out, once it is there.

    No thread waits for it: anyone may ask, as often as they like.
    """
    deadline, folder = time.monotonic() + timeout, Path(path).parent
    while not (png_path := lossless_path(path)).endswith(".png"):
        if not (path and folder.is_dir()) or time.monotonic() > deadline:
            return gr.skip()
        await asyncio.sleep(POLL_SECONDS)
    return png_path if Path(png_path).is_file() else gr.skip()


def new_output_folder() -> Path:
    """A new folder whose files the page may show, until they are a day old.

    Raises:
        PictureError: if there can be none.
    """
    folder = Path(get_upload_folder(), uuid.uuid4().hex)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise PictureError(f"no picture can be kept here: {error.strerror}") from error
    return folder


def _write_images(frame: Frame, photo: str | None, folder: Path) -> Iterator[str]:
    """The frame's pictures in files: to look at, or with their recipes to keep."""
    for recipe, image in zip(frame.recipes, frame.pictures(), strict=True):
        path = folder / recipe.file_stem(photo_stem(photo) if photo else "")
        if frame.finished:
            path = path.with_name(f"{path.name}.png")
            save_image(image, path, recipe, photo=bool(photo))
        elif frame.ended:
            path = path.with_name(f"{path.name}-{frame.step}.png")
            save_image(image, path, photo=bool(photo))
        else:
            path = path.with_name(f"{path.name}-{frame.step}.jpg")
            save_preview(image, path, photo=bool(photo))
        yield str(path)


def photo_stem(photo: str) -> str:
    """What a photo is called, also where it is a dream of ours fed back in."""
    stem = Path(photo).stem
    match = re.fullmatch(r"dream-(.+?)-[^-]+-i\d+-seed\d+(-\d+)?", stem)
    return re.sub(r"[^\w-]+", "-", match[1] if match else stem)[:40].strip("-") or "photo"
