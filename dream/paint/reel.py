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

from dream.files.film import Film
from dream.files.video import Video, frames_of
from dream.paint.frames import Frame
from dream.paint.plan import AnyJob
from dream.tensors import Size, resized, to_image

# A part of a video has no more pixels than this: what is held at once.
PART_PIXELS = 12_000_000


@dataclass(frozen=True)
class Reel:
    """A video to be made: the job of all its frames, when each is shown, in seconds, and at last
    when it ends, as multiples of `time_base`; of a photo, or a video, whose sound it keeps.
    """

    job: AnyJob
    times: Sequence[Fraction]
    time_base: Fraction
    photo: Image.Image | None = None
    video: Video | None = None

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return len(self.times) - 1

    @property
    def rate(self) -> Fraction:
        """How many frames it has in a second, on the mean."""
        return (self.frames / self.times[-1]).limit_denominator(1001)

    @property
    def size(self) -> Size:
        """The (height, width) of a frame."""
        return self.job.stages[-1].size

    def parts(self, first: int = 0, most: int = 0) -> Iterator[tuple[int, int]]:
        """From which frame to which each part goes, from the one of that number on.

        A part ends with a second; or, where that is given, after so many frames.
        """
        held = max(1, PART_PIXELS // math.prod(self.size)) if self.video else self.frames
        while first < self.frames:
            last = min(self.frames, first + held, first + (most or self.frames))
            second = int(self.times[first])
            stop = first + 1
            while stop < last and (most or int(self.times[stop]) == second):
                stop += 1
            yield first, stop
            first = stop

    def pictures(self, first: int) -> Generator[Image.Image, None, None]:
        """The frames of the video that it is of, if it is of one, from that number on."""
        if self.video:
            yield from frames_of(self.video, self.size, first)


def zoom_reel(job: AnyJob, photo: Tensor) -> Reel:
    """A zoom into a picture (1, 3, H, W), as it was planned."""
    (recipe,) = job.recipes
    base = 1 / recipe.rate
    times = [frame * base for frame in range(recipe.frames + 1)]
    return Reel(job, times, base, to_image(resized(photo, job.stages[-1].size)))


def video_reel(job: AnyJob, video: Video) -> Reel:
    """A video, of which the dream of one frame was planned."""
    whole = replace(job, stages=job.stages * video.frames)
    return Reel(whole, video.times, video.time_base, video=video)


@dataclass(frozen=True)
class Shot:
    """A moment of the work on a video: `done` of its `total` frames are there.

    `share` is what lies behind of this work, from 0 to 1.
    """

    frame: Frame
    done: int
    total: int
    share: float


# What paints a part, in pictures (see the kinds).
Painter = Callable[[AnyJob, list[Image.Image]], Iterator[Frame]]


def filmed(reel: Reel, paint: Painter, film: Film, most: int = 0) -> Generator[Shot, None, None]:
    """Have a reel painted, part by part, and written into a film; a shot for each step.

    What is there when it is broken off is in the film. `most` as in `Reel.parts`.
    """
    begun, whole = film.done, reel.job.frames
    with closing(reel.pictures(max(begun - 1, 0))) as seen:  # A decoder ends with it.
        before = list(islice(seen, 1)) if begun else []
        for first, stop in reel.parts(begun, most):
            part = replace(reel.job, stages=sum(whole[first:stop], ()), first=first)
            new = list(islice(seen, stop - first))
            if reel.photo:
                before = [reel.photo]
            given = [*before, *([film.last] if film.last else []), *new]
            start, done = reel.times[first], first
            with film.part(start) as into:
                for frame in paint(part, given):
                    if frame.finished:
                        time, end = reel.times[done], reel.times[done + 1]
                        into.add(frame.picture(), time - start, end - time)
                        done += 1
                    behind = first - begun + frame.done * (stop - first)
                    yield Shot(frame, done, reel.frames, behind / (reel.frames - begun))
            before = new[-1:]
