"""Videos as they are made: part by part, each from where the last one ended."""

from __future__ import annotations

import math
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
from dream.render.loop import Frame
from dream.render.plan import AnyJob
from dream.tensors import Size, resize_clamped, to_pil_image

# A part of a video has no more pixels than this: what is held at once.
MAX_PART_PIXELS = 12_000_000


@dataclass(frozen=True)
class VideoJob:
    """A video to be made: the job of all its frames, when each is shown, in seconds, and at last
    when it ends, as multiples of `time_base`; of a photo, or a video, whose sound it keeps.
    """

    job: AnyJob
    times: Sequence[Fraction]
    time_base: Fraction
    photo: Image.Image | None = None
    video: VideoInfo | None = None

    @property
    def frame_count(self) -> int:
        """How many frames it has."""
        return len(self.times) - 1

    @property
    def frame_rate(self) -> Fraction:
        """How many frames it has in a second, on the mean."""
        return (self.frame_count / self.times[-1]).limit_denominator(1001)

    @property
    def size(self) -> Size:
        """The (height, width) of a frame."""
        return self.job.stages[-1].size

    def split_parts(self, first: int = 0, frames_per_part: int = 0) -> Iterator[tuple[int, int]]:
        """From which frame to which each part goes, from the one of that number on.

        A part ends with a second; or, where that is given, after so many frames.
        """
        held = max(1, MAX_PART_PIXELS // math.prod(self.size)) if self.video else self.frame_count
        while first < self.frame_count:
            last = min(
                self.frame_count, first + held, first + (frames_per_part or self.frame_count)
            )
            second = int(self.times[first])
            stop = first + 1
            while stop < last and (frames_per_part or int(self.times[stop]) == second):
                stop += 1
            yield first, stop
            first = stop

    def source_frames(self, first: int) -> Generator[Image.Image, None, None]:
        """The frames of the video that it is of, if it is of one, from that number on."""
        if self.video:
            yield from read_frames(self.video, self.size, first)


def zoom_video_job(job: AnyJob, photo: Tensor) -> VideoJob:
    """A zoom into a picture (1, 3, H, W), as it was planned."""
    (recipe,) = job.recipes
    base = 1 / recipe.rate
    times = [frame * base for frame in range(recipe.frames + 1)]
    return VideoJob(job, times, base, to_pil_image(resize_clamped(photo, job.stages[-1].size)))


def dream_video_job(job: AnyJob, video: VideoInfo) -> VideoJob:
    """A video, of which the dream of one frame was planned."""
    whole = replace(job, stages=job.stages * video.frame_count)
    return VideoJob(whole, video.times, video.time_base, video=video)


@dataclass(frozen=True)
class VideoProgress:
    """A moment of the work on a video: `done` of its `total` frames are there.

    `share` is what lies behind of this work, from 0 to 1.
    """

    frame: Frame
    frames_done: int
    frames_total: int
    fraction: float


# What paints a part, in pictures (see the kinds).
RenderFunction = Callable[[AnyJob, list[Image.Image]], Iterator[Frame]]


def render_video(
    job: VideoJob, render: RenderFunction, writer: VideoWriter, frames_per_part: int = 0
) -> Generator[VideoProgress, None, None]:
    """Have a reel painted, part by part, and written into a film; a shot for each step.

    What is there when it is broken off is in the film. `most` as in `Reel.parts`.
    """
    begun, whole = writer.frames_done, job.job.stages_by_frame
    with closing(job.source_frames(max(begun - 1, 0))) as seen:  # A decoder ends with it.
        before = list(islice(seen, 1)) if begun else []
        for first, stop in job.split_parts(begun, frames_per_part):
            part = replace(job.job, stages=sum(whole[first:stop], ()), first_frame=first)
            new = list(islice(seen, stop - first))
            if job.photo:
                before = [job.photo]
            given = [*before, *([writer.last_frame] if writer.last_frame else []), *new]
            start, done = job.times[first], first
            with writer.open_part(start) as into:
                for frame in render(part, given):
                    if frame.finished:
                        time, end = job.times[done], job.times[done + 1]
                        into.add(frame.picture(), time - start, end - time)
                        done += 1
                    behind = first - begun + frame.done * (stop - first)
                    yield VideoProgress(
                        frame, done, job.frame_count, behind / (job.frame_count - begun)
                    )
            before = new[-1:]
