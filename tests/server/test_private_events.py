"""The page's private events survive nonsense: nothing breaks, hangs, leaks or fills up."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from PIL import Image

from dream import DreamError
from dream.page.blocks import ValidatedBlocks, upload_name
from dream.page.call_limits import (
    MAX_ADDRESS_CALLS,
    MAX_ADDRESS_WAITING,
    SLOW_THREADS,
    TOO_MANY_CALLS_MESSAGE,
)
from dream.page.widgets import components
from tests.support.api import JSON, open_stream, page_events, upload
from tests.support.corpus import encode
from tests.support.fuzz import fuzz_events
from tests.support.server import run_app

# Seconds that this file's own server dreams at most, and waits for a stopped video.
TIME_LIMIT, STOP_TIMEOUT = 2, 8.0
SERVER = (
    "import app; from dream.page import video_stream;"
    f"video_stream.STOP_TIMEOUT_SECONDS = {STOP_TIMEOUT}; app.main()"
)

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def own_address(log: Path) -> Iterator[str]:
    """Run a server for this file alone; yield its address."""
    about = {"SYSTEM": "", "SPACE_ID": "", "SPACE_HOST": "", "DREAM_TIME_LIMIT": str(TIME_LIMIT)}
    with run_app(log, "-c", SERVER, **about) as address:
        yield address


@pytest.fixture(scope="module")
def api(own_address: str) -> Iterator[httpx.Client]:
    unbounded = httpx.Limits(max_connections=None)
    base = f"{own_address}/gradio_api"
    with httpx.Client(base_url=base, timeout=60, limits=unbounded) as client:
        yield client


@pytest.fixture(scope="module")
def events(own_address: str) -> dict[str, Any]:
    return page_events(own_address)


def send_event(api: httpx.Client, name: str, **body: Any) -> tuple[int, Any]:
    """Post a body to an un-queued event, infinity as 1e400; return the status and message."""
    content = json.dumps({"data": [], "session_hash": "one", **body}).replace("Infinity", "1e400")
    answer = api.post(f"/run/{name}", content=content, headers=JSON)
    said = answer.json()
    return answer.status_code, said["error"] if "error" in said else said["detail"][0]["message"]


CHOSEN: list[Any] = [None, 3, "x", [], {}, {"index": 1}, {"index": [[1]], "value": 0}]
HUGE = {"index": [10**400, 0], "value": 1}


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("apply_preset", {"trigger_id": 1, "data": [None]}, "belongs to another component"),
        ("apply_preset", {"data": [None]}, "belongs to another component"),
        ("choose_layer", {"event_data": {"index": 99, "value": None}}, "no longer on the server"),
        ("selected_layer", {"event_data": {"index": 99, "value": 0}}, "no layer image 100"),
        ("show_dream", {"event_data": {"index": -1, "value": 0}, "data": [None]}, "does not exist"),
        ("_clicked_spot", {"event_data": {"index": 3, "value": None}}, "index does not exist"),
        ("_clicked_spot", {"event_data": HUGE}, "index does not exist"),
        ("apply_preset", {"fn_index": float("inf"), "data": [None]}, "fn_index: "),
        ("apply_pasted", {"session_hash": "\ud800", "data": ["{}", None]}, "half of a surrogate"),
        ("apply_pasted", {"data": ["\ud800", None]}, "half of a surrogate pair"),
        ("row_updates", {"data": [[], {}]}, "Network has a wrong type"),
        ("apply_file", {"data": [None, None]}, "Choose an image or JSON file first"),
        *(("selected_layer", {"event_data": each}, "index does not exist") for each in CHOSEN),
    ],
)
def test_nonsense_is_refused_in_one_line(
    name: str, body: Any, said: str, api: httpx.Client, events: dict[str, Any], log: Path
) -> None:
    event = events[name]
    about = {"fn_index": event["id"], "trigger_id": (event["targets"] or [[None]])[0][0]}
    if name == "apply_preset":
        about.pop("trigger_id")
    status, answer = send_event(api, name, **about | body)
    assert said in answer and answer.isprintable() and status in (422, 500)
    assert "Traceback" not in log.read_text()


def test_an_event_that_has_no_handler_and_a_dream_past_the_queue_are_refused(
    api: httpx.Client, own_address: str
) -> None:
    config = httpx.get(f"{own_address}/config").json()
    inert = next(each["id"] for each in config["dependencies"] if not each["backend_fn"])
    assert "in the browser only" in send_event(api, "x", fn_index=inert)[1]
    answer = api.post("/run/deep_dream", json={"data": [None] * 25})
    assert answer.status_code == 404


def test_a_fuzzer_finds_no_event_that_breaks(own_address: str, log: Path) -> None:
    trial = fuzz_events(own_address, 240, seed=7)
    assert trial.wrong == [] and trial.refused > 100 and trial.fine > 20
    assert httpx.get(own_address).status_code == 200
    assert "Traceback" not in log.read_text()


@pytest.mark.anyio
async def test_a_fault_of_ours_with_sane_input_is_not_taken_for_nonsense() -> None:
    """Gradio logs its traceback, where the operator sees it."""
    with ValidatedBlocks() as page:
        gr.Button().click(lambda: 1 / 0, None, None, **components.IMMEDIATE_EVENT)
    with pytest.raises(ZeroDivisionError):
        await page.process_api(0, [], session_hash="one")


def test_who_waits_for_stopped_videos_holds_no_thread_of_others(
    api: httpx.Client, events: dict[str, Any]
) -> None:
    """Sixty of one session and sixty sessions of one: forty took all threads."""
    path = Path(upload(api, ("film.mp4", b"none as yet")))
    parts_of_it = path.with_name(f".{path.name}.parts")
    parts_of_it.mkdir()
    about = {"fn_index": events["_stopped_video"]["id"], "data": [upload_name(str(path)), None]}
    said: list[str] = []

    def wait(session: str) -> None:
        answer = api.post("/run/_stopped_video", json={**about, "session_hash": session})
        if answer.status_code != 200:
            said.append(answer.json()["error"])

    sessions = ["mine"] * 60 + [uuid.uuid4().hex for _ in range(60)]
    threads = [threading.Thread(target=wait, args=[each], daemon=True) for each in sessions]
    for thread in threads:
        thread.start()
    time.sleep(1)
    start = time.monotonic()
    for session in ("other", "another"):
        answer = api.post("/run/presets", json={"data": [], "session_hash": session})
        assert answer.status_code == 200
    assert time.monotonic() - start < STOP_TIMEOUT / 2
    assert sum(thread.is_alive() for thread in threads) >= 60  # They are waiting.
    assert said == [TOO_MANY_CALLS_MESSAGE] * 20
    parts_of_it.rmdir()
    for thread in threads:
        thread.join()


def slow_page(slow: Callable[[], object], quick: dict[str, Any], **about: Any) -> ValidatedBlocks:
    """Return a page with a slow event (0) and one that does nothing (1)."""

    def wait() -> None:
        slow()

    with ValidatedBlocks() as page:
        gr.Button().click(wait, None, None, **about or components.SLOW_EVENT)
        gr.Button().click(lambda: None, None, None, **quick)
    return page


@pytest.mark.anyio
async def test_slow_looks_share_few_threads_and_hold_up_no_quick_one() -> None:
    opened = threading.Event()
    running: list[int] = []

    def slow() -> None:
        running.append(1)
        opened.wait(60)

    page = slow_page(slow, components.IMMEDIATE_EVENT)
    calls = [page.process_api(0, [], session_hash=str(each)) for each in range(20)]
    waiting = asyncio.gather(*calls)
    await asyncio.sleep(0.1)
    await page.process_api(1, [], session_hash="other")
    assert len(running) == SLOW_THREADS
    opened.set()
    await waiting
    assert len(running) == 20


@pytest.mark.anyio
async def test_a_full_line_of_zips_and_videos_is_not_that_of_a_page_that_opens() -> None:
    opened = threading.Event()
    page = slow_page(lambda: opened.wait(60), components.SLOW_EVENT, **components.HEAVY_EVENT)
    calls = [page.process_api(0, [], session_hash=str(each)) for each in range(20)]
    waiting = asyncio.gather(*calls)
    await asyncio.sleep(0.1)
    await page.process_api(1, [], session_hash="visitor")
    assert not waiting.done()
    opened.set()
    await waiting


@pytest.mark.anyio
async def test_a_stranger_of_many_sessions_leaves_threads_for_other_addresses() -> None:
    """A public address that no proxy hides may run a few calls and queue some more."""
    opened = threading.Event()
    stranger, visitor = (
        SimpleNamespace(client=SimpleNamespace(host=host)) for host in ("9.9.9.9", "8.8.8.8")
    )

    async def ask(event: int, session: str, request: Any) -> Any:
        return await page.process_api(event, [], session_hash=session, request=request)

    page = slow_page(lambda: opened.wait(60), components.SLOW_EVENT)
    calls = [ask(0, str(each), stranger) for each in range(40)]
    waiting = asyncio.gather(*calls, return_exceptions=True)
    await asyncio.sleep(0.1)
    await ask(1, "visitor", visitor)
    opened.set()
    refused = [str(each) for each in await waiting if isinstance(each, Exception)]
    expected = 40 - MAX_ADDRESS_CALLS - MAX_ADDRESS_WAITING
    assert refused == [repr(TOO_MANY_CALLS_MESSAGE)] * expected


def test_opening_the_page_reads_its_pictures_in_a_thread(
    api: httpx.Client, events: dict[str, Any]
) -> None:
    """While it reads a visit's large photo, the server answers others."""
    large = encode(Image.new("RGB", (5000, 5000), "red"), "PNG")
    settings = {"photo": upload_name(upload(api, ("photo.png", large))), "seed": 1}
    about = {"fn_index": events["open_page"]["id"], "data": [settings, None, None]}

    def open_page(number: int) -> int:
        answer = api.post("/run/open_page", json={**about, "session_hash": f"opening {number}"})
        return answer.status_code

    with ThreadPoolExecutor(2) as visitors:
        opening = [visitors.submit(open_page, number) for number in range(2)]
        time.sleep(0.1)
        api.post("/run/presets", json={"data": [], "session_hash": "other"})
        assert not all(each.done() for each in opening)
    assert [each.result() for each in opening] == [200] * 2


def test_another_session_neither_feeds_nor_stops_a_run_whose_id_it_knows(
    own_address: str, api: httpx.Client
) -> None:
    red, blue = (Image.new("RGB", (64, 48), each) for each in ("red", "blue"))
    ids: list[str] = []
    with open_stream(own_address, ids) as send:
        assert send(red)
        event, session = ids
        stolen = {"data": [None] * 5, "session_hash": "thief", "fn_index": 0, "event_id": event}
        seen = [api.post(door, json=stolen) for door in (f"/stream/{event}", "/cancel")]
        assert [each.status_code for each in seen] == [404, 404]
        assert api.post("/reset", json={"event_id": event}).status_code == 200  # It does nothing.
        assert send(blue)  # It continues.
        own = {**stolen, "session_hash": session}
        assert api.post("/cancel", json=own).status_code == 200
        with pytest.raises(DreamError):
            send(red)
