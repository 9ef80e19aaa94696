"""An image too large for GPU memory is rendered one size smaller, with a remark."""

import itertools
import re
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DeviceError,
    DreamRecipe,
    Engine,
    LiveRecipe,
    VideoRecipe,
    ZoomRecipe,
    load_image,
    read_recipe,
)
from dream.__main__ import main
from dream.files.video_reader import read_video_info
from dream.networks.network import Network
from dream.page.image_stream import stream_render
from dream.recipe.motion import MotionRecipe
from dream.service.job_runner import JobRunner
from tests.conftest import EXAMPLES, scarce_memory
from tests.support.videos import pan, write_video

CAT = str(EXAMPLES / "cat.jpg")
SAID = "too much for the memory of the GPU at {} pixels a side"


SQUARE = load_image(CAT)[..., :64, :64]


def limit_pixels(count: int) -> AbstractContextManager[None]:
    """Limit memory to images of so many pixels."""
    return scarce_memory(lambda pictures: pictures.numel() > 3 * count)


def test_a_dream_is_made_one_size_smaller_and_says_so(
    engine: Engine, cat: Tensor, quick: DreamRecipe
) -> None:
    *_, expected = engine.dream(cat, quick.with_changes(max_side=91))
    with limit_pixels(91 * 70):
        before, *_ = frames = list(engine.dream(cat, quick))
    (said,) = {frame.remark for frame in frames} - {""}
    assert said == f"{SAID.format(128)}: made at 91" and not before.remark
    last = frames[-1]
    assert last.finished and last.remark == said and last.done == 1 and last.step == last.total
    assert last.recipes == expected.recipes  # The recipe in a PNG remakes it.
    assert last.picture().tobytes() == expected.picture().tobytes()


def test_what_is_too_much_even_so_is_refused_in_one_line(
    engine: Engine, cat: Tensor, quick: DreamRecipe
) -> None:
    said = f"^{SAID.format(91)}; give a smaller image, or fewer$"
    with limit_pixels(100), pytest.raises(DeviceError, match=said):
        list(engine.dream(cat, quick))
    with (
        limit_pixels(100),
        pytest.raises(DeviceError, match=f"^{SAID.format(64)}, and .*the network needs 32"),
    ):
        list(engine.dream(cat, quick.with_changes(max_side=64)))


def test_other_pictures_are_made_smaller_too_and_those_already_there_stay(
    engine: Engine, cat: Tensor
) -> None:
    first = ChannelRecipe(channel=3, size=64, steps=2, seed=77)
    kinds = (first, first.with_changes(channel=4, size=90))
    with limit_pixels(64 * 64 + 1):
        done = [frame for frame in engine.render(engine.plan(kinds)) if frame.finished]
        *_, last = engine.class_image(ClassRecipe(size=80, steps=2, mode="fourier"), cat)
    assert [each.recipes[0] for each in done] == [kinds[0], kinds[1].with_changes(size=64)]
    assert [bool(each.remark) for each in done] == [False, True]
    assert last.recipes[0].size == 57 and last.tensor.shape[3] == 57  # type: ignore[attr-defined]


def test_a_batch_becomes_smaller_not_longer(engine: Engine) -> None:
    batch = [ChannelRecipe(channel=each, size=96, steps=1, seed=77) for each in range(4)]
    jobs = engine.plan(batch)
    with limit_pixels(4 * 80 * 80):
        *_, last = engine.render(jobs)
    assert len(jobs) == 1 and len(last.recipes) == 4 and last.tensor.shape[2] == 69


def test_a_look_that_is_too_much_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def scarce(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")

    monkeypatch.setattr(Network, "activations", scarce)
    assert main(["top", CAT]) == 2
    said = "python -m dream: too much for the memory of the GPU; give a smaller image\n"
    assert capsys.readouterr().err == said


SMALL_ZOOM = ZoomRecipe(max_side=64, iterations=1, seconds=1, fps=3)
SMALL_VIDEO = VideoRecipe(max_side=64, iterations=1, first_octaves=0)


@pytest.mark.parametrize(
    ("recipe", "steps_before", "has_frames"),
    [
        *((recipe, steps, bool(steps)) for recipe in (SMALL_ZOOM, SMALL_VIDEO) for steps in (0, 2)),
        (VideoRecipe(max_side=64, iterations=1), 2, False),  # In the octaves of the first frame.
    ],
    ids=["zoom-0", "zoom-2", "video-0", "video-2", "first-octaves"],
)
def test_a_film_keeps_its_size_and_says_what_to_type(
    recipe: MotionRecipe,
    steps_before: int,
    has_frames: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = write_video(tmp_path / "in.gif", pan(3)), tmp_path / "out.mp4"
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    command = [recipe.kind, str(source), "-o", str(out), "--recipe", str(tmp_path / "recipe.json")]
    steps = itertools.count(1)
    with scarce_memory(lambda _: next(steps) > steps_before):
        assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.err == (
        f"python -m dream: {SAID.format(64)}; a video keeps its size: set max_side to 46\n"
    )
    assert printed.out.count("has the first") == has_frames == out.exists()
    assert main(command) == 0 and read_video_info(out).frame_count == 3


def test_live_dreams_become_smaller_and_each_has_its_own_seed(engine: Engine) -> None:
    (job,) = engine.plan([LiveRecipe(max_side=64)], (64, 64))
    with limit_pixels(50 * 50):
        shown = [
            [frame.picture() for frame in engine.render([each.for_frames(1)], SQUARE)][-1]
            for each in (replace(job, first_frame=first) for first in (0, 0, 1))
        ]
    assert shown[0].size == (46, 46)
    assert shown[0].tobytes() == shown[1].tobytes() != shown[2].tobytes()


def test_page_and_command_line_say_so_and_the_recipe_is_that_of_the_picture(
    engine: Engine, quick: DreamRecipe, uploads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = "^Too much for the memory of the GPU at 128 .* at 91"
    with limit_pixels(91 * 70), pytest.warns(UserWarning, match=warning):
        shown = list(stream_render(JobRunner(engine), [quick], CAT))
    assert read_recipe(shown[-1].files[0], DreamRecipe).max_side == 91
    assert any(re.search(r"left\. Too much for .* made at 91\.", each.status) for each in shown)
    options = ["--octaves", "2", "--iterations", "2", "--max-side", "128"]
    with limit_pixels(91 * 70):
        assert main(["image", CAT, "-o", str(uploads / "out.png"), *options]) == 0
    said = capsys.readouterr()
    assert said.err == f"{SAID.format(128)}: made at 91\n" and "91 x 61" in said.out
    assert read_recipe(uploads / "out.png", DreamRecipe).max_side == 91
