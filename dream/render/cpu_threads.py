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

from dream.recipe.knob import read_env_number

# Shares of a step's time in which its thread was ready to run and had no core. Alone it is below a
# hundredth; beside a program on every core a fifth to a half.
BUSY_FRACTION = 0.2
IDLE_FRACTION = 0.03
# Seconds of steps that are judged together: the kernel's clock ticks in thousandths.
WINDOW_SECONDS = 0.1
# For how many seconds of work it must be calm before the team stays awake: at first, and at most,
# where it was too early again and again. A step that comes too early may take two seconds.
MIN_CALM_SECONDS = 0.15
MAX_CALM_SECONDS = 30.0
# Numbers that are worth a team to torch.
PARALLEL_ELEMENTS = 1 << 17

Result = TypeVar("Result")
_EXHAUSTED = object()


def allowed_threads() -> int:
    """How many threads may work: a Space sees every core of its host, and says in `CPU_CORES` how
    many of them it may use.

    Raises:
        RecipeError: if that is no number from 0.1 to 1000.
    """
    cores = read_env_number("CPU_CORES", float(torch.get_num_threads()), 0.1, 1000)
    return max(1, int(cores))


class CpuThreads:
    """A team of `count` threads for all paintings; what it finds out about the machine stays."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.is_passive: bool | None = None  # Nothing is known yet.
        self._required_calm = MIN_CALM_SECONDS
        self._calm_seconds = 0.0
        # What was not judged yet: a work may be shorter than a window.
        self._seconds = self._waited_seconds = 0.0
        self._lock = threading.Lock()
        self._task_queue: SimpleQueue[Callable[[], None] | None] | None = None
        self._spare_team_stop = threading.Event()

    def run(self, work: Callable[[], Result]) -> Result:
        """The work, done here if torch takes as many threads here; else where it does."""
        if torch.get_num_threads() >= self.count:
            return work()
        done: Future[Result] = Future()

        def within() -> None:
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        with self._lock:
            if not self._task_queue:
                self._task_queue = SimpleQueue()
                weakref.finalize(self, self._task_queue.put, None)
                _start_team(self.count, partial(_run_forever, self._task_queue))
        self._task_queue.put(within)
        return done.result()

    def run_steps(self, steps: Iterator[Result]) -> Iterator[Result]:
        """The same steps, done so, and judged by how long they waited for a core."""

        def step() -> tuple[object, float, float]:
            start, before = time.monotonic(), cpu_wait_seconds()
            made = next(steps, _EXHAUSTED)
            return made, time.monotonic() - start, cpu_wait_seconds() - before

        if self.count > 1 and self.is_passive is None:
            self._enter_passive_wait()
        while True:
            made, took, waiting = self.run(step)
            if made is _EXHAUSTED:
                return
            self._seconds, self._waited_seconds = (
                self._seconds + took,
                self._waited_seconds + waiting,
            )
            if self._seconds >= WINDOW_SECONDS and self.count > 1:
                self._update_wait_policy(self._seconds, self._waited_seconds / self._seconds)
                self._seconds = self._waited_seconds = 0.0
            yield cast(Result, made)

    def _update_wait_policy(self, seconds: float, lost: float) -> None:
        self._calm_seconds = self._calm_seconds + seconds if lost < IDLE_FRACTION else 0.0
        if lost > BUSY_FRACTION and not self.is_passive:
            self._required_calm = min(MAX_CALM_SECONDS, 4 * self._required_calm)
            self._enter_passive_wait()
        elif self._calm_seconds > self._required_calm:
            if not self.is_passive:
                self._required_calm = MIN_CALM_SECONDS
            self._calm_seconds, self.is_passive = 0.0, False
            self._spare_team_stop.set()

    def _enter_passive_wait(self) -> None:
        """Have the team sleep while it waits, by another: the two are too many for the cores."""
        with self._lock:
            if not self.is_passive:
                self.is_passive, self._spare_team_stop = True, threading.Event()
                weakref.finalize(self, self._spare_team_stop.set)
                _start_team(os.cpu_count() or 1, self._spare_team_stop.wait)


def _start_team(count: int, work: Callable[[], object]) -> None:
    """Work on a thread of its own that has a team of so many; others keep what they have."""
    ready = threading.Event()

    def begin() -> None:
        torch.set_num_threads(count)
        torch.ones(PARALLEL_ELEMENTS).add_(1)
        ready.set()
        work()

    own = torch.get_num_threads()
    threading.Thread(target=begin, daemon=True).start()
    ready.wait()
    torch.set_num_threads(own)  # It was said for all threads to come.


def _run_forever(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    while work := queue.get():
        work()
        del work  # It may be the last to hold the team, which ends this thread when it goes.


def cpu_wait_seconds() -> float:
    """For how many seconds this thread was ready to run and had no core; 0 where none can tell."""
    try:
        with open("/proc/thread-self/schedstat") as told:
            return int(told.read().split()[1]) / 1e9
    except OSError:
        return 0.0
