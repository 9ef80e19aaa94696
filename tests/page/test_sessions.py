"""Sessions: who has one, how many are kept, and which is evicted first."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from gradio.routes import App
from starlette.testclient import TestClient

from dream import Engine
from dream.page import app
from dream.page.blocks import ValidatedBlocks
from dream.page.server import sessions
from dream.service.job_runner import JobRunner
from tests.support.page import build_in_loop

ROOM = 5


class Visits:
    """A page that stores its input, as visitors and API callers use it."""

    def __init__(self) -> None:
        with ValidatedBlocks() as self.page:
            kept, said, choice = gr.State(), gr.Textbox(), gr.Radio(["one"])
            pressed = gr.Button().click
            for name, handler, given, outputs in (
                ("keep", lambda said: said, said, kept),
                ("kept", lambda kept: kept, kept, said),
                ("show", lambda said: said, said, said),
                ("offer", lambda said: gr.update(choices=[said]), said, choice),
                ("choose", lambda choice: choice, choice, said),
            ):
                pressed(handler, given, outputs, api_name=name, queue=False)
        self.page.state_session_capacity = ROOM
        app = App.create_app(self.page)
        sessions.replace_session_store(app)
        self.client = TestClient(app)

    def call(self, name: str, visitor: str | None, given: str | None = None) -> Any:
        """Return the answer to a visitor, or to a call without a session."""
        sent = {"data": [given], "session_hash": visitor}
        answer = self.client.post(f"/gradio_api/run/{name}", json=sent)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"][0]

    @property
    def kept(self) -> list[str]:
        """Return the visitors with stored state, the latest last."""
        return list(self.page.state_holder.session_data)


@pytest.fixture(scope="module")
def shared_visits() -> Iterator[Visits]:
    visits = build_in_loop(Visits)
    with visits.client:
        yield visits


@pytest.fixture
def visits(shared_visits: Visits) -> Visits:
    """Return the shared visits without sessions."""
    shared_visits.page.state_holder.session_data.clear()
    return shared_visits


def test_calls_that_leave_nothing_push_out_no_visitor(visits: Visits) -> None:
    visits.call("keep", "visitor", "cat")
    assert visits.call("kept", None) is None
    for number in range(70):
        name = "kept" if number % 2 else "show"
        assert visits.call(name, f"stranger {number}") is None
    assert visits.kept == ["visitor"]
    assert visits.call("kept", "visitor") == "cat"


def test_visits_in_which_nothing_was_made_give_way_first(visits: Visits) -> None:
    visits.call("keep", "visitor", "cat")
    for number in range(2 * ROOM):
        visits.call("offer", f"looker {number}", "another")
    lookers = [f"looker {number}" for number in range(ROOM + 1, 2 * ROOM)]
    assert visits.kept == ["visitor", *lookers]
    # If all have results, the least recently used one is evicted.
    for number in range(ROOM - 1):
        visits.call("keep", f"other {number}", "dog")
    assert visits.call("kept", "visitor") == "cat"
    visits.call("keep", "last", "dog")
    assert visits.kept == ["other 1", "other 2", "other 3", "visitor", "last"]


def test_visits_in_which_much_is_kept_give_way_where_all_take_too_much(
    visits: Visits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_STATE_BYTES", 5_000)
    for visitor, size in (("mine", 2_000), ("large", 2_500), ("other", 1_000)):
        visits.call("keep", visitor, "x" * size)
    assert visits.kept == ["mine", "other"]
    assert visits.call("kept", "mine") == "x" * 2_000


def test_a_changed_component_is_kept_and_a_changed_value_is_not(visits: Visits) -> None:
    visits.call("show", "visitor", "hello")
    assert not visits.kept
    visits.call("offer", "visitor", "another")
    assert visits.call("choose", "visitor", "another") == "another"
    visits.call("offer", "visitor", "one")
    assert visits.call("choose", "visitor", "one") == "one"


def test_two_events_of_a_visit_at_a_time_use_one_session(visits: Visits) -> None:
    holder = visits.page.state_holder
    one, other = holder["visitor"], holder["visitor"]
    assert one is other and one is not holder["another"]
    del one, other
    assert not visits.kept


def test_a_visit_whose_line_was_cut_goes_on(visits: Visits) -> None:
    visits.call("keep", "visitor", "cat")
    visits.page.state_holder.session_data["visitor"].is_closed = True
    visits.call("kept", "visitor")
    assert not visits.page.state_holder.session_data["visitor"].is_closed


def test_a_session_of_the_page_is_small(engine: Engine) -> None:
    page = build_in_loop(lambda: app.build_page(JobRunner(engine)))
    holder = sessions.Sessions(page)
    changed = [block for block in page.blocks.values() if isinstance(block, gr.Dropdown)]
    tracemalloc.start()
    for number in range(10):
        for block in changed:
            holder[str(number)][block._id] = gr.Dropdown(["another"], render=False)
    kept = tracemalloc.get_traced_memory()[0] / 10
    tracemalloc.stop()
    assert len(changed) > 10 and len(holder.session_data) == 10
    assert kept < 100_000
