"""Keep the image so far when a GPU lease or the time ends early."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from dream.errors import LeaseError, TimeLimitReached
from dream.render.job_loop import Frame


def stream_until_lease_ends(results: Generator[Any, None, None]) -> Iterator[Any]:
    """Yield the results of a lease; if it ends early, yield the image so far at the end."""
    last = None
    try:
        with closing(results):
            for last in results:
                yield last
    except LeaseError as error:
        if unfinished := _to_last_result(last, error):
            yield unfinished


def _to_last_result(result: Any, error: LeaseError) -> Any:
    """Return the last result of a lease as the image so far, or None if it is complete.

    Raises:
        LeaseError: the given error, if there is no image yet.
        TimeLimitReached: if the last image is finished but others are missing.
    """
    frame, *rest = result if isinstance(result, tuple) else (result,)
    if not (isinstance(frame, Frame) and (frame.finished or frame.step)):
        raise error
    if frame.finished and frame.done == 1:
        return None
    frame = end_early(frame, f"after {frame.step} of {frame.total} steps: {error}")
    return (frame, *rest) if rest else frame


def end_early(frame: Frame, reason: str) -> Frame:
    """Return a frame as the last one, with the reason.

    Raises:
        TimeLimitReached: if the frame is finished, because then it was yielded before.
    """
    if frame.finished:
        raise TimeLimitReached(reason)
    return replace(frame, ended=reason)
