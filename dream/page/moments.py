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
from PIL import Image

from dream.errors import DreamError, PictureError, TimeIsUp, WeightsUnavailable
from dream.files.picture import load_image, save_image, save_preview
from dream.networks import catalogue
from dream.page import parts
from dream.paint.class_image import Verdict
from dream.paint.frames import Frame
from dream.paint.response import Answer, Response
from dream.recipe import ChannelRecipe, ClassRecipe, Recipe
from dream.service.work import Work

# So many previews stay behind the one that is shown: ten seconds of them, for those who are slow to
# fetch them.
BEHIND = 25
# For how many seconds one waits for what a stop leaves: a step has to end, a video to be written.
PATIENCE = 20.0
SECONDS_BETWEEN_LOOKS = 0.2
PLACEHOLDER = 160
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """A moment of the work, in words for the status; without a frame while weights are fetched, or
    others are before it.

    `files` are the paths of the frame's pictures: previews (JPEG), in the end PNGs with their
    recipes, which one that ended before it was done has none of. Of the previews the first and the
    last ones stay. `left` is how long it still takes, in words, `seen` what a layer answers to a
    photo, and its channels that answer most.
    """

    words: str
    frame: Frame | None = None
    files: tuple[str, ...] = ()
    seconds: float = 0.0
    left: str = ""
    verdict: Verdict | None = None
    seen: tuple[Response, list[Answer]] | None = None


Moments = Generator[Moment, None, None]
Made = TypeVar("Made")


def moments(
    work: Work,
    recipes: Sequence[Recipe],
    photo: str | None = None,
    *,
    kept: bool = False,
    judged: bool = False,
    files: bool = True,
    stopped: str = parts.STOPPED,
) -> Moments:
    """Pictures by those recipes, from noise or in a photo; all is checked before this returns.

    `kept` lets those that were made before be taken (see `Engine.plan`), `judged` has the one class
    image judged at each frame; `files` may be left out where they are not shown. `stopped` is what
    is said of a step where one stops.

    Raises:
        DreamError: as `load_image`, `Work.paint` and `Engine.fetch`.
    """
    picture = load_image(photo) if photo else None
    if judged:
        (recipe,) = recipes
        assert isinstance(recipe, ClassRecipe)
        frames: Iterator[tuple[Frame, Verdict | None]] = work.judged(recipe, picture)
    else:
        painted = work.paint(recipes, picture, kept=kept)
        frames = ((frame, None) for frame in painted)
    return in_turn(work, recipes[0].model, Moment, of_frames(frames, photo, files, stopped))


def in_turn(
    work: Work, model: str, said: Callable[[str], Made], stream: Iterator[Made]
) -> Generator[Made, None, None]:
    """That stream, once its network is there and its turn has come; what is `said` before that.

    Raises:
        DreamError: if no source has its weights, in words for visitors; and as the stream does.
    """
    try:
        yield from map(said, parts.fetching(work.engine.fetch(model)))
    except WeightsUnavailable as error:
        LOGGER.warning(error)  # With the details, which only the operator can act on.
        is_shipped = catalogue.card(model).source.shipped
        cause = "is damaged on this server" if is_shipped else "cannot be downloaded right now"
        raise DreamError(f"{model} {cause}. Choose another network.") from error
    with work.turn() as waiting:
        yield from (said(before(seconds)) for seconds in waiting)
        yield from stream


def before(seconds: float) -> str:
    """The status while another's turn takes about so many seconds more."""
    more = f", for about {math.ceil(seconds)} s more" if seconds else ""
    return parts.under_way(f"1 dream before yours{more}.")


def of_frames(
    frames: Iterator[tuple[Frame, Verdict | None]],
    photo: str | None,
    files: bool = True,
    stopped: str = parts.STOPPED,
) -> Moments:
    """The moments of frames; as `moments`.

    Raises:
        TimeIsUp: after the picture so far, where there was no time for more.
    """
    folder, previews = fresh_folder() if files else Path(), deque[tuple[str, ...]]()
    start, clock = time.monotonic(), parts.Clock()
    frame, remark = None, ""
    paths: tuple[str, ...] = ()
    try:
        for frame, verdict in frames:
            seconds, left = time.monotonic() - start, clock.left(frame.done)
            paths = tuple(_files(frame, photo, folder)) if files else ()
            if files and frame.step and not (frame.finished or frame.ended):
                previews.append(paths)
            if frame.remark != remark:
                parts.toast(frame.remark, "Made smaller")
                remark = frame.remark
            words = parts.progress(frame, left, stopped)
            yield Moment(words, frame, paths, seconds, left, verdict)
            if frame.ended:
                raise TimeIsUp(frame.ended)
            if len(previews) > BEHIND:
                for path in previews.popleft():
                    Path(path).unlink(missing_ok=True)
    finally:
        # Where it was stopped one may go on from here: from all of the picture, not from a JPEG.
        if frame and paths and not (frame.finished or frame.ended):
            with suppress(PictureError):  # The disk is full.
                whole = Path(paths[0]).with_suffix(".png")
                save_image(frame.picture(), whole, photo=bool(photo))


def unspoilt(path: str) -> str:
    """The picture of which a preview is shown, without what JPEG took from it, where it was stopped
    at; the preview itself if that is not there.
    """
    if path.endswith(".png"):
        return path
    # By another name, if a step ended that was not put out.
    return str(next(Path(path).parent.glob("*.png"), path))


async def stopped_at(path: str, patience: float = PATIENCE) -> Any:
    """What is downloaded after a stop: all of the picture that was put out, once it is there.

    No thread waits for it: anyone may ask, as often as they like.
    """
    until, folder = time.monotonic() + patience, Path(path).parent
    while not (whole := unspoilt(path)).endswith(".png"):
        if not (path and folder.is_dir()) or time.monotonic() > until:
            return gr.skip()
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
    return whole if Path(whole).is_file() else gr.skip()


def fresh_folder() -> Path:
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


def _files(frame: Frame, photo: str | None, folder: Path) -> Iterator[str]:
    """The frame's pictures in files: to look at, or with their recipes to keep."""
    for recipe, picture in zip(frame.recipes, frame.pictures(), strict=True):
        path = folder / recipe.called(stem(photo) if photo else "")
        if frame.finished:
            path = path.with_name(f"{path.name}.png")
            save_image(picture, path, recipe, photo=bool(photo))
        elif frame.ended:
            path = path.with_name(f"{path.name}-{frame.step}.png")
            save_image(picture, path, photo=bool(photo))
        else:
            path = path.with_name(f"{path.name}-{frame.step}.jpg")
            save_preview(picture, path, photo=bool(photo))
        yield str(path)


def stem(photo: str) -> str:
    """What a photo is called, also where it is a dream of ours fed back in."""
    stem = Path(photo).stem
    dreamed = re.fullmatch(r"dream-(.+?)-[^-]+-i\d+-seed\d+(-\d+)?", stem)
    return re.sub(r"[^\w-]+", "-", dreamed[1] if dreamed else stem)[:40].strip("-") or "photo"


@dataclass(frozen=True)
class Grid:
    """A grid of channels as it is now: a file for each, grey ones at first, what each is made by,
    and who is silent.
    """

    moment: Moment
    files: dict[int, str]
    recipes: dict[int, Recipe]
    silent: tuple[int, ...]
    done: bool


def grids(stream: Iterator[Moment], recipes: Sequence[ChannelRecipe]) -> Iterator[Grid]:
    """Channels as they form, in the order of their recipes."""
    waiting = fresh_folder() / "waiting.jpg"
    save_preview(Image.new("RGB", (PLACEHOLDER, PLACEHOLDER), "grey"), waiting)
    files = {recipe.channel: str(waiting) for recipe in recipes}
    made: dict[int, Recipe] = {recipe.channel: recipe for recipe in recipes}
    silent: tuple[int, ...] = ()
    for moment in stream:
        frame = moment.frame
        if frame:
            files |= zip(frame.channels, moment.files, strict=True)
            made |= zip(frame.channels, frame.recipes, strict=True)
            silent += frame.silent if frame.finished else ()
        yield Grid(moment, dict(files), dict(made), silent, bool(frame and frame.done == 1))
