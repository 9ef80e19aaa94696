"""The line before the device: whose turn it is, and a place that is kept while frames come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_WORDS = 0.4
# A place is given up when no frame came for so many seconds: who was here has gone.
GONE = 0.5
# For how long one may be here while others wait.
MINUTE = 60.0


class Line:
    """So many have their turn together; `due` is when the next one may be free, as is known."""

    def __init__(self, at_a_time: int) -> None:
        self.due = 0.0
        self._free = threading.Semaphore(at_a_time)
        self._waiting: set[object] = set()

    @property
    def wanted(self) -> bool:
        """Whether others wait."""
        return bool(self._waiting)

    @property
    def left(self) -> float:
        """In how many seconds it may be one's turn."""
        return max(self.due - time.monotonic(), 0)

    def take(self, patience: float = SECONDS_BETWEEN_WORDS) -> bool:
        """Whether one's turn came within so many seconds; then `give` it back."""
        me = object()
        self._waiting.add(me)
        try:
            return self._free.acquire(timeout=patience)
        finally:
            self._waiting.discard(me)

    def give(self) -> None:
        """Let the next one have its turn."""
        self._free.release()

    @contextmanager
    def turn(self) -> Iterator[Iterator[float]]:
        """One's turn, once what this gives has ended: in how many seconds it may be, while others
        are before.
        """
        taken = False

        def waiting() -> Iterator[float]:
            nonlocal taken
            while not (taken := self.take()):
                yield self.left

        try:
            yield waiting()
        finally:
            if taken:
                self.give()


class Place:
    """A turn that is kept from frame to frame, by one who looks: for as long as frames come."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.since = 0.0
        self._came = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def kept(self) -> Iterator[bool]:
        """Whether it is one's turn, for the next frame; while that is made, it stays so."""
        with self._lock:
            if not self.since and self.line.take():
                self.since = time.monotonic()
                threading.Thread(target=self._watch, daemon=True).start()
            if self.since:
                self.line.due = max(self.line.due, self.since + MINUTE)
            try:
                yield bool(self.since)
            finally:
                self._came = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether one was here long enough, as others wait."""
        return self.line.wanted and 0 < self.since < time.monotonic() - MINUTE

    def leave(self) -> None:
        """Give the turn back, if one has it."""
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        if self.since:
            self.since = self.line.due = 0.0
            self.line.give()

    def _watch(self) -> None:
        while self.since:
            time.sleep(GONE / 4)
            with self._lock:
                if time.monotonic() - self._came > GONE:
                    self._leave()
