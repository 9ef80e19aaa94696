"""Decoding of what strangers send: the one way in, here or in a process that can do nothing else.

`DREAM_DECODER` says which: `here`, as the command line and Python have it, or `process`, as the app
has it on Linux. Such a process is kept for the next file. One that dies, takes too long or answers
nonsense costs its file alone, and another takes its place. What it says is never unpickled: numbers
and text come as JSON of bounded length, pixels as bytes of a size that is known before.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from dream.errors import DreamError, PictureError
from dream.files.bounded import BYTES, PathOrFile, Reading, name_of, seekable_file
from dream.files.decoder_process import (
    END,
    HEADER,
    LENGTH,
    NEXT,
    NUMBERS,
    PIXELS,
    READINGS,
    WRONG,
)
from dream.tensors import Size

# What a process may take beside the program itself: bytes, more for a video, whose decoder has
# threads; and for each answer seconds of a processor, of which reading may take 10 (see `bounded`),
# and of a clock.
MEMORY, VIDEO_MEMORY = 10**9, 2 * 10**9
CPU_SECONDS, SECONDS = 30, 120.0
# Pixels come by at most 256 rows of 30,000, or by frames of 8192 x 8192.
MOST_BYTES = {NUMBERS: 8_000_000, PIXELS: 3 * 8192**2, WRONG: 8000, END: 0}
# What comes of using as one thing what is another.
NONSENSE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
# So many processes at a time read pictures and what is known of videos. Frames have one for each
# video, of which the line of dreams lets in no more than it makes at a time.
AT_A_TIME = 4
# So many stay for what comes next: one for a video, one for pictures beside it.
KEPT_WARM = 2
# Without the package's own imports, of which torch is one. The environment may hold secrets.
START = (
    "import sys, types; dream = types.ModuleType('dream'); dream.__path__ = [sys.argv[1]];"
    "sys.modules['dream'] = dream; from dream.files.decoder_process import main; main()"
)
VARIABLES = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")
THREADS = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def reading(what: str, path: PathOrFile, **options: Any) -> Iterator[Iterator[Any]]:
    """What one of the `READINGS` yields of a file: JSON-like values, images and arrays of bytes.

    From a process images and arrays come as flat arrays. Any value may be nonsense; what is raised
    because of that is a `PictureError`.

    Raises:
        PictureError: as the reading does; or if its process ended, or takes too long.
        DreamError: if `DREAM_DECODER` says neither `here` nor `process`.
    """
    name, use_process = name_of(path), uses_process()
    with seekable_file(path) as file:
        if not use_process:
            with closing(READINGS[what](file, name, **options)) as answers:
                yield answers
            return
        try:
            with (
                _decoders(os.getpid()).lent(what == "frames") as decoder,
                closing(decoder.answers(what, file, path, options)) as answers,
            ):
                yield answers
                next(answers, None)  # The end, which not everyone waits for.
        except DreamError:
            raise
        except NONSENSE as error:
            raise PictureError(f"{name} cannot be read: it is damaged") from error
        except (EOFError, OSError, StopIteration) as error:
            kind = "H.264" if what in ("frames", "video") else "PNG"
            said = f"its decoder ended early; save it as {kind} and try again"
            raise PictureError(f"{name} cannot be read: {said}") from error


def to_rgb_image(pixels: Any, size: Size) -> Image.Image:
    """An image that a reading yields, or its bytes (RGB) where they come from a process.

    Raises:
        ValueError: if they are not those of that (height, width).
    """
    if isinstance(pixels, Image.Image):
        return pixels
    return Image.fromarray(pixels.reshape(*size, 3))


def uses_process() -> bool:
    """Whether what comes is decoded in another process.

    Raises:
        DreamError: if `DREAM_DECODER` says neither.
    """
    said = os.environ.get("DREAM_DECODER") or "here"
    if said not in ("here", "process"):
        raise DreamError(f"DREAM_DECODER is here or process, not {said[:40]!r}")
    return said == "process" and sys.platform == "linux"


def start_decoder() -> None:
    """Have a process ready for the first file, if one is used; this waits for nothing."""
    if uses_process():
        _decoders(os.getpid()).warm_up()


class Decoder:
    """A process that decodes; `is_free` says whether it waits for a file."""

    def __init__(self) -> None:
        self.connection, other = socket.socketpair()
        environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        package = Path(__file__).parents[1]
        with other:
            # As much as the system allows: several frames come in one turn of a busy processor.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_BYTES[PIXELS])
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(package)],
                cwd=package.parent,
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment | THREADS,
                start_new_session=True,  # Ctrl-C is for the parent, which closes the socket.
            )
        self.is_free = True

    def answers(
        self, what: str, file: BinaryIO, path: PathOrFile, options: dict[str, Any]
    ) -> Reading:
        """As `reading` yields them. What comes after pixels is decoded while those are used, as far
        as the socket holds it; what comes after others when it is asked for, in its turn.
        """
        self.is_free = False
        memory = VIDEO_MEMORY if what in ("frames", "video") else MEMORY
        limits = {"memory": memory, "seconds": CPU_SECONDS}
        request = {"what": what, "name": name_of(path), "options": options, **limits}
        content = json.dumps(request).encode()
        self.connection.settimeout(SECONDS)
        with _with_descriptor(file, path) as sent:
            socket.send_fds(self.connection, [LENGTH.pack(len(content))], [sent.fileno()])
        self.connection.sendall(content)
        while True:
            until = time.monotonic() + SECONDS
            kind, length = HEADER.unpack(self._receive(HEADER.size, until))
            if length > MOST_BYTES[kind]:
                raise EOFError
            answer = self._receive(length, until)
            if kind in (END, WRONG):
                self.is_free = True
                if kind == WRONG:
                    raise PictureError(answer.tobytes().decode())
                return
            if kind == PIXELS:
                yield answer
            else:
                yield json.loads(answer.tobytes())
                self.connection.sendall(NEXT)

    def _receive(self, length: int, until: float) -> Any:
        """So many bytes, as an array."""
        content = np.empty(length, np.uint8)
        missing = content.data
        while missing:
            self.connection.settimeout(max(0.001, until - time.monotonic()))
            if not (count := self.connection.recv_into(missing)):
                raise EOFError
            missing = missing[count:]
        return content

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


class Decoders:
    """The decoders of this process: those that are free, and places for those that are not."""

    def __init__(self) -> None:
        self._process, self._free = os.getpid(), list[Decoder]()
        self._places = threading.BoundedSemaphore(AT_A_TIME)
        atexit.register(self._close)

    @contextmanager
    def lent(self, is_for_frames: bool) -> Iterator[Decoder]:
        """One for a file."""
        with nullcontext() if is_for_frames else self._places:
            decoder = self._take()
            try:
                yield decoder
            finally:
                if decoder.is_free and len(self._free) < KEPT_WARM:
                    self._free.append(decoder)
                else:
                    decoder.close()
                    with suppress(OSError):
                        self.warm_up()

    def warm_up(self) -> None:
        """Have one that is free."""
        if not self._free:
            self._free.append(Decoder())

    def _take(self) -> Decoder:
        with suppress(IndexError):
            while (decoder := self._free.pop()).process.poll() is not None:
                decoder.close()
            return decoder
        return Decoder()

    def _close(self) -> None:
        while self._free and os.getpid() == self._process:  # A fork has its parent's.
            self._free.pop().close()


@lru_cache
def _decoders(process: int) -> Decoders:
    """Those of the process of that number: a fork must not answer for its parent."""
    return Decoders()


@contextmanager
def _with_descriptor(file: BinaryIO, path: PathOrFile) -> Iterator[BinaryIO]:
    """That file; what is none of the system's, or somebody else's, as a copy in memory."""
    if isinstance(path, str | os.PathLike):
        yield file
        return
    with open(os.memfd_create("picture"), "w+b") as copy:
        if (size := file.seek(0, os.SEEK_END)) > BYTES:  # It is refused by its size.
            copy.truncate(size)
        else:
            file.seek(0)
            shutil.copyfileobj(file, copy)
        copy.flush()
        yield copy
