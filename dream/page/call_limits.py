"""Limit concurrent calls, so that quick calls and renders do not block each other.

Gradio runs unqueued calls in the threads that also render and serve files, so forty slow calls
would block everybody. It also has a single size limit for its whole queue.
"""

from __future__ import annotations

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

# Concurrency ids of slow unqueued events: SLOW ones read images (opening the page, estimates),
# HEAVY ones read or write ZIPs and videos. Each kind has its own threads.
SLOW, HEAVY = "slow", "heavy"
SLOW_THREADS, QUICK_THREADS = 4, 8
MAX_SLOW_WAITING = 100
# Running and waiting calls of each kind per public address.
MAX_ADDRESS_CALLS, MAX_ADDRESS_WAITING = 2, 25
# A page sends several calls at once when one choice changes many controls.
MAX_SESSION_CALLS, MAX_SESSION_WAITING = 8, 32
# Limits on unread answers, of all sessions and of one, with those of calls that still run or wait.
MAX_UNREAD, MAX_SESSION_UNREAD = 2000, 25
# Gradio stores the session name that a caller sends; its own clients send 36 characters.
MAX_SESSION_NAME = 100
SERVER_BUSY_MESSAGE = "the server is busy; try again in a few seconds"
TOO_MANY_CALLS_MESSAGE = "too many calls at a time; wait until some have finished"

Result = TypeVar("Result")
# The thread limiter of the current call; None for queued events.
call_limiter: ContextVar[CapacityLimiter | None] = ContextVar("call_limiter", default=None)


class CallLimits:
    """Limits on the unqueued calls of a page."""

    def __init__(self) -> None:
        self._quick = CapacityLimiter(QUICK_THREADS)
        self._slow = {kind: CapacityLimiter(SLOW_THREADS) for kind in (SLOW, HEAVY)}
        # Of the running calls of one session or one address; deleted with the last of them.
        self._quotas: WeakValueDictionary[tuple[str, str], CapacityLimiter] = WeakValueDictionary()

    @asynccontextmanager
    async def admit(self, session: str | None, kind: Any, address: str) -> AsyncIterator[None]:
        """Wait for the turn of a call, then limit its threads by `call_limiter`.

        Args:
            session: its session; calls without one are limited by threads only.
            kind: the concurrency id of its event; all but `SLOW` and `HEAVY` are quick.
            address: from `public_address`; "" for an address that many clients may share.

        Raises:
            DreamError: if too many calls wait already.
        """
        # A limiter knows its borrowers by their tasks, so a call may enter each one once.
        limiter = self._slow.get(kind, self._quick)
        async with AsyncExitStack() as turns:
            if session:
                quota = CapacityLimiter(MAX_SESSION_CALLS)
                quota = self._quotas.setdefault(("session", session), quota)
                _check_waiting(quota, MAX_SESSION_WAITING, TOO_MANY_CALLS_MESSAGE)
                await turns.enter_async_context(quota)
            if limiter is not self._quick and address:
                quota = CapacityLimiter(MAX_ADDRESS_CALLS)
                quota = self._quotas.setdefault((kind, address), quota)
                _check_waiting(quota, MAX_ADDRESS_WAITING, TOO_MANY_CALLS_MESSAGE)
                await turns.enter_async_context(quota)
            if limiter is not self._quick:
                _check_waiting(limiter, MAX_SLOW_WAITING, SERVER_BUSY_MESSAGE)
            call_limiter.set(limiter)
            yield


def _check_waiting(limiter: CapacityLimiter, max_waiting: int, message: str) -> None:
    """Raise DreamError with a message if too many calls wait for a limiter."""
    if limiter.statistics().tasks_waiting >= max_waiting:
        raise DreamError(message)


def check_session(session: str | None) -> None:
    """Raise DreamError if the name of a session is too long."""
    if session and len(session) > MAX_SESSION_NAME:
        raise DreamError(f"a session_hash has at most {MAX_SESSION_NAME} characters")


async def run_in_thread(function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Run a slow function in a thread, within the thread limit of the current call."""
    return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=call_limiter.get())


class CallQueue(Queue):
    """Gradio's queue with limits on waiting calls (renders and others apart) and unread answers.

    Gradio itself keeps the answers of the latest 2,000 sessions and drops the oldest, even if its
    job still runs.
    """

    def __init__(self, queue: Queue) -> None:
        vars(self).update(vars(queue))  # The settings of `queue`, which has no events yet.
        self.max_waiting, self.max_size = queue.max_size, None
        self.pending_messages_per_session = LRUCache(sys.maxsize)
        self.ANALYTICS_MAX_EVENTS = 1
        self.readers: Counter[str] = Counter()  # Open answer streams per session.

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Accept an event, unless too many events of its kind or unread answers wait.

        Returns:
            Whether it is accepted, its id or the reason why not, and Gradio's name for the result.
        """
        try:
            check_session(body.session_hash)
        except DreamError as error:
            return False, str(error), "error"
        if self.max_waiting is not None and body.fn_index is not None:
            is_queued = get_fn(self.blocks, None, body).queue
            queues = self.event_queue_per_concurrency_id.values()
            waiting = sum(event.fn.queue == is_queued for each in queues for event in each.queue)
            if waiting >= self.max_waiting:
                reason = f"Queue is full ({self.max_waiting} calls wait). Try again later."
                return False, reason, "queue_full"
        if not self._has_room(body.session_hash):
            return False, "Queue is full. Too many answers wait to be read.", "queue_full"
        return await super().push(body, request, username)

    def compute_analytics_summary(self, records: Any) -> Any:
        """Skip the summary of calls, which is slow (pandas) and which no route serves."""
        return self.cached_event_analytics_summary

    def _has_room(self, session: str | None) -> bool:
        """Return whether one more answer of a session may wait to be read.

        To make room, drop the answers of the oldest sessions without running jobs, first of those
        that nobody reads.
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
        """Drop the answers of a session and end the stream of a waiting reader."""
        self.pending_event_ids_session.pop(session, None)
        if messages := self.pending_messages_per_session.pop(session, None):
            messages.put_nowait(CloseStreamMessage())
