"""What there is of a picture when a lease, or the time, ends early."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from dream.errors import LeaseError, TimeLimitReached
from dream.render.loop import Frame


def stream_until_lease_ends(answers: Generator[Any, None, None]) -> Iterator[Any]:
    """Yield what a lease answers; where it ends early, at last the picture so far."""
    last = None
    try:
        with closing(answers):
            for last in answers:
                yield last
    except LeaseError as error:
        if unfinished := _to_last_answer(last, error):
            yield unfinished


def _to_last_answer(answer: Any, error: LeaseError) -> Any:
    """Return the last answer of a lease as the picture so far, or None if all of it is there.

    Raises:
        LeaseError: that one, if there is no picture as yet.
        TimeIsUp: if the last one is finished, and others were to come.
    """
    frame, *rest = answer if isinstance(answer, tuple) else (answer,)
    if not (isinstance(frame, Frame) and (frame.finished or frame.step)):
        raise error
    if frame.finished and frame.done == 1:
        return None
    frame = end_early(frame, f"after {frame.step} of {frame.total} steps: {error}")
    return (frame, *rest) if rest else frame


def end_early(frame: Frame, why: str) -> Frame:
    """Return a frame as the last one, with the reason.

    Raises:
        TimeIsUp: if it is finished, and was yielded as such before.
    """
    if frame.finished:  # Else it would come twice.
        raise TimeLimitReached(why)
    return replace(frame, ended=why)
