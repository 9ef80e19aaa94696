"""Live dreams in a process of their own, where GPUs are lent."""

import os
import sys

import pytest
import torch
from PIL import Image

from dream import DreamError, Engine, LiveRecipe
from dream.paint.frames import to_tensors
from dream.paint.live import Mirror
from dream.service import aside
from dream.service.aside import SIDE, Aside
from tests.conftest import EXAMPLES, on_threads


def test_its_process_works_on_the_cores_that_a_space_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CPU_CORES", "2")
    with on_threads(3), open(os.devnull) as nothing_comes:
        monkeypatch.setattr(sys, "stdin", nothing_comes)
        aside.main()
        assert torch.get_num_threads() == 2


@pytest.mark.slow
def test_a_process_of_its_own_dreams_the_same_smaller_and_goes(engine: Engine) -> None:
    with Image.open(EXAMPLES / "cat.jpg") as cat:
        seen = cat.convert("RGB").resize((320, 240))
    recipe, there = LiveRecipe(max_side=320), Aside()
    mirror = Mirror(lambda job, given: engine.paint([job], to_tensors(given)))
    for _ in range(2):
        dream = there.dreamed(seen, recipe)  # It shrinks what it is given.
        assert max(seen.size) == SIDE
        assert dream.tobytes() == mirror.dreamed(seen, recipe.within(SIDE)).tobytes()
    with pytest.raises(DreamError, match="pixels"):
        there.dreamed(Image.new("RGB", (240, 4)), recipe)
    process = there._process
    assert process and process.stdin
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    assert there.dreamed(seen, recipe).size == dream.size  # By another one.
    there.close()
