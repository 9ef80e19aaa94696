"""The command `pipe`: raw frames from stdin to stdout, for a live dream without the page."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING

from PIL import Image

from dream.commands.options import (
    build_engine,
    build_recipe,
    command,
    option,
    recipe_options,
)
from dream.commands.progress import CommandInterruptedError, discard_stdout, download_with_progress
from dream.errors import PictureError, describe_value
from dream.recipe import LiveRecipe

if TYPE_CHECKING:
    from dream.tensors import Size

SIDE_LIMITS = (32, 4096)
# Long enough not to match the first pixels of a raw frame.
FILE_SIGNATURES = {
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"\xff\xd8\xff(?s:.{3})(JFIF|Exif|AVI1|http|ICC_|Adob|Lavc)": "JPEG",
    rb"\xff\xd8\xff\xdb\0[\x43\x84]": "JPEG",
    rb"YUV4MPEG2 ": "Y4M",
    rb"RIFF(?s:.{4})(AVI |WEBP)": "AVI or WebP",
}


@command(
    "pipe",
    "dream raw frames of a camera, from stdin to stdout",
    option("--size", required=True, metavar="WIDTHxHEIGHT", help="size of the frames, as 320x240"),
    option(
        "--latest", action="store_true", help="drop frames that arrive while another is dreamed"
    ),
    recipe_options(LiveRecipe, skip=["max_side"]),
)
def _dream_pipe(args: argparse.Namespace) -> None:
    """Dream frames (rgb24) from stdin to stdout until stdin ends."""
    size = _parse_size(args.size)
    recipe = build_recipe(args, LiveRecipe).with_max_side(max(size))
    from dream.render.live import LiveDreamer

    engine = build_engine(args, recipe.model)
    engine.plan([recipe], size)  # Report errors before reading anything.
    if any(stream is None or stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise PictureError(
            "stdin and stdout must be pipes of raw rgb24 frames; docs/live.md has examples"
        )
    download_with_progress(engine.fetch(recipe.model))
    dreamer = LiveDreamer(engine.render_images)
    frames = _read_frames(size)
    try:
        for frame in _drop_stale_frames(frames) if args.latest else frames:
            sys.stdout.buffer.write(dreamer.dream_frame(frame, recipe).tobytes())
            sys.stdout.buffer.flush()
    except BrokenPipeError:  # The reader of stdout has closed it.
        discard_stdout()
    except KeyboardInterrupt as error:
        raise CommandInterruptedError from error


def _parse_size(text: str) -> Size:
    """Return the (height, width) of a text such as 320x240."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(match[2]), int(match[1])) if match else (0, 0)
    low, high = SIDE_LIMITS
    if not (low <= min(size) and max(size) <= high):
        raise PictureError(
            f"--size must be as 320x240, with sides from {low} to {high} pixels, "
            f"not {describe_value(text)}"
        )
    return size


def _read_frames(size: Size) -> Iterator[Image.Image]:
    """Yield the frames of stdin.

    Raises:
        PictureError: if stdin starts like a file, is empty, or ends within a frame.
    """
    height, width = size
    frame_bytes, count = 3 * height * width, 0
    while content := _read_stdin(frame_bytes):
        for signature, name in FILE_SIGNATURES.items():
            if not count and re.match(signature, content):
                raise PictureError(
                    f"stdin is {name}, but raw frames are needed; use -f rawvideo with ffmpeg"
                )
        if len(content) < frame_bytes:
            raise PictureError(
                f"stdin ended in frame {count + 1}, after {len(content)} of its {frame_bytes} "
                f"bytes ({width} x {height} in rgb24); check --size"
            )
        yield Image.frombytes("RGB", (width, height), content)
        count += 1
    if not count:
        raise PictureError("no frames arrived on stdin")


def _read_stdin(byte_count: int) -> bytes:
    """Return `byte_count` bytes of stdin, or fewer at its end.

    It bypasses the buffer of stdin: a thread that waits for a camera would hold the lock of the
    buffer when the program ends, which is a fatal error in Python.
    """
    source = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    content = bytearray()
    while len(content) < byte_count and (part := source.read(byte_count - len(content))):
        content += part
    return bytes(content)


def _drop_stale_frames(frames: Iterator[Image.Image]) -> Iterator[Image.Image]:
    """Yield the newest frame each time, without those that arrived in the meantime."""
    latest: Queue[Image.Image | PictureError | None] = Queue(1)

    def read() -> None:
        try:
            for frame in frames:
                with suppress(Empty):
                    latest.get_nowait()  # A newer frame is here.
                latest.put(frame)
            latest.put(None)
        except PictureError as error:
            latest.put(error)

    Thread(target=read, daemon=True).start()
    while isinstance(item := latest.get(), Image.Image):
        yield item
    if item:
        raise item
