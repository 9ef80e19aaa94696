"""How much of the server calls may have: what does not dream waits for no dream, and holds none up.

Gradio runs un-queued calls in the threads that also make dreams and hand out files, so that forty
that take long would stop everybody; and has one bound for all that waits in its queue.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from anyio import CapacityLimiter, to_thread
from gradio.queueing import Queue
from gradio.route_utils import get_fn
from gradio.server_messages import CloseStreamMessage
from gradio.utils import LRUCache

from dream.errors import DreamError
from dream.page.refusal import SERVER_BUSY

# The concurrency ids of un-queued events that may take long: those that read pictures, as a
# page that opens and its estimates do, and those that take longer, with ZIPs and videos. Each kind
# has threads of its own.
SLOW, HEAVY = "slow", "heavy"
SLOW_THREADS, QUICK_THREADS = 4, 8
MAX_SLOW_WAITING = 100
# Of either kind, how many calls of a public address run, and how many more wait.
MAX_ADDRESS_CALLS, MAX_ADDRESS_WAITING = 2, 25
# A page sends several at once where one choice changes many controls.
MAX_SESSION_CALLS, MAX_SESSION_WAITING = 8, 32
# Answers that were not read, and those under way: of all, and of one session. Of the 80 calls that
# can be under way or wait, all sessions together may have no more.
MAX_UNREAD, MAX_SESSION_UNREAD = 2000, 25
# Gradio keeps the name that a caller gives to its session; its own clients take 36 characters.
MAX_SESSION_NAME = 100
TOO_MANY_CALLS = "too many calls at a time; wait until some have ended"

Result = TypeVar("Result")
_call_limiter: ContextVar[CapacityLimiter | None] = ContextVar("call_limiter", default=None)


class _Share:
    """The un-queued calls of one session, or of one address: how many there are, and whose turn it
    is.
    """

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.max_calls, self.count = max_running + max_waiting, 0
        self._turn = asyncio.Semaphore(max_running)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for the turn of a call.

        Raises:
            DreamError: if too many wait already.
        """
        if self.count >= self.max_calls:
            raise DreamError(TOO_MANY_CALLS)
        self.count += 1
        try:
            async with self._turn:
                yield
        finally:
            self.count -= 1


class CallLimits:
    """The limits of a page's un-queued calls."""

    def __init__(self) -> None:
        self._quick = CapacityLimiter(QUICK_THREADS)
        self._slow = {kind: CapacityLimiter(SLOW_THREADS) for kind in (SLOW, HEAVY)}
        # A share is forgotten with its last call.
        self._shares: WeakValueDictionary[tuple[str, str], _Share] = WeakValueDictionary()

    @asynccontextmanager
    async def admit(self, session: str | None, kind: Any, address: str) -> AsyncIterator[None]:
        """Wait for the turn of a call, whose threads are then limited by `thread_limiter`.

        Args:
            session: whose it is; the threads alone limit the calls of none.
            kind: the concurrency id of its event; quick is what is neither `SLOW` nor `HEAVY`.
            address: whose it is, as `public_address` returns it; "" for one that many may share.

        Raises:
            DreamError: if too many wait already.
        """
        limiter = self._slow.get(kind, self._quick)
        async with AsyncExitStack() as shares:
            if session:
                share = _Share(MAX_SESSION_CALLS, MAX_SESSION_WAITING)
                share = self._shares.setdefault(("session", session), share)
                await shares.enter_async_context(share.take())
            if limiter is not self._quick and address:
                share = _Share(MAX_ADDRESS_CALLS, MAX_ADDRESS_WAITING)
                share = self._shares.setdefault((kind, address), share)
                await shares.enter_async_context(share.take())
            waiting = limiter.statistics().tasks_waiting
            if limiter is not self._quick and waiting >= MAX_SLOW_WAITING:
                raise DreamError(SERVER_BUSY)
            _call_limiter.set(limiter)
            yield


def check_session(session: str | None) -> None:
    """Raise DreamError if the name of a session is longer than any client's."""
    if session and len(session) > MAX_SESSION_NAME:
        raise DreamError(f"a session_hash has at most {MAX_SESSION_NAME} characters")


def thread_limiter() -> CapacityLimiter | None:
    """Return what limits the threads of the call under way; None for those of queued events."""
    return _call_limiter.get()


async def run_in_thread(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Run what takes long in a thread, of which the call under way has so many."""
    return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=thread_limiter())


class CallQueue(Queue):
    """Gradio's queue with bounds: for what waits, apart for calls that dream and all others, which
    clients send there as well; and for the answers that wait to be read.

    Gradio keeps the answers of the latest 2,000 sessions, and drops the oldest even in mid-dream.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pending_messages_per_session = LRUCache(sys.maxsize)
        self.ANALYTICS_MAX_EVENTS = 1
        self.max_waiting: int | None = None
        self.readers: Counter[str] = Counter()  # Streams that read a session's answers.

    @classmethod
    def from_queue(cls, queue: Queue) -> CallQueue:
        """Return a new one with the settings of a queue."""
        call_queue = cls(
            live_updates=queue.live_updates,
            concurrency_count=queue.max_thread_count,
            update_intervals=queue.update_intervals,
            max_size=None,
            blocks=queue.blocks,
            default_concurrency_limit=queue.default_concurrency_limit,
        )
        call_queue.max_waiting = queue.max_size
        return call_queue

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take an event, unless too many wait that dream, or do not, as it does, or too many
        answers wait to be read.

        Returns:
            Whether it is taken, its id or why it is not, and Gradio's name for that.
        """
        try:
            check_session(body.session_hash)
        except DreamError as error:
            return False, str(error), "error"
        if self.max_waiting is not None and body.fn_index is not None:
            dreams = get_fn(self.blocks, None, body).queue
            queues = self.event_queue_per_concurrency_id.values()
            waiting = sum(event.fn.queue == dreams for line in queues for event in line.queue)
            if waiting >= self.max_waiting:
                return False, f"Queue is full. At most {self.max_waiting} wait.", "queue_full"
        if not self._has_room(body.session_hash):
            return False, "Queue is full. Too many answers wait to be read.", "queue_full"
        return await super().push(body, request, username)

    def compute_analytics_summary(self, records: Any) -> Any:
        """Return no summary of calls: it takes pandas after each, and nobody can ask for it."""
        return self.cached_event_analytics_summary

    def _has_room(self, session: str | None) -> bool:
        """Return whether one more answer of a session may wait to be read. Where there are too
        many, the oldest sessions of which nothing is under way lose theirs, unread ones first.
        """
        pending = self.pending_event_ids_session
        if len(pending.get(session or "", ())) >= MAX_SESSION_UNREAD:
            return False
        excess = sum(map(len, pending.values())) - MAX_UNREAD + 1
        if excess > 0:
            active = {event.session_hash for event in self.event_ids_to_events.values()}
            finished = [each for each in pending if each not in active]
            for each in sorted(finished, key=lambda name: self.readers[name] > 0):
                if excess > 0:
                    excess -= len(pending[each])
                    self.forget_session(each)
        return excess <= 0

    def forget_session(self, session: str) -> None:
        """Drop the answers of a session; a reader that waits for more is told that none comes."""
        self.pending_event_ids_session.pop(session, None)
        if messages := self.pending_messages_per_session.pop(session, None):
            messages.put_nowait(CloseStreamMessage())
