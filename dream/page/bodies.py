"""Bodies of requests, read within bounds of bytes, JSON values, depth, time and memory.

Gradio reads bodies of any size and shape, for as long as they take to come.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from gradio import route_utils
from starlette.formparsers import MultiPartException

from dream.errors import DreamError
from dream.page.blocks import FILE_BYTES

# Pictures come as uploads; only what speaks MCP may send them in the body, as base64, and its
# server takes 4 MiB.
JSON_BYTES, MCP_BYTES = 2_000_000, 4_000_000
# A page sends some hundred values; each takes 50 bytes and more once it is built.
MAX_VALUES, MAX_DEPTH = 10_000, 64
# One escape for so many bytes: base64 has one in 64 where a client escapes its slashes.
BYTES_PER_ESCAPE = 20
BODY_SECONDS = 20.0
# What an upload must bring beyond those seconds, so that 50 MB may take 17 minutes.
UPLOAD_BYTES_PER_SECOND = 50_000
# All bodies of JSON that are held at once, and as much again for MCP.
MAX_TOTAL_BYTES = 64_000_000
# Each file that is on its way is open.
MAX_UPLOADS, MAX_FILES = 100, 5
# What stands around a file that is uploaded.
FORM_BYTES = 100_000

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

    async def read(self) -> bytes:
        """Its next bytes.

        Raises:
            BodyError: if they do not come in time, are too many, or their room is needed.
        """
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
        """Have it end at once, for the sake of others."""
        self._gives_way = True
        if self._deadline and not self._deadline.expired():
            self._deadline.reschedule(0)

    def check_room(self) -> None:
        """Raise BodyError if it has to give way."""
        if self._gives_way:
            raise BodyError(503, "the server is busy; try again")


class Room:
    """What bodies may take together. Where that is not enough, the largest of those that are still
    on their way gives way, of equal ones the one that began first.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: dict[Body, int] = {}

    def take(self, body: Body, amount: int) -> None:
        """Give a body, which is on its way, that much room.

        Raises:
            BodyError: if it has to give way itself.
        """
        self._taken[body] = amount
        while sum(self._taken.values()) > self.limit:
            coming = [each for each in self._taken if each is body or not each.is_complete]
            largest = max(coming, key=self._taken.__getitem__)
            self.leave(largest)
            largest.give_way()
        body.check_room()

    def leave(self, body: Body) -> None:
        self._taken.pop(body, None)


def too_large(limit: int) -> BodyError:
    return BodyError(413, f"at most {limit / 1e6:g} MB may be sent here; upload pictures")


def check_length(scope: Any, limit: int) -> None:
    """Before a byte is read, raise BodyError if more are announced than may come."""
    sizes = (value for name, value in scope["headers"] if name.lower() == b"content-length")
    if any(int(size) > limit for size in sizes):  # Digits alone: the server has seen to it.
        raise too_large(limit)


@asynccontextmanager
async def json_body(scope: Any, receive: Receive, limit: int, room: Room) -> AsyncIterator[bytes]:
    """The body of a request, which takes room as long as the request is answered.

    Raises:
        BodyError: if it is too large in any way, too slow, broken off, or there is no room.
    """
    check_length(scope, limit)
    body, scan, chunks = Body(receive, limit), JsonScan(limit), []
    try:
        while not body.is_complete:
            chunks.append(await body.read())
            scan.add(chunks[-1])
            room.take(body, body.size)
        content = b"".join(chunks)
        chunks.clear()
        yield content
    finally:
        room.leave(body)


@contextmanager
def bounded_upload(scope: Any, receive: Receive, room: Room) -> Iterator[Receive]:
    """An upload as Gradio is to receive it: of one file's bytes at most, however many files there
    are in it. What is wrong with it is raised as what Gradio answers, and removes its files for.
    """
    limit = FILE_BYTES + FORM_BYTES
    body = Body(receive, limit, UPLOAD_BYTES_PER_SECOND)

    async def receive_within() -> Any:
        if body.is_complete:
            return await receive()
        try:
            check_length(scope, limit)
            room.take(body, 1)
            chunk = await body.read()
        except BodyError as error:
            said = f"more than the maximum allowed size, {FILE_BYTES:,} bytes"
            raise MultiPartException(said if error.status == 413 else str(error)) from error
        if body.is_complete:
            room.leave(body)
        return {"type": "http.request", "body": chunk, "more_body": not body.is_complete}

    try:
        yield receive_within
    finally:
        room.leave(body)


class UploadParser(route_utils.GradioMultiPartParser):
    """Gradio's, which would open a thousand files at once, and keep in memory what is none."""

    def on_headers_finished(self) -> None:
        self.max_files = MAX_FILES
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("only files can be uploaded")


route_utils.GradioMultiPartParser = UploadParser  # type: ignore[misc]
