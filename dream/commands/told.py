"""What commands say while they work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from torch import Tensor

from dream.engine import Engine
from dream.networks.download import Download
from dream.paint.frames import Frame
from dream.recipe import Recipe
from dream.tensors import size_of

BAR_WIDTH = 30


def print_no_more() -> None:
    """Let nothing go to stdout any more, which nobody reads: Python would flush it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Stopped(Exception):
    """It was interrupted, and what there is was written."""


def painted(
    engine: Engine, recipes: Sequence[Recipe], photo: Tensor | None = None, kept: bool = False
) -> Iterator[Frame]:
    """The frames of those recipes; how far they are is shown, and the weights are fetched first."""
    # Checks the photo before anything is downloaded.
    jobs = engine.plan(recipes, None if photo is None else size_of(photo), kept=kept)
    fetching(engine.fetch(recipes[0].model))
    remark = ""
    for frame in engine.paint(jobs, photo):
        if frame.remark != remark:
            print(frame.remark, file=sys.stderr)
            remark = frame.remark
        where = f"octave {frame.octave} of {frame.octaves}, " if frame.octaves > 1 else ""
        bar(frame.done, f"{where}step {frame.step} of {frame.total}")
        yield frame


def fetching(downloads: Iterator[Download]) -> None:
    """Downloads, to their end."""
    for each in downloads:
        share = each.done / each.total if each.total else 0
        bar(share, f"{each.model} from {each.source}, {each.megabytes}")


def bar(done: float, where: str) -> None:
    """How far the work is, on a terminal; nothing elsewhere."""
    if sys.stderr and sys.stderr.isatty():
        bar = ("#" * round(done * BAR_WIDTH)).ljust(BAR_WIDTH, "-")
        print(f"\r[{bar}] {where} ", end="\n" if done == 1 else "", file=sys.stderr, flush=True)
