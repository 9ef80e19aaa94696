"""Unread answers are bounded, and none evicts another visitor's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.routes import App
from starlette.middleware import Middleware

from dream.page import call_limits
from dream.page.blocks import ValidatedBlocks
from dream.page.server import unread_answers
from dream.page.server.middleware import RequestLimits
from dream.page.server.unread_answers import AnswerReaders
from tests.support.waiting import wait_until

pytestmark = pytest.mark.anyio


class Visit:
    """A page in this process with presets and dreams that end once `awake` is set."""

    def __init__(self) -> None:
        self.awake = asyncio.Event()
        self.steps = 0

        async def dream() -> Any:
            yield "begun"
            while not self.awake.is_set():
                await asyncio.sleep(0.01)
                self.steps += 1
                yield "dreaming"
            yield "dreamed"

        with ValidatedBlocks() as page:
            said, button = gr.Textbox(), gr.Button()
            button.click(dream, None, said, api_name="dream", concurrency_limit=None)
            button.click(lambda: "creatures", None, said, api_name="presets", queue=False)
            button.click(dream, None, said, api_name="alone", concurrency_limit=1)
        self.page: Any = page
        app = App.create_app(page, app_kwargs={"middleware": [Middleware(RequestLimits, page)]})
        transport = httpx.ASGITransport(app=app)
        base = "http://localhost/gradio_api"
        self.api = httpx.AsyncClient(transport=transport, base_url=base)

    async def begin(self, name: str, session: str | None = None) -> httpx.Response:
        number = ("dream", "presets", "alone").index(name)
        sent: Any = {"data": [], "fn_index": number, "session_hash": session}
        door = "/queue/join" if session else f"/call/{name}"
        return await self.api.post(door, json=sent)

    async def read(self, event: str) -> str:
        """Return an event's last message."""
        return (await self.api.get(f"/call/x/{event}")).text

    async def wait_until(self, is_so: Callable[[], object]) -> None:
        await asyncio.to_thread(wait_until, is_so)

    def is_idle(self) -> bool:
        return not self.page._queue.event_ids_to_events


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    visit = Visit()
    visit.page.run_startup_events()
    yield visit
    visit.awake.set()
    await visit.wait_until(visit.is_idle)
    visit.page._queue.close()


async def test_calls_of_strangers_take_no_dream_from_its_visitor(visit: Visit) -> None:
    """Enough calls to evict the oldest of 2,000 sessions, which dreams."""
    event = (await visit.begin("dream", "visitor")).json()["event_id"]
    queue = visit.page._queue
    for name in map(str, range(2500)):
        queue.pending_messages_per_session[name] = asyncio.Queue()
        queue.pending_event_ids_session[name] = {name}
    assert (await visit.begin("presets")).status_code == 200
    assert len(queue.pending_messages_per_session) == call_limits.MAX_UNREAD
    visit.awake.set()
    assert 'event: complete\ndata: ["dreamed"]' in await visit.read(event)


async def test_the_oldest_answer_that_nobody_reads_goes_where_there_are_too_many(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_limits, "MAX_UNREAD", 10)
    queue = visit.page._queue
    dream = (await visit.begin("dream", "visitor")).json()["event_id"]
    events = [(await visit.begin("presets")).json()["event_id"]]
    for _ in range(30):
        await visit.wait_until(lambda: len(queue.event_ids_to_events) == 1)
        events.append((await visit.begin("presets")).json()["event_id"])
    assert len(queue.pending_messages_per_session) == 10
    assert set(queue.pending_event_ids_session) == {"visitor", *events[-9:]}
    assert "has been read" in await visit.read(events[0])
    assert "creatures" in await visit.read(events[-1])
    visit.awake.set()
    assert "dreamed" in await visit.read(dream)


async def test_where_all_calls_are_under_way_one_more_is_refused(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_limits, "MAX_UNREAD", 3)
    events = [(await visit.begin("dream")).json()["event_id"] for _ in range(3)]
    answer = await visit.begin("presets")
    assert answer.status_code == 503 and "wait to be read" in answer.json()["detail"]
    visit.awake.set()
    assert all(["dreamed" in await visit.read(event) for event in events])


async def test_a_session_that_reads_nothing_is_refused_before_others_are(visit: Visit) -> None:
    most = call_limits.MAX_SESSION_UNREAD
    await visit.begin("dream", "greedy")
    statuses = [(await visit.begin("presets", "greedy")).status_code for _ in range(most)]
    assert statuses == [200] * (most - 1) + [503]
    assert (await visit.begin("presets", "another")).status_code == 200


async def test_a_name_of_a_session_is_no_way_to_fill_the_memory(visit: Visit) -> None:
    answer = await visit.begin("presets", "x" * 101)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "a session_hash has at most 100 characters"
    answer = await visit.api.post("/run/presets", json={"data": [], "session_hash": "x" * 101})
    assert "at most 100 characters" in answer.json()["error"]


async def test_presets_wait_for_no_dream(visit: Visit) -> None:
    """Events that do not dream are answered although the queue of dreams is full."""
    visit.page._queue.max_waiting = 3
    statuses = [(await visit.begin("alone")).status_code for _ in range(10)]
    assert statuses[:3] == [200] * 3 and statuses[-1] == 503
    for _ in range(5):
        event = (await visit.begin("presets")).json()["event_id"]
        assert "creatures" in await visit.read(event)
        # An answer is forgotten as it is read.
        assert event not in visit.page._queue.pending_event_ids_session


async def test_a_call_whose_answer_nobody_reads_is_given_up(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unread_answers.UNREAD_SECONDS == 60  # A phone may be unreachable for a while.
    monkeypatch.setattr(unread_answers, "UNREAD_SECONDS", 0.2)
    monkeypatch.setattr(unread_answers, "UNREAD_KEPT_SECONDS", 1.0)
    event = (await visit.begin("alone")).json()["event_id"]
    await visit.begin("alone")
    await visit.begin("presets", "busy")
    await visit.wait_until(visit.is_idle)
    visit.page._queue.pending_event_ids_session["busy"].add("another")  # It is still running.
    assert "nobody requested the answer within 0.2 seconds" in await visit.read(event)
    steps = visit.steps
    await asyncio.sleep(0.2)
    assert visit.steps <= steps + 1
    await visit.wait_until(lambda: set(visit.page._queue.pending_messages_per_session) == {"busy"})
    assert visit.page._queue.pending_event_ids_session == {"busy": {"another"}}


async def test_calls_that_are_over_leave_few_tasks(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_limits, "MAX_UNREAD", 10)
    readers = AnswerReaders(visit.page)
    for _ in range(50):
        answer = await visit.begin("presets")
        await visit.wait_until(visit.is_idle)
        readers.end_unless_read(answer.content, {})
    await asyncio.sleep(0)
    assert sum(not each.done() for each in readers._waiting.values()) <= 20
