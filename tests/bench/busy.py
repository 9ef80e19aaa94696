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
    from tests.bench.report import Report

ROOT = Path(__file__).parents[2]
ROUNDS = 5
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


def measure(report: Report) -> None:
    with process(__file__) as one, process(__file__) as other:
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


def against(checkout: Path) -> None:
    """How long the jobs take here and there, in turn: medians, and of the ratios here to there."""
    with ExitStack() as stack:
        here, there = (
            [stack.enter_context(process(__file__, checkout=tree)) for _ in range(2)]
            for tree in (ROOT, checkout)
        )

        def compared(name: str, how: str, many: int) -> None:
            ours, theirs = zip(
                *([seconds(name, *each[:many]) for each in (here, there)] for _ in range(ROUNDS)),
                strict=True,
            )
            ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
            times = "here {:.2f}, there {:.2f}".format(*map(statistics.median, (ours, theirs)))
            print(f"{name}, {how}: {times}, ratio {ratio:.2f}", flush=True)

        for name in jobs():
            for workers in (here, there):
                seconds(name, *workers)
            compared(name, "alone", 1)
            compared(name, "two at once", 2)
            with process("-c", COMPETITOR):
                time.sleep(5)
                compared(name, "beside a competitor", 1)


if __name__ == "__main__":
    against(Path(sys.argv[1]).resolve()) if sys.argv[1:] else worker()
