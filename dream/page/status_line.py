"""Status lines, layer labels and progress messages of the page."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterator

import gradio as gr

from dream.errors import DreamError
from dream.networks.weights import DownloadProgress
from dream.recipe import DreamRecipe
from dream.render.job_loop import Frame

DOWNLOAD_STATUS_SECONDS = 0.4
STOPPED_MESSAGE = "Stopped."


def status_html(text: str, numbers: str = "", attributes: str = "") -> str:
    """Return status HTML, which screen readers announce when it changes; numbers are folded."""
    folded = f"<details><summary>Numbers</summary>{html.escape(numbers)}</details>"
    return f'<span role="status"{attributes}>{html.escape(text)}</span>{folded if numbers else ""}'


def prefix_status(prefix: str, status: str) -> str:
    """Return status HTML with a text before its own."""
    return status.replace(">", f">{html.escape(prefix)} ", 1)


def progress_html(text: str, stopped_text: str = STOPPED_MESSAGE) -> str:
    """Return status HTML that is replaced by `stopped_text` when the run is stopped."""
    return status_html(text, attributes=f' data-under-way="{html.escape(stopped_text)}"')


def show_warning(error: DreamError, title: str) -> str:
    """Show an error as a toast and return it as status HTML."""
    show_toast(error, title)
    return status_html(to_sentence(error))


def show_toast(text: DreamError | str, title: str) -> None:
    """Show a Gradio warning toast. API clients receive it as a log message of the job."""
    gr.Warning(html.escape(to_sentence(text)), title=title)


def to_sentence(error: DreamError | str) -> str:
    """Return a message as a sentence; a file name at its start keeps its case."""
    text = str(error)
    if text.split(" ")[0].isalpha():
        text = text[:1].upper() + text[1:]
    return f"{text}." if text and not text.endswith((".", "?")) else text


def recipe_layer_label(recipe: DreamRecipe) -> str:
    """Return the label of a dream's layer with its channels; of several, how many are mixed."""
    if len(recipe.layers) > 1:
        return f"a mix of {len(recipe.layers)} layers"
    label = recipe.card.layer_label(recipe.layers[0][0])
    channels = "channels" if len(recipe.channel_weights) > 1 else "channel"
    return f"{label}, {channels} {recipe.channels}" if recipe.channels else label


class RemainingTime:
    """Estimate of the remaining time, from the time of the steps after the first.

    The first step is the slowest: the kernels for its size are made in it.
    """

    def __init__(self) -> None:
        self.start, self.first_fraction = time.monotonic(), 0.0

    def text(self, fraction: float) -> str:
        """Return the remaining time in words when `fraction` (0 to 1) of the work is done."""
        now = time.monotonic()
        if not (fraction and self.first_fraction):
            self.start, self.first_fraction = now, fraction
        if fraction <= self.first_fraction:
            return "estimating the time left"
        seconds = (now - self.start) / (fraction - self.first_fraction) * (1 - fraction)
        return f"{seconds:.{int(seconds < 60)}f} s left"


def frame_progress_html(frame: Frame, remaining: str, stopped_text: str = STOPPED_MESSAGE) -> str:
    """Return the progress status: octave, step and remaining time."""
    if frame.step == 0:
        return progress_html("Starting …")
    text = f"Step {frame.step} of {frame.total}"
    if frame.octaves > 1:
        step = f"step {frame.octave_step} of {frame.octave_steps}"
        text = f"Octave {frame.octave} of {frame.octaves}, {step}"
    return progress_html(f"{text}, {remaining}. {to_sentence(frame.remark)}".strip(), stopped_text)


def download_status(downloads: Iterator[DownloadProgress]) -> Iterator[str]:
    """Yield the status while weights download, once per `DOWNLOAD_STATUS_SECONDS` at most."""
    last_shown = -math.inf
    for progress in downloads:
        if time.monotonic() - last_shown > DOWNLOAD_STATUS_SECONDS:
            yield progress_html(
                f"Downloading {progress.model} from {progress.source} (first use only): "
                f"{progress.megabytes}."
            )
            last_shown = time.monotonic()
