"""The line before the device: a place is kept while frames come, and never for longer."""

import threading
import time

import pytest

from dream.service import line
from dream.service.line import GONE, Line, Place


def waits(line: Line) -> threading.Thread:
    """Someone who waits until it is their turn, and gives it back at once."""

    def wait() -> None:
        with line.turn() as waiting:
            for _ in waiting:
                pass

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    while not line.wanted:
        time.sleep(0.01)
    return thread


def test_a_place_is_kept_from_frame_to_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "GONE", 60.0)
    one = Line(1)
    first, second = Place(one), Place(one)
    for _ in range(3):
        with first.kept() as here:
            assert here
        with second.kept() as here:
            assert not here
    assert one.left > 0  # Who waits is told for how long.
    first.leave()
    first.leave()  # Twice is once.
    with second.kept() as here:
        assert here
    second.leave()
    assert one.take(0) and not one.take(0)


def test_who_has_gone_makes_room_at_once_but_not_in_the_middle_of_a_step() -> None:
    one = Line(1)
    place = Place(one)
    with place.kept():
        time.sleep(1.5 * GONE)  # A long step.
        assert not one.take(0)
    start = time.monotonic()
    assert one.take(10)
    assert time.monotonic() - start > GONE / 2
    one.give()
    with place.kept() as here:  # It was only away.
        assert here
    place.leave()


def test_a_place_is_over_after_a_minute_if_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "GONE", 60.0)
    one = Line(1)
    place = Place(one)
    with place.kept():
        pass
    other = waits(one)
    assert not place.over
    monkeypatch.setattr(line, "MINUTE", 0.0)
    while not place.over:
        time.sleep(0.01)
    place.leave()
    other.join(10)
    with place.kept():
        assert not place.over  # Nobody waits.
    place.leave()
