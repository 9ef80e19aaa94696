"""Who reads the answers of events, and the end of those that nobody reads.

Gradio keeps the messages of an event until somebody asks for them, and its work goes on.
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
from dream.page.refusal import refuse

UNREAD_TIMEOUT = 60.0
UNREAD_KEPT_SECONDS = 600.0


class AnswerReaders:
    """The streams of answers that are being read, by the session or the event they are of."""

    def __init__(self, page: ValidatedBlocks) -> None:
        self.page = page
        self._readers: Counter[str] = Counter()
        self._waiting: dict[str, asyncio.Task[None]] = {}  # By their events.

    def _session(self, key: str, is_event: bool) -> str | None:
        """Return the session of that name, or of the event of that name, if it has messages to
        come or to be read; else None.
        """
        queue = self.page._queue
        if is_event and (event := queue.event_ids_to_events.get(key)):
            key = str(event.session_hash)
        elif is_event:
            sessions = queue.pending_event_ids_session.items()
            key = next((name for name, events in sessions if key in events), key)
        return key if key in queue.pending_messages_per_session else None

    def is_of_another(self, event: Any, session: Any) -> bool:
        """Whether an event is under way that another session began: none may feed or stop it."""
        begun = self.page._queue.event_ids_to_events.get(event) if isinstance(event, str) else None
        return bool(begun and begun.session_hash != session)

    async def read(
        self, app: Any, key: str, is_event: bool, scope: Any, receive: Any, send: Any
    ) -> None:
        """Answer (ASGI) with the stream of messages of a session, or of an event."""
        session = self._session(key, is_event)
        if session is None:
            # Gradio would begin a stream, break it off and fill a page of its log.
            await refuse(send, 404, "there is no such call, or its answer was read before")
            return
        self._readers[key] += 1
        self.page._queue.readers[session] += 1
        try:
            await app(scope, receive, send)
        except (KeyError, RuntimeError):
            # So Gradio ends a stream whose session is gone, as another reader had its last message.
            if session in self.page._queue.pending_messages_per_session:
                raise
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._readers[key] -= 1
            self.page._queue.readers -= Counter([session])  # Without those of which none is left.
            if not self._readers[key]:
                del self._readers[key]
                self._end_streams(key)
            self._forget(session)

    def _end_streams(self, key: str) -> None:
        """End a camera's stream that nobody looks at: Gradio would wait for its next frame, and
        keep its place in the line.
        """
        for event in self.page._queue.event_ids_to_events.values():
            if event.streaming and key in (event.session_hash, event._id):
                event.closed = True
                event.signal.set()

    def await_reader(self, answer: bytes, sent: Any) -> None:
        """Give up the event that was begun if nobody asks for its answer, or end it at once if what
        was sent is wrong.

        Args:
            answer: what its caller was answered: JSON with its `event_id`, or a refusal.
            sent: the JSON that was sent.
        """
        try:
            event: str = json.loads(answer)["event_id"]
        except (ValueError, KeyError, TypeError):
            return
        keys = {event, sent.get("session_hash")} if isinstance(sent, dict) else {event}
        refusal = self._find_refusal(event)
        work = self._end(event, refusal) if refusal else self._give_up(event, keys)
        self._waiting[event] = asyncio.create_task(work)
        self._waiting[event].add_done_callback(lambda _: self._waiting.pop(event, None))
        if len(self._waiting) >= 2 * call_limits.MAX_UNREAD:
            unread = set().union(*self.page._queue.pending_event_ids_session.values())
            for each in self._waiting.keys() - unread:
                self._waiting[each].cancel()

    def _find_refusal(self, event: str) -> str:
        """Return what is wrong with what was sent, where it would have to wait to be told so."""
        queue = self.page._queue
        sent = queue.event_ids_to_events.get(event)
        check = sent and self.page.checks.get(sent.fn._id)
        if not (sent and sent.data and check):
            return ""
        line = queue.event_queue_per_concurrency_id[sent.concurrency_id]
        if sent not in line.queue or line.current_concurrency < (
            line.concurrency_limit or math.inf
        ):
            return ""
        try:
            check(*sent.data.data)
        except DreamError as error:
            return str(error)
        except Exception:  # What fits no field is told by those that read the fields.
            pass
        return ""

    async def _give_up(self, event: str, keys: set[Any]) -> None:
        await asyncio.sleep(UNREAD_TIMEOUT)
        if keys & self._readers.keys():
            return
        await self._end(event, f"nobody asked for the answer within {UNREAD_TIMEOUT:g} seconds")
        pending = self.page._queue.pending_event_ids_session
        unread = [key for key in keys if event in pending.get(key, ())]
        if unread:
            await asyncio.sleep(UNREAD_KEPT_SECONDS)
        for key in () if keys & self._readers.keys() else unread:
            pending.get(key, set()).discard(event)
            self._forget(key)

    def _forget(self, session: str) -> None:
        """Drop the messages of a session that waits for none: Gradio would keep them for ever."""
        if not self.page._queue.pending_event_ids_session.get(session):
            self.page._queue.forget_session(session)

    async def _end(self, event: str, said: str) -> None:
        """Have it end with those words, if it has not ended yet."""
        queue = self.page._queue
        if event in queue.event_ids_to_events:
            output = error_payload(gr.Error(said), True)
            message = ProcessCompletedMessage(output=output, success=False)
            queue.send_message(queue.event_ids_to_events[event], message)
            await queue.clean_events(event_id=event)
            self._end_streams(event)
