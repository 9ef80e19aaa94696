"""Measure jobs on a busy machine: alone, beside a program on every core, and two at once.

`python -m tools.bench.busy CHECKOUT` also runs the code of another checkout, in turn. Without
arguments this program reads names of jobs from stdin and prints the seconds that each took.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, Frame, load_image

if TYPE_CHECKING:  # Other checkouts may not have it.
    from tools.report import Report

ROOT = Path(__file__).parents[2]
ROUNDS = 5
# Seconds of each round in each checkout.
Rounds = list[list[float]]
# A program that keeps every core busy, as another dream or a browser may.
COMPETITOR = "import torch\na = torch.rand(1024, 1024)\nwhile True: a = (a @ a).clamp_(0, 1)"


def jobs() -> dict[str, Callable[[], Iterator[Frame]]]:
    engine, photo = Engine(), load_image(ROOT / "examples" / "cat.jpg")
    return {
        "dream": lambda: engine.dream(photo, DreamRecipe(max_side=448)),
        "small dream": lambda: engine.dream(photo, DreamRecipe(max_side=128)),
        "channel": lambda: engine.channel(ChannelRecipe(channel=7, steps=48)),
        "class image": lambda: engine.class_image(ClassRecipe(steps=48)),
    }


def worker() -> None:
    made = jobs()
    for name in map(str.strip, sys.stdin):
        start = time.perf_counter()
        *_, frame = made[name]()
        frame.pictures()
        print(time.perf_counter() - start, flush=True)


@contextmanager
def start_process(*command: str, checkout: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, *command],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def measure_seconds(name: str, *workers: subprocess.Popen[str]) -> float:
    """Return the seconds that the slowest worker takes for a job, all running at once."""
    for each in workers:
        assert each.stdin
        each.stdin.write(f"{name}\n")
        each.stdin.flush()
    return max(float(each.stdout.readline()) for each in workers if each.stdout)


def measure_rounds(
    name: str, *checkouts: list[subprocess.Popen[str]]
) -> Iterator[tuple[str, Rounds]]:
    """Yield each condition and the seconds of a job in each checkout, in turn."""
    for workers in checkouts:
        measure_seconds(name, *workers)  # Warm up.
    for how, many in (("alone", 1), ("two at once", 2), ("beside a competitor", 1)):
        with ExitStack() as stack:
            if how == "beside a competitor":
                stack.enter_context(start_process("-c", COMPETITOR))
                time.sleep(5)  # Wait until torch is imported.
            yield (
                how,
                [
                    [measure_seconds(name, *each[:many]) for each in checkouts]
                    for _ in range(ROUNDS)
                ],
            )


@contextmanager
def start_workers(*checkouts: Path) -> Iterator[list[list[subprocess.Popen[str]]]]:
    """Start two workers for each checkout."""
    with ExitStack() as stack:
        yield [
            [stack.enter_context(start_process(__file__, checkout=each)) for _ in range(2)]
            for each in checkouts
        ]


def measure(report: Report) -> None:
    with start_workers(ROOT) as (here,):
        for name in jobs():
            took = {
                how: statistics.median(one for (one,) in each)
                for how, each in measure_rounds(name, here)
            }
            quiet, *busy = took.values()
            report.add_row("busy", job=name, **took, ratios=[each / quiet for each in busy])


def compare_with(checkout: Path) -> None:
    """Print the median seconds of the jobs here and in another checkout, and their ratio."""
    with start_workers(ROOT, checkout) as both:
        for name in jobs():
            for how, took in measure_rounds(name, *both):
                here, there = map(statistics.median, zip(*took, strict=True))
                ratio = statistics.median(ours / theirs for ours, theirs in took)
                text = f"here {here:.2f}, there {there:.2f}, ratio {ratio:.2f}"
                print(f"{name}, {how}: {text}", flush=True)


if __name__ == "__main__":
    compare_with(Path(sys.argv[1]).resolve()) if sys.argv[1:] else worker()
