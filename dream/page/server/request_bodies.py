"""Read request bodies within limits of size, JSON values, depth, time and memory.

Gradio reads bodies of any size and shape, however long they take to arrive.
"""

from __future__ import annotations

import asyncio
import math
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from gradio import route_utils
from gradio.routes import file_upload_statuses
from gradio.utils import get_upload_folder
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException

from dream.page.blocks import MAX_PHOTOS, MAX_UPLOAD_BYTES
from dream.page.call_limits import SERVER_BUSY_MESSAGE
from dream.page.ip_addresses import AddressShares
from dream.page.server.responses import RequestError

# Images are uploaded. Only MCP clients may send them in the body, as base64; the MCP server itself
# accepts 4 MiB.
MAX_JSON_BYTES, MAX_MCP_BYTES = 2_000_000, 4_000_000
# The page sends a few hundred values; each takes at least 50 bytes once it is parsed.
MAX_JSON_VALUES, MAX_DEPTH = 10_000, 64
# Base64 has one escape in 64 bytes if a client escapes its slashes.
BYTES_PER_ESCAPE = 20
MAX_BODY_SECONDS = 20.0
# Uploads and MCP bodies may take longer at this rate or more, which slow phones reach.
MIN_BYTES_PER_SECOND = 10_000
# Limit for all arriving JSON bodies, and again for those being answered; MCP has two of its own.
MAX_TOTAL_BYTES = 64_000_000
# Smaller bodies, as nearly all of the page's, are always accepted: the number of connections limits
# them.
UNCOUNTED_BYTES = 50_000
# Each arriving file is open.
MAX_UPLOADS, MAX_FILES = 100, MAX_PHOTOS
UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{0,64}")
# A page may request the progress of an upload again after its connection broke.
KEPT_PROGRESS_SECONDS = 60.0
# The multipart framing around an uploaded file.
FORM_OVERHEAD_BYTES = 100_000
# Every upload is credited with this before it begins, so that a new one has an ordinary rate and is
# not cut off first.
INITIAL_RATE_SECONDS, INITIAL_RATE_BYTES = 5.0, 100_000

# A JSON string, ended by a quote or by the body, possibly within an escape.
JSON_STRING_PATTERN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

Receive = Callable[[], Awaitable[Any]]


def check_json(body: bytes, limit: int) -> int:
    """Return the number of values in a JSON body, of which `limit` is the limit in bytes.

    Raises:
        RequestError: If it has too many values or escapes, is nested too deep, or is not UTF-8.
    """
    if b"\0" in body:  # All JSON in UTF-16 and UTF-32 has one, no JSON in UTF-8.
        raise RequestError(415, "JSON must be in UTF-8")
    max_escapes = limit // BYTES_PER_ESCAPE
    if body.count(b"\\") > max_escapes:
        raise RequestError(413, f"the body may have at most {max_escapes:,} escapes")
    parts = JSON_STRING_PATTERN.split(body, 2 * MAX_JSON_VALUES)
    outside = b"".join(parts)
    values = 1 + sum(map(outside.count, (b",", b"[", b"{")))
    brackets = outside.translate(None, NOT_BRACKETS)
    if values > MAX_JSON_VALUES or max(len(brackets), len(parts)) > 2 * MAX_JSON_VALUES:
        raise RequestError(413, f"the body may have at most {MAX_JSON_VALUES:,} values")
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise RequestError(413, f"values may be nested at most {MAX_DEPTH} deep")
    return values


class RequestBody:
    """An arriving body.

    `size` is the number of bytes so far. It may take `MAX_BODY_SECONDS`, and longer at a rate of
    `bytes_per_second` or more.
    """

    def __init__(self, receive: Receive, limit: int, bytes_per_second: float = math.inf) -> None:
        self.limit, self.size, self.is_complete = limit, 0, False
        self._receive, self._bytes_per_second = receive, bytes_per_second
        self._begun = asyncio.get_running_loop().time()
        self._deadline: asyncio.Timeout | None = None  # Of the current read.
        self._is_cut_off = False

    @property
    def rate(self) -> float:
        """Bytes per second so far."""
        seconds = asyncio.get_running_loop().time() - self._begun
        return (self.size + INITIAL_RATE_BYTES) / (seconds + INITIAL_RATE_SECONDS)

    async def read(self) -> bytes:
        """Return the next bytes; raise RequestError if they are late, too many or cut off."""
        self.raise_if_cut_off()
        latest = self._begun + MAX_BODY_SECONDS + self.size / self._bytes_per_second
        try:
            async with asyncio.timeout_at(latest) as self._deadline:
                message = await self._receive()
        except TimeoutError as error:
            self.raise_if_cut_off()
            raise RequestError(408, "the request arrives too slowly; try again") from error
        finally:
            self._deadline = None
        if message["type"] == "http.disconnect":
            raise RequestError(400, "the request broke off")
        chunk: bytes = message.get("body", b"")
        self.size += len(chunk)
        self.is_complete = not message.get("more_body", False)
        if self.size > self.limit:
            raise too_large_error(self.limit)
        return chunk

    def cut_off(self) -> None:
        """End the body at once, because others need its share."""
        self._is_cut_off = True
        if self._deadline and not self._deadline.expired():
            self._deadline.reschedule(0)

    def raise_if_cut_off(self) -> None:
        """Raise RequestError if the body was cut off."""
        if self._is_cut_off:
            raise RequestError(503, SERVER_BUSY_MESSAGE)


class ByteBudget:
    """One limit in bytes for all arriving JSON bodies, and the same for those being answered.

    Bodies of at most `UNCOUNTED_BYTES` do not count.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._arriving: dict[RequestBody, int] = {}
        self._answering: dict[RequestBody, int] = {}

    def add(self, body: RequestBody) -> None:
        """Count a body's bytes so far.

        If all arriving bodies exceed the limit, the largest is cut off; of equal ones, the oldest.

        Raises:
            RequestError: If this body is cut off, or is complete and finds no room to be answered.
        """
        body.raise_if_cut_off()
        if body.size <= UNCOUNTED_BYTES:
            return
        self._arriving[body] = body.size
        while sum(self._arriving.values()) > self.limit:
            largest = max(self._arriving, key=self._arriving.__getitem__)
            self.remove(largest)
            largest.cut_off()
        body.raise_if_cut_off()
        if body.is_complete:
            self.remove(body)
            if sum(self._answering.values()) + body.size > self.limit:
                raise RequestError(503, SERVER_BUSY_MESSAGE)
            self._answering[body] = body.size

    def remove(self, body: RequestBody) -> None:
        """Stop counting a body."""
        self._arriving.pop(body, None)
        self._answering.pop(body, None)


class UploadSlots:
    """The arriving uploads, at most a quarter of them from one public address.

    If there are too many, the slowest is cut off.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._bodies: list[RequestBody] = []
        self._shares = AddressShares(limit)

    @contextmanager
    def hold(self, body: RequestBody, address: str) -> Iterator[None]:
        """Hold a slot for an upload; raise RequestError if its `public_address` has too many."""
        if not self._shares.enter(address):
            raise RequestError(503, SERVER_BUSY_MESSAGE)
        self._bodies.append(body)
        try:
            if len(self._bodies) > self.limit:
                slowest = min(self._bodies, key=lambda each: each.rate)
                self._bodies.remove(slowest)
                slowest.cut_off()
            yield
        finally:
            self._shares.leave(address)
            if body in self._bodies:
                self._bodies.remove(body)


def too_large_error(limit: int) -> RequestError:
    """Return the error for a body above the limit in bytes."""
    return RequestError(413, f"at most {limit / 1e6:g} MB may be sent here; upload images instead")


def check_length(scope: Any, limit: int) -> None:
    """Raise RequestError if the announced Content-Length exceeds the limit."""
    sizes = (value for name, value in scope["headers"] if name.lower() == b"content-length")
    if any(int(size) > limit for size in sizes):  # The server accepts digits only.
        raise too_large_error(limit)


def check_disk() -> None:
    """Raise RequestError if the disk may have no room for one more upload."""
    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(get_upload_folder()).free < 2 * MAX_UPLOAD_BYTES:
        raise RequestError(507, "the server's disk is full; try again in a few minutes")


@asynccontextmanager
async def read_json_body(
    scope: Any, receive: Receive, limit: int, budget: ByteBudget, bytes_per_second: float = math.inf
) -> AsyncIterator[bytes]:
    """Yield the body of a request, and count it in the budget while the request is answered.

    Raises:
        RequestError: If it exceeds a limit, is too slow or breaks off, or the budget has no room.
    """
    check_length(scope, limit)
    body, chunks = RequestBody(receive, limit, bytes_per_second), []
    try:
        while not body.is_complete:
            chunks.append(await body.read())
            budget.add(body)
        content = b"".join(chunks)
        chunks.clear()
        check_json(content, limit)
        yield content
    finally:
        budget.remove(body)


@contextmanager
def limit_upload(
    scope: Any, receive: Receive, slots: UploadSlots, address: str
) -> Iterator[Receive]:
    """Yield a `receive` that passes an upload to Gradio, limited to the bytes of one file.

    It raises `MultiPartException`, for which Gradio removes the files and answers 400 or 413.

    Raises:
        RequestError: If the public address has too many uploads, or the disk is full.
    """
    limit = MAX_UPLOAD_BYTES + FORM_OVERHEAD_BYTES
    check_disk()
    body = RequestBody(receive, limit, MIN_BYTES_PER_SECOND)

    async def receive_limited() -> Any:
        if body.is_complete:
            return await receive()
        try:
            check_length(scope, limit)
            chunk = await body.read()
        except RequestError as error:
            too_long = f"more than the maximum allowed size, {MAX_UPLOAD_BYTES:,} bytes"
            message = too_long if error.status == 413 else str(error)
            raise MultiPartException(message) from error
        return {"type": "http.request", "body": chunk, "more_body": not body.is_complete}

    with slots.hold(body, address):
        yield receive_limited


class UploadParser(route_utils.GradioMultiPartParser):
    """Gradio's parser with limits.

    Gradio's own opens up to a thousand files, keeps other fields in memory, and leaves files
    on disk that it does not pass on.
    """

    def on_headers_finished(self) -> None:
        """Refuse a part that is not a file, or one file too many."""
        self.max_files = MAX_FILES
        super().on_headers_finished()
        if self._current_part.file is None:
            raise MultiPartException("only files can be uploaded")

    async def parse(self) -> FormData:
        """Return the form, or raise MultiPartException; remove all files but those of "files"."""
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
_running_uploads: Counter[str] = Counter()


@contextmanager
def delete_progress_later(upload_id: str, is_upload: bool) -> Iterator[None]:
    """Count a running upload; delete its progress record some time after the request.

    Gradio keeps the record, and each ID that anybody requested, until the server ends.
    """
    _running_uploads[upload_id] += is_upload
    try:
        yield
    finally:
        _running_uploads[upload_id] -= is_upload
        if not _running_uploads[upload_id]:
            del _running_uploads[upload_id]
            loop = asyncio.get_running_loop()
            loop.call_later(KEPT_PROGRESS_SECONDS, _delete_progress, upload_id)


def _delete_progress(upload_id: str) -> None:
    if upload_id not in _running_uploads:
        file_upload_statuses.stop_tracking(upload_id)
        file_upload_statuses._signals.pop(upload_id, None)
