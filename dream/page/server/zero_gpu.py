"""Turn ZeroGPU's errors into one line for visitors: quota used up, lease ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr
import httpx

from dream.errors import TIME_LIMIT_ADVICE, LeaseError, first_line

# `spaces` reports these if the GPU process was killed, for example at the end of its lease.
WORKER_ERROR, ABORT_ERROR = "ZeroGPU worker error", "GPU task aborted"
LOGGER = logging.getLogger(__name__)


def with_lease_errors(gpu: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the decorator `spaces.GPU` so that its errors become `LeaseError`s.

    Outside ZeroGPU, it returns the function itself, as `gpu` does.
    """

    def lease(**options: Any) -> Callable[..., Any]:
        def decorate(task: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
            leased = gpu(**options)(task)
            return task if leased is task else partial(_run_leased, leased)

        return decorate

    return lease


def _run_leased(leased: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    try:
        yield from leased(*arguments)
    except gr.Error as error:
        message = str(error.message).strip()  # `spaces` keeps the text of an HTML message here.
        if message == ABORT_ERROR:
            message = f"the GPU was taken back before the end; {TIME_LIMIT_ADVICE}"
        elif error.title == WORKER_ERROR:  # A bug of ours, which `spaces` logged.
            raise
        raise LeaseError(message) from error
    except (RuntimeError, httpx.HTTPError) as error:
        LOGGER.warning("ZeroGPU: %s", first_line(error))
        raise LeaseError("ZeroGPU lends no GPU right now; try again in a minute") from error
