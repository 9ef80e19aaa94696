"""Decoding of what strangers send: the one way in, here or in a process that can do nothing else.

`DREAM_DECODER` says which: `here`, as the command line and Python have it, or `process`, as the app
has it on Linux. Such a process is used again for the next file. One that dies, takes too long or
sends an invalid answer costs its file alone, and another takes its place. Its answers are never
unpickled: numbers and text are JSON of bounded length, pixels are bytes of a size that is known
before.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from dream.errors import DreamError, PictureError, first_line
from dream.files.decoder_answers import AnswerError, invalid_answer_errors
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
from dream.files.limited_reader import (
    MAX_FILE_BYTES,
    PathOrFile,
    Reading,
    name_of,
    seekable_file,
    too_much_memory,
)

LOGGER = logging.getLogger(__name__)

# Bytes of memory that a picture or a video, whose decoder has threads, may take beside the program.
MAX_IMAGE_BYTES, MAX_VIDEO_BYTES = 10**9, 2 * 10**9
# For each answer: seconds of a processor, of which reading may take 10 (see `bounded`), and of a
# clock.
MAX_CPU_SECONDS, MAX_ANSWER_SECONDS = 30, 120.0
# Pixels come by at most 256 rows of 30,000, or by frames of 8192 x 8192; numbers are few, but for
# these readings: the times of a video, and a text.
MAX_ANSWER_BYTES = {NUMBERS: 1000, PIXELS: 3 * 8192**2, WRONG: 8000, END: 0}
MAX_LONG_NUMBERS_BYTES, LONG_READINGS = 8_000_000, ("text", "video")
# How many processes at a time read headers and texts, and how many read pictures: a few slow
# pictures must not block every header. Frames have one for each video, of which the line of dreams
# lets in no more than it makes at a time.
MAX_DECODERS = 4
PIXEL_READINGS, VIDEO_READINGS = ("pixels", "thumbnail"), ("frames", "video")
# How many seconds a file waits for its turn.
MAX_WAIT_SECONDS = 60.0
# How many processes wait for the next file: one for a video, one for pictures beside it.
MAX_IDLE_DECODERS = 2
# The package is built by hand: `import dream` would import torch, which takes seconds, memory and
# threads that the decoder must not have.
START = (
    "import sys, types; dream = types.ModuleType('dream'); dream.__path__ = [sys.argv[1]];"
    "sys.modules['dream'] = dream; from dream.files.decoder_process import main; main()"
)
# The environment may hold secrets, so that only these are passed on.
VARIABLES = ("PATH", "PYTHONHOME", "LD_LIBRARY_PATH")
THREADS = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def read_in_decoder(what: str, path: PathOrFile, **options: Any) -> Iterator[Iterator[Any]]:
    """Read a file by one of the `READINGS`, here or in a process.

    Yields:
        What the reading yields: JSON-like values, images and arrays of bytes. From a process images
        and arrays come as flat arrays, and any value may be nonsense: take them by `next_answer`.

    Raises:
        PictureError: as the reading does; or if its process ended, or takes too long.
        DreamError: if `DREAM_DECODER` says neither `here` nor `process`.
    """
    name, use_process = name_of(path), uses_process()
    try:
        with seekable_file(path) as file:
            if not use_process:
                with closing(READINGS[what](file, name, **options)) as answers:
                    yield answers
                return
            with (
                _decoders(os.getpid()).lend_decoder(what, name) as decoder,
                closing(decoder.answers(what, file, path, options)) as answers,
            ):
                yield answers
                next(answers, None)  # The end, which not everyone waits for.
    except MemoryError as error:
        raise too_much_memory(name) from error
    except AnswerError as error:
        if not use_process:  # A fault of this program.
            raise
        kind = "H.264" if what in VIDEO_READINGS else "PNG"
        text = f"{name} cannot be read: its decoder ended early"
        if error.is_timeout:
            text = f"{name} takes too long to read"
        raise PictureError(f"{text}; save it as {kind} and try again") from error


@contextmanager
def wait_for_turn(lock: threading.Lock | threading.BoundedSemaphore, name: str) -> Iterator[None]:
    """Hold a lock, which a file of that name waits for.

    Raises:
        PictureError: if it waits for too long.
    """
    if not lock.acquire(timeout=MAX_WAIT_SECONDS):
        raise PictureError(f"{name} is not read: others take too long; try again in a minute")
    try:
        yield
    finally:
        lock.release()


def uses_process() -> bool:
    """Return whether files are decoded in another process.

    Raises:
        DreamError: if `DREAM_DECODER` says neither.
    """
    place = os.environ.get("DREAM_DECODER") or "here"
    if place not in ("here", "process"):
        raise DreamError(f"DREAM_DECODER is here or process, not {place[:40]!r}")
    return place == "process" and sys.platform == "linux"


def start_decoder() -> None:
    """Start a process for the first file, if one is used; this waits for nothing.

    One that cannot be started costs the first file one line, not the server.
    """
    if uses_process():
        with suppress(OSError):
            _decoders(os.getpid()).warm_up()


class Decoder:
    """A process that decodes.

    `is_free` says whether it waits for a file, `has_started` whether it has ever answered.
    """

    def __init__(self) -> None:
        self.connection, other = socket.socketpair()
        environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        folders = [each for each in sys.path if os.path.isabs(each)]  # Those of the user, too.
        environment["PYTHONPATH"] = os.pathsep.join(folders)
        package = Path(__file__).parents[1]
        with other:
            # As much as the system allows: several frames come in one turn of a busy processor.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_ANSWER_BYTES[PIXELS])
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, str(package)],
                cwd=package.parent,
                stdin=other.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment | THREADS,
                start_new_session=True,  # Ctrl-C is for the parent, which closes the socket.
            )
        self.is_free, self.has_started = True, False

    def answers(
        self, what: str, file: BinaryIO, path: PathOrFile, options: dict[str, Any]
    ) -> Reading:
        """Yield as `read_in_decoder`.

        What comes after pixels is decoded while those are used, as far as the socket holds it; what
        comes after numbers when it is asked for.

        Raises:
            AnswerError: if the process ends, takes too long or sends an invalid answer.
            PictureError: as the reading, or if the file cannot be copied.
        """
        self.is_free = False
        memory = MAX_VIDEO_BYTES if what in VIDEO_READINGS else MAX_IMAGE_BYTES
        limits = {"memory": memory, "seconds": MAX_CPU_SECONDS}
        request = {"what": what, "name": name_of(path), "options": options, **limits}
        content = json.dumps(request).encode()
        if not self.has_started:
            kind, protections = self._receive_answer(what)
            if kind != NUMBERS:
                raise AnswerError("sent an invalid answer at its start")
            if not protections:
                _warn_of_no_protection()
            self.has_started = True
        with _file_with_descriptor(file, path) as sent, _connection_errors():
            self.connection.settimeout(MAX_ANSWER_SECONDS)
            socket.send_fds(self.connection, [LENGTH.pack(len(content))], [sent.fileno()])
            self.connection.sendall(content)
        while True:
            kind, answer = self._receive_answer(what)
            if kind in (END, WRONG):
                self.is_free = True
                if kind == WRONG:
                    raise PictureError(answer)
                return
            yield answer
            if kind == NUMBERS:
                with _connection_errors():
                    self.connection.sendall(NEXT)

    def _receive_answer(self, what: str) -> tuple[bytes, Any]:
        """Return the kind of the next answer to that reading, and its pixels, value or text."""
        deadline = time.monotonic() + MAX_ANSWER_SECONDS
        with _connection_errors(), invalid_answer_errors():
            kind, length = HEADER.unpack(self._receive(HEADER.size, deadline))
            is_long = kind == NUMBERS and what in LONG_READINGS
            if length > (MAX_LONG_NUMBERS_BYTES if is_long else MAX_ANSWER_BYTES[kind]):
                raise ValueError("this is too long for an answer")
            content = self._receive(length, deadline)
            if kind == PIXELS:
                return kind, content
            text = content.tobytes().decode()
            return kind, json.loads(text) if kind == NUMBERS else text

    def _receive(self, length: int, deadline: float) -> Any:
        """Return so many bytes, as an array."""
        content = np.empty(length, np.uint8)
        missing = content.data
        while missing:
            self.connection.settimeout(max(0.001, deadline - time.monotonic()))
            if not (count := self.connection.recv_into(missing)):
                raise EOFError
            missing = missing[count:]
        return content

    def is_running(self) -> bool:
        """Return whether the process is there. It is not waited for, so that its number stays."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            is_waited_for = self.process.returncode is not None
            return not is_waited_for and not os.waitid(os.P_PID, self.process.pid, options)
        return False

    def close(self) -> None:
        """End the process, and what it may have started."""
        if self.process.returncode is None:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)  # It leads a session of its own.
            self.process.wait()
        self.connection.close()


class Decoders:
    """The decoders of this process: those that are free, and places for those that are not."""

    def __init__(self) -> None:
        self._process, self._free = os.getpid(), list[Decoder]()
        self._header_places = threading.BoundedSemaphore(MAX_DECODERS)
        self._pixel_places = threading.BoundedSemaphore(MAX_DECODERS)
        atexit.register(self._close)

    @contextmanager
    def lend_decoder(self, what: str, name: str) -> Iterator[Decoder]:
        """Yield a decoder for that reading of a file of that name.

        Raises:
            AnswerError: if none can be started.
            PictureError: if none is free for too long.
        """
        place: AbstractContextManager[None] = nullcontext()
        if what != "frames":
            places = self._pixel_places if what in PIXEL_READINGS else self._header_places
            place = wait_for_turn(places, name)
        with place:
            decoder = self._take()
            try:
                yield decoder
            except AnswerError as error:
                decoder.is_free = False
                decoder.close()
                code = decoder.process.returncode
                error.is_timeout |= code == -signal.SIGXCPU
                LOGGER.warning("The decoder for %s %s (return code %d)", what, error, code)
                raise
            finally:
                if decoder.is_free and len(self._free) < MAX_IDLE_DECODERS:
                    self._free.append(decoder)
                else:
                    decoder.close()
                    if decoder.has_started:  # Otherwise another would not start, either.
                        with suppress(OSError):
                            self.warm_up()

    def warm_up(self) -> None:
        """Start a decoder if none is free."""
        if not self._free:
            self._free.append(Decoder())

    def _take(self) -> Decoder:
        """Return a decoder that is free, or a new one."""
        with suppress(IndexError):
            while not (decoder := self._free.pop()).is_running():
                decoder.close()
            return decoder
        try:
            return Decoder()
        except OSError as error:
            LOGGER.warning("No decoder can be started: %s", first_line(error))
            raise AnswerError("cannot be started") from error

    def _close(self) -> None:
        while self._free and os.getpid() == self._process:  # A fork has its parent's.
            self._free.pop().close()


@lru_cache
def _decoders(process: int) -> Decoders:
    """Return those of the process of that number: a fork must not answer for its parent."""
    return Decoders()


@lru_cache
def _warn_of_no_protection() -> None:
    LOGGER.warning(
        "Files are decoded in a process that may do what this one may: "
        "the kernel has neither Landlock nor seccomp"
    )


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Raise an `AnswerError` for what comes of a process that ends or does not answer."""
    try:
        yield
    except TimeoutError as error:
        text = f"took more than {MAX_ANSWER_SECONDS:g} seconds for an answer"
        raise AnswerError(text, is_timeout=True) from error
    except (EOFError, OSError) as error:
        raise AnswerError("ended early") from error


@contextmanager
def _file_with_descriptor(file: BinaryIO, path: PathOrFile) -> Iterator[BinaryIO]:
    """Yield that file; what is none of the system's, or somebody else's, as a copy in memory.

    Raises:
        PictureError: if it cannot be copied.
    """
    if isinstance(path, str | os.PathLike):
        yield file
        return
    with _memory_file() as copy:
        try:
            if (size := file.seek(0, os.SEEK_END)) > MAX_FILE_BYTES:  # It is refused by its size.
                copy.truncate(size)
            else:
                file.seek(0)
                shutil.copyfileobj(file, copy)
            copy.flush()
        except (OSError, ValueError) as error:
            raise PictureError(f"{name_of(path)} cannot be read: {first_line(error)}") from error
        yield copy


def _memory_file() -> BinaryIO:
    """Return an empty file in memory, or on disk where the system or Python has none there."""
    try:
        return open(os.memfd_create("picture"), "w+b")
    except (AttributeError, OSError):
        return cast(BinaryIO, tempfile.TemporaryFile())
