"""Progress bars of commands, and their end by Ctrl-C or a closed stdout."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dream.errors import to_printable_line
from dream.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from dream.engine import Engine
    from dream.networks.weights import DownloadProgress
    from dream.render.job_loop import Frame

BAR_WIDTH = 30


def discard_stdout() -> None:
    """Send stdout to the null device: its reader is gone, and Python flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class CommandInterruptedError(Exception):
    """The user interrupted the command after part of its output was written."""


def render_with_progress(
    engine: Engine, recipes: Sequence[Recipe], photo: Tensor | None = None, use_cache: bool = False
) -> Iterator[Frame]:
    """Download the weights, then yield the frames of recipes and show their progress."""
    from dream.tensors import size_of

    # The plan checks the photo before anything is downloaded.
    jobs = engine.plan(recipes, None if photo is None else size_of(photo), use_cache=use_cache)
    download_with_progress(engine.fetch(recipes[0].model))
    remark = ""
    for frame in engine.render(jobs, photo):
        if frame.remark != remark:
            print(frame.remark, file=sys.stderr)
            remark = frame.remark
        octave = f"octave {frame.octave} of {frame.octaves}, " if frame.octaves > 1 else ""
        show_progress_bar(frame.done, f"{octave}step {frame.step} of {frame.total}")
        yield frame


def download_with_progress(downloads: Iterator[DownloadProgress]) -> None:
    """Run downloads and show their progress."""
    for update in downloads:
        done = update.bytes_done / update.bytes_total if update.bytes_total else 0
        show_progress_bar(done, f"{update.model} from {update.source}, {update.megabytes}")


def show_progress_bar(done: float, label: str) -> None:
    """Print a progress bar for a share from 0 to 1, if stderr is a terminal."""
    if sys.stderr and sys.stderr.isatty():
        bar = ("#" * round(done * BAR_WIDTH)).ljust(BAR_WIDTH, "-")
        print(f"\r[{bar}] {label} ", end="\n" if done == 1 else "", file=sys.stderr, flush=True)


def print_report(args: argparse.Namespace, text: str) -> None:
    """Print the output file, what it holds, and the seconds since the command started."""
    seconds = time.perf_counter() - args.start
    print(to_printable_line(f"{args.out}: {text}, {seconds:.1f} s"))
