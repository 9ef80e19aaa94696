"""What commands say while they work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from torch import Tensor

from dream.engine import Engine
from dream.networks.download import DownloadProgress
from dream.recipe import Recipe
from dream.render.loop import Frame
from dream.tensors import size_of

BAR_WIDTH = 30


def discard_stdout() -> None:
    """Let nothing go to stdout any more, which nobody reads: Python would flush it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class CommandInterruptedError(Exception):
    """It was interrupted, and what there is was written."""


def render_with_progress(
    engine: Engine, recipes: Sequence[Recipe], photo: Tensor | None = None, use_cache: bool = False
) -> Iterator[Frame]:
    """The frames of those recipes; how far they are is shown, and the weights are fetched first."""
    # Checks the photo before anything is downloaded.
    jobs = engine.plan(recipes, None if photo is None else size_of(photo), use_cache=use_cache)
    download_with_progress(engine.fetch(recipes[0].model))
    remark = ""
    for frame in engine.render(jobs, photo):
        if frame.remark != remark:
            print(frame.remark, file=sys.stderr)
            remark = frame.remark
        where = f"octave {frame.octave} of {frame.octaves}, " if frame.octaves > 1 else ""
        show_progress_bar(frame.done, f"{where}step {frame.step} of {frame.total}")
        yield frame


def download_with_progress(downloads: Iterator[DownloadProgress]) -> None:
    """Downloads, to their end."""
    for each in downloads:
        share = each.bytes_done / each.bytes_total if each.bytes_total else 0
        show_progress_bar(share, f"{each.model} from {each.source}, {each.megabytes}")


def show_progress_bar(done: float, where: str) -> None:
    """How far the work is, on a terminal; nothing elsewhere."""
    if sys.stderr and sys.stderr.isatty():
        bar = ("#" * round(done * BAR_WIDTH)).ljust(BAR_WIDTH, "-")
        print(f"\r[{bar}] {where} ", end="\n" if done == 1 else "", file=sys.stderr, flush=True)
