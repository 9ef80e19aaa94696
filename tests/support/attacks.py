"""Crowds and attackers that try a server's memory, time, connections and queue.

Meanwhile another visitor loads its page.
"""

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
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from tests.support.api import JSON, result_of, upload
from tests.support.corpus import encode
from tests.support.processes import find_server, peak_mb, reset_peak, resident_mb
from tests.support.trial import read_pixels

# An event of the page that is not queued and refuses the bombs' values.
UNQUEUED_EVENT = "/gradio_api/run/choose_1"
# A caller's image: its side, and the squares on each side.
SIDE, BLOCKS = 64, 8
# Enough of a dream to keep the queue busy, too little to hide the mark.
GENTLE_KNOBS = {"octaves": 1, "iterations": 4, "step": 0.2}


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
def _visit(address: str, *paths: str, pause: float) -> Iterator[list[float]]:
    """Load pages again and again until the block ends; yield the seconds of each, -1 for none."""
    seconds: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in paths:
                start = time.perf_counter()
                try:
                    urllib.request.urlopen(address + path, timeout=60).close()
                    seconds.append(time.perf_counter() - start)
                except OSError:
                    seconds.append(-1)
            over.wait(pause)

    visitor = threading.Thread(target=look)
    visitor.start()
    try:
        yield seconds
    finally:
        over.set()
        visitor.join()


@contextmanager
def _watch_server(address: str) -> Iterator[Attack]:
    """Measure an attack while another visitor loads the page ten times a second."""
    seen = Attack()
    process = find_server(address)
    if process:
        reset_peak(process)
        seen.before = resident_mb(process)
    start = time.perf_counter()
    with _visit(address, "", pause=0.1) as seconds:
        yield seen
    seen.waits = [each for each in seconds if each >= 0]
    if dead := len(seconds) - len(seen.waits):
        seen.statuses[-1] = dead
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


@dataclass
class Crowd:
    """Counts of the calls' outcomes, and the seconds that callers and the visitor waited."""

    answered: int = 0
    full: int = 0
    lost: int = 0
    mixed_up: int = 0
    look_seconds: list[float] = field(default_factory=list)
    wait_seconds: list[float] = field(default_factory=list)

    @property
    def slow_look(self) -> float:
        """The 95th percentile of the visitor's waits for a page, in seconds."""
        return float(np.percentile(self.look_seconds, 95))


def draw_mark(number: int) -> np.ndarray:
    """Return black and white squares (H, W, 3), different for each number."""
    squares = np.random.default_rng(number).integers(0, 2, (BLOCKS, BLOCKS), np.uint8) * 255
    return np.kron(squares, np.ones((SIDE // BLOCKS,) * 2, np.uint8))[..., None].repeat(3, 2)


def _call(api: httpx.Client, number: int) -> str:
    """Dream the mark of a number; return the name of the outcome in `Crowd`."""
    mark = draw_mark(number)
    photo = upload(api, (f"mark-{number}.png", encode(Image.fromarray(mark), "PNG")))
    knobs = {"image": {"path": photo}, "seed": number, **GENTLE_KNOBS}
    answer = api.post("/call/v2/deep_dream", json=knobs)
    if answer.status_code != 200:
        return "full" if answer.status_code == 503 else "lost"
    good, said = result_of(api, "deep_dream", answer.json()["event_id"])
    if not good:
        return "full" if "full" in str(said) else "lost"
    pixels = read_pixels(Path(said[0]["path"])).astype(float)
    error = np.abs(pixels - mark).mean() if pixels.shape == mark.shape else 255
    return "answered" if error < 16 and said[1]["seed"] == number else "mixed_up"


def call_in_crowd(address: str, callers: int, seconds: float = 0.0) -> Crowd:
    """Let `callers` call at once, or repeatedly for `seconds`, a second after each refusal."""
    result, counting = Crowd(), threading.Lock()
    until = time.monotonic() + seconds
    with httpx.Client(
        base_url=f"{address}/gradio_api", timeout=300, limits=httpx.Limits(max_connections=None)
    ) as api:

        def call_again(caller: int) -> None:
            number = caller
            while True:
                start = time.monotonic()
                outcome = _call(api, number)
                with counting:
                    setattr(result, outcome, getattr(result, outcome) + 1)
                if outcome == "answered":
                    result.wait_seconds.append(time.monotonic() - start)
                number += callers
                if outcome == "full":
                    time.sleep(min(1.0, seconds))
                if time.monotonic() >= until:
                    return

        paths = ("/", "/config", "/gradio_api/info")
        with _visit(address, *paths, pause=0.05) as waits, ThreadPoolExecutor(callers) as pool:
            list(pool.map(call_again, range(callers)))
    assert min(waits) >= 0, "a page did not load"
    result.look_seconds = waits
    return result
