"""Limit the server's connections in number, and in the time that they may wait or stall.

Gradio starts uvicorn without limits: half-sent requests stay open until no file can be opened, and
then asyncio logs some thousand lines a second.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dream.page.ip_addresses import AddressShares, public_address

try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None  # type: ignore[assignment]

# Time for a request's first line and headers, from the start of the connection or of the request.
MAX_HEADER_SECONDS = 10.0
# Time for the rest of a body after its answer: a client that is still sending would lose the answer
# if the connection closed at once.
MAX_LINGER_SECONDS = 2.0
# Time in which a client may read nothing of its answer.
MAX_STALL_SECONDS = 60.0
# Time between two looks at a connection.
CHECK_SECONDS = 0.5
MAX_CONNECTIONS, MAX_OPEN_FILES = 4096, 65_536


class Connections:
    """The open connections of a server.

    If there are too many, one is cut: the one that has waited longest for a request; without any,
    the oldest whose body still arrives; without any, the one with the oldest request. A public
    address may have a quarter. A private one may have all, because it may be a proxy's.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._waiting: dict[Connection, None] = {}  # Oldest first, as below.
        self._answering: dict[Connection, None] = {}
        self._shares = AddressShares(limit)

    def enter(self, connection: Connection) -> None:
        """Add a connection and cut another above the limit; cut it if its address has too many."""
        if not self._shares.enter(connection.address):
            connection.transport.abort()
            return
        self._waiting[connection] = None
        if len(self._waiting) + len(self._answering) > self.limit:
            answering = [*(each for each in self._answering if each.is_sending), *self._answering]
            oldest = next(iter(self._waiting))
            if oldest is connection and answering:
                oldest = answering[0]
            self.leave(oldest)
            oldest.transport.abort()

    def update(self, connection: Connection, is_answering: bool) -> None:
        """Record that a connection now waits for a request, or is answering one."""
        before, now = self._waiting, self._answering
        if not is_answering:
            before, now = now, before
        if connection in before:
            del before[connection]
            now[connection] = None

    def leave(self, connection: Connection) -> None:
        """Remove a connection; a second call does nothing."""
        for each in (self._waiting, self._answering):
            if connection in each:
                del each[connection]
                self._shares.leave(connection.address)


class Connection(H11Protocol):
    """A connection of the server that enforces the limits.

    It uses h11 even if httptools is installed, which accepts headers of any size. The methods
    override those of asyncio's and uvicorn's protocols. The page needs no websockets.
    """

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self.pool, self.address = connections, ""
        self._deadline = math.inf  # For what is left of a request.
        self._unsent, self._read_time = 0, 0.0  # Unread bytes, and when their number last changed.

    @property
    def is_sending(self) -> bool:
        """Whether the body of its request is still arriving."""
        return self.cycle is not None and self.cycle.more_body

    def connection_made(self, transport: Any) -> None:
        """Set the deadline for the headers, and count the connection."""
        super().connection_made(transport)
        self.address = public_address(self.client[0]) if self.client else ""
        self._deadline = self.loop.time() + MAX_HEADER_SECONDS
        self._check()
        self.pool.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop looking at the connection."""
        self._next_check.cancel()
        self.pool.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Lift the deadline at a complete request; set it for an incomplete next one."""
        super().data_received(data)
        if self._is_answering():
            self._deadline = math.inf
        elif self._deadline == math.inf:  # The next request is incomplete.
            self._deadline = self.loop.time() + MAX_HEADER_SECONDS
        self.pool.update(self, self._is_answering())

    def on_response_complete(self) -> None:
        """Give a client that is still sending some time to read its answer."""
        is_received = not self.is_sending
        super().on_response_complete()
        if not (is_received or self._is_answering()):
            self._deadline = self.loop.time() + MAX_LINGER_SECONDS
        self.pool.update(self, self._is_answering())

    def _check(self) -> None:
        """Close the connection if its request is late; cut it if its client has stopped reading."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        # If the client reads nothing, flow control stops the writer, and the number stands still.
        if unsent != self._unsent or not unsent:
            self._unsent, self._read_time = unsent, now
        if now - self._read_time > MAX_STALL_SECONDS:
            self.transport.abort()
        elif now > self._deadline and not self._is_answering():
            self.transport.close()
        self._next_check = self.loop.call_later(CHECK_SECONDS, self._check)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _should_upgrade(self) -> bool:
        return False  # Ignored silently; uvicorn would log two lines.


def raise_open_files() -> int:
    """Raise this process's limit of open files to the hard limit; return it.

    It is at most `MAX_OPEN_FILES`.
    """
    if resource is None:
        return MAX_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        # macOS allows fewer than the hard limit, by `kern.maxfilesperproc`.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def limit_connections() -> None:
    """Make uvicorn use `Connection` and its limits, because Gradio passes it no settings."""
    files = raise_open_files()
    # asyncio may accept three whole backlogs before it closes what was cut; the rest is for files.
    options: dict[str, Any] = {"ws": "none", "backlog": min(512, files // 8)}
    options["http"] = partial(Connection, Connections(min(MAX_CONNECTIONS, files // 4)))
    uvicorn.Config = partial(uvicorn.Config, **options)  # type: ignore
