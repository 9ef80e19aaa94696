"""What a busy machine costs: jobs alone, beside a program on every core, and two of them at once.

`python -m tests.bench.busy CHECKOUT` has the same done by the code of another checkout, in turn. As
a program without arguments it reads the names of jobs from its input, and prints how many seconds
each took.
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
# Seconds, of each round in each checkout.
Rounds = list[list[float]]
# A program that wants every core, all the time, as another dream or a browser may.
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
def process(*command: str, checkout: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *command],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def seconds(name: str, *workers: subprocess.Popen[str]) -> float:
    """How long the slowest of them takes for that job, all at once."""
    for each in workers:
        assert each.stdin
        each.stdin.write(f"{name}\n")
        each.stdin.flush()
    return max(float(each.stdout.readline()) for each in workers if each.stdout)


def rounds(name: str, *checkouts: list[subprocess.Popen[str]]) -> Iterator[tuple[str, Rounds]]:
    """In each way how long a job took in those checkouts, each with two workers, in turn."""
    for workers in checkouts:
        seconds(name, *workers)  # What is loaded, and found out about the machine, once.
    for how, many in (("alone", 1), ("two at once", 2), ("beside a competitor", 1)):
        with ExitStack() as stack:
            if how == "beside a competitor":
                stack.enter_context(process("-c", COMPETITOR))
                time.sleep(5)  # Until torch is there.
            yield how, [[seconds(name, *each[:many]) for each in checkouts] for _ in range(ROUNDS)]


@contextmanager
def workers_of(*checkouts: Path) -> Iterator[list[list[subprocess.Popen[str]]]]:
    """Two workers of each."""
    with ExitStack() as stack:
        yield [
            [stack.enter_context(process(__file__, checkout=each)) for _ in range(2)]
            for each in checkouts
        ]


def measure(report: Report) -> None:
    with workers_of(ROOT) as (here,):
        for name in jobs():
            took = {
                how: statistics.median(one for (one,) in each) for how, each in rounds(name, here)
            }
            quiet, *busy = took.values()
            report.add_row("busy", job=name, **took, ratios=[each / quiet for each in busy])


def against(checkout: Path) -> None:
    """How long the jobs take here and there, in turn: medians, and of the ratios here to there."""
    with workers_of(ROOT, checkout) as both:
        for name in jobs():
            for how, took in rounds(name, *both):
                here, there = map(statistics.median, zip(*took, strict=True))
                ratio = statistics.median(ours / theirs for ours, theirs in took)
                said = f"here {here:.2f}, there {there:.2f}, ratio {ratio:.2f}"
                print(f"{name}, {how}: {said}", flush=True)


if __name__ == "__main__":
    against(Path(sys.argv[1]).resolve()) if sys.argv[1:] else worker()
