"""Many callers at once, each with an image that carries its mark, while a visitor loads pages."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tests.support.api import result_of, upload
from tests.support.trial import read_pixels

SIDE, BLOCKS = 64, 8
# Enough of a dream to keep the queue busy, too little to hide the mark.
GENTLE_KNOBS = {"octaves": 1, "iterations": 4, "step": 0.2}


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
    file, mark = io.BytesIO(), draw_mark(number)
    Image.fromarray(mark).save(file, "PNG")
    photo = upload(api, (f"mark-{number}.png", file.getvalue()))
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
    result, over, counting = Crowd(), threading.Event(), threading.Lock()
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

        def look() -> None:
            while not over.is_set():
                for path in ("/", "/config", "/gradio_api/info"):
                    start = time.perf_counter()
                    httpx.get(f"{address}{path}", timeout=60).raise_for_status()
                    result.look_seconds.append(time.perf_counter() - start)
                over.wait(0.05)

        looker = threading.Thread(target=look)
        looker.start()
        try:
            with ThreadPoolExecutor(callers) as pool:
                list(pool.map(call_again, range(callers)))
        finally:
            over.set()
            looker.join()
    return result
