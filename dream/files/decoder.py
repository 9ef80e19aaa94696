"""Decoding of untrusted files: all of them pass here, in this process or in a sandboxed one.

`DREAM_DECODER` selects `here`, the default of the command line and Python, or `process`, which the
app uses on Linux. Decoder processes are reused. If one dies, takes too long or sends an invalid
answer, only its file fails, and another process replaces it. Answers are untrusted and never
unpickled: numbers and text are JSON of limited length, pixels are bytes of a size known in advance.
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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from dream.errors import DreamError, PictureError, first_line
from dream.files.decoder_process import END, ERROR, HEADER, JSON_VALUE, NEXT, PIXELS, read_file
from dream.files.limited_reader import (
    MAX_FILE_BYTES,
    Answers,
    PathOrFile,
    convert_read_errors,
    display_name,
    open_seekable,
)

LOGGER = logging.getLogger(__name__)
Value = TypeVar("Value")

# Memory that decoding an image or a video (with threads) may use in addition to the program.
IMAGE_MEMORY_BYTES, VIDEO_MEMORY_BYTES = 10**9, 2 * 10**9
# Limits of each answer in CPU time, of which `limit_reading` leaves 10 s to reading a file, and in
# wall time.
MAX_CPU_SECONDS, MAX_ANSWER_SECONDS = 30, 120.0
# JSON is long for texts and the frame times of a video. Pixels are at most 256 rows of 30,000, or a
# frame of up to 8192 x 8192.
MAX_ANSWER_BYTES = {JSON_VALUE: 8_000_000, PIXELS: 3 * 8192**2, ERROR: 8000, END: 0}
# Concurrent decoders for headers and texts, and again for pixels: a few slow images must not block
# every header. Each video has its own decoder; the device queue limits how many videos run.
MAX_DECODERS = 4
VIDEO_READERS = ("frames", "video")
MAX_WAIT_SECONDS = 60.0
# One for a video, one for images at the same time.
MAX_IDLE_DECODERS = 2
# Without torch, which takes seconds and memory, and starts threads that the decoder must not have.
START_CODE = "from dream.files.decoder_process import main; main()"
# The environment may contain secrets, so the decoder inherits only these.
INHERITED_VARIABLES = ("PATH", "PYTHONHOME", "LD_LIBRARY_PATH")
THREAD_VARIABLES = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class AnswerError(Exception):
    """A decoder ended, took too long or sent an invalid answer; the text is for the log."""

    def __init__(self, text: str, is_timeout: bool = False) -> None:
        super().__init__(text)
        self.is_timeout = is_timeout


@contextmanager
def read_in_decoder(reader: str, path: PathOrFile, **options: Any) -> Iterator[Iterator[Any]]:
    """Read a file by a reader of `READERS`, in this process or in a decoder.

    Yields:
        An iterator of the reader's answers: JSON-like values and arrays of bytes. A decoder sends
        flat arrays, and may send invalid values: use `next_answer`.

    Raises:
        PictureError: as the reader; or if the decoder ends early or takes too long.
        DreamError: if `DREAM_DECODER` is neither "here" nor "process".
    """
    name, use_process = display_name(path), uses_decoder_process()
    try:
        with convert_read_errors(name), open_seekable(path) as file:
            if not use_process:
                with closing(read_file(reader, file, name, options)) as answers:
                    yield answers
                return
            with (
                _decoder_pool(os.getpid()).lend_decoder(reader, name) as decoder,
                closing(decoder.read_answers(reader, file, path, options)) as answers,
            ):
                yield answers
                next(answers, None)  # Receive the end, so that the decoder is free again.
    except AnswerError as error:
        if not use_process:  # A bug of this program.
            raise
        kind = "H.264" if reader in VIDEO_READERS else "PNG"
        text = f"{name} cannot be read: its decoder ended early"
        if error.is_timeout:
            text = f"{name} takes too long to read"
        raise PictureError(f"{text}; save it as {kind} and try again") from error


def next_answer(answers: Iterator[Any], convert: Callable[[Any], Value]) -> Value:
    """Return the next answer of `read_in_decoder`, converted.

    Raises:
        AnswerError: if there is no next answer, or `convert` fails on it.
    """
    for answer in answers:
        with _convert_answer_errors():
            return convert(answer)
    raise AnswerError("ended its answers early")


def to_pixels(answer: Any, shape: tuple[int, ...]) -> Any:
    """Return an array of 8-bit RGB, reshaped; an answer that is none is an error."""
    if not isinstance(answer, np.ndarray):
        raise TypeError("pixels are an array")
    return answer.reshape(shape)


@contextmanager
def hold_lock(lock: threading.Lock | threading.BoundedSemaphore, name: str) -> Iterator[None]:
    """Hold a lock while the file `name` is read.

    Raises:
        PictureError: if the lock is not free within `MAX_WAIT_SECONDS`.
    """
    if not lock.acquire(timeout=MAX_WAIT_SECONDS):
        raise PictureError(f"{name} was not read: other files take too long; try again in a minute")
    try:
        yield
    finally:
        lock.release()


def uses_decoder_process() -> bool:
    """Return whether files are decoded in another process, which only Linux supports."""
    mode = os.environ.get("DREAM_DECODER") or "here"
    if mode not in ("here", "process"):
        raise DreamError(f'DREAM_DECODER must be "here" or "process", not {mode[:40]!r}')
    return mode == "process" and sys.platform == "linux"


def start_decoder() -> None:
    """Start a decoder process, if they are used, but do not wait for it; reading reports errors."""
    if uses_decoder_process():
        _decoder_pool(os.getpid()).warm_up()


class Decoder:
    """A decoder process; `is_free` while it waits for a file, `has_started` once it answered."""

    def __init__(self) -> None:
        self.connection, child_end = socket.socketpair()
        environment = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        root = str(Path(__file__).parents[2])
        folders = [each if os.path.isabs(each) else root for each in sys.path]  # Also the user's.
        environment["PYTHONPATH"] = os.pathsep.join(folders)
        with child_end:
            # As large as the system allows, so that a busy CPU decodes several frames at a time.
            child_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_ANSWER_BYTES[PIXELS])
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", START_CODE],
                cwd=root,
                stdin=child_end.fileno(),
                stdout=subprocess.DEVNULL,
                env=environment | THREAD_VARIABLES,
                start_new_session=True,  # Ctrl-C must reach only the parent; it ends the decoder.
            )
        self.is_free, self.has_started = True, False

    def read_answers(
        self, reader: str, file: BinaryIO, path: PathOrFile, options: dict[str, Any]
    ) -> Answers:
        """Yield the answers of a reader, as `read_in_decoder`.

        After pixels the process decodes ahead, as far as the socket's buffer allows; after a JSON
        value it waits until the next answer is requested.
        """
        self.is_free = False
        memory_bytes = VIDEO_MEMORY_BYTES if reader in VIDEO_READERS else IMAGE_MEMORY_BYTES
        limits = {"memory_bytes": memory_bytes, "cpu_seconds": MAX_CPU_SECONDS}
        request = {"reader": reader, "name": display_name(path), "options": options, **limits}
        content = json.dumps(request).encode()
        if not self.has_started:
            kind, protections = self._receive_answer()
            if kind != JSON_VALUE:
                raise AnswerError("sent an invalid answer at its start")
            if not protections:
                _warn_unprotected()
            self.has_started = True
        with _file_with_descriptor(file, path) as sent, _convert_answer_errors():
            self.connection.settimeout(MAX_ANSWER_SECONDS)
            header = HEADER.pack(JSON_VALUE, len(content))
            socket.send_fds(self.connection, [header], [sent.fileno()])
            self.connection.sendall(content)
        while True:
            kind, answer = self._receive_answer()
            if kind in (END, ERROR):
                self.is_free = True
                if kind == ERROR:
                    raise PictureError(answer)
                return
            yield answer
            if kind == JSON_VALUE:
                with _convert_answer_errors():
                    self.connection.sendall(NEXT)

    def _receive_answer(self) -> tuple[bytes, Any]:
        """Return the kind of the next answer, and its pixels, value or text."""
        deadline = time.monotonic() + MAX_ANSWER_SECONDS
        with _convert_answer_errors():
            kind, length = HEADER.unpack(self._receive(HEADER.size, deadline))
            if length > MAX_ANSWER_BYTES[kind]:
                raise ValueError("the answer is too long")
            content = self._receive(length, deadline)
            if kind == PIXELS:
                return kind, content
            text = content.tobytes().decode()
            return kind, json.loads(text) if kind == JSON_VALUE else text

    def _receive(self, length: int, deadline: float) -> Any:
        """Return the next `length` bytes as an array."""
        content = np.empty(length, np.uint8)
        remaining = content.data
        while remaining:
            self.connection.settimeout(max(0.001, deadline - time.monotonic()))
            if not (count := self.connection.recv_into(remaining)):
                raise EOFError
            remaining = remaining[count:]
        return content

    def is_running(self) -> bool:
        """Return whether the process runs, without reaping it, so that its ID is not reused."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            is_reaped = self.process.returncode is not None
            return not is_reaped and not os.waitid(os.P_PID, self.process.pid, options)
        return False

    def close(self) -> None:
        """Kill the process and any children, and close the socket."""
        if self.process.returncode is None:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)  # It leads its own process group.
            self.process.wait()
        self.connection.close()


class DecoderPool:
    """The free decoders of this process, and slots that limit how many are in use."""

    def __init__(self) -> None:
        self._process_id, self._free_decoders = os.getpid(), list[Decoder]()
        self._header_slots = threading.BoundedSemaphore(MAX_DECODERS)
        self._pixel_slots = threading.BoundedSemaphore(MAX_DECODERS)
        atexit.register(self._close)

    @contextmanager
    def lend_decoder(self, reader: str, name: str) -> Iterator[Decoder]:
        """Yield a decoder for a reader and a file; start one if none is free."""
        slot: AbstractContextManager[None] = nullcontext()
        if reader != "frames":
            slots = self._pixel_slots if reader == "pixels" else self._header_slots
            slot = hold_lock(slots, name)
        with slot:
            decoder = self._take_free_decoder()
            try:
                yield decoder
            except AnswerError as error:
                decoder.is_free = False
                decoder.close()
                code = decoder.process.returncode
                error.is_timeout |= code == -signal.SIGXCPU
                LOGGER.warning("The decoder for %s %s (return code %d)", reader, error, code)
                raise
            finally:
                if decoder.is_free and len(self._free_decoders) < MAX_IDLE_DECODERS:
                    self._free_decoders.append(decoder)
                else:
                    decoder.close()
                    if decoder.has_started:  # Otherwise another one would fail to start, too.
                        self.warm_up()

    def warm_up(self) -> None:
        """Start a decoder if none is free, and if that is possible."""
        if not self._free_decoders:
            with suppress(OSError):
                self._free_decoders.append(Decoder())

    def _take_free_decoder(self) -> Decoder:
        """Return a free decoder, or a new one."""
        with suppress(IndexError):
            while not (decoder := self._free_decoders.pop()).is_running():
                decoder.close()
            return decoder
        try:
            return Decoder()
        except OSError as error:
            LOGGER.warning("No decoder can be started: %s", first_line(error))
            raise AnswerError("cannot be started") from error

    def _close(self) -> None:
        while self._free_decoders and os.getpid() == self._process_id:  # Not a fork.
            self._free_decoders.pop().close()


@lru_cache
def _decoder_pool(process_id: int) -> DecoderPool:
    """Return the pool of a process: a fork must not use its parent's decoders."""
    return DecoderPool()


@lru_cache
def _warn_unprotected() -> None:
    LOGGER.warning(
        "Files are decoded in a process that has the same rights as this one: "
        "the kernel supports neither Landlock nor seccomp"
    )


@contextmanager
def _convert_answer_errors() -> Iterator[None]:
    """Raise an `AnswerError` if the decoder ends, does not answer, or its answer is invalid."""
    try:
        yield
    except TimeoutError as error:
        text = f"took more than {MAX_ANSWER_SECONDS:g} seconds for an answer"
        raise AnswerError(text, is_timeout=True) from error
    except (EOFError, OSError) as error:
        raise AnswerError("ended early") from error
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise AnswerError(f"sent an invalid answer ({type(error).__name__})") from error


@contextmanager
def _file_with_descriptor(file: BinaryIO, path: PathOrFile) -> Iterator[BinaryIO]:
    """Yield a file opened from a path, or a copy of a caller's, which may lack a descriptor."""
    if isinstance(path, str | os.PathLike):
        yield file
        return
    with tempfile.TemporaryFile() as copy:
        with convert_read_errors(display_name(path), OSError, ValueError):
            if (size := file.seek(0, os.SEEK_END)) > MAX_FILE_BYTES:
                copy.truncate(size)  # The reader refuses the file by its size alone.
            else:
                file.seek(0)
                shutil.copyfileobj(file, copy)
            copy.flush()
        yield copy
