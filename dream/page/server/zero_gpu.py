"""ZeroGPU's errors in one line for visitors: a quota that is used up, a GPU that is taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr
import httpx

from dream.errors import TIME_LIMIT_ADVICE, LeaseError, first_line

# What `spaces` says where the process with the GPU was killed, as when its seconds are over.
WORKER_ERROR, ABORTED = "ZeroGPU worker error", "GPU task aborted"
LOGGER = logging.getLogger(__name__)


def with_lease_errors(gpu: Callable[..., Any]) -> Callable[..., Any]:
    """Return the decorator `spaces.GPU` with what it raises as `LeaseError`s.

    Outside of ZeroGPU it returns the function itself, as `gpu` does.
    """

    def lend(**options: Any) -> Callable[..., Any]:
        def decorate(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            leased = gpu(**options)(task)
            return task if leased is task else partial(_run_leased, leased)

        return decorate

    return lend


def _run_leased(leased: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    try:
        yield from leased(*arguments)
    except gr.Error as error:
        words = str(error.message).strip()  # Of a message in HTML this is its text.
        if words == ABORTED:
            words = f"the GPU was taken back before the end; {TIME_LIMIT_ADVICE}"
        elif error.title == WORKER_ERROR:  # A fault of ours, which `spaces` logged.
            raise
        raise LeaseError(words) from error
    except (RuntimeError, httpx.HTTPError) as error:
        LOGGER.warning("ZeroGPU: %s", first_line(error))
        raise LeaseError("ZeroGPU lends no GPU right now; try again in a minute") from error
