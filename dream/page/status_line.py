"""Status lines and progress messages, as HTML for the page."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterator

import gradio as gr

from dream.errors import DreamError
from dream.networks.download import DownloadProgress
from dream.render.loop import Frame

DOWNLOAD_STATUS_SECONDS = 0.4
STOPPED = "Stopped."


def status_html(text: str, attributes: str = "") -> str:
    """A line for the status, read out as it changes."""
    return f'<span role="status"{attributes}>{html.escape(text)}</span>'


def progress_html(text: str, stopped_text: str = STOPPED) -> str:
    """A line for the status that holds only while something runs, and what it becomes by a stop."""
    return status_html(text, f' data-under-way="{html.escape(stopped_text)}"')


def warning_html(error: DreamError, title: str) -> str:
    """A line for the status that says what went wrong, which a toast says too."""
    show_toast(error, title)
    return status_html(to_sentence(error))


def show_toast(text: DreamError | str, title: str) -> None:
    """Say it in a corner of the page; clients of the API find it among the messages of a job."""
    gr.Warning(html.escape(to_sentence(text)), title=title)


def to_sentence(error: DreamError | str) -> str:
    """What there is to say as a sentence; a file's name at its start keeps its letters."""
    text = str(error)
    if text.split(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    return f"{text}." if text and not text.endswith(".") else text


class Clock:
    """How long work still takes, by how long its own steps took, not what came before them."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def remaining_text(self, fraction: float) -> str:
        """In words, when that share of the work, from 0 to 1, is done."""
        now = time.monotonic()
        if not fraction:
            self.start = now
            return "some time left"
        seconds = (now - self.start) / fraction * (1 - fraction)
        return f"{seconds:.{int(seconds < 60)}f} s left"


def progress_text(frame: Frame, remaining: str, stopped_text: str = STOPPED) -> str:
    """Where a dream is, and how long it still takes, in words."""
    if frame.step == 0:
        return progress_html("Falling asleep …")
    text = f"Step {frame.step} of {frame.total}"
    if frame.octaves > 1:
        step = f"step {frame.octave_step} of {frame.octave_steps}"
        text = f"Octave {frame.octave} of {frame.octaves}, {step}"
    return progress_html(f"{text}, {remaining}. {to_sentence(frame.remark)}".strip(), stopped_text)


def download_status(downloads: Iterator[DownloadProgress]) -> Iterator[str]:
    """The status while the weights of a network are fetched, twice a second at most."""
    last_shown = -math.inf
    for progress in downloads:
        if time.monotonic() - last_shown > DOWNLOAD_STATUS_SECONDS:
            yield progress_html(
                f"Fetching {progress.model} from {progress.source}, once: {progress.megabytes}."
            )
            last_shown = time.monotonic()
