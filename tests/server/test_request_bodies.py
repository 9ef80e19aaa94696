"""Bodies that would exhaust the server's memory or time, by their content or their pace."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from dream.page.server import request_bodies
from dream.page.server.middleware import RequestLimits
from dream.page.server.request_bodies import RequestBody
from dream.page.server.responses import RequestError
from tests.conftest import EXAMPLES
from tests.support.api import JSON, upload
from tests.support.attacks import UNQUEUED_EVENT, Attack, hold_half_sent_bodies, send_value_bombs
from tests.support.processes import find_server, resident_mb
from tests.support.server import run_app
from tests.support.waiting import wait_until

SECONDS, TOTAL_BYTES = 2.0, 6_000_000
# The app with less time and memory for bodies.
APP_SCRIPT = f"""
import app
from dream.page.server import request_bodies
request_bodies.MAX_BODY_SECONDS, request_bodies.MAX_TOTAL_BYTES = {SECONDS}, {TOTAL_BYTES}
app.main()
"""
ROUTES = [
    *("run/choose_1", "api/choose_1", "call/deep_dream", "call/v2/deep_dream", "queue/join"),
    *("stream/none", "stream/none/close", "cancel", "reset"),
]

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def hasty_app(log: Path) -> Iterator[str]:
    """Run an app that allows a body two seconds and all bodies 6 MB; yield its address."""
    with run_app(log, "-c", APP_SCRIPT, GRADIO_TEMP_DIR=str(log.parent)) as address:
        yield address


def nested_value(rng: random.Random, depth: int) -> Any:
    """Return a random JSON value whose strings hold JSON syntax."""
    words = ['"', "\\", '\\"', "[", "]", "{}", ",", ":", "é", "\u2028", "", "\\\\"]
    text = "".join(rng.choices(words, k=rng.randrange(6)))
    if depth == 0:
        return rng.choice([text, 1.5e3, None, True, -7])
    items = [nested_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return items if rng.random() < 0.5 else {f"{text}{i}": each for i, each in enumerate(items)}


def count_values(value: Any) -> tuple[int, int]:
    """Count the values, an empty list or object as two, and their depth."""
    if not isinstance(value, list | dict):
        return 1, 0
    inner = [count_values(each) for each in (value.values() if isinstance(value, dict) else value)]
    values, depths = [each[0] for each in inner], [each[1] for each in inner]
    return 1 + (sum(values) or 1), 1 + max(depths, default=0)


@pytest.mark.parametrize("seed", range(20))
def test_values_are_counted_whatever_their_strings_hold(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    value = nested_value(rng, 4)
    values, depth = count_values(value)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()
    monkeypatch.setattr(request_bodies, "MAX_DEPTH", depth)
    assert request_bodies.check_json(text, 10**6) == values
    monkeypatch.setattr(request_bodies, "MAX_DEPTH", depth - 1)
    if depth:
        with pytest.raises(RequestError, match="deep"):
            request_bodies.check_json(text, 10**6)


LISTS = '{"data": [' + "[]," * 20_000 + "0]}"
BOMBS = {
    "values": (LISTS.encode(), 413, "at most 10,000 values"),
    "keys": (b'{"data": {' + b'"":0,' * 20_000 + b'"":0}}', 413, "at most 10,000 values"),
    "strings": (b'""' * 100_000, 413, "at most 10,000 values"),
    "depth": (b'{"data": ' + b"[" * 100 + b"]" * 100 + b"}", 413, "64 deep"),
    "escapes": (rb'{"data": ["' + rb"\n" * 200_000 + b'"]}', 413, "at most 100,000 escapes"),
    "UTF-16": (LISTS.encode("utf-16-le"), 415, "must be in UTF-8"),
    "UTF-32": (LISTS.encode("utf-32"), 415, "must be in UTF-8"),
}


@pytest.mark.parametrize("route", ROUTES)
def test_what_would_be_built_to_too_much_is_refused_wherever_it_is_sent(
    route: str, address: str
) -> None:
    for bomb, status, message in BOMBS.values():
        answer = httpx.post(f"{address}/gradio_api/{route}", content=bomb, headers=JSON)
        assert answer.status_code == status
        assert message in answer.json()["detail"][0]["message"]


def test_what_a_page_sends_stays_far_below_what_is_taken(address: str) -> None:
    """The largest possible visit: 24 dreams, each with a recipe, and all controls."""
    config = httpx.get(f"{address}/config").json()
    most = max(len(each["inputs"]) for each in config["dependencies"])
    dream = [f"{'0' * 64}/dream.png", json.dumps({f"knob{i}": i for i in range(60)}), 1, 2]
    kept = {"shown": [dream] * 3, "dreams": [dream] * 24, "recipe": "{}", "photo": "x"}
    picture = {"path": "x", "url": "x", "size": 1, "orig_name": "x", "meta": {"_type": "x"}}
    sent = {"data": [kept, *[picture] * most], "event_data": {"value": [picture] * 24}}
    values = request_bodies.check_json(json.dumps(sent).encode(), request_bodies.MAX_JSON_BYTES)
    assert most > 20 and values < request_bodies.MAX_JSON_VALUES / 10


def test_bodies_that_are_refused_or_fail_leave_nothing_in_memory(address: str) -> None:
    process = find_server(address)
    if process is None:
        pytest.skip("no /proc to read a process's memory from")
    send_value_bombs(address, 2, values=3_000)
    before = resident_mb(process)
    assert send_value_bombs(address, 6).statuses == {413: 6}
    assert send_value_bombs(address, 6, values=3_000).statuses == {500: 6}
    # One of the six takes 41 MB once parsed.
    assert resident_mb(process) - before < 20


def test_mcp_is_not_read_where_it_is_not_served(address: str) -> None:
    seen = hold_half_sent_bodies(address, 2, 15_990_000, seconds=5, path="/gradio_api/mcp/")
    assert (seen.statuses, seen.held) == ({404: 2}, 0)


def test_a_body_that_is_announced_too_large_is_refused_before_a_byte_is_read(address: str) -> None:
    place = urlsplit(address)
    for path, size in (
        (UNQUEUED_EVENT, request_bodies.MAX_JSON_BYTES),
        ("/gradio_api/upload", 50_100_000),
    ):
        with socket.create_connection((place.hostname, place.port), timeout=5) as line:
            kind = "multipart/form-data; boundary=x"
            head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
            line.sendall(f"{head}content-length: {size + 1}\r\n\r\n".encode())
            assert line.recv(100).startswith(b"HTTP/1.1 413")
            # The connection ends, even if more would arrive.
            while line.recv(1000):
                pass


def test_a_body_of_no_announced_size_is_bounded_too(api: httpx.Client) -> None:
    chunks = iter([b" " * 500_000] * 5)
    answer = api.post("/queue/join", content=chunks, headers=JSON)
    assert answer.status_code == 413 and "at most 2 MB" in answer.text


def test_half_a_body_is_held_for_a_while_only(hasty_app: str) -> None:
    seen = hold_half_sent_bodies(hasty_app, 2, seconds=SECONDS + 8)
    assert (seen.statuses, seen.held) == ({408: 2}, 0)
    assert SECONDS <= seen.seconds < SECONDS + 8


def test_many_bodies_have_no_more_than_their_room_and_others_get_in(hasty_app: str) -> None:
    seen: list[Attack] = []
    attack = threading.Thread(
        target=lambda: seen.append(hold_half_sent_bodies(hasty_app, 6, seconds=SECONDS + 8))
    )
    attack.start()
    while attack.is_alive():
        answer = httpx.post(f"{hasty_app}/gradio_api/call/v2/presets", json={}, timeout=10)
        assert answer.status_code == 200
    assert seen[0].statuses == {503: 3, 408: 3}


def body_of(size: int, *, is_complete: bool = False, limit: int = 10**9) -> RequestBody:
    """Return a body of which `size` bytes have arrived and no more will."""

    async def receive() -> Any:
        await asyncio.Event().wait()

    body = request_bodies.RequestBody(receive, limit)
    body.size, body.is_complete = size, is_complete
    return body


def is_refused(body: request_bodies.RequestBody) -> bool:
    status = 0
    try:
        body.raise_if_cut_off()
    except RequestError as error:
        status = error.status
    assert status in (0, 503)
    return status == 503


@pytest.mark.anyio
async def test_bodies_that_are_answered_leave_room_to_those_on_their_way() -> None:
    budget = request_bodies.ByteBudget(1_000_000)
    answered = [body_of(200_000, is_complete=True) for _ in range(5)]
    for body in answered:
        budget.add(body)
    coming = body_of(600_000)
    budget.add(coming)
    assert not is_refused(coming)
    with pytest.raises(RequestError, match="busy"):
        budget.add(body_of(60_000, is_complete=True))
    budget.add(body_of(40_000, is_complete=True))  # Small bodies are always accepted.
    budget.remove(answered[0])
    budget.add(body_of(60_000, is_complete=True))


@pytest.mark.anyio
async def test_small_bodies_get_in_where_the_room_is_full_and_take_none() -> None:
    budget = request_bodies.ByteBudget(100_000)
    small = [body_of(request_bodies.UNCOUNTED_BYTES) for _ in range(20)]
    large = body_of(100_000)
    for body in (large, *small):
        budget.add(body)
    assert not any(map(is_refused, (large, *small)))


@pytest.mark.anyio
async def test_a_body_that_gave_way_takes_no_other_one_along() -> None:
    budget = request_bodies.ByteBudget(1_000_000)
    large, small, other = body_of(600_000), body_of(300_000), body_of(200_000)
    for body in (large, small, other):
        budget.add(body)
    assert is_refused(large)
    large.size = 700_000  # The bytes that arrived before it was cut.
    with pytest.raises(RequestError, match="busy"):
        budget.add(large)
    assert not is_refused(small) and not is_refused(other)


def partial_upload(size: int, seconds: float) -> request_bodies.RequestBody:
    body = body_of(size)
    body._begun -= seconds
    return body


@pytest.mark.anyio
async def test_the_slowest_upload_gives_way_and_one_that_begins_does_not() -> None:
    slots = request_bodies.UploadSlots(8)
    honest = [partial_upload(10_000_000, 100), partial_upload(60_000, 1)]
    drips = [partial_upload(12 * seconds, seconds) for seconds in range(20, 26)]
    with ExitStack() as stack:
        for body in (*honest, *drips):
            stack.enter_context(slots.hold(body, ""))
        assert not any(map(is_refused, (*honest, *drips)))
        new = [partial_upload(0, 0) for _ in drips]
        for body in new:
            stack.enter_context(slots.hold(body, ""))
        assert all(map(is_refused, drips)) and not any(map(is_refused, (*honest, *new)))
        # Bodies that send nothing may start one after the other.
        for _ in range(20):
            stack.enter_context(slots.hold(partial_upload(0, 0.1), ""))
        assert not any(map(is_refused, honest))


@pytest.mark.anyio
async def test_a_public_address_has_a_quarter_of_the_uploads() -> None:
    slots, stranger = request_bodies.UploadSlots(8), "93.184.215.14"
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(slots.hold(body_of(0), stranger))
        with pytest.raises(RequestError, match="busy"):
            stack.enter_context(slots.hold(body_of(0), stranger))
        # Behind a proxy all visitors share an address.
        for address in ("", "", "", "93.184.215.15"):
            stack.enter_context(slots.hold(body_of(0), address))
    stack.enter_context(slots.hold(body_of(0), stranger))


@pytest.mark.parametrize(("path", "status"), [("mcp/", 200), ("queue/join", 408)])
def test_what_speaks_mcp_may_take_longer_if_it_keeps_coming(
    path: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_bodies, "MAX_BODY_SECONDS", 0.2)
    answers: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert len((await receive())["body"]) == 5_001
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        await asyncio.sleep(0.1)
        left.pop()
        return {"type": "http.request", "body": b" " * 1000 if left else b"0", "more_body": left}

    async def send(message: Any) -> None:
        answers.append(message)

    left = list(range(6))
    door = RequestLimits(app, SimpleNamespace(mcp_server=True))  # type: ignore[arg-type]
    scope = {"type": "http", "method": "POST", "path": f"/gradio_api/{path}", "headers": []}
    asyncio.run(door(scope, receive, send))
    assert answers[0]["status"] == status


def multipart(name: str, content: bytes, *, files: int = 1) -> tuple[dict[str, str], bytes]:
    parts = b"".join(
        b"--x\r\ncontent-disposition: form-data; %s\r\n\r\n%s\r\n" % (name.encode(), content)
        for _ in range(files)
    )
    return {"content-type": "multipart/form-data; boundary=x"}, parts + b"--x--\r\n"


FILE = 'name="files"; filename="cat.jpg"'


def test_an_upload_may_take_longer_if_it_keeps_coming(hasty_app: str) -> None:
    headers, form = multipart(FILE, (EXAMPLES / "cat.jpg").read_bytes() + bytes(200_000))

    def drip() -> Iterator[bytes]:
        for start in range(0, len(form), len(form) // 8 + 1):
            yield form[start : start + len(form) // 8 + 1]
            time.sleep(SECONDS / 6)

    answer = httpx.post(
        f"{hasty_app}/gradio_api/upload", content=drip(), headers=headers, timeout=20
    )
    assert answer.status_code == 200 and answer.elapsed.total_seconds() > SECONDS


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        (FILE, request_bodies.MAX_FILES + 1, "Too many files"),
        ('name="files"', 1, "only files can be"),
    ],
)
def test_an_upload_holds_a_few_files_and_nothing_else(
    name: str, files: int, message: str, address: str
) -> None:
    headers, form = multipart(name, b"content", files=files)
    answer = httpx.post(f"{address}/gradio_api/upload", content=form, headers=headers)
    assert answer.status_code == 400 and message in answer.text


def test_a_form_that_cannot_be_read_is_said_in_a_line(address: str) -> None:
    headers = {"content-type": f"multipart/form-data; boundary={'x' * 300}"}
    answer = httpx.post(f"{address}/gradio_api/upload", content=b"--x", headers=headers)
    assert answer.status_code == 400 and "the form cannot be read" in answer.text


def test_of_an_upload_nothing_is_left_that_is_not_handed_on(hasty_app: str) -> None:
    with httpx.Client(base_url=f"{hasty_app}/gradio_api") as api:
        folder = Path(upload(api, EXAMPLES / "cat.jpg")).parents[1]
        before = set(folder.rglob("*"))
        headers, form = multipart(FILE, bytes(5_000))
        endless = api.post("/upload", content=form[:-8], headers=headers)
        assert endless.status_code == 200 and endless.json() == []
        headers, form = multipart('name="other"; filename="cat.jpg"', bytes(5_000))
        assert api.post("/upload", content=form, headers=headers).json() == []
    assert set(folder.rglob("*")) == before


def test_an_upload_that_stops_or_breaks_off_leaves_neither_a_file_nor_a_line(
    hasty_app: str, log: Path
) -> None:
    place = urlsplit(hasty_app)
    with httpx.Client(base_url=f"{hasty_app}/gradio_api") as api:
        folder = Path(upload(api, EXAMPLES / "cat.jpg")).parents[1]
    before, said = set(folder.rglob("*")), log.read_text()
    headers, form = multipart(FILE, bytes(500_000))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"host: localhost\r\n{head}content-length: {len(form)}\r\n\r\n"
    start = f"POST /gradio_api/upload HTTP/1.1\r\n{head}"
    for stays in (False, True):
        with socket.create_connection((place.hostname, place.port), timeout=SECONDS + 30) as line:
            line.sendall(start.encode() + form[:50_000])
            wait_until(lambda: set(folder.rglob("*")) != before)  # It has started.
            assert not stays or line.recv(100).startswith(b"HTTP/1.1 400")
        wait_until(lambda: set(folder.rglob("*")) == before, 10)
    assert log.read_text() == said


def test_a_call_names_a_few_links_at_most(address: str) -> None:
    images = [{"path": f"https://example.invalid/{number}.png"} for number in range(9)]
    answer = httpx.post(f"{address}/gradio_api/call/v2/deep_dream", json={"image": images})
    assert answer.status_code == 422 and "at most 8 links, not 9" in answer.text
