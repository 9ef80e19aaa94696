"""A zoom has its speed at any frame rate, stays bright, and can be interrupted anywhere."""

import itertools
import math
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream import DreamRecipe, Engine, RecipeError, ZoomRecipe, load_image, read_recipe
from dream.files.video_reader import read_frames, read_video_info
from dream.networks import catalogue
from dream.render.job_loop import to_batch
from dream.render.objective import NormalisedBlend, energy
from dream.render.transform import apply_affine, blur
from dream.render.video_job import zoom_video_job
from dream.render.zoom import ImageStats
from dream.tensors import luminance, size_of
from tests.conftest import EXAMPLES, ROOT, change, load_dreamlet
from tests.support.videos import render_some
from tools.measure import correlation

CAT = str(EXAMPLES / "cat.jpg")
TINY = {"max_side": 48, "iterations": 1}


def zoom_frames(engine: Engine, photo: Tensor, recipe: ZoomRecipe) -> list[Tensor]:
    return [frame.tensor for frame in engine.zoom(photo, recipe) if frame.finished]


def measure_zoom(before: Tensor, after: Tensor, angle: float = 0.0) -> float:
    """Return how many times larger the second image shows things, by the best fit of its middle.

    Uses brightness alone, since a zoom keeps colours and contrast.
    """
    before, after, fits = luminance(before), luminance(after), {}
    for step in range(100, 400):
        zoom = 1.01 ** (step - 100)
        moved = apply_affine(before, angle=angle, zoom=zoom, shift=(0, 0))
        height, width = size_of(after)
        inner = (..., slice(height // 6, -height // 6), slice(width // 6, -width // 6))
        fits[zoom] = correlation(moved[inner], after[inner], torch.zeros(1))
    return max(fits, key=lambda zoom: fits[zoom])


@pytest.mark.parametrize("fps", [12, 60])
def test_a_second_zooms_as_far_as_asked_for_at_any_rate(fps: int, engine: Engine) -> None:
    photo = blur(F.interpolate(load_image(CAT), (72, 108)), 2.0)
    recipe = ZoomRecipe(seconds=1 + 1 / fps, fps=fps, zoom=2.2, step=0, iterations=1, max_side=108)
    first, *_, last = zoom_frames(engine, photo, recipe)
    assert measure_zoom(first, last) == pytest.approx(2.2, rel=0.03)


def test_a_second_turns_and_drifts_as_far_as_asked_for(engine: Engine, cat: Tensor) -> None:
    recipe = ZoomRecipe(
        seconds=1.1, fps=10, zoom=1.0, rotation=40, right=0.1, down=-0.05, step=0, max_side=96
    )
    first, *_, last = zoom_frames(engine, cat, recipe)

    def fit(degrees: float, right: float, down: float) -> float:
        height, width = size_of(first)
        shift, moved = (-down * height / 10, -right * width / 10), first
        for _ in range(10):
            moved = apply_affine(moved, angle=math.radians(degrees) / 10, zoom=1, shift=shift)
        inner = (..., slice(20, -20), slice(30, -30))
        return correlation(moved[inner], last[inner], moved[inner].mean())

    asked = fit(40, 0.1, -0.05)
    assert asked > 0.9
    for other in ((-40, 0.1, -0.05), (40, -0.1, -0.05), (40, 0.1, 0.05), (30, 0.1, -0.05)):
        assert fit(*other) < asked - 0.02


def test_contrast_and_colour_are_the_same_after_150_frames(engine: Engine) -> None:
    recipe = ZoomRecipe(
        layer="inception4c", seconds=6.25, fps=24, max_side=48, iterations=1, keep_colours=0
    )
    looks = [
        ImageStats.measure(each)
        for each in zoom_frames(engine, load_image(EXAMPLES / "galaxies.jpg"), recipe)
    ]
    early = looks[29]
    for look in (looks[60], looks[-1]):
        assert look.contrast.item() == pytest.approx(early.contrast.item(), rel=0.05)
        assert look.colourfulness.item() == pytest.approx(early.colourfulness.item(), rel=0.05)
    # The dull image has gained contrast.
    assert early.contrast.item() > 0.19


def test_a_zoom_dreams_and_never_comes_to_rest(engine: Engine, cat: Tensor) -> None:
    recipe = ZoomRecipe(seconds=1, fps=8, max_side=96, iterations=2)
    dreamed = zoom_frames(engine, cat, recipe)
    still = zoom_frames(engine, cat, recipe.with_changes(step=0))
    assert change(dreamed[-1], still[-1]) > 5
    assert all(change(one, next) > 2 for one, next in itertools.pairwise(dreamed))


def test_between_key_frames_layers_and_seeds_change_over() -> None:
    recipe = ZoomRecipe(layer="1 s: inception4c; 3 s: inception3b seed 5", seconds=4, fps=2, seed=2)
    at = [recipe.blend_at(frame) for frame in range(recipe.frame_count)]
    assert [share for *_, share in at] == [0, 0, 0, 0.25, 0.5, 0.75, 0, 0]
    assert {(one.layer, one.seed) for one, *_ in at[:6]} == {("inception4c", 2)}
    assert {(one.layer, one.seed) for one, *_ in at[6:]} == {("inception3b", 5)}
    assert [layer for layer, _ in recipe.layers] == ["inception4c", "inception3b"]


def test_by_default_a_zoom_passes_through_layers_over_and_over() -> None:
    recipe = ZoomRecipe(seconds=9)
    shown = [recipe.blend_at(round(24 * second)) for second in (0, 2, 4, 6, 8)]
    layers = [first.layer for first, _, share in shown if not share]
    assert layers == [*recipe.card.zoom_layers, *recipe.card.zoom_layers[:2]]
    # At no two of the first five seconds does the same dream grow.
    seconds = [recipe.blend_at(24 * second) for second in range(1, 6)]
    assert len({(a.layer, b.layer if share else "", share) for a, b, share in seconds}) == 5
    assert recipe.file_stem("cat") == "zoom-cat-inception4c+inception5a+inception4e-seed0"
    assert [layer for layer, _ in ZoomRecipe(layer="conv3").layers] == ["conv3"]


@pytest.mark.parametrize("layer", ["0 s: repeat", "0 s: conv3; 1 s: repeat; 2 s: conv3"])
def test_keyframes_repeat_only_at_their_end(layer: str) -> None:
    with pytest.raises(RecipeError, match="repeat must be the last of several keyframes"):
        ZoomRecipe(layer=layer)


def test_keyframes_that_repeat_begin_anew_after_the_last() -> None:
    recipe = ZoomRecipe(layer="1 s: conv3; 2 s: inception3b seed 5; 4 s: repeat", seconds=8, fps=2)
    blends = [recipe.blend_at(frame) for frame in range(recipe.frame_count)]
    assert [share for *_, share in blends[:8]] == [0, 0, 0, 0.5, 0, 0.25, 0.5, 0.75]
    assert blends[8][0] is blends[2][0] and blends[9:15] == blends[3:9]
    last, again, share = blends[7]
    assert (last.seed, again.layer, share) == (5, "conv3", 0.75)


@pytest.mark.parametrize("model", catalogue.CARDS)
def test_each_network_has_a_zoom_through_layers_that_it_has(model: str) -> None:
    recipe = ZoomRecipe(model=model)
    assert len({key.dream.layer for key in recipe.keyframes}) > 1
    assert ZoomRecipe().with_changes(model=model) == recipe


def test_a_blend_pulls_as_its_shares_say_whatever_the_layers_answer(cat: Tensor) -> None:
    network, picture = load_dreamlet(), F.interpolate(cat, (64, 96))
    low, high = energy("conv3"), 1e6 * energy("inception4c")

    def gradient(objective: NormalisedBlend) -> Tensor:
        return network.value_and_grad(objective)(picture)[1]

    ends = [gradient(NormalisedBlend(((1.0, each),))) for each in (low, high)]
    middle = gradient(NormalisedBlend(((0.5, low), (0.5, high))))
    assert torch.allclose(middle, (ends[0] + ends[1]) / 2, atol=1e-3 * float(middle.abs().max()))
    assert 0.02 < float(ends[0].abs().mean() / ends[1].abs().mean()) < 50


def test_a_zoom_that_was_broken_off_anywhere_goes_on_bit_by_bit(
    engine: Engine, cat: Tensor, tmp_path: Path
) -> None:
    recipe = ZoomRecipe(seconds=2.6, fps=5, layer="0 s: conv3; 2 s: inception3b", **TINY)  # type: ignore[arg-type]
    (job,) = engine.plan([recipe], size_of(cat))
    reel = zoom_video_job(job, cat)

    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    assert render_some(engine, reel, whole, 1000)
    assert not render_some(engine, reel, cut, 9)
    # It holds the frames finished before the stop, and plays.
    assert read_video_info(cut).frame_count == 7
    assert not render_some(engine, reel, cut, 3) and render_some(engine, reel, cut, 1000)
    assert whole.read_bytes() == cut.read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["cut.mp4", "whole.mp4"]
    video = read_video_info(whole)
    assert (video.frame_count, video.frame_rate) == (13, Fraction(5))
    assert video.times[-1] == Fraction(13, 5)
    assert read_recipe(whole) == engine.settle(recipe)
    shown = to_batch(list(read_frames(video, video.size)))
    for seen, frame in zip(shown.split(1), zoom_frames(engine, cat, recipe), strict=True):
        assert change(seen, frame) < 8


def test_a_killed_command_goes_on_and_an_interrupted_one_keeps_what_there_is(
    tmp_path: Path,
) -> None:
    out = tmp_path / "zoom.mp4"
    command = [sys.executable, "-m", "dream", "zoom", CAT, "-o", str(out), "--max-side", "96"]
    command += ["--iterations", "1", "--fps", "4", "--seconds", "300"]
    parts = tmp_path / ".zoom.mp4.parts"
    for stop, code in (("kill", -9), ("send_signal", 130)):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        begun = len(list(parts.glob("*-*.mp4")))
        while len(list(parts.glob("*-*.mp4"))) < begun + 2:
            assert process.poll() is None
            time.sleep(0.1)
        process.kill() if stop == "kill" else process.send_signal(2)
        said, _ = process.communicate()
        assert process.returncode == code
        assert out.exists() == (stop != "kill")
    assert said.startswith(f"{out} has the first ") and said.count("\n") == 1
    video = read_video_info(out)
    assert video.frame_count >= 16 and video.frame_rate == 4
    assert read_recipe(out, ZoomRecipe).frame_count == video.frame_count
    with Image.open(CAT) as image:
        assert video.size == (64, 96) and image.size == (451, 300)


@pytest.mark.parametrize("layer", ["inception4c", "0 s: inception4c; 9 s: inception3b"])
def test_a_plan_makes_nothing_for_each_frame_that_is_alike(layer: str, engine: Engine) -> None:
    recipe = ZoomRecipe(layer=layer, seconds=60, fps=120, max_side=48)
    (job,) = engine.plan([recipe], (300, 451))
    assert len(job.frames) == 7200
    assert len({id(stage) for stage in job.stages}) <= 3 * len(job.frames[0])
    times = (0, 1, 599, 1079, 1080, 5000)
    shares = [recipe.blend_at(frame)[2] for frame in times]
    ends = 9 if ";" in layer else math.inf
    assert shares == [
        float(frame / Fraction(120)) / ends if frame < 120 * ends else 0.0 for frame in times
    ]


def test_a_frame_is_a_dream_of_the_one_before(engine: Engine, cat: Tensor) -> None:
    """The first frame is an ordinary dream of the photo in few steps."""
    first, *_ = zoom_frames(engine, cat, ZoomRecipe(seconds=0.1, fps=10, max_side=96, iterations=3))
    recipe = DreamRecipe(octaves=1, iterations=3, step=1.5, max_side=96)
    start, *_, dreamed = engine.dream(cat, recipe)
    assert first.shape == dreamed.tensor.shape
    assert correlation(first, dreamed.tensor, start.tensor) > 0.8
