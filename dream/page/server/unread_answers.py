"""Track who reads the answers of events, and end the events that nobody reads.

Gradio keeps the messages of an event until somebody requests them, and the event keeps running.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from typing import Any

import gradio as gr
from gradio.server_messages import ProcessCompletedMessage
from gradio.utils import error_payload

from dream.errors import DreamError
from dream.page import call_limits
from dream.page.blocks import ValidatedBlocks
from dream.page.server.responses import RequestError

UNREAD_SECONDS = 60.0
UNREAD_KEPT_SECONDS = 600.0


class AnswerReaders:
    """The answer streams that are being read, by their session or event."""

    def __init__(self, page: ValidatedBlocks) -> None:
        self.page = page
        self._readers: Counter[str] = Counter()
        self._waiting: dict[str, asyncio.Task[None]] = {}  # By event.

    def _session(self, key: str, is_event: bool) -> str | None:
        """Return the session of a key (a session or an event); None if it has no messages."""
        queue = self.page._queue
        if is_event and (event := queue.event_ids_to_events.get(key)):
            key = str(event.session_hash)
        elif is_event:
            sessions = queue.pending_event_ids_session.items()
            key = next((name for name, events in sessions if key in events), key)
        return key if key in queue.pending_messages_per_session else None

    def belongs_to_other_session(self, event: Any, session: Any) -> bool:
        """Return whether another session started an event: only that one may feed or cancel it."""
        if not isinstance(event, str):
            return False
        running = self.page._queue.event_ids_to_events.get(event)
        return bool(running and running.session_hash != session)

    async def read(
        self, app: Any, key: str, is_event: bool, scope: Any, receive: Any, send: Any
    ) -> None:
        """Answer (ASGI) with the messages of a session or of an event, or raise RequestError."""
        session = self._session(key, is_event)
        if session is None:
            # Gradio would start a stream, break it off and log a traceback.
            raise RequestError(404, "there is no such call, or its answer has been read")
        self._readers[key] += 1
        self.page._queue.readers[session] += 1
        try:
            await app(scope, receive, send)
        except (KeyError, RuntimeError):
            # Gradio ends a stream this way if another reader took its session's last message.
            if session in self.page._queue.pending_messages_per_session:
                raise
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._readers[key] -= 1
            self.page._queue.readers -= Counter([session])  # Drops counts of zero.
            if not self._readers[key]:
                del self._readers[key]
                self._end_streams(key)
            self._forget(session)

    def _end_streams(self, key: str) -> None:
        """End a camera stream without readers.

        Gradio would wait for its next frame and keep its place in the queue.
        """
        for event in self.page._queue.event_ids_to_events.values():
            if event.streaming and key in (event.session_hash, event._id):
                event.closed = True
                event.signal.set()

    def end_unless_read(self, answer: bytes, payload: Any) -> None:
        """Schedule the end of an event that nobody reads; end it at once if its input is wrong.

        Args:
            answer: The response to the caller: JSON with an `event_id`, or a refusal.
            payload: The JSON of the request.
        """
        try:
            event: str = json.loads(answer)["event_id"]
        except (ValueError, KeyError, TypeError):
            return
        keys = {event, payload.get("session_hash")} if isinstance(payload, dict) else {event}
        refusal = self._find_refusal(event)
        ending = self._end(event, refusal) if refusal else self._end_if_unread(event, keys)
        self._waiting[event] = asyncio.create_task(ending)
        self._waiting[event].add_done_callback(lambda _: self._waiting.pop(event, None))
        if len(self._waiting) >= 2 * call_limits.MAX_UNREAD:
            unread = set().union(*self.page._queue.pending_event_ids_session.values())
            for each in self._waiting.keys() - unread:
                self._waiting[each].cancel()

    def _find_refusal(self, event: str) -> str:
        """Return what is wrong with a queued event's input, "" if it is valid or starts at once."""
        queue = self.page._queue
        queued = queue.event_ids_to_events.get(event)
        check = queued and self.page.checks.get(queued.fn._id)
        if not (queued and queued.data and check):
            return ""
        waiting = queue.event_queue_per_concurrency_id[queued.concurrency_id]
        limit = waiting.concurrency_limit or math.inf
        if queued not in waiting.queue or waiting.current_concurrency < limit:
            return ""
        try:
            check(*queued.data.data)
        except DreamError as error:
            return str(error)
        except Exception:  # The components report values of wrong types.
            pass
        return ""

    async def _end_if_unread(self, event: str, keys: set[Any]) -> None:
        """End an event that has no reader after a minute, and drop its messages later."""
        await asyncio.sleep(UNREAD_SECONDS)
        if keys & self._readers.keys():
            return
        await self._end(event, f"nobody requested the answer within {UNREAD_SECONDS:g} seconds")
        pending = self.page._queue.pending_event_ids_session
        unread = [key for key in keys if event in pending.get(key, ())]
        if unread:
            await asyncio.sleep(UNREAD_KEPT_SECONDS)
        for key in () if keys & self._readers.keys() else unread:
            pending.get(key, set()).discard(event)
            self._forget(key)

    def _forget(self, session: str) -> None:
        """Drop the messages of a session without pending events; Gradio would keep them."""
        if not self.page._queue.pending_event_ids_session.get(session):
            self.page._queue.forget_session(session)

    async def _end(self, event: str, message: str) -> None:
        """End an event with an error message, if it is still running."""
        queue = self.page._queue
        if event in queue.event_ids_to_events:
            output = error_payload(gr.Error(message), True)
            completed = ProcessCompletedMessage(output=output, success=False)
            queue.send_message(queue.event_ids_to_events[event], completed)
            await queue.clean_events(event_id=event)
            self._end_streams(event)
