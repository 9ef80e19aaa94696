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

from dream.errors import QUICKER, LeaseError, OutOfTime, RecipeError, shown
from dream.files.film import FORMATS, Film
from dream.files.picture import load_image, save_preview
from dream.files.video import Limits, load_video
from dream.page import parts
from dream.page.moments import BEHIND, PATIENCE, SECONDS_BETWEEN_LOOKS, fresh_folder, in_turn, stem
from dream.paint.making import Making, formed, making_size
from dream.paint.reel import Reel, video_reel, zoom_reel
from dream.recipe import DreamRecipe, Recipe, VideoRecipe, ZoomRecipe
from dream.service.work import Work
from dream.tensors import size_of

# What the page takes of a video; the command line takes more.
LIMITS = Limits(seconds=30, side=4096, frames=1800, rate=60)
TAKEN = (
    f"MP4, MOV, WebM or GIF: up to {LIMITS.seconds:g} seconds, {LIMITS.frames} frames, "
    f"{LIMITS.rate:g} a second (of more some are left out), {LIMITS.side} pixels a side and 50 MB. "
    "Sound is kept."
)
SECONDS_BETWEEN_PREVIEWS = 0.25
PREVIEW_SIDE = 1024
ENDINGS = tuple(ending.removeprefix(".") for ending in FORMATS)


@dataclass(frozen=True)
class Reeled:
    """A moment of the work on a video, in words for the status.

    `path` is where the video will be; it is there when `done` says so. `picture` is the path of the
    frame that is worked on (JPEG), if it is a new one. `ended` says why there is not all of it.
    """

    words: str
    path: str
    recipe: Recipe
    picture: str = ""
    done: bool = False
    ended: str = ""


Films = Generator[Reeled, None, None]


def zoom(work: Work, recipe: ZoomRecipe, photo: str, ending: str = "mp4") -> Films:
    """A zoom into a photo; all is checked before this returns.

    Raises:
        DreamError: as `load_image`, `Work.film` and `Engine.fetch`.
    """
    picture = load_image(photo)
    (job,) = work.engine.plan([check_length(recipe)], size_of(picture))
    return _filmed(work, zoom_reel(job, picture), photo, ending)


def check_length(recipe: ZoomRecipe) -> ZoomRecipe:
    """The zoom, if it is none that takes long even to be planned.

    Raises:
        OutOfTime: if it has too many frames.
    """
    if recipe.frames > LIMITS.frames:
        raise OutOfTime(
            f"this zoom has {recipe.frames} frames, and {LIMITS.frames} are made here at most; "
            "a shorter one, or fewer a second"
        )
    return recipe


def video(work: Work, recipe: VideoRecipe, path: str, ending: str = "mp4") -> Films:
    """A video, dreamed; all is checked before this returns. Raises as `zoom`."""
    seen = load_video(path, LIMITS)
    (job,) = work.engine.plan([recipe], seen.size)
    return _filmed(work, video_reel(job, seen), path, ending)


def making_of(
    work: Work, recipe: DreamRecipe, photo: str, making: Making, ending: str = "mp4"
) -> Films:
    """How a dream came about; all is checked before this returns. Raises as `zoom`."""
    picture = load_image(photo)
    (job,) = work.engine.plan([recipe], size_of(picture))
    settled, size = job.recipes[0], making_size(job.stages[-1].size)
    path = _path(settled, photo, ending, "making-of-")
    film = Film(path, settled, size, making.rate, 1 / making.rate)
    frames = work.paint([recipe], picture, every=True)
    said, clock = _Said(film), parts.Clock()

    def stream() -> Films:
        yield said.asleep()
        for frame in formed(frames, making, film):
            said.ended = frame.ended
            words = parts.progress(frame, clock.left(frame.done))
            yield from said.now_and_then(words, frame.picture)

    def made() -> Films:
        try:
            yield from in_turn(work, settled.model, said.moment, stream())
            film.finish(with_recipe=not said.ended)
            yield said.final_update(f"The dream as it forms, {len(making.order)} frames, made in")
        finally:
            film.drop()

    return made()


def _filmed(work: Work, reel: Reel, source: str, ending: str) -> Films:
    (recipe,) = reel.job.recipes
    film = Film(_path(recipe, source, ending), recipe, reel.size, reel.rate, reel.time_base)
    shots = work.film(reel, film)
    said, clock = _Said(film), parts.Clock()

    def stream() -> Films:
        yield said.asleep()
        for shot in shots:
            said.frames, left = shot.done, clock.left(shot.share)
            if shot.frame.finished or shot.done == 0:
                words = parts.under_way(f"Frame {shot.done} of {shot.total}, {left}.")
                yield from said.now_and_then(words, shot.frame.picture)

    def made() -> Films:
        try:
            yield from in_turn(work, recipe.model, said.moment, stream())
            film.finish(reel.video)
            yield said.final_update(
                f"{reel.frames} frames, {float(reel.times[-1]):g} seconds, made in"
            )
        except OutOfTime as error:
            if not film.finish(reel.video):
                if isinstance(error, LeaseError):
                    raise
                none = f"time was up before the first frame was there; {QUICKER}"
                raise OutOfTime(none) from error
            so_far = f"after {said.frames} of {reel.frames} frames"
            said.ended = (
                f"{so_far}: {error}"
                if isinstance(error, LeaseError)
                else f"time was up {so_far}, this is how far it came; a shorter video, or {QUICKER}"
            )
            yield said.final_update()
        finally:
            # Where it was stopped, or took too long, what there is shall be seen.
            shots.close()
            if not film.path.exists():
                film.finish(reel.video)
            film.drop()

    return made()


class _Said:
    """What is said and shown of a film as it is made: how many `frames` of it there are, and why
    it has `ended` before its end.
    """

    def __init__(self, film: Film) -> None:
        self.film = film
        self.begun, self.shown = time.monotonic(), -math.inf
        self.previews: deque[Path] = deque()
        self.frames, self.ended = 0, ""

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def asleep(self) -> Reeled:
        """What is said as it begins."""
        self.begun = time.monotonic()
        return self.moment(parts.under_way("Falling asleep …"))

    def now_and_then(self, words: str, picture: Callable[[], Image.Image]) -> Iterator[Reeled]:
        """Those words and that picture, unless the last ones were only just shown."""
        if time.monotonic() - self.shown < SECONDS_BETWEEN_PREVIEWS:
            return
        self.shown = time.monotonic()
        path = self.film.path.with_name(f"{uuid.uuid4().hex}.jpg")
        image = picture()
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        save_preview(image, path)
        self.previews.append(path)
        if len(self.previews) > BEHIND:
            self.previews.popleft().unlink(missing_ok=True)
        yield self.moment(words, str(path))

    def final_update(self, words: str = "") -> Reeled:
        """What is said when it is there, or as much of it as there was time for."""
        if self.ended:
            parts.toast(self.ended, "Ended early")
            words = f"{parts.sentence(self.ended)} What there is plays; it was made in"
        if self.film.remark:
            parts.toast(self.film.remark, "Without its sound")
        remark = parts.sentence(self.film.remark)
        moment = self.moment(parts.status(f"{words} {self.seconds:.1f} s. {remark}".strip()))
        return replace(moment, done=True, ended=self.ended)

    def moment(self, words: str, picture: str = "") -> Reeled:
        """What there is now: those words, and that picture if it is a new one."""
        return Reeled(words, str(self.film.path), self.film.recipe, picture)


def _path(recipe: Recipe, source: str, ending: str, before: str = "") -> Path:
    """Where a video is put: in a folder of its own.

    Raises:
        RecipeError: if it is none that is written here.
    """
    if ending not in ENDINGS:
        raise RecipeError(f"format must be {' or '.join(ENDINGS)}, not {shown(ending)}")
    return fresh_folder() / f"{before}{recipe.called(stem(source))}.{ending}"


async def wait_for_stopped_video(path: str) -> str:
    """The video at that path, when it has been put together after a stop; "" if there is none.

    No thread waits for it, as `stopped_at`.
    """
    if not path:
        return ""
    until, film = time.monotonic() + PATIENCE, Path(path)
    parts_of_it = film.with_name(f".{film.name}.parts")
    while parts_of_it.exists() and time.monotonic() < until:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
    return path if film.is_file() else ""
