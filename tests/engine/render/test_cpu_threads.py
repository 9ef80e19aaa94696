"""All CPU threads work as one team, which yields to other programs."""

import gc
import itertools
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from dream.render import cpu_threads
from dream.render.cpu_threads import MAX_CALM_SECONDS, MIN_CALM_SECONDS, CpuThreads
from tests.conftest import use_threads

STEP = 0.125


class Machine:
    """A machine whose clock advances by steps alone.

    `lost` is the share of a step spent waiting for a core, by whether the team sleeps.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.team = CpuThreads(2)
        self.lost = {True: 0.0, False: 0.0}
        self.now = self.waited = 0.0
        self.slept: list[bool] = []
        patch.setattr(time, "monotonic", lambda: self.now)
        patch.setattr(cpu_threads, "cpu_wait_seconds", lambda: self.waited)

    def steps(self, count: int) -> Iterator[int]:
        for step in range(count):
            self.slept.append(bool(self.team.is_passive))
            self.now += STEP
            self.waited += STEP * self.lost[self.slept[-1]]
            yield step

    def run(self, count: int) -> list[bool]:
        """Run `count` steps; return whether the team slept at each."""
        self.slept.clear()
        assert list(self.team.run_steps(self.steps(count))) == list(range(count))
        return list(self.slept)


@pytest.fixture
def two_threads() -> Iterator[None]:
    with use_threads(2):
        yield


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, two_threads: None) -> Machine:
    return Machine(monkeypatch)


def test_alone_the_team_wakes_once_it_knows_and_stays_so(machine: Machine) -> None:
    assert machine.run(20) == [True] * 2 + [False] * 18
    assert machine.run(3) == [False] * 3


def test_beside_a_program_on_every_core_it_sleeps(machine: Machine) -> None:
    machine.lost = {True: 0.3, False: 0.5}
    assert all(machine.run(100))


def test_it_makes_way_for_one_who_comes_later_until_he_has_gone(machine: Machine) -> None:
    machine.run(10)
    machine.lost = {True: 0.3, False: 0.5}
    assert machine.run(10) == [False] + [True] * 9
    machine.lost = {True: 0.0, False: 0.0}
    assert machine.run(10) == [True] * 5 + [False] * 5


def test_where_it_wakes_too_early_it_waits_longer_each_time(machine: Machine) -> None:
    # As with a program that leaves a core to a sleeping team.
    machine.lost = {True: 0.0, False: 0.5}
    woke = [step for step, slept in enumerate(machine.run(2000)) if not slept]
    pauses = [later - earlier for earlier, later in itertools.pairwise(woke)]
    assert pauses == sorted(pauses) and pauses[0] <= 5 * MIN_CALM_SECONDS / STEP + 1
    assert pauses[-1] >= MAX_CALM_SECONDS / STEP


def test_a_team_that_sleeps_is_one_of_two_and_one_that_is_awake_is_alone(machine: Machine) -> None:
    before = set(threading.enumerate())
    machine.lost = {True: 0.3, False: 0.5}
    machine.run(3)
    (other,) = set(threading.enumerate()) - before
    machine.lost = {True: 0.0, False: 0.0}
    machine.run(3)
    other.join(10)
    assert not other.is_alive() and not set(threading.enumerate()) - before


def test_where_torch_takes_fewer_threads_one_thread_does_all_work(two_threads: None) -> None:
    team, seen = CpuThreads(4), []
    for _ in range(3):
        team.run(lambda: seen.append((threading.get_ident(), torch.get_num_threads())))
    assert len(set(seen)) == 1
    assert seen[0][0] != threading.get_ident() and seen[0][1] == 4
    assert torch.get_num_threads() == 2
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]  # The team's own CPU time does not count as another program's.


@pytest.mark.parametrize("count", [1, 2, 4])
def test_what_goes_wrong_goes_wrong_for_the_one_who_asked(two_threads: None, count: int) -> None:
    def steps() -> Iterator[int]:
        yield 1
        raise ValueError("wrong")

    team = CpuThreads(count)
    with pytest.raises(ValueError, match="wrong"):
        list(team.run_steps(steps()))
    assert list(team.run_steps(iter([1, 2]))) == [1, 2]


def test_the_machine_tells_what_a_thread_waited_for_or_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cpu_threads.cpu_wait_seconds() >= 0

    def no_such_file(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", no_such_file)
    assert cpu_threads.cpu_wait_seconds() == 0


def test_an_engine_that_is_dropped_leaves_no_thread() -> None:
    painters = set()
    for _ in range(3):
        team = CpuThreads(torch.get_num_threads() + 1)
        painters |= {team.run(threading.current_thread)}
    assert len(painters) == 3 and threading.current_thread() not in painters
    del team
    gc.collect()
    for painter in painters:
        painter.join(timeout=10)
        assert not painter.is_alive()
