"""Connections held open to keep other visitors out."""

from __future__ import annotations

import http.client
import math
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from dream.page.ip_addresses import public_address
from dream.page.server.connections import Connection, Connections, raise_open_files
from tests.conftest import EXAMPLES
from tests.support.api import begin, upload
from tests.support.attacks import hold_half_sent_requests
from tests.support.server import run_app
from tests.support.waiting import wait_until

SECONDS, STALLED, FILES = 3.0, 2.0, 256
# The app with few file descriptors, and less time for headers and stalled readers.
APP_SCRIPT = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES},) * 2)
import app
from dream.page.server import connections
connections.MAX_HEADER_SECONDS, connections.MAX_STALL_SECONDS = {SECONDS}, {STALLED}
app.main()
"""
LARGE_BYTES = 30_000_000  # More bytes than a system buffers for a stalled reader.
GET_REQUEST = b"GET /robots.txt HTTP/1.1\r\nhost: localhost\r\n"

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def hasty_app(log: Path) -> Iterator[str]:
    pytest.importorskip("resource")
    with run_app(log, "-c", APP_SCRIPT) as address:
        yield address


def connect(address: str) -> socket.socket:
    place = urlsplit(address)
    return socket.create_connection((place.hostname, place.port), timeout=30)


def test_half_sent_requests_keep_nobody_out(hasty_app: str, log: Path) -> None:
    wait_until(lambda: "launch()" in log.read_text(), 30)  # Gradio's last line.
    said = log.read_text()
    seen = hold_half_sent_requests(hasty_app, FILES + 50, seconds=4 * SECONDS)
    assert seen.held == 0 and seen.statuses == {0: FILES + 50}
    assert log.read_text() == said


def test_a_request_is_waited_for_a_while_only(hasty_app: str) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connect(hasty_app)) for _ in range(4)]
        starts = (b"", b"GET", GET_REQUEST, GET_REQUEST + b"\r\n" + GET_REQUEST)
        for line, start in zip(lines, starts, strict=True):
            line.sendall(start)
        begun = time.monotonic()
        for line in lines:
            while line.recv(1000):
                pass
    # After an answer uvicorn waits five seconds, unless the next request has begun.
    assert time.monotonic() - begun < SECONDS + 6


def test_headers_that_drip_are_cut_too(hasty_app: str) -> None:
    with connect(hasty_app) as line, pytest.raises(ConnectionError):  # noqa: PT012
        for _ in range(40):
            line.sendall(b"G")
            time.sleep(SECONDS / 10)


def test_who_comes_back_later_on_the_same_connection_is_answered(hasty_app: str) -> None:
    place = urlsplit(hasty_app)
    line = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    for wait in (SECONDS * 1.2, 0, 0):
        line.request("GET", "/robots.txt")
        first = line.sock
        assert line.getresponse().read() and line.sock is first
        time.sleep(wait)
    line.close()


def test_an_answer_that_takes_long_is_not_cut(hasty_app: str) -> None:
    with httpx.Client(base_url=f"{hasty_app}/gradio_api", timeout=60) as api:
        cat = {"path": upload(api, EXAMPLES / "cat.jpg")}
        event = begin(api, "deep_dream", {"image": cat, "iterations": 40})
        start = time.monotonic()
        with api.stream("GET", f"/call/deep_dream/{event}") as answer:
            for _ in answer.iter_lines():
                if time.monotonic() - start > SECONDS * 1.5:
                    break
            else:
                raise AssertionError("the answer broke off")


def test_who_takes_nothing_of_an_answer_is_cut(hasty_app: str) -> None:
    with httpx.Client(base_url=f"{hasty_app}/gradio_api", timeout=60) as api:
        path = upload(api, ("large.png", bytes(LARGE_BYTES)))
    with connect(hasty_app) as line:
        line.sendall(f"GET /gradio_api/file={path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        time.sleep(STALLED + 3)
        came = 0
        try:
            while chunk := line.recv(1_000_000):
                came += len(chunk)
        except OSError:
            pass
    assert 0 < came < LARGE_BYTES


class FakeTransport:
    """A connection's transport and clock; `left` are the unsent bytes at each look, 40 s apart."""

    def __init__(self, *left: int) -> None:
        self.left, self.now, self.is_cut = list(left), 1000, False

    def get_write_buffer_size(self) -> int:
        return self.left[0]

    def abort(self) -> None:
        self.is_cut = True

    def time(self) -> float:
        return self.now

    def call_later(self, _: float, check: Any) -> None:
        if len(self.left) > 1:
            del self.left[0]
            self.now += 40
            check()


@pytest.mark.parametrize(
    ("left", "is_cut"),
    [
        ([900, 600, 300, 300, 0], False),
        ([900, 600, 600, 600], True),
        ([900, 900, 900], True),
        ([0, 0, 0, 0], False),
    ],
)
def test_who_takes_an_answer_slowly_is_not_cut_while_anything_is_taken(
    left: list[int], is_cut: bool
) -> None:
    connection: Any = Connection.__new__(Connection)
    connection.transport = connection.loop = taken = FakeTransport(*left)
    connection._deadline, connection._unsent, connection._read_time = math.inf, 0, 0.0
    connection._check()
    assert taken.is_cut == is_cut


def test_an_upgrade_is_answered_as_any_request(hasty_app: str, log: Path) -> None:
    said = log.read_text()
    for _ in range(3):
        with connect(hasty_app) as line:
            line.sendall(GET_REQUEST + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
            assert line.recv(100).startswith(b"HTTP/1.1 200")
    assert log.read_text() == said


class FakeConnection:
    """A connection from an address, with what `Connections` reads of it."""

    def __init__(self, address: str) -> None:
        self.address, self.is_open, self.is_sending = public_address(address), True, False
        self.transport = SimpleNamespace(abort=lambda: setattr(self, "is_open", False))


def enter_all(connections: Connections, *addresses: str) -> list[Any]:
    lines: list[Any] = [FakeConnection(address) for address in addresses]
    for line in lines:
        connections.enter(line)
    return lines


def test_who_waits_longest_without_a_request_gives_way() -> None:
    connections = Connections(4)
    first, second, _, fourth = lines = enter_all(connections, *["127.0.0.1"] * 4)
    connections.update(first, True)
    connections.update(second, True)
    connections.update(second, False)  # It was answered, and waits again.
    (fifth,) = enter_all(connections, "127.0.0.1")
    assert [each.is_open for each in (*lines, fifth)] == [True, True, False, True, True]
    for line in (fourth, second, fifth):
        connections.update(line, True)
    (sixth,) = enter_all(connections, "127.0.0.1")  # All are answered; the first one waits longest.
    assert not first.is_open and sixth.is_open


def test_of_those_that_are_answered_one_that_still_sends_gives_way_first() -> None:
    connections = Connections(3)
    lines = enter_all(connections, *["127.0.0.1"] * 3)
    for line in lines:
        connections.update(line, True)
    lines[1].is_sending = True
    enter_all(connections, "127.0.0.1")
    assert [line.is_open for line in lines] == [True, False, True]


def test_a_system_that_allows_fewer_open_files_than_it_says_is_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    for error in (OSError(22, "Invalid argument"), ValueError("not allowed to raise it")):

        def refuse(*_: Any, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(resource, "setrlimit", refuse)
        assert raise_open_files() == 256
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)  # It is clamped silently.
    assert raise_open_files() == 256


def test_one_public_address_has_a_quarter_at_most() -> None:
    connections = Connections(8)
    (other,) = enter_all(connections, "93.184.215.14")
    mine = enter_all(connections, *(f"2606:2800:21f:cb07::{number}" for number in range(4)))
    assert [each.is_open for each in (other, *mine)] == [True, True, True, False, False]
    connections.leave(mine[0])
    connections.leave(mine[0])  # Twice counts once.
    assert all(each.is_open for each in enter_all(connections, "2606:2800:21f:cb07::9"))
    assert all(each.is_open for each in enter_all(connections, *["10.0.0.1"] * 5))
