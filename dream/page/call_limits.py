"""How much of the server calls may have: what does not dream waits for no dream, and holds none up.

Gradio runs un-queued calls in the threads that also make dreams and hand out files, so that forty
that take long would stop everybody; and has one bound for all that waits in its queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, to_thread
from gradio.queueing import Queue
from gradio.route_utils import get_fn

from dream.errors import DreamError

# The concurrency id of un-queued events that read or write files of visitors, and so may take long.
SLOW = "slow"
SLOW_THREADS, QUICK_THREADS = 4, 8
MAX_SLOW_WAITING = 100
# A page sends several at once where one choice changes many controls.
SESSION_CALLS, MAX_SESSION_WAITING = 8, 32
TOO_MANY = "too many calls at a time; wait until some have ended"

Result = TypeVar("Result")
_call_limiter: ContextVar[CapacityLimiter | None] = ContextVar("call_limiter", default=None)


class _SessionCalls:
    """The un-queued calls of one session: how many there are, and whose turn it is."""

    def __init__(self) -> None:
        self.count = 0
        self.turn = asyncio.Semaphore(SESSION_CALLS)


class CallLimits:
    """The limits of a page's un-queued calls."""

    def __init__(self) -> None:
        self._slow, self._quick = CapacityLimiter(SLOW_THREADS), CapacityLimiter(QUICK_THREADS)
        # A session is forgotten with its last call.
        self._sessions: WeakValueDictionary[str, _SessionCalls] = WeakValueDictionary()

    @asynccontextmanager
    async def admit(self, session: str | None, is_slow: bool) -> AsyncIterator[None]:
        """Wait for the turn of a call, whose threads are then limited by `thread_limiter`.

        Raises:
            DreamError: if too many wait already.
        """
        if is_slow and self._slow.statistics().tasks_waiting >= MAX_SLOW_WAITING:
            raise DreamError("the server is busy; try again in some seconds")
        _call_limiter.set(self._slow if is_slow else self._quick)
        # Who names no session has none to look into; the threads alone limit such calls.
        calls = self._sessions.setdefault(session, _SessionCalls()) if session else _SessionCalls()
        if calls.count >= SESSION_CALLS + MAX_SESSION_WAITING:
            raise DreamError(TOO_MANY)
        calls.count += 1
        try:
            async with calls.turn:
                yield
        finally:
            calls.count -= 1


def thread_limiter() -> CapacityLimiter | None:
    """Return what limits the threads of the call under way; None for those of queued events."""
    return _call_limiter.get()


async def run_in_thread(function: Callable[..., Result], *given: Any, **about: Any) -> Result:
    """Run what takes long in a thread, of which the call under way has so many."""
    return await to_thread.run_sync(partial(function, *given, **about), limiter=thread_limiter())


class Lines(Queue):
    """Gradio's queue with a bound for what dreams, and the same for all else that is sent there.

    Clients send each endpoint there, also one that need not wait.
    """

    @classmethod
    def like(cls, queue: Queue) -> Lines:
        """Return a new one with the settings of a queue."""
        lines = cls(
            live_updates=queue.live_updates,
            concurrency_count=queue.max_thread_count,
            update_intervals=queue.update_intervals,
            max_size=None,
            blocks=queue.blocks,
            default_concurrency_limit=queue.default_concurrency_limit,
        )
        lines.max_waiting = queue.max_size
        return lines

    max_waiting: int | None = None

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take an event, unless too many wait that dream, or do not, as it does."""
        if self.max_waiting is not None and body.fn_index is not None:
            dreams = get_fn(self.blocks, None, body).queue
            lines = self.event_queue_per_concurrency_id.values()
            waiting = sum(event.fn.queue == dreams for line in lines for event in line.queue)
            if waiting >= self.max_waiting:
                return False, f"Queue is full. At most {self.max_waiting} wait.", "queue_full"
        return await super().push(body, request, username)
