"""Bodies of requests, read within bounds of bytes, JSON values, depth, time and memory.

Gradio reads bodies of any size and shape, for as long as they take to come.
"""

from __future__ import annotations

import asyncio
import math
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from gradio import route_utils
from gradio.utils import get_upload_folder
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

from dream.errors import DreamError
from dream.page.addresses import AddressShares
from dream.page.blocks import MAX_UPLOAD_BYTES
from dream.page.refusal import SERVER_BUSY

# Pictures come as uploads; only what speaks MCP may send them in the body, as base64, and its
# server takes 4 MiB.
MAX_JSON_BYTES, MAX_MCP_BYTES = 2_000_000, 4_000_000
# A page sends some hundred values; each takes 50 bytes and more once it is built.
MAX_VALUES, MAX_DEPTH = 10_000, 64
# One escape for so many bytes: base64 has one in 64 where a client escapes its slashes.
BYTES_PER_ESCAPE = 20
BODY_SECONDS = 20.0
# What an upload, or what speaks MCP, must bring beyond those seconds: as slow phones do.
MIN_BYTES_PER_SECOND = 10_000
# All bodies of JSON that are on their way at once, as much again for those that are answered, and
# both again for MCP.
MAX_TOTAL_BYTES = 64_000_000
# Smaller ones, as nearly all are that a page sends, are always let in: of these connections are
# the bound.
SMALL_BYTES = 50_000
# Each file that is on its way is open.
MAX_UPLOADS, MAX_FILES = 100, 5
# What stands around a file that is uploaded.
FORM_OVERHEAD_BYTES = 100_000
# Every upload is taken to have brought that much in that time before it began: so one that begins
# is neither the first nor the last to give way.
RATE_SECONDS, RATE_BYTES = 5.0, 100_000

# A string of JSON, and how it ends: by a quote, or with the chunk, maybe amid an escape.
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("|\\?\Z)', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

Receive = Callable[[], Awaitable[Any]]


class BodyError(DreamError):
    """A body that is not taken, and the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class JsonScan:
    """What is in a body of JSON, counted while it comes, before anything is built of it."""

    def __init__(self, limit: int) -> None:
        self.max_escapes = limit // BYTES_PER_ESCAPE
        self.values, self.depth, self.escapes = 1, 0, 0
        self._unfinished = b""  # A quote where a string goes on in the next chunk.

    def add(self, chunk: bytes) -> None:
        """Count what the next bytes add.

        Raises:
            BodyError: as soon as there is too much of anything, or it is not in UTF-8.
        """
        if b"\0" in chunk:  # As all JSON in UTF-16 and UTF-32 has, and none in UTF-8.
            raise BodyError(415, "JSON is taken in UTF-8 only")
        self.escapes += chunk.count(b"\\")
        if self.escapes > self.max_escapes:
            raise BodyError(413, f"at most {self.max_escapes:,} escapes may be in what is sent")
        outside, *ends = STRING.split(self._unfinished + chunk, 2 * MAX_VALUES)
        self._unfinished = b'"' + ends[-2] if ends and ends[-2] != b'"' else b""
        outside = b"".join([outside, *ends[1::2]])
        self.values += sum(map(outside.count, (b",", b"[", b"{")))
        brackets = outside.translate(None, NOT_BRACKETS)
        if self.values > MAX_VALUES or max(len(brackets), len(ends) // 2) >= 2 * MAX_VALUES:
            raise BodyError(413, f"at most {MAX_VALUES:,} values may be in what is sent")
        for bracket in brackets:
            self.depth += 1 if bracket in b"[{" else -1
            if self.depth > MAX_DEPTH:
                raise BodyError(413, f"values may lie in one another {MAX_DEPTH} deep at most")


class Body:
    """A body on its way.

    `size` is what came of it in bytes; it may take `BODY_SECONDS`, and longer where it comes
    at `bytes_per_second` or more.
    """

    def __init__(self, receive: Receive, limit: int, bytes_per_second: float = math.inf) -> None:
        self.limit, self.size, self.is_complete = limit, 0, False
        self._receive, self._bytes_per_second = receive, bytes_per_second
        self._begun = asyncio.get_running_loop().time()
        self._deadline: asyncio.Timeout | None = None  # That of the read that is under way.
        self._gives_way = False

    @property
    def rate(self) -> float:
        """At how many bytes per second it comes."""
        seconds = asyncio.get_running_loop().time() - self._begun
        return (self.size + RATE_BYTES) / (seconds + RATE_SECONDS)

    async def read(self) -> bytes:
        """Return its next bytes.

        Raises:
            BodyError: if they do not come in time, are too many, or their room is needed.
        """
        self.check_room()
        latest = self._begun + BODY_SECONDS + self.size / self._bytes_per_second
        try:
            async with asyncio.timeout_at(latest) as self._deadline:
                message = await self._receive()
        except TimeoutError as error:
            self.check_room()
            raise BodyError(408, "what is sent comes too slowly; try again") from error
        finally:
            self._deadline = None
        if message["type"] == "http.disconnect":
            raise BodyError(400, "what was sent broke off")
        chunk: bytes = message.get("body", b"")
        self.size += len(chunk)
        self.is_complete = not message.get("more_body", False)
        if self.size > self.limit:
            raise too_large(self.limit)
        return chunk

    def give_way(self) -> None:
        """End it at once, for the sake of others."""
        self._gives_way = True
        if self._deadline and not self._deadline.expired():
            self._deadline.reschedule(0)

    def check_room(self) -> None:
        """Raise BodyError if it has to give way."""
        if self._gives_way:
            raise BodyError(503, SERVER_BUSY)


class ByteBudget:
    """How many bytes bodies of JSON may take together: those on their way, and as many those that
    are answered. Small ones count for nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._coming: dict[Body, int] = {}
        self._answered: dict[Body, int] = {}

    def add(self, body: Body) -> None:
        """Count what came of a body. Where that is too much with all others on their way, the
        largest gives way, of equal ones the one that began first.

        Raises:
            BodyError: if it has to give way itself, or is complete and too many are answered.
        """
        body.check_room()
        if body.size <= SMALL_BYTES:
            return
        self._coming[body] = body.size
        while sum(self._coming.values()) > self.limit:
            largest = max(self._coming, key=self._coming.__getitem__)
            self.remove(largest)
            largest.give_way()
        body.check_room()
        if body.is_complete:
            self.remove(body)
            if sum(self._answered.values()) + body.size > self.limit:
                raise BodyError(503, SERVER_BUSY)
            self._answered[body] = body.size

    def remove(self, body: Body) -> None:
        """Count a body no longer."""
        self._coming.pop(body, None)
        self._answered.pop(body, None)


class UploadSlots:
    """The uploads on their way, a quarter of them at most from one public address. Where there
    are too many, the slowest gives way.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._bodies: list[Body] = []
        self._shares = AddressShares(limit)

    @contextmanager
    def hold(self, body: Body, address: str) -> Iterator[None]:
        """Let an upload of that address in, as `public_address` returns it.

        Raises:
            BodyError: if the address has too many.
        """
        if not self._shares.enter(address):
            raise BodyError(503, SERVER_BUSY)
        self._bodies.append(body)
        try:
            if len(self._bodies) > self.limit:
                slowest = min(self._bodies, key=lambda each: each.rate)
                self._bodies.remove(slowest)
                slowest.give_way()
            yield
        finally:
            self._shares.leave(address)
            if body in self._bodies:
                self._bodies.remove(body)


def too_large(limit: int) -> BodyError:
    return BodyError(413, f"at most {limit / 1e6:g} MB may be sent here; upload pictures")


def check_length(scope: Any, limit: int) -> None:
    """Before a byte is read, raise BodyError if more are announced than may come."""
    sizes = (value for name, value in scope["headers"] if name.lower() == b"content-length")
    if any(int(size) > limit for size in sizes):  # Digits alone: the server has seen to it.
        raise too_large(limit)


def check_disk() -> None:
    """Raise BodyError if there may be no room for one more file of a visitor."""
    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(get_upload_folder()).free < 2 * MAX_UPLOAD_BYTES:
        raise BodyError(507, "the server's disk is full; try again in some minutes")


@asynccontextmanager
async def json_body(
    scope: Any, receive: Receive, limit: int, budget: ByteBudget, bytes_per_second: float = math.inf
) -> AsyncIterator[bytes]:
    """Yield the body of a request, which counts in the budget while the request is answered.

    Raises:
        BodyError: if it is too large in any way, too slow, broken off, or there is no room.
    """
    check_length(scope, limit)
    body, scan, chunks = Body(receive, limit, bytes_per_second), JsonScan(limit), []
    try:
        while not body.is_complete:
            chunks.append(await body.read())
            scan.add(chunks[-1])
            budget.add(body)
        content = b"".join(chunks)
        chunks.clear()
        yield content
    finally:
        budget.remove(body)


@contextmanager
def bounded_upload(
    scope: Any, receive: Receive, slots: UploadSlots, address: str
) -> Iterator[Receive]:
    """Yield what gives an upload to Gradio: one file's bytes at most, however many files there are
    in it. What is wrong with it is raised as what Gradio answers, and removes its files for.

    Raises:
        BodyError: if its public address has too many, or the disk is full.
    """
    limit = MAX_UPLOAD_BYTES + FORM_OVERHEAD_BYTES
    check_disk()
    body = Body(receive, limit, MIN_BYTES_PER_SECOND)

    async def receive_within() -> Any:
        if body.is_complete:
            return await receive()
        try:
            check_length(scope, limit)
            chunk = await body.read()
        except BodyError as error:
            said = f"more than the maximum allowed size, {MAX_UPLOAD_BYTES:,} bytes"
            raise MultiPartException(said if error.status == 413 else str(error)) from error
        return {"type": "http.request", "body": chunk, "more_body": not body.is_complete}

    with slots.hold(body, address):
        yield receive_within


class UploadParser(route_utils.GradioMultiPartParser):
    """Gradio's, which would open a thousand files at once, keep in memory what is none, and leave
    on disk what it does not hand on.
    """

    def on_headers_finished(self) -> None:
        """Refuse a part that is no file, or one file too many."""
        self.max_files = MAX_FILES
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("only files can be uploaded")

    async def parse(self) -> FormData:
        """Return the files, by the name "files"; all others are removed.

        Raises:
            MultiPartException: if it is no form, or there is too much of anything.
        """
        uploads: set[Any] = set()
        try:
            form = await super().parse()
            uploads = {each.file for each in form.getlist("files") if not isinstance(each, str)}
            return form
        except FormParserError as error:
            raise MultiPartException(f"the form cannot be read: {error}") from error
        finally:
            for file in self._files_to_close_on_error:
                if file not in uploads:
                    file.close()
                    Path(file.name).unlink(missing_ok=True)


route_utils.GradioMultiPartParser = UploadParser  # type: ignore[misc]
