"""The threads that paint: all of the machine's, as one team, which makes way for other programs.

Threads of a team wait for one another by turning round and round. So where one of them has lost its
core to another program all stand still: on two cores beside such a program a dream took nine times
as long as alone. If they sleep while they wait it takes twice as long; but alone they are half as
quick again when they turn. libgomp, which torch brings, has them sleep where a process has more
threads than cores (in its manual, GOMP_SPINCOUNT): so a second team is there while others want the
machine, and never else. In a server, where work goes from thread to thread, one thread paints.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TypeVar, cast

import torch

from dream.recipe.knob import from_environment

# Shares of a step's time in which its thread was ready to run and had no core. Alone it is below a
# hundredth; beside a program on every core a fifth to a half.
BUSY = 0.2
CALM = 0.03
# Seconds of steps that are judged together: the kernel's clock ticks in thousandths.
WINDOW = 0.1
# For how many seconds of work it must be calm before the team stays awake: at first, and at most,
# where it was too early again and again. A step that comes too early may take two seconds.
PATIENCE = 0.15
LONGEST = 30.0
# Numbers that are worth a team to torch.
ENOUGH = 1 << 17

Made = TypeVar("Made")
_DONE = object()


def allowed_threads() -> int:
    """How many threads may work: a Space sees every core of its host, and says in `CPU_CORES` how
    many of them it may use.

    Raises:
        RecipeError: if that is no number from 0.1 to 1000.
    """
    cores = from_environment("CPU_CORES", float(torch.get_num_threads()), 0.1, 1000)
    return max(1, int(cores))


class Threads:
    """A team of `count` threads for all paintings; what it finds out about the machine stays."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asleep: bool | None = None  # Nothing is known yet.
        self._patience = PATIENCE
        self._calm = 0.0
        # What was not judged yet: a work may be shorter than a window.
        self._seconds = self._lost = 0.0
        self._lock = threading.Lock()
        self._painter: SimpleQueue[Callable[[], None] | None] | None = None
        self._others = threading.Event()

    def run(self, work: Callable[[], Made]) -> Made:
        """The work, done here if torch takes as many threads here; else where it does."""
        if torch.get_num_threads() >= self.count:
            return work()
        done: Future[Made] = Future()

        def within() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        with self._lock:
            if not self._painter:
                self._painter = SimpleQueue()
                weakref.finalize(self, self._painter.put, None)
                _start(self.count, partial(_all_of, self._painter))
        self._painter.put(within)
        return done.result()

    def shared(self, steps: Iterator[Made]) -> Iterator[Made]:
        """The same steps, done so, and judged by how long they waited for a core."""

        def step() -> tuple[object, float, float]:
            start, before = time.monotonic(), waited()
            made = next(steps, _DONE)
            return made, time.monotonic() - start, waited() - before

        if self.count > 1 and self.asleep is None:
            self._sleep()
        while True:
            made, took, waiting = self.run(step)
            if made is _DONE:
                return
            self._seconds, self._lost = self._seconds + took, self._lost + waiting
            if self._seconds >= WINDOW and self.count > 1:
                self._judge(self._seconds, self._lost / self._seconds)
                self._seconds = self._lost = 0.0
            yield cast(Made, made)

    def _judge(self, seconds: float, lost: float) -> None:
        self._calm = self._calm + seconds if lost < CALM else 0.0
        if lost > BUSY and not self.asleep:
            self._patience = min(LONGEST, 4 * self._patience)
            self._sleep()
        elif self._calm > self._patience:
            if not self.asleep:
                self._patience = PATIENCE
            self._calm, self.asleep = 0.0, False
            self._others.set()

    def _sleep(self) -> None:
        """Have the team sleep while it waits, by another: the two are too many for the cores."""
        with self._lock:
            if not self.asleep:
                self.asleep, self._others = True, threading.Event()
                weakref.finalize(self, self._others.set)
                _start(os.cpu_count() or 1, self._others.wait)


def _start(count: int, work: Callable[[], object]) -> None:
    """Work on a thread of its own that has a team of so many; others keep what they have."""
    ready = threading.Event()

    def begin() -> None:
        torch.set_num_threads(count)
        torch.ones(ENOUGH).add_(1)
        ready.set()
        work()

    own = torch.get_num_threads()
    threading.Thread(target=begin, daemon=True).start()
    ready.wait()
    torch.set_num_threads(own)  # It was said for all threads to come.


def _all_of(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    while work := queue.get():
        work()
        del work  # It may be the last to hold the team, which ends this thread when it goes.


def waited() -> float:
    """For how many seconds this thread was ready to run and had no core; 0 where none can tell."""
    try:
        with open("/proc/thread-self/schedstat") as told:
            return int(told.read().split()[1]) / 1e9
    except OSError:
        return 0.0
