"""Stream the updates of a running video job, and write the video file."""

from __future__ import annotations

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
from dream.files.video_info import OUTPUT_FORMATS, VideoLimits
from dream.files.video_reader import read_video_info
from dream.files.video_writer import VideoWriter
from dream.page import status_line
from dream.page.image_stream import (
    MAX_PREVIEWS,
    STOP_TIMEOUT_SECONDS,
    new_output_folder,
    photo_stem,
    stream_in_turn,
    wait_while,
)
from dream.recipe import DreamRecipe, Recipe, VideoRecipe, ZoomRecipe
from dream.render.making_of import MakingOf, making_of_size, record_making_of
from dream.render.video_job import VideoJob, VideoProgress, dream_video_job, zoom_video_job
from dream.service.job_runner import JobRunner
from dream.tensors import size_of

# Limits for uploaded videos; the command line allows more.
UPLOAD_LIMITS = VideoLimits(max_seconds=30, max_side=4096, max_frames=1800, max_frame_rate=60)
LIMITS_TEXT = (
    f"MP4, MOV, WebM or GIF, up to {UPLOAD_LIMITS.max_seconds:g} seconds, "
    f"{UPLOAD_LIMITS.max_frames} frames, {UPLOAD_LIMITS.max_side} pixels per side and 50 MB. "
    f"Frames beyond {UPLOAD_LIMITS.max_frame_rate:g} per second are dropped. The sound is kept."
)
PREVIEW_SECONDS = 0.25
PREVIEW_SIDE = 1024
FORMAT_NAMES = tuple(ending.removeprefix(".") for ending in OUTPUT_FORMATS)


@dataclass(frozen=True)
class VideoUpdate:
    """A status line, and the state of a video job.

    Attributes:
        status: HTML of the status line.
        path: path of the video, which exists once `done` is True.
        recipe: the recipe of the video.
        preview: path of a JPEG of the current frame; "" if it has not changed.
        done: whether the video is written.
        ended: why the video is incomplete; "" if it is complete.
    """

    status: str
    path: str
    recipe: Recipe
    preview: str = ""
    done: bool = False
    ended: str = ""


VideoUpdates = Generator[VideoUpdate, None, None]
# Statuses, with functions that make their images.
Previews = Iterator[tuple[str, Callable[[], Image.Image]]]


def stream_zoom(
    runner: JobRunner, recipe: ZoomRecipe, photo: str, ending: str = "mp4"
) -> VideoUpdates:
    """Stream a zoom into a photo; all inputs are checked before this returns.

    Raises:
        DreamError: as `load_image`, `JobRunner.render_video` and `Engine.fetch`.
    """
    image = load_image(photo)
    (job,) = runner.engine.plan([check_frame_count(recipe)], size_of(image))
    return _stream_video_job(runner, zoom_video_job(job, image), photo, ending)


def check_frame_count(recipe: ZoomRecipe) -> ZoomRecipe:
    """Return the recipe, or raise OutOfTime if it has too many frames to plan quickly."""
    if recipe.frame_count > UPLOAD_LIMITS.max_frames:
        raise OutOfTime(
            f"this zoom has {recipe.frame_count} frames; the limit is {UPLOAD_LIMITS.max_frames}; "
            "make it shorter, or lower the frame rate"
        )
    return recipe


def stream_video(
    runner: JobRunner, recipe: VideoRecipe, path: str, ending: str = "mp4"
) -> VideoUpdates:
    """Stream a dreamed video; checks inputs and raises as `stream_zoom`."""
    video = read_video_info(path, UPLOAD_LIMITS)
    (job,) = runner.engine.plan([recipe], video.size)
    return _stream_video_job(runner, dream_video_job(job, video), path, ending)


def stream_making_of(
    runner: JobRunner, recipe: DreamRecipe, photo: str, options: MakingOf, ending: str = "mp4"
) -> VideoUpdates:
    """Stream a video of a dream as it forms; checks inputs and raises as `stream_zoom`."""
    image = load_image(photo)
    (job,) = runner.engine.plan([recipe], size_of(image))
    settled, size = job.recipes[0], making_of_size(job.size)
    path = _output_path(settled, photo, ending, "making-of-")
    writer = VideoWriter(path, settled, size, options.frame_rate, 1 / options.frame_rate)
    frames = runner.render([recipe], image, with_every_frame=True)
    updates = _UpdateWriter(writer)

    def previews() -> Previews:
        remaining_time = status_line.RemainingTime()
        for frame in record_making_of(frames, options, writer):
            updates.ended = frame.ended
            remaining = remaining_time.text(frame.done)
            yield status_line.frame_progress_html(frame, remaining), frame.picture

    def record() -> VideoUpdates:
        try:
            stream = updates.stream(previews())
            yield from stream_in_turn(runner, settled.model, updates.update, stream)
            writer.finish(with_recipe=not updates.ended)
            yield updates.final_update(f"The dream as it forms: {len(options.frame_order)} frames.")
        finally:
            writer.discard_parts()

    return record()


def _stream_video_job(runner: JobRunner, job: VideoJob, source: str, ending: str) -> VideoUpdates:
    (recipe,) = job.render_job.recipes
    writer = VideoWriter(
        _output_path(recipe, source, ending), recipe, job.size, job.frame_rate, job.time_base
    )
    video_frames = runner.render_video(job, writer)
    updates = _UpdateWriter(writer)

    def render() -> VideoUpdates:
        try:
            stream = updates.stream(_job_previews(video_frames, updates))
            yield from stream_in_turn(runner, recipe.model, updates.update, stream)
            writer.finish(job.video)
            yield updates.final_update(
                f"{job.frame_count} frames, {float(job.times[-1]):g} seconds."
            )
        except OutOfTime as error:
            has_frames = writer.finish(job.video)
            updates.ended = _describe_early_end(error, updates.frames, job, has_frames)
            yield updates.final_update()
        finally:
            # After a stop or a timeout, write the frames that exist as a video.
            video_frames.close()
            if not writer.path.exists():
                writer.finish(job.video)
            writer.discard_parts()

    return render()


def _job_previews(video_frames: Iterator[VideoProgress], updates: _UpdateWriter) -> Previews:
    """Yield the status and the image of each finished frame, and of the first steps."""
    remaining_time = status_line.RemainingTime()
    for video_frame in video_frames:
        updates.frames = count = video_frame.frames_done
        remaining = remaining_time.text(video_frame.fraction)
        if video_frame.frame.finished or count == 0:
            text = f"Frame {count} of {video_frame.frames_total}, {remaining}."
            yield status_line.progress_html(text), video_frame.frame.picture


def _describe_early_end(error: OutOfTime, count: int, job: VideoJob, has_frames: bool) -> str:
    """Return why a video has only `count` frames; raise OutOfTime if it has none."""
    progress = f"after {count} of {job.frame_count} frames"
    if isinstance(error, LeaseError):
        if not has_frames:
            raise error
        return f"{progress}: {error}"
    if not has_frames:
        message = f"time was up before the first frame was finished; {TIME_LIMIT_ADVICE}"
        raise OutOfTime(message) from error
    return f"time was up {progress}; make the video shorter, or {TIME_LIMIT_ADVICE}"


class _UpdateWriter:
    """Makes the updates of a video job: knows finished `frames`, and why it `ended` early."""

    def __init__(self, writer: VideoWriter) -> None:
        self.writer = writer
        self.start = time.monotonic()
        self.previews: deque[Path] = deque()
        self.frames, self.ended = 0, ""

    def stream(self, previews: Previews) -> VideoUpdates:
        """Yield the first update, then one with a preview per `PREVIEW_SECONDS` at most."""
        self.start, last_preview = time.monotonic(), -math.inf
        yield self.update(status_line.progress_html("Starting …"))
        for status, make_image in previews:
            if time.monotonic() - last_preview >= PREVIEW_SECONDS:
                last_preview = time.monotonic()
                yield self.update(status, str(self._write_preview(make_image())))
            del make_image  # It holds a frame and its ascent, while the next one is rendered.

    def _write_preview(self, image: Image.Image) -> Path:
        path = self.writer.path.with_name(f"{uuid.uuid4().hex}.jpg")
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        save_preview(image, path)
        self.previews.append(path)
        if len(self.previews) > MAX_PREVIEWS:
            self.previews.popleft().unlink(missing_ok=True)
        return path

    def final_update(self, text: str = "") -> VideoUpdate:
        """Return the update for the finished video, or for its frames up to the time limit."""
        if self.ended:
            status_line.show_toast(self.ended, "Ended early")
            text = f"{status_line.to_sentence(self.ended)} The finished frames play."
        if self.writer.remark:
            status_line.show_toast(self.writer.remark, "No sound")
        seconds, remark = time.monotonic() - self.start, status_line.to_sentence(self.writer.remark)
        status = status_line.status_html(f"{text} Made in {seconds:.1f} s. {remark}".strip())
        return replace(self.update(status), done=True, ended=self.ended)

    def update(self, status: str, preview: str = "") -> VideoUpdate:
        """Return an update with a status and the path of a new preview, if any."""
        return VideoUpdate(status, str(self.writer.path), self.writer.recipe, preview)


def _output_path(recipe: Recipe, source: str, ending: str, prefix: str = "") -> Path:
    """Return the path for a video in a new folder; raise RecipeError for an unknown format."""
    if ending not in FORMAT_NAMES:
        raise RecipeError(
            f"format must be {' or '.join(FORMAT_NAMES)}, not {describe_value(ending)}"
        )
    return new_output_folder() / f"{prefix}{recipe.file_stem(photo_stem(source))}.{ending}"


async def wait_for_stopped_video(path: str) -> str:
    """Return `path` once the video is written after a stop; "" if there is none."""
    video = Path(path)
    if path:
        await wait_while(video.with_name(f".{video.name}.parts").exists, STOP_TIMEOUT_SECONDS)
    return path if video.is_file() else ""
