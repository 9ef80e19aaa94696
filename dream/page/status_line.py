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

STATUS_INTERVAL = 0.4
STOPPED = "Stopped."


def status_html(text: str, mark: str = "") -> str:
    """A line for the status, read out as it changes."""
    return f'<span role="status"{mark}>{html.escape(text)}</span>'


def progress_html(text: str, stopped: str = STOPPED) -> str:
    """A line for the status that holds only while something runs, and what it becomes by a stop."""
    return status_html(text, f' data-under-way="{html.escape(stopped)}"')


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
        self.begun = time.monotonic()

    def left(self, done: float) -> str:
        """In words, when that share of the work, from 0 to 1, is done."""
        now = time.monotonic()
        if not done:
            self.begun = now
            return "some time left"
        seconds = (now - self.begun) / done * (1 - done)
        return f"{seconds:.{int(seconds < 60)}f} s left"


def progress_text(frame: Frame, left: str, stopped: str = STOPPED) -> str:
    """Where a dream is, and how long it still takes, in words."""
    if frame.step == 0:
        return progress_html("Falling asleep …")
    said = f"Step {frame.step} of {frame.total}"
    if frame.octaves > 1:
        step = f"step {frame.octave_step} of {frame.octave_steps}"
        said = f"Octave {frame.octave} of {frame.octaves}, {step}"
    return progress_html(f"{said}, {left}. {to_sentence(frame.remark)}".strip(), stopped)


def download_status(downloads: Iterator[DownloadProgress]) -> Iterator[str]:
    """The status while the weights of a network are fetched, twice a second at most."""
    shown = -math.inf
    for each in downloads:
        if time.monotonic() - shown > STATUS_INTERVAL:
            yield progress_html(
                f"Fetching {each.model} from {each.source}, once: {each.megabytes}."
            )
            shown = time.monotonic()
