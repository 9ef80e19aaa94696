"""Measure jobs on a busy machine: alone, beside a program on every core, and two at once.

As a program it is a worker: it reads names of jobs from stdin and prints the seconds of each.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, Frame, load_image
from tests.conftest import EXAMPLES, ROOT
from tools.measure import last_frame, min_seconds
from tools.report import Report

ROUNDS = 5
# A program that keeps every core busy, as another dream or a browser may.
COMPETITOR = "import torch\na = torch.rand(1024, 1024)\nwhile True: a = (a @ a).clamp_(0, 1)"
# By condition: how many workers run a job at once, and whether the competitor runs too.
CONDITIONS = {"alone": (1, False), "two at once": (2, False), "beside a competitor": (1, True)}


def jobs() -> dict[str, Callable[[], Iterator[Frame]]]:
    engine, photo = Engine(), load_image(EXAMPLES / "cat.jpg")
    return {
        "dream": lambda: engine.dream(photo, DreamRecipe(max_side=448)),
        "small dream": lambda: engine.dream(photo, DreamRecipe(max_side=128)),
        "channel": lambda: engine.channel(ChannelRecipe(channel=7, steps=48)),
        "class image": lambda: engine.class_image(ClassRecipe(steps=48)),
    }


def work_on_demand() -> None:
    made = jobs()

    for line in sys.stdin:
        work = made[line.strip()]
        print(min_seconds(lambda: last_frame(work()).pictures(), 1), flush=True)  # noqa: B023


@contextmanager
def start_process(*command: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def measure_seconds(name: str, workers: list[subprocess.Popen[str]]) -> float:
    """Return the seconds that the slowest worker takes for a job, all running at once."""
    for each in workers:
        assert each.stdin
        each.stdin.write(f"{name}\n")
        each.stdin.flush()
    return max(float(each.stdout.readline()) for each in workers if each.stdout)


def measure(report: Report) -> None:
    with ExitStack() as stack:
        workers = [stack.enter_context(start_process("-m", "tools.bench.busy")) for _ in range(2)]
        for name in jobs():
            measure_seconds(name, workers)  # Warm up.
            took = {}
            for condition, (count, has_competitor) in CONDITIONS.items():
                with ExitStack() as others:
                    if has_competitor:
                        others.enter_context(start_process("-c", COMPETITOR))
                        time.sleep(5)  # Wait until torch is imported.
                    seconds = [measure_seconds(name, workers[:count]) for _ in range(ROUNDS)]
                took[condition] = statistics.median(seconds)
            quiet, *busy = took.values()
            report.add_row("busy", job=name, **took, ratios=[each / quiet for each in busy])


if __name__ == "__main__":
    work_on_demand()
