"""The command that dreams what a camera sees: raw frames come in, raw frames go out."""

from __future__ import annotations

import argparse
import re
import sys
from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread

from PIL import Image

from dream.commands.options import Command, engine_of, recipe_of, recipe_options
from dream.commands.told import Stopped, fetching, print_no_more
from dream.errors import PictureError, shown
from dream.paint.frames import to_tensors
from dream.paint.live import Mirror
from dream.recipe import LiveRecipe
from dream.tensors import Size

SIDES = (32, 4096)
# How files begin that are no raw frames; less could be the colours of some pixels.
FILES = {
    re.compile(start, re.DOTALL): name
    for start, name in {
        rb"\x89PNG\r\n\x1a\n": "PNG",
        rb"\xff\xd8\xff(.{3}(JFIF|Exif|AVI1|http|ICC_|Adob|Lavc)|\xdb\0[\x43\x84])": "JPEG",
        rb"YUV4MPEG2 ": "Y4M",
        rb"RIFF.{4}(AVI |WEBP)": "AVI or WebP",
    }.items()
}


def _pipe_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size", required=True, metavar="WIDTHxHEIGHT", help="of the frames, as 320x240"
    )
    parser.add_argument(
        "--latest", action="store_true", help="leave out frames that come while one is dreamed"
    )
    recipe_options(parser, LiveRecipe, skip=["max_side"])


def _pipe(given: argparse.Namespace) -> None:
    """Frames (rgb24) from stdin, dreamed, to stdout, until there are no more."""
    size = _size(given.size)
    recipe = recipe_of(given, LiveRecipe).within(max(size))
    engine = engine_of(given, recipe.model)
    engine.plan([recipe], size)  # What is wrong is said before anything is read.
    if any(each is None or each.isatty() for each in (sys.stdin, sys.stdout)):
        raise PictureError(
            "frames come on stdin and go to stdout, as rgb24; docs/live.md has examples"
        )
    fetching(engine.fetch(recipe.model))
    mirror = Mirror(lambda job, given: engine.paint([job], to_tensors(given)))
    frames = _frames(size)
    try:
        for frame in _latest(frames) if given.latest else frames:
            sys.stdout.buffer.write(mirror.dreamed(frame, recipe).tobytes())
            sys.stdout.buffer.flush()
    except BrokenPipeError:  # Who reads them has had enough.
        print_no_more()
    except KeyboardInterrupt as error:
        raise Stopped from error


def _size(text: str) -> Size:
    """The (height, width) that is meant."""
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(sides[2]), int(sides[1])) if sides else (0, 0)
    low, high = SIDES
    if not (low <= min(size) and max(size) <= high):
        raise PictureError(
            f"size must be as 320x240, with sides from {low} to {high} pixels, not {shown(text)}"
        )
    return size


def _frames(size: Size) -> Iterator[Image.Image]:
    """What comes on stdin, frame by frame.

    Raises:
        PictureError: at the end, if that is no whole frame, or nothing came; at once, if it begins
            as a file does.
    """
    height, width = size
    wanted, count = 3 * height * width, 0
    while content := _read(wanted):
        kind = next((name for start, name in FILES.items() if start.match(content)), "")
        if kind and not count:
            raise PictureError(f"this is {kind}, and raw frames are needed: -f rawvideo of ffmpeg")
        if len(content) < wanted:
            raise PictureError(
                f"after {count} frames came {len(content)} bytes, and one of {width} x {height} "
                f"in rgb24 has {wanted}; is the size another?"
            )
        yield Image.frombytes("RGB", (width, height), content)
        count += 1
    if not count:
        raise PictureError("no frames came on stdin")


def _read(count: int) -> bytes:
    """So many bytes of stdin; fewer at its end.

    Past its buffer, whose lock a thread that waits for a camera would keep as the program ends:
    Python takes that for a fatal error.
    """
    source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    content = bytearray()
    while len(content) < count and (part := source.read(count - len(content))):
        content += part
    return bytes(content)


def _latest(frames: Iterator[Image.Image]) -> Iterator[Image.Image]:
    """Those frames, without those that came while the one before was looked at."""
    newest: deque[Image.Image] = deque(maxlen=1)
    ended: list[PictureError | None] = []
    came = Condition()

    def read() -> None:
        error = None
        try:
            for frame in frames:
                with came:
                    newest.append(frame)
                    came.notify()
        except PictureError as wrong:
            error = wrong
        with came:
            ended.append(error)
            came.notify()

    Thread(target=read, daemon=True).start()
    while True:
        with came:
            came.wait_for(lambda: newest or ended)
            frame = newest.pop() if newest else None
        if frame:
            yield frame
        elif error := ended[0]:
            raise error
        else:
            return


COMMANDS: tuple[Command, ...] = (
    ("pipe", "dream raw frames of a camera, from stdin to stdout", _pipe_options, _pipe),
)
