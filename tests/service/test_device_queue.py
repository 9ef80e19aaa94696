"""The device queue: a place is kept while frames come, and no longer."""

import threading
import time

import pytest

from dream.service import device_queue
from dream.service.device_queue import IDLE_SECONDS, DeviceQueue, StreamTurn
from tests.support.waiting import wait_until


def start_waiter(line: DeviceQueue) -> threading.Thread:
    """Start a thread that waits for its turn and gives it back at once."""

    def wait() -> None:
        with line.turn() as waiting:
            for _ in waiting:
                pass

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    wait_until(lambda: line.has_waiters)
    return thread


def test_a_place_is_kept_from_frame_to_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_queue, "IDLE_SECONDS", 60.0)
    one = DeviceQueue(1)
    first, second = StreamTurn(one), StreamTurn(one)
    for _ in range(3):
        with first.hold() as here:
            assert here
        with second.hold() as here:
            assert not here
    assert one.expected_wait > 0  # Waiters are told for how long.
    first.release()
    first.release()  # Twice counts once.
    with second.hold() as here:
        assert here
    second.release()
    assert one.acquire(0) and not one.acquire(0)


def test_who_has_gone_makes_room_at_once_but_not_in_the_middle_of_a_step() -> None:
    one = DeviceQueue(1)
    place = StreamTurn(one)
    with place.hold():
        time.sleep(1.5 * IDLE_SECONDS)  # A long step.
        assert not one.acquire(0)
    start = time.monotonic()
    assert one.acquire(10)
    assert time.monotonic() - start > IDLE_SECONDS / 2
    one.release()
    with place.hold() as here:  # It was only paused.
        assert here
    place.release()


def test_a_place_is_over_after_a_minute_if_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_queue, "IDLE_SECONDS", 60.0)
    one = DeviceQueue(1)
    place = StreamTurn(one)
    with place.hold():
        pass
    other = start_waiter(one)
    assert not place.is_expired
    monkeypatch.setattr(device_queue, "MAX_SHARED_SECONDS", 0.0)
    wait_until(lambda: place.is_expired)
    place.release()
    other.join(10)
    with place.hold():
        assert not place.is_expired  # Nobody waits.
    place.release()
