"""Keep the image so far when a GPU lease or the time ends early."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

from dream.errors import LeaseError, TimeLimitReached
from dream.render.job_loop import Frame


def stream_until_lease_ends(results: Generator[Any, None, None]) -> Iterator[Any]:
    """Yield the results of a lease; if it ends early, yield the image so far at the end.

    Raises:
        LeaseError: if there is no image yet.
        TimeLimitReached: if the last image is finished but others are missing.
    """
    last = None
    try:
        with closing(results):
            for last in results:
                yield last
    except LeaseError as error:
        if not (isinstance(last, Frame) and (last.finished or last.step)):
            raise
        if not (last.finished and last.done == 1):  # Not all was done.
            yield end_early(last, f"after {last.step} of {last.total} steps: {error}")


def end_early(frame: Frame, reason: str) -> Frame:
    """Return a frame as the last one, with the reason.

    Raises:
        TimeLimitReached: if the frame is finished, because then it was yielded before.
    """
    if frame.finished:
        raise TimeLimitReached(reason)
    return replace(frame, ended=reason)
