"""CPU threads: one OpenMP thread team renders, and yields to other programs on the machine.

OpenMP threads spin while they wait for each other, so all of them stall when another program takes
the core of one: on two busy cores a dream took nine times as long as alone. With threads that sleep
while they wait it takes only twice as long, but on an idle machine spinning is 1.5 times as fast.
torch's libgomp lets threads sleep if the process has more of them than cores (GOMP_SPINCOUNT in its
manual). So this module starts a second, spare team while others use the machine, and only then. In
a server, whose jobs arrive on changing threads, one thread does all the rendering.
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

# Share of a step's time that its thread was ready to run but had no core, above which the machine
# is busy, and below which idle. Alone it is below 0.01; with a program on every core, 0.2 to 0.5.
BUSY_FRACTION = 0.2
IDLE_FRACTION = 0.03
# Time over which the share is measured: the kernel's clock ticks in milliseconds.
WINDOW_SECONDS = 0.1
# Working time for which the machine must be idle before the threads spin again: the initial and
# the longest one. It grows when they spin too early, where a step may take two seconds.
MIN_CALM_SECONDS = 0.15
MAX_CALM_SECONDS = 30.0
# Size of a tensor that torch processes with all threads.
PARALLEL_ELEMENTS = 1 << 17

Result = TypeVar("Result")
_EXHAUSTED = object()


def allowed_threads() -> int:
    """Return how many threads may work: `CPU_CORES`, by default as many as torch uses.

    A Space sees all cores of its host; `CPU_CORES` says how many of them it may use.

    Raises:
        RecipeError: if `CPU_CORES` is not a number from 0.1 to 1000.
    """
    cores = read_env_number("CPU_CORES", float(torch.get_num_threads()), 0.1, 1000)
    return max(1, int(cores))


class CpuThreads:
    """A team of `count` threads for all renders, which remembers how busy the machine is."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.is_passive: bool | None = None  # Whether waiting threads sleep; None if not known.
        self._required_calm = MIN_CALM_SECONDS
        self._calm_seconds = 0.0
        # The current window; it may span several renders.
        self._seconds = self._waited_seconds = 0.0
        self._lock = threading.Lock()
        self._task_queue: SimpleQueue[Callable[[], None] | None] | None = None
        self._spare_team_stop = threading.Event()

    def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` on this thread if torch uses enough threads here; otherwise on the team's."""
        if torch.get_num_threads() >= self.count:
            return work()
        future: Future[Result] = Future()

        def run_and_report() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        with self._lock:
            if not self._task_queue:
                self._task_queue = SimpleQueue()
                weakref.finalize(self, self._task_queue.put, None)
                _start_team(self.count, partial(_run_tasks, self._task_queue))
        self._task_queue.put(run_and_report)
        return future.result()

    def run_steps(self, steps: Iterator[Result]) -> Iterator[Result]:
        """Yield the steps, each computed by `run`, and adapt to the time they wait for a core."""

        def timed_step() -> tuple[object, float, float]:
            start, waited_before = time.monotonic(), cpu_wait_seconds()
            result = next(steps, _EXHAUSTED)
            return result, time.monotonic() - start, cpu_wait_seconds() - waited_before

        if self.count > 1 and self.is_passive is None:
            self._enter_passive_wait()
        while True:
            result, seconds, waited_seconds = self.run(timed_step)
            if result is _EXHAUSTED:
                return
            self._seconds += seconds
            self._waited_seconds += waited_seconds
            if self._seconds >= WINDOW_SECONDS and self.count > 1:
                self._update_wait_policy(self._seconds, self._waited_seconds / self._seconds)
                self._seconds = self._waited_seconds = 0.0
            yield cast(Result, result)

    def _update_wait_policy(self, seconds: float, waited_fraction: float) -> None:
        """Let threads sleep or spin, by the share of a window's `seconds` spent without a core."""
        is_idle = waited_fraction < IDLE_FRACTION
        self._calm_seconds = self._calm_seconds + seconds if is_idle else 0.0
        if waited_fraction > BUSY_FRACTION and not self.is_passive:
            self._required_calm = min(MAX_CALM_SECONDS, 4 * self._required_calm)
            self._enter_passive_wait()
        elif self._calm_seconds > self._required_calm:
            if not self.is_passive:
                self._required_calm = MIN_CALM_SECONDS
            self._calm_seconds, self.is_passive = 0.0, False
            self._spare_team_stop.set()

    def _enter_passive_wait(self) -> None:
        """Start a spare team: with more threads than cores, libgomp threads sleep as they wait."""
        with self._lock:
            if not self.is_passive:
                self.is_passive, self._spare_team_stop = True, threading.Event()
                weakref.finalize(self, self._spare_team_stop.set)
                _start_team(os.cpu_count() or 1, self._spare_team_stop.wait)


def _start_team(count: int, work: Callable[[], object]) -> None:
    """Run `work` on a new thread with an OpenMP team of `count` threads."""
    ready = threading.Event()

    def begin() -> None:
        torch.set_num_threads(count)
        torch.ones(PARALLEL_ELEMENTS).add_(1)  # Creates the team.
        ready.set()
        work()

    previous_count = torch.get_num_threads()
    threading.Thread(target=begin, daemon=True).start()
    ready.wait()
    torch.set_num_threads(previous_count)  # The other thread's call set it for future threads too.


def _run_tasks(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    """Run the tasks of a queue until it holds None."""
    while work := queue.get():
        work()
        del work  # It may hold the last reference to its CpuThreads, whose finalizer puts None.


def cpu_wait_seconds() -> float:
    """Return how long this thread was ready to run but had no core; 0 if the system cannot tell."""
    try:
        with open("/proc/thread-self/schedstat") as schedstat:
            return int(schedstat.read().split()[1]) / 1e9
    except OSError:
        return 0.0
