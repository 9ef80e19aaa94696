"""The line before the device: whose turn it is, and a place that is kept while frames come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STATUS_INTERVAL = 0.4
# A place is given up when no frame came for so many seconds: who was here has gone.
IDLE_SECONDS = 0.5
# For how long one may be here while others wait.
MAX_SHARED_SECONDS = 60.0


class DeviceQueue:
    """So many have their turn together; `due` is when the next one may be free, as is known."""

    def __init__(self, at_a_time: int) -> None:
        self.expected_free_at = 0.0
        self._free = threading.Semaphore(at_a_time)
        self._waiting: set[object] = set()

    @property
    def has_waiters(self) -> bool:
        """Whether others wait."""
        return bool(self._waiting)

    @property
    def expected_wait(self) -> float:
        """In how many seconds it may be one's turn."""
        return max(self.expected_free_at - time.monotonic(), 0)

    def acquire(self, timeout: float = STATUS_INTERVAL) -> bool:
        """Whether one's turn came within so many seconds; then `give` it back."""
        me = object()
        self._waiting.add(me)
        try:
            return self._free.acquire(timeout=timeout)
        finally:
            self._waiting.discard(me)

    def release(self) -> None:
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
            while not (taken := self.acquire()):
                yield self.expected_wait

        try:
            yield waiting()
        finally:
            if taken:
                self.release()


class StreamTurn:
    """A turn that is kept from frame to frame, by one who looks: for as long as frames come."""

    def __init__(self, line: DeviceQueue) -> None:
        self.queue = line
        self.held_since = 0.0
        self._last_frame_at = 0.0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Whether it is one's turn, for the next frame; while that is made, it stays so."""
        with self._lock:
            if not self.held_since and self.queue.acquire():
                self.held_since = time.monotonic()
                threading.Thread(target=self._release_when_idle, daemon=True).start()
            if self.held_since:
                self.queue.expected_free_at = max(
                    self.queue.expected_free_at, self.held_since + MAX_SHARED_SECONDS
                )
            try:
                yield bool(self.held_since)
            finally:
                self._last_frame_at = time.monotonic()

    @property
    def is_expired(self) -> bool:
        """Whether one was here long enough, as others wait."""
        return (
            self.queue.has_waiters and 0 < self.held_since < time.monotonic() - MAX_SHARED_SECONDS
        )

    def release(self) -> None:
        """Give the turn back, if one has it."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self.held_since:
            self.held_since = self.queue.expected_free_at = 0.0
            self.queue.release()

    def _release_when_idle(self) -> None:
        while self.held_since:
            time.sleep(IDLE_SECONDS / 4)
            with self._lock:
                if time.monotonic() - self._last_frame_at > IDLE_SECONDS:
                    self._release()
