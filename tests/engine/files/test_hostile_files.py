"""Hostile images and recipes are read correctly or refused in a line, in bounded time and memory.

`make soak` sends many more of them through every interface.
"""

from pathlib import Path

import pytest

from tests.support.corpus import corpus
from tests.support.fuzz import fuzz_files, fuzz_recipes
from tests.support.trial import command_reader, loader_reader, try_files

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")


def test_each_file_is_a_right_looking_picture_or_is_refused_in_a_line(tmp_path: Path) -> None:
    trial = try_files(corpus(), loader_reader(tmp_path))
    assert not trial.wrong
    assert trial.fine > 200 and trial.refused > 150 and trial.cases == len(corpus())


def test_the_command_line_dreams_or_refuses_them_and_leaves_no_half_file(tmp_path: Path) -> None:
    trial = try_files(corpus()[::12], command_reader(tmp_path), least=32)
    assert not trial.wrong and trial.fine > 10 and trial.refused > 10
    assert {path.name for path in tmp_path.iterdir()} <= {"out.png"}


def test_files_that_nobody_thought_of_are_read_or_refused_in_a_line() -> None:
    tally = fuzz_files(300)
    assert tally.fine > 10 and tally.refused > 100


def test_recipes_that_nobody_thought_of_are_read_or_refused_in_a_line() -> None:
    tally = fuzz_recipes(400)
    assert tally.fine > 10 and tally.refused > 100
