"""A crowd that calls at once, each with a picture that carries its mark, while others look on."""

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

from tests.support.api import upload, wait_for_result
from tests.support.trial import read_pixels

MARK_SIDE, MARK_BLOCKS = 64, 8
# Enough of a dream to hold the line for a while, and too little to hide the mark.
GENTLE_KNOBS = {"octaves": 1, "iterations": 4, "step": 0.2}


@dataclass
class Crowd:
    """What became of the callers, and how long the page took to answer others meanwhile."""

    answered: int = 0
    full: int = 0
    lost: int = 0
    mixed_up: int = 0
    look_seconds: list[float] = field(default_factory=list)
    wait_seconds: list[float] = field(default_factory=list)

    @property
    def slow_look(self) -> float:
        """Seconds within which 95 of a hundred looks at the page were answered."""
        return float(np.percentile(self.look_seconds, 95))


def draw_mark(number: int) -> np.ndarray:
    """Squares of black and white (H, W, 3) that no other number has."""
    squares = (
        np.random.default_rng(number).integers(0, 2, (MARK_BLOCKS, MARK_BLOCKS), np.uint8) * 255
    )
    return np.kron(squares, np.ones((MARK_SIDE // MARK_BLOCKS,) * 2, np.uint8))[..., None].repeat(
        3, 2
    )


def call_in_crowd(address: str, callers: int, seconds: float = 0.0) -> Crowd:
    """So many callers at once, each of whom takes no for an answer; or calls again and again, a
    second after each no, for so many seconds.
    """
    came, over, counting = Crowd(), threading.Event(), threading.Lock()
    until = time.monotonic() + seconds
    with httpx.Client(
        base_url=f"{address}/gradio_api", timeout=300, limits=httpx.Limits(max_connections=None)
    ) as api:

        def call_again(caller: int) -> None:
            number = caller
            while True:
                start = time.monotonic()
                outcome = call(number)
                with counting:
                    setattr(came, outcome, getattr(came, outcome) + 1)
                if outcome == "answered":
                    came.wait_seconds.append(time.monotonic() - start)
                number += callers
                if outcome == "full":
                    time.sleep(min(1.0, seconds))
                if time.monotonic() >= until:
                    return

        def call(number: int) -> str:
            file = io.BytesIO()
            Image.fromarray(draw_mark(number)).save(file, "PNG")
            photo = upload(api, (f"mark-{number}.png", file.getvalue()))
            given = {"image": {"path": photo}, "seed": number, **GENTLE_KNOBS}
            answer = api.post("/call/v2/deep_dream", json=given)
            if answer.status_code == 503:
                return "full"
            if answer.status_code != 200:
                return "lost"
            good, said = wait_for_result(api, "deep_dream", answer.json()["event_id"])
            if not good:
                return "full" if "full" in str(said) else "lost"
            seen = read_pixels(Path(said[0]["path"])).astype(float)
            off = (
                np.abs(seen - draw_mark(number)).mean()
                if seen.shape == (MARK_SIDE, MARK_SIDE, 3)
                else 255
            )
            return "answered" if off < 16 and said[1]["seed"] == number else "mixed_up"

        def look() -> None:
            while not over.is_set():
                for path in ("/", "/config", "/gradio_api/info"):
                    start = time.perf_counter()
                    httpx.get(f"{address}{path}", timeout=60).raise_for_status()
                    came.look_seconds.append(time.perf_counter() - start)
                over.wait(0.05)

        looker = threading.Thread(target=look)
        looker.start()
        try:
            with ThreadPoolExecutor(callers) as pool:
                list(pool.map(call_again, range(callers)))
        finally:
            over.set()
            looker.join()
    return came
