"""Live dreams in a subprocess, on ZeroGPU."""

import os
import sys

import pytest
import torch
from PIL import Image

from dream import DreamError, Engine, LiveRecipe
from dream.service import live_process
from dream.service.live_process import MAX_FRAME_SIDE, LiveProcess
from tests.conftest import EXAMPLES, use_threads
from tools.measure import live_dreamer


def test_its_process_works_on_the_cores_that_a_space_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CPU_CORES", "2")
    with use_threads(3), open(os.devnull) as nothing_comes:
        monkeypatch.setattr(sys, "stdin", nothing_comes)
        live_process.main()
        assert torch.get_num_threads() == 2


def test_a_process_of_its_own_dreams_the_same_smaller_and_goes(engine: Engine) -> None:
    with Image.open(EXAMPLES / "cat.jpg") as cat:
        seen = cat.convert("RGB").resize((320, 240))
    recipe, there = LiveRecipe(max_side=320), LiveProcess()
    mirror = live_dreamer(engine)
    for _ in range(2):
        dream = there.dream_frame(seen, recipe)  # It shrinks its frames.
        assert max(seen.size) == MAX_FRAME_SIDE
        assert dream == mirror.dream_frame(seen, recipe.with_max_side(MAX_FRAME_SIDE))
    with pytest.raises(DreamError, match="pixels"):
        there.dream_frame(Image.new("RGB", (240, 4)), recipe)
    process = there._process
    assert process and process.stdin
    process.stdin.close()
    assert process.wait(timeout=30) == 0
    assert there.dream_frame(seen, recipe).size == dream.size  # By another process.
    there.close()
