"""Unread answers are bounded, and none evicts another visitor's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.routes import App
from starlette.middleware import Middleware

from dream.page import call_limits
from dream.page.blocks import ValidatedBlocks
from dream.page.server.middleware import RequestLimits
from dream.page.server.unread_answers import AnswerReaders

API = "/gradio_api"


class Visit:
    """A page in this process with presets and a dream that ends once `awake` is set."""

    def __init__(self) -> None:
        self.awake = asyncio.Event()

        async def dream() -> Any:
            yield "begun"
            await self.awake.wait()
            yield "dreamed"

        with ValidatedBlocks() as page:
            said, button = gr.Textbox(), gr.Button()
            button.click(dream, None, said, api_name="dream", concurrency_limit=None)
            button.click(lambda: "creatures", None, said, api_name="presets", queue=False)
        self.page: Any = page
        app = App.create_app(page, app_kwargs={"middleware": [Middleware(RequestLimits, page)]})
        transport = httpx.ASGITransport(app=app)
        self.api = httpx.AsyncClient(transport=transport, base_url=f"http://localhost{API}")

    async def begin(self, name: str, session: str | None = None) -> httpx.Response:
        sent: Any = {"data": [], "fn_index": 0 if name == "dream" else 1, "session_hash": session}
        door = "/queue/join" if session else f"/call/{name}"
        return await self.api.post(door, json=sent)

    async def read(self, event: str) -> str:
        """Return an event's last message."""
        return (await self.api.get(f"/call/x/{event}")).text

    def is_idle(self) -> bool:
        return not self.page._queue.event_ids_to_events


async def wait_until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


def run_visit(do: Callable[[Visit], Awaitable[None]]) -> None:
    async def run() -> None:
        visit = Visit()
        visit.page.run_startup_events()
        try:
            await do(visit)
        finally:
            visit.awake.set()
            await wait_until(visit.is_idle)
            visit.page._queue.close()

    asyncio.run(run())


def test_calls_of_strangers_take_no_dream_from_its_visitor() -> None:
    """Enough calls to evict the oldest of 2,000 sessions, which dreams."""

    async def flood(visit: Visit) -> None:
        event = (await visit.begin("dream", "visitor")).json()["event_id"]
        queue = visit.page._queue
        for name in map(str, range(2500)):
            queue.pending_messages_per_session[name] = asyncio.Queue()
            queue.pending_event_ids_session[name] = {name}
        assert (await visit.begin("presets")).status_code == 200
        assert len(queue.pending_messages_per_session) == call_limits.MAX_UNREAD
        visit.awake.set()
        said = await visit.read(event)
        assert 'event: complete\ndata: ["dreamed"]' in said

    run_visit(flood)


def test_the_oldest_answer_that_nobody_reads_goes_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_limits, "MAX_UNREAD", 10)

    async def flood(visit: Visit) -> None:
        dream = (await visit.begin("dream", "visitor")).json()["event_id"]
        events = [(await visit.begin("presets")).json()["event_id"]]
        for _ in range(30):
            await wait_until(lambda: len(visit.page._queue.event_ids_to_events) == 1)
            events.append((await visit.begin("presets")).json()["event_id"])
        queue = visit.page._queue
        assert len(queue.pending_messages_per_session) == 10
        assert set(queue.pending_event_ids_session) == {"visitor", *events[-9:]}
        assert "has been read" in await visit.read(events[0])
        assert "creatures" in await visit.read(events[-1])
        visit.awake.set()
        assert "dreamed" in await visit.read(dream)

    run_visit(flood)


def test_where_all_calls_are_under_way_one_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_limits, "MAX_UNREAD", 3)

    async def flood(visit: Visit) -> None:
        events = [(await visit.begin("dream")).json()["event_id"] for _ in range(3)]
        answer = await visit.begin("presets")
        assert answer.status_code == 503 and "wait to be read" in answer.json()["detail"]
        visit.awake.set()
        assert all(["dreamed" in await visit.read(event) for event in events])

    run_visit(flood)


def test_a_session_that_reads_nothing_is_refused_before_others_are() -> None:
    async def flood(visit: Visit) -> None:
        await visit.begin("dream", "greedy")
        statuses = [
            (await visit.begin("presets", "greedy")).status_code
            for _ in range(call_limits.MAX_SESSION_UNREAD)
        ]
        assert statuses == [200] * (call_limits.MAX_SESSION_UNREAD - 1) + [503]
        assert (await visit.begin("presets", "another")).status_code == 200

    run_visit(flood)


def test_a_name_of_a_session_is_no_way_to_fill_the_memory() -> None:
    async def name_it(visit: Visit) -> None:
        answer = await visit.begin("presets", "x" * 101)
        assert answer.status_code == 400
        assert answer.json()["detail"] == "a session_hash has at most 100 characters"
        sent = {"data": [], "session_hash": "x" * 101}
        answer = await visit.api.post("/run/presets", json=sent)
        assert "at most 100 characters" in answer.json()["error"]

    run_visit(name_it)


def test_calls_that_are_over_leave_few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_limits, "MAX_UNREAD", 10)

    async def flood(visit: Visit) -> None:
        readers = AnswerReaders(visit.page)
        for _ in range(50):
            answer = await visit.begin("presets")
            await wait_until(visit.is_idle)
            readers.end_unless_read(answer.content, {})
        await asyncio.sleep(0)
        assert sum(not each.done() for each in readers._waiting.values()) <= 20

    run_visit(flood)
