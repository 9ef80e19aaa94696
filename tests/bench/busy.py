"""What a busy machine costs: jobs alone, beside a program on every core, and two of them at once.

As a program it reads the names of jobs from its input, and prints how many seconds each took.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, load_image
from dream.paint.frames import Frame
from tests.bench.report import Report
from tests.conftest import EXAMPLES, ROOT

ROUNDS = 5
# A program that wants every core, all the time, as another dream or a browser may.
COMPETITOR = "import torch\na = torch.rand(1024, 1024)\nwhile True: a = (a @ a).clamp_(0, 1)"


def jobs() -> dict[str, Callable[[], Iterator[Frame]]]:
    engine, photo = Engine(), load_image(EXAMPLES / "cat.jpg")
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
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
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


def measure(report: Report) -> None:
    with process("-m", "tests.bench.busy") as one, process("-m", "tests.bench.busy") as other:
        for name in jobs():
            seconds(name, one, other)  # What is loaded, and found out about the machine, once.
            alone = [seconds(name, one) for _ in range(ROUNDS)]
            both = [seconds(name, one, other) for _ in range(ROUNDS)]
            with process("-c", COMPETITOR):
                time.sleep(5)  # Until torch is there.
                beside = [seconds(name, one) for _ in range(ROUNDS)]
            quiet, two, busy = map(statistics.median, (alone, both, beside))
            report.row(
                "busy",
                job=name,
                alone=quiet,
                **{"two at once": two, "beside a competitor": busy},
                ratios=[two / quiet, busy / quiet],
            )


if __name__ == "__main__":
    worker()
