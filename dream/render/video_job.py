"""Rendering of videos, part by part; each part starts from the last frame of the one before."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from PIL import Image
from torch import Tensor

from dream.files.video_info import VideoInfo
from dream.files.video_reader import read_frames
from dream.files.video_writer import VideoWriter
from dream.render.job_loop import Frame
from dream.render.plan import AnyJob
from dream.tensors import Size, resize_clamped, to_pil_image

# Pixels of all frames of a part of a video, which are in memory at once.
MAX_PART_PIXELS = 12_000_000


@dataclass(frozen=True)
class VideoJob:
    """A video to render, from a photo or from a video, whose sound it keeps.

    `render_job` covers all frames. `times` are the seconds at which each frame starts, and the end
    of the last one, as multiples of `time_base`.
    """

    render_job: AnyJob
    times: Sequence[Fraction]
    time_base: Fraction
    photo: Image.Image | None = None
    video: VideoInfo | None = None

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.times) - 1

    @property
    def frame_rate(self) -> Fraction:
        """Mean number of frames per second."""
        return (self.frame_count / self.times[-1]).limit_denominator(1001)

    @property
    def size(self) -> Size:
        """The (height, width) of a frame."""
        return self.render_job.size

    def split_parts(self, first: int = 0, frames_per_part: int = 0) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) frame numbers of each part, from the frame `first` on.

        A part ends at a full second or, if given, after `frames_per_part` frames; if it dreams a
        video, also after `MAX_PART_PIXELS`.
        """
        count, limit = self.frame_count, frames_per_part or self.frame_count
        if self.video:
            limit = min(limit, max(1, MAX_PART_PIXELS // math.prod(self.size)))
        while first < count:
            stop = min(count, first + limit)
            if not frames_per_part:
                stop = bisect_left(self.times, int(self.times[first]) + 1, first + 1, stop)
            yield first, stop
            first = stop

    def source_frames(self, first: int) -> Generator[Image.Image, None, None]:
        """Yield the frames of the source video from number `first` on; none for a photo."""
        if self.video:
            yield from read_frames(self.video, self.size, first)


def zoom_video_job(job: AnyJob, photo: Tensor) -> VideoJob:
    """Return the video of a planned zoom into a photo (1, 3, H, W)."""
    (recipe,) = job.recipes
    base = 1 / recipe.frame_rate
    times = [frame * base for frame in range(recipe.frame_count + 1)]
    return VideoJob(job, times, base, to_pil_image(resize_clamped(photo, job.size)))


def dream_video_job(job: AnyJob, video: VideoInfo) -> VideoJob:
    """Return the dream of a video, given the planned job of its first frames."""
    return VideoJob(job.for_frames(video.frame_count), video.times, video.time_base, video=video)


@dataclass(frozen=True)
class VideoProgress:
    """The state of a video after a step.

    `frames_done` counts frames of earlier runs too; `fraction` is the share of this run's work that
    is done, from 0 to 1.
    """

    frame: Frame
    frames_done: int
    frames_total: int
    fraction: float


# Renders a part from its images (see `ascents` in the kinds `video`, `zoom` and `live`).
RenderFunction = Callable[[AnyJob, list[Image.Image]], Iterator[Frame]]


def render_video(
    job: VideoJob, render: RenderFunction, writer: VideoWriter, frames_per_part: int = 0
) -> Generator[VideoProgress, None, None]:
    """Render a video part by part into the writer; yield the progress after each step.

    It resumes after the frames that the writer has. When the iterator is closed, the writer keeps
    all finished frames. `frames_per_part` as in `VideoJob.split_parts`.
    """
    render_job, resumed_at = job.render_job, writer.frames_done
    with closing(job.source_frames(max(resumed_at - 1, 0))) as source:  # Closing ends the decoder.
        source_images = [job.photo] if job.photo else list(islice(source, 1 if resumed_at else 0))
        for first, stop in job.split_parts(resumed_at, frames_per_part):
            part = replace(render_job, frames=render_job.frames[first:stop], first_frame=first)
            new = list(islice(source, stop - first))
            last_dream = [writer.last_frame] if writer.last_frame else []
            start, done = job.times[first], first
            with writer.open_part(start) as video_part:
                for frame in render(part, [*source_images, *last_dream, *new]):
                    if frame.finished:
                        time, end = job.times[done], job.times[done + 1]
                        video_part.add(frame.picture(), time - start, end - time)
                        done += 1
                    worked = first - resumed_at + frame.done * (stop - first)
                    fraction = worked / (job.frame_count - resumed_at)
                    yield VideoProgress(frame, done, job.frame_count, fraction)
            source_images = [job.photo] if job.photo else new[-1:]
