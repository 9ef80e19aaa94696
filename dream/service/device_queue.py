"""The queue for the device, and a turn that a live stream keeps between frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STATUS_SECONDS = 0.4
# A stream loses its turn after this time without a frame, because its visitor has probably left.
IDLE_SECONDS = 0.5
# Longest turn of a stream while others wait.
MAX_SHARED_SECONDS = 60.0


class DeviceQueue:
    """A queue that gives `concurrency` turns at once.

    `expected_free_at` is the estimated time, by `time.monotonic`, of the next free turn.
    """

    def __init__(self, concurrency: int) -> None:
        self.expected_free_at = 0.0
        self._turns = threading.Semaphore(concurrency)
        self._waiters: set[object] = set()

    @property
    def has_waiters(self) -> bool:
        """Whether anyone waits for a turn."""
        return bool(self._waiters)

    @property
    def expected_wait(self) -> float:
        """The estimated wait in seconds."""
        return max(self.expected_free_at - time.monotonic(), 0)

    def acquire(self, timeout: float = STATUS_SECONDS) -> bool:
        """Wait up to `timeout` seconds for a turn and return whether it came."""
        waiter = object()
        self._waiters.add(waiter)
        try:
            return self._turns.acquire(timeout=timeout)
        finally:
            self._waiters.discard(waiter)

    def release(self) -> None:
        """Give a turn back."""
        self._turns.release()

    @contextmanager
    def turn(self) -> Iterator[Iterator[float]]:
        """Yield an iterator of estimated waits in seconds; once it ends, the turn is held."""
        is_held = False

        def wait() -> Iterator[float]:
            nonlocal is_held
            while not (is_held := self.acquire()):
                yield self.expected_wait

        try:
            yield wait()
        finally:
            if is_held:
                self.release()


class StreamTurn:
    """A turn that one live stream holds between frames and loses when no frame arrives."""

    def __init__(self, queue: DeviceQueue) -> None:
        self.queue = queue
        self.held_since = 0.0
        self._last_frame_at = 0.0
        self._lock = threading.RLock()

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Yield whether the stream has its turn; it keeps the turn while it renders a frame."""
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
        """Whether others wait, and the turn has lasted `MAX_SHARED_SECONDS`."""
        return (
            self.queue.has_waiters and 0 < self.held_since < time.monotonic() - MAX_SHARED_SECONDS
        )

    def release(self) -> None:
        """Give the turn back, if the stream has it."""
        with self._lock:
            if self.held_since:
                self.held_since = self.queue.expected_free_at = 0.0
                self.queue.release()

    def _release_when_idle(self) -> None:
        while self.held_since:
            time.sleep(IDLE_SECONDS / 4)
            with self._lock:
                if time.monotonic() - self._last_frame_at > IDLE_SECONDS:
                    self.release()
