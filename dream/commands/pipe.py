"""The command that dreams what a camera sees: raw frames come in, raw frames go out."""

from __future__ import annotations

import argparse
import re
import sys
from collections import deque
from collections.abc import Iterator
from threading import Condition, Thread

from PIL import Image

from dream.commands.options import Command, add_recipe_options, build_engine, build_recipe
from dream.commands.progress import CommandInterruptedError, download_with_progress, discard_stdout
from dream.errors import PictureError, describe_value
from dream.recipe import LiveRecipe
from dream.render.live import LiveDreamer
from dream.render.loop import to_batch
from dream.tensors import Size

SIDE_LIMITS = (32, 4096)
# How files begin that are no raw frames; less could be the colours of some pixels.
FILE_SIGNATURES = {
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
    add_recipe_options(parser, LiveRecipe, skip=["max_side"])


def _pipe(given: argparse.Namespace) -> None:
    """Frames (rgb24) from stdin, dreamed, to stdout, until there are no more."""
    size = _parse_size(given.size)
    recipe = build_recipe(given, LiveRecipe).with_max_side(max(size))
    engine = build_engine(given, recipe.model)
    engine.plan([recipe], size)  # What is wrong is said before anything is read.
    if any(each is None or each.isatty() for each in (sys.stdin, sys.stdout)):
        raise PictureError(
            "frames come on stdin and go to stdout, as rgb24; docs/live.md has examples"
        )
    download_with_progress(engine.fetch(recipe.model))
    mirror = LiveDreamer(lambda job, given: engine.render([job], to_batch(given)))
    frames = _read_frames(size)
    try:
        for frame in _latest_only(frames) if given.latest else frames:
            sys.stdout.buffer.write(mirror.dream_frame(frame, recipe).tobytes())
            sys.stdout.buffer.flush()
    except BrokenPipeError:  # Who reads them has had enough.
        discard_stdout()
    except KeyboardInterrupt as error:
        raise CommandInterruptedError from error


def _parse_size(text: str) -> Size:
    """The (height, width) that is meant."""
    sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(sides[2]), int(sides[1])) if sides else (0, 0)
    low, high = SIDE_LIMITS
    if not (low <= min(size) and max(size) <= high):
        raise PictureError(
            f"size must be as 320x240, with sides from {low} to {high} pixels, not {describe_value(text)}"
        )
    return size


def _read_frames(size: Size) -> Iterator[Image.Image]:
    """What comes on stdin, frame by frame.

    Raises:
        PictureError: at the end, if that is no whole frame, or nothing came; at once, if it begins
            as a file does.
    """
    height, width = size
    wanted, count = 3 * height * width, 0
    while content := _read(wanted):
        kind = next((name for start, name in FILE_SIGNATURES.items() if start.match(content)), "")
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


def _latest_only(frames: Iterator[Image.Image]) -> Iterator[Image.Image]:
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
