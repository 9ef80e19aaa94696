"""Videos while they are made: what there is to show of them, and the file that they become."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from dream.errors import TIME_LIMIT_ADVICE, LeaseError, OutOfTime, RecipeError, describe_value
from dream.files.image import load_image, save_preview
from dream.files.video_reader import VideoLimits, read_video_info
from dream.files.video_writer import OUTPUT_FORMATS, VideoWriter
from dream.page import status_line
from dream.page.image_stream import (
    MAX_PREVIEWS,
    POLL_SECONDS,
    STOP_TIMEOUT_SECONDS,
    new_output_folder,
    photo_stem,
    stream_in_turn,
)
from dream.recipe import DreamRecipe, Recipe, VideoRecipe, ZoomRecipe
from dream.render.making_of import MakingOf, making_of_size, record_making_of
from dream.render.video_job import VideoJob, dream_video_job, zoom_video_job
from dream.service.job_runner import JobRunner
from dream.tensors import size_of

# What the page takes of a video; the command line takes more.
UPLOAD_LIMITS = VideoLimits(seconds=30, side=4096, frames=1800, rate=60)
LIMITS_TEXT = (
    f"MP4, MOV, WebM or GIF: up to {UPLOAD_LIMITS.seconds:g} seconds, {UPLOAD_LIMITS.frames} frames, "
    f"{UPLOAD_LIMITS.rate:g} a second (of more some are left out), {UPLOAD_LIMITS.side} pixels a side and 50 MB. "
    "Sound is kept."
)
PREVIEW_SECONDS = 0.25
PREVIEW_SIDE = 1024
FORMAT_NAMES = tuple(ending.removeprefix(".") for ending in OUTPUT_FORMATS)


@dataclass(frozen=True)
class VideoUpdate:
    """A moment of the work on a video, in words for the status.

    `path` is where the video will be; it is there when `done` says so. `picture` is the path of the
    frame that is worked on (JPEG), if it is a new one. `ended` says why there is not all of it.
    """

    status: str
    path: str
    recipe: Recipe
    preview: str = ""
    done: bool = False
    ended: str = ""


VideoUpdates = Generator[VideoUpdate, None, None]


def stream_zoom(
    work: JobRunner, recipe: ZoomRecipe, photo: str, ending: str = "mp4"
) -> VideoUpdates:
    """A zoom into a photo; all is checked before this returns.

    Raises:
        DreamError: as `load_image`, `Work.film` and `Engine.fetch`.
    """
    image = load_image(photo)
    (job,) = work.engine.plan([check_length(recipe)], size_of(image))
    return _stream_video_job(work, zoom_video_job(job, image), photo, ending)


def check_length(recipe: ZoomRecipe) -> ZoomRecipe:
    """The zoom, if it is none that takes long even to be planned.

    Raises:
        OutOfTime: if it has too many frames.
    """
    if recipe.frame_count > UPLOAD_LIMITS.frames:
        raise OutOfTime(
            f"this zoom has {recipe.frame_count} frames, and {UPLOAD_LIMITS.frames} are made here at most; "
            "a shorter one, or fewer a second"
        )
    return recipe


def stream_video(
    work: JobRunner, recipe: VideoRecipe, path: str, ending: str = "mp4"
) -> VideoUpdates:
    """A video, dreamed; all is checked before this returns. Raises as `zoom`."""
    video = read_video_info(path, UPLOAD_LIMITS)
    (job,) = work.engine.plan([recipe], video.size)
    return _stream_video_job(work, dream_video_job(job, video), path, ending)


def stream_making_of(
    work: JobRunner, recipe: DreamRecipe, photo: str, making: MakingOf, ending: str = "mp4"
) -> VideoUpdates:
    """How a dream came about; all is checked before this returns. Raises as `zoom`."""
    image = load_image(photo)
    (job,) = work.engine.plan([recipe], size_of(image))
    settled, size = job.recipes[0], making_of_size(job.stages[-1].size)
    path = _output_path(settled, photo, ending, "making-of-")
    writer = VideoWriter(path, settled, size, making.frame_rate, 1 / making.frame_rate)
    frames = work.render([recipe], image, every_frame=True)
    updates, clock = _UpdateWriter(writer), status_line.Clock()

    def stream() -> VideoUpdates:
        yield updates.starting_update()
        for frame in record_making_of(frames, making, writer):
            updates.ended = frame.ended
            status = status_line.progress_text(frame, clock.remaining_text(frame.done))
            yield from updates.throttled_updates(status, frame.picture)

    def record() -> VideoUpdates:
        try:
            yield from stream_in_turn(work, settled.model, updates.update, stream())
            writer.finish(with_recipe=not updates.ended)
            yield updates.final_update(
                f"The dream as it forms, {len(making.frame_order)} frames, made in"
            )
        finally:
            writer.discard_parts()

    return record()


def _stream_video_job(work: JobRunner, job: VideoJob, source: str, ending: str) -> VideoUpdates:
    (recipe,) = job.job.recipes
    writer = VideoWriter(
        _output_path(recipe, source, ending), recipe, job.size, job.frame_rate, job.time_base
    )
    video_frames = work.render_video(job, writer)
    updates, clock = _UpdateWriter(writer), status_line.Clock()

    def stream() -> VideoUpdates:
        yield updates.starting_update()
        for video_frame in video_frames:
            updates.frames, left = (
                video_frame.frames_done,
                clock.remaining_text(video_frame.fraction),
            )
            if video_frame.frame.finished or video_frame.frames_done == 0:
                status = status_line.progress_html(
                    f"Frame {video_frame.frames_done} of {video_frame.frames_total}, {left}."
                )
                yield from updates.throttled_updates(status, video_frame.frame.picture)

    def render() -> VideoUpdates:
        try:
            yield from stream_in_turn(work, recipe.model, updates.update, stream())
            writer.finish(job.video)
            yield updates.final_update(
                f"{job.frame_count} frames, {float(job.times[-1]):g} seconds, made in"
            )
        except OutOfTime as error:
            if not writer.finish(job.video):
                if isinstance(error, LeaseError):
                    raise
                message = f"time was up before the first frame was there; {TIME_LIMIT_ADVICE}"
                raise OutOfTime(message) from error
            progress = f"after {updates.frames} of {job.frame_count} frames"
            updates.ended = (
                f"{progress}: {error}"
                if isinstance(error, LeaseError)
                else f"time was up {progress}, this is how far it came; a shorter video, or {TIME_LIMIT_ADVICE}"
            )
            yield updates.final_update()
        finally:
            # Where it was stopped, or took too long, what there is shall be seen.
            video_frames.close()
            if not writer.path.exists():
                writer.finish(job.video)
            writer.discard_parts()

    return render()


class _UpdateWriter:
    """What is said and shown of a film as it is made: how many `frames` of it there are, and why
    it has `ended` before its end.
    """

    def __init__(self, writer: VideoWriter) -> None:
        self.writer = writer
        self.start, self.last_preview = time.monotonic(), -math.inf
        self.previews: deque[Path] = deque()
        self.frames, self.ended = 0, ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def starting_update(self) -> VideoUpdate:
        """What is said as it begins."""
        self.start = time.monotonic()
        return self.update(status_line.progress_html("Falling asleep …"))

    def throttled_updates(
        self, words: str, picture: Callable[[], Image.Image]
    ) -> Iterator[VideoUpdate]:
        """Those words and that picture, unless the last ones were only just shown."""
        if time.monotonic() - self.last_preview < PREVIEW_SECONDS:
            return
        self.last_preview = time.monotonic()
        path = self.writer.path.with_name(f"{uuid.uuid4().hex}.jpg")
        image = picture()
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        save_preview(image, path)
        self.previews.append(path)
        if len(self.previews) > MAX_PREVIEWS:
            self.previews.popleft().unlink(missing_ok=True)
        yield self.update(words, str(path))

    def final_update(self, words: str = "") -> VideoUpdate:
        """What is said when it is there, or as much of it as there was time for."""
        if self.ended:
            status_line.show_toast(self.ended, "Ended early")
            words = f"{status_line.to_sentence(self.ended)} What there is plays; it was made in"
        if self.writer.remark:
            status_line.show_toast(self.writer.remark, "Without its sound")
        remark = status_line.to_sentence(self.writer.remark)
        moment = self.update(
            status_line.status_html(f"{words} {self.seconds:.1f} s. {remark}".strip())
        )
        return replace(moment, done=True, ended=self.ended)

    def update(self, words: str, picture: str = "") -> VideoUpdate:
        """What there is now: those words, and that picture if it is a new one."""
        return VideoUpdate(words, str(self.writer.path), self.writer.recipe, picture)


def _output_path(recipe: Recipe, source: str, ending: str, prefix: str = "") -> Path:
    """Where a video is put: in a folder of its own.

    Raises:
        RecipeError: if it is none that is written here.
    """
    if ending not in FORMAT_NAMES:
        raise RecipeError(
            f"format must be {' or '.join(FORMAT_NAMES)}, not {describe_value(ending)}"
        )
    return new_output_folder() / f"{prefix}{recipe.file_stem(photo_stem(source))}.{ending}"


async def wait_for_stopped_video(path: str) -> str:
    """The video at that path, when it has been put together after a stop; "" if there is none.

    No thread waits for it, as `stopped_at`.
    """
    if not path:
        return ""
    deadline, video = time.monotonic() + STOP_TIMEOUT_SECONDS, Path(path)
    parts = video.with_name(f".{video.name}.parts")
    while parts.exists() and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
    return path if video.is_file() else ""
