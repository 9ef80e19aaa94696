"""Connections of the server, bounded in number and in the time that they may wait or stand still.

Gradio starts uvicorn without bounds: half-sent requests stay open until no file can be opened, and
asyncio then writes some thousand lines of its log a second.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dream.page.addresses import AddressShares, public_address

try:
    import resource
except ImportError:  # Windows, which has no such limit.
    resource = None  # type: ignore[assignment]

# What a request's first line and headers may take, from the connection's or their own beginning.
HEADER_SECONDS = 10.0
# How long what is left of a body is read after its answer: a client that is still sending would
# lose the answer if the connection ended at once.
LINGER_SECONDS = 2.0
# How long whoever is answered may take nothing of the answer.
STALLED_SECONDS = 60.0
MAX_CONNECTIONS, MAX_OPEN_FILES = 4096, 65_536


class Connections:
    """The open connections of a server. Where there are too many, the one gives way that has
    waited longest without a request, else the one whose request began first: of those whose body
    is still on its way, if there are any.

    A public address has a quarter of them at most; a proxy's, from which everybody comes, all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._waiting: dict[Connection, None] = {}  # The longest first, as below.
        self._answered: dict[Connection, None] = {}
        self._shares = AddressShares(limit)

    def enter(self, connection: Connection) -> None:
        """Let it in, in the place of another or not; an address that has too many is cut."""
        if not self._shares.enter(connection.address):
            connection.transport.abort()
            return
        self._waiting[connection] = None
        if len(self._waiting) + len(self._answered) > self.limit:
            others = [*(each for each in self._answered if each.is_sending), *self._answered]
            longest = next(iter(self._waiting))
            if longest is connection and others:
                longest = others[0]
            self.leave(longest)
            longest.transport.abort()

    def wait(self, connection: Connection, is_answered: bool) -> None:
        """Note that from now on it waits for a request, or is answered one."""
        before, now = self._waiting, self._answered
        if not is_answered:
            before, now = now, before
        if connection in before:
            del before[connection]
            now[connection] = None

    def leave(self, connection: Connection) -> None:
        """Note that it has ended; twice is once."""
        for each in (self._waiting, self._answered):
            if connection in each:
                del each[connection]
                self._shares.leave(connection.address)


class Connection(H11Protocol):
    """One of a server's connections, by h11 even where httptools is there, which takes headers of
    any size; no websocket, which the page has no use for.
    """

    def __init__(self, connections: Connections, **about: Any) -> None:
        super().__init__(**about)
        self.others, self.address = connections, ""
        self._ends: asyncio.TimerHandle | None = None
        self._stalls: asyncio.TimerHandle | None = None

    @property
    def is_sending(self) -> bool:
        """Whether the body of its request is still on its way."""
        return self.cycle is not None and self.cycle.more_body

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.address = public_address(self.client[0]) if self.client else ""
        self._end_in(HEADER_SECONDS)
        self.others.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_in(None)
        self._stop_watching()
        self.others.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answered():
            self._end_in(None)
        elif self._ends is None:  # Of the next request there is not all yet.
            self._end_in(HEADER_SECONDS)
        self.others.wait(self, self._is_answered())

    def on_response_complete(self) -> None:
        is_whole = not self.is_sending
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_writing()
        if not (is_whole or self._is_answered()):
            self._end_in(LINGER_SECONDS)
        self.others.wait(self, self._is_answered())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self._stop_watching()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch_writing()

    def _watch_writing(self) -> None:
        """Cut the connection as soon as nothing was taken of what is written for a while."""
        self._stop_watching()
        if left := self.transport.get_write_buffer_size():
            self._stalls = self.loop.call_later(STALLED_SECONDS, self._cut_if_stalled, left)

    def _cut_if_stalled(self, left: int) -> None:
        if self.transport.get_write_buffer_size() < left:
            self._watch_writing()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._stalls:
            self._stalls.cancel()

    def _is_answered(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _end_in(self, seconds: float | None) -> None:
        if self._ends:
            self._ends.cancel()
        self._ends = None if seconds is None else self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        if not self._is_answered():
            self.transport.close()
            self._watch_writing()

    def _should_upgrade(self) -> bool:
        return False  # Without uvicorn's two lines in the log.


def raise_open_files() -> int:
    """Let this process open as many files as it may.

    Returns:
        How many those are, at most `MAX_OPEN_FILES`.
    """
    if resource is None:
        return MAX_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    may = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < may:
        # macOS allows fewer than it says, by `kern.maxfilesperproc`.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (may, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def bound_connections() -> None:
    """Have Gradio's server, whose uvicorn takes no settings from it, keep to these bounds."""
    files = raise_open_files()
    # So many may be accepted before one of them can be looked at; the other quarter is for files.
    about: dict[str, Any] = {"ws": "none", "backlog": min(512, files // 4)}
    about["http"] = partial(Connection, Connections(min(MAX_CONNECTIONS, files // 2)))
    uvicorn.Config = partial(uvicorn.Config, **about)  # type: ignore
