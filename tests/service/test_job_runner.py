"""Jobs run the same here and in a process with a leased GPU."""

import asyncio
import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamError,
    DreamRecipe,
    Engine,
    OutOfTime,
    PictureError,
    RecipeError,
    VideoRecipe,
    ZoomRecipe,
    load_image,
    read_recipe,
    save_image,
)
from dream.files.video_reader import read_video_info
from dream.networks.architecture import TRACE_LOCK
from dream.page.channel_stream import stream_top_channels
from dream.page.image_stream import (
    MAX_PREVIEWS,
    frame_updates,
    lossless_path,
    new_output_folder,
    photo_stem,
    stream_render,
    wait_for_stopped_image,
)
from dream.page.server import api
from dream.page.widgets.run import show_errors
from dream.page.widgets.visit import EXAMPLE_PHOTO, Visit, VisitEntry
from dream.render import ascent
from dream.render.job_loop import Frame
from dream.service.job_runner import MAX_LEASE_SECONDS, PREVIEW_SIDE, JobRunner, throttle_previews
from tests.conftest import EXAMPLES
from tests.support import nights
from tests.support.page import build_dream_tab
from tests.support.videos import pan, write_video
from tests.support.zero import Lender

CAT = str(EXAMPLES / "cat.jpg")


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def runner(engine: Engine, lender: Lender) -> JobRunner:
    return JobRunner(engine, lender)


def limited(engine: Engine, seconds: float, lend: Any = None) -> JobRunner:
    """Return a runner with that time limit, which expects every job to take no time."""
    runner = JobRunner(engine, lend)
    runner.time_limit, runner._slowdown = seconds, 0.0
    return runner


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch, uploads: Path) -> Callable[[float], None]:
    """Return a function that makes steps take that many seconds longer."""

    def slow_down(seconds: float) -> None:
        def ascend(*given: Any, **about: Any) -> Iterator[Any]:
            for step in ascent.gradient_ascent(*given, **about):
                time.sleep(seconds)
                yield step

        monkeypatch.setattr("dream.render.job_loop.gradient_ascent", ascend)

    slow_down(0.05)
    return slow_down


# The second is what `spaces.GPU` is outside ZeroGPU.
@pytest.mark.parametrize("lend", [None, lambda duration: lambda run: run, Lender()])
def test_a_dream_is_the_same_wherever_it_runs(
    engine: Engine, cat: Tensor, quick: DreamRecipe, lend: Any
) -> None:
    *_, expected = engine.dream(cat, quick)
    first, *_, last = JobRunner(engine, lend).render([quick], cat)
    assert (first.step, last.step, last.finished) == (0, 4, True)
    assert last.picture().tobytes() == expected.picture().tobytes()
    assert last.values == expected.values


def test_all_other_work_crosses_too(engine: Engine, runner: JobRunner, cat: Tensor) -> None:
    engine.cache.max_bytes = 0
    channels = [ChannelRecipe(channel=each, size=64, steps=2) for each in (3, 9)]
    *_, expected = engine.channels(channels)
    *_, frame = runner.render(channels)
    assert frame.channels == (3, 9) and frame.values == expected.values
    assert frame.pictures()[1].tobytes() == expected.pictures()[1].tobytes()
    *_, raised = runner.render([ChannelRecipe(channel=3, size=96, steps=4)], cat)
    assert raised.channels == (3,)
    recipe = ClassRecipe(size=64, steps=3)
    *_, shown = runner.render([recipe])
    assert shown.finished and shown.verdict == engine.verdict(shown.tensor, engine.settle(recipe))
    response, frames = runner.render_top_channels(cat, ChannelRecipe(size=48, steps=2), 3)
    here = engine.response(cat)
    *_, frame = frames
    assert [*frame.channels] == [each.channel for each in here.top(3)]
    assert torch.equal(response.activation, here.activation)
    assert torch.equal(response.image, here.image)


def test_more_seconds_are_asked_for_what_takes_longer_and_never_too_many(
    runner: JobRunner, lender: Lender, cat: Tensor, quick: DreamRecipe
) -> None:
    for recipe in (quick, quick.with_changes(max_side=448, iterations=100)):
        expected = runner.estimate_seconds([runner.engine.settle(recipe)], (300, 451))
        next(runner.render([recipe], cat))
        assert expected < lender.durations[-1] <= MAX_LEASE_SECONDS
    assert lender.durations[0] < lender.durations[1]
    with pytest.raises(DreamError, match=r"about \d+ seconds of GPU time, and the limit is 60"):
        runner.render([DreamRecipe(max_side=2000, iterations=100)], torch.zeros(1, 3, 2000, 2000))
    assert len(lender.durations) == 2


def test_what_is_wrong_is_said_before_a_gpu_is_asked_for(
    runner: JobRunner, lender: Lender, cat: Tensor
) -> None:
    with pytest.raises(PictureError, match="the network needs"):
        runner.render([DreamRecipe(max_side=32)], cat)
    with pytest.raises(PictureError, match="the network needs"):
        runner.render_top_channels(cat[:, :, :8], ChannelRecipe(), 8)
    with pytest.raises(PictureError, match="the network needs"):
        runner.render([ClassRecipe(size=32)], cat)
    assert not lender.durations


def test_channels_that_are_kept_ask_for_no_gpu(lender: Lender) -> None:
    engine = Engine("cpu", shipped=[EXAMPLES / "channels"])
    (frame,) = JobRunner(engine, lender).render([ChannelRecipe(channel=20)], use_cache=True)
    assert frame.finished and not lender.durations


def raise_out_of_memory(engine: Engine, seconds: float) -> Generator[Frame, None, None]:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
    yield


def test_too_little_memory_is_said_in_a_sentence(engine: Engine, runner: JobRunner) -> None:
    for work in (runner, JobRunner(engine)):
        with pytest.raises(DreamError, match="too much for the memory of the GPU; give a smaller"):
            list(work._start_task(raise_out_of_memory, 1.0))


@pytest.mark.parametrize("lend", [None, Lender()])
def test_a_dream_that_takes_too_long_ends_with_the_picture_so_far(
    engine: Engine, cat: Tensor, lend: Any, slow_steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dream.service.job_runner.LEASE_STARTUP_SECONDS", 0.3)
    monkeypatch.setattr("dream.service.job_runner.PREVIEW_SIDE", 100)
    recipe = DreamRecipe(max_side=128, octaves=1, iterations=100)
    *before, last = limited(engine, 0.3, lend).render([recipe], cat)
    assert 0 < last.step < last.total == 100 and not last.finished
    assert not any(frame.ended for frame in before)
    said = rf"time was up after {last.step} of 100 steps; .* so far; fewer steps or a smaller"
    assert re.match(said, last.ended)
    # It has the full size, and equals a dream of that many steps.
    *_, expected = engine.dream(cat, recipe.with_changes(iterations=last.step))
    assert last.picture().tobytes() == expected.picture().tobytes()


SMALL: dict[str, Any] = {"max_side": 64, "octaves": 1, "iterations": 50}
CHANNELS: dict[str, Any] = {"size": 48, "steps": 50}


@pytest.mark.filterwarnings("ignore:Time was up")
def test_who_asks_for_too_long_a_dream_is_given_it_as_far_as_it_came(
    engine: Engine, slow_steps: Any
) -> None:
    work = limited(engine, 0.8)
    *_, (path, recipe) = api.deep_dream(work, CAT, "png", SMALL)
    assert path and path.endswith(".png") and load_image(path).shape[3] == 64
    assert recipe and recipe["ended"].startswith("time was up after ")
    with pytest.raises(RecipeError, match="has no recipe"):  # It would make another image.
        read_recipe(path)
    *_, (path, made, verdict) = api.class_image(work, None, "png", CHANNELS)
    assert made and "ended" in made and verdict and verdict["after"]
    *_, (items, about) = api.visualize_channel(work, "3,9", None, "png", CHANNELS)
    assert len(items) == 2 and about and "ended" in about and len(about["recipes"]) == 2
    *_, (items, where, answers) = api.top_channels(work, CAT, 90, 60, 2, "png", CHANNELS)
    assert len(items) == 2 and where and answers
    assert [set(each) for each in answers] == [{"channel", "strength"}] * 2 + [{"ended"}]
    # Of several dreams the finished ones and the current one are kept.
    work.time_limit = 2.0
    *_, (path, recipes) = api.compare(work, CAT, "conv2", "1,2,3,4,5,6,7,8", "png", SMALL)
    assert path and recipes and 2 <= len(recipes) <= 8 and set(recipes[-1]) == {"ended"}
    assert [each["intensity"] for each in recipes[:-1]] == [*range(1, len(recipes))]
    assert load_image(path).shape[3] == len(recipes) * (64 + 6) + 6


@pytest.mark.filterwarnings("ignore:Time was up")
def test_the_page_says_why_a_dream_ended_and_offers_it(engine: Engine, slow_steps: Any) -> None:
    work, knobs = limited(engine, 0.8), asdict(DreamRecipe(**SMALL)) | {"mask": None}
    tab = build_dream_tab(work)
    outputs, sheet = tab.outputs, tab.comparison.sheet
    stream = tab.dream(CAT, (), random_seed=False, **knobs)
    *_, shown, downloaded, said = show_errors(stream, outputs.status)
    assert "Step" in shown[outputs.status] and "Time was up after" in said[outputs.status]
    assert outputs.download not in shown and downloaded[outputs.download].endswith(".png")
    assert shown[outputs.view][1] == downloaded[outputs.download]
    given = knobs | {"layers": ["conv2"], "intensities": ["9", "10"]}
    stream = tab.comparison.stream(work, outputs.status, CAT, random_seed=False, **given)
    *_, shown, said = show_errors(stream, outputs.status)
    assert Path(shown[sheet]["value"]).is_file() and "Time was up after" in said[outputs.status]


FILM: dict[str, Any] = {"max_side": 48, "octaves": 1, "iterations": 1}


@pytest.mark.filterwarnings("ignore:Time was up")
def test_a_film_that_takes_too_long_says_what_it_is_made_of(
    engine: Engine, slow_steps: Any, tmp_path: Path
) -> None:
    work = limited(engine, 1.0)
    *_, (path, recipe, _) = api.zoom(work, CAT, "webm", FILM | {"seconds": 20, "fps": 10})
    assert path and recipe and set(recipe) == {"ended"}
    count = read_video_info(path).frame_count
    said = rf"time was up after {count} of 200 frames; make the video shorter, or"
    assert re.match(said, recipe["ended"])
    # The same again; the file holds its recipe.
    made = read_recipe(path, ZoomRecipe)
    whole = ZoomRecipe(**FILM, seconds=20, fps=10)
    assert made.frame_count == count and made.with_changes(seconds=20) == whole
    clip = str(write_video(tmp_path / "clip.mp4", pan(60, speed=1)))
    *_, (path, recipe, _) = api.dream_video(work, clip, "mp4", FILM)
    assert path and recipe
    assert f"after {read_video_info(path).frame_count} of 60 frames" in recipe["ended"]
    assert read_recipe(path) == engine.settle(VideoRecipe(**FILM))
    slow_steps(2)
    with pytest.raises(OutOfTime, match="time was up before the first frame was finished; fewer"):
        list(api.zoom(work, CAT, "mp4", FILM | {"iterations": 2}))


@pytest.mark.filterwarnings("ignore:Time was up")
def test_a_making_of_that_takes_too_long_shows_the_steps_so_far(
    engine: Engine, slow_steps: Any
) -> None:
    work, knobs = limited(engine, 0.8), FILM | {"iterations": 50}
    *_, (path, recipe, _) = api.making_of(work, CAT, 3, 10, False, "gif", knobs)
    assert path and recipe and recipe["ended"].startswith("time was up after ")
    assert 10 < read_video_info(path).frame_count < 30
    with pytest.raises(RecipeError, match="has no recipe"):
        read_recipe(path)
    photo = str(EXAMPLE_PHOTO)
    shown = VisitEntry(str(new_output_folder() / "dream.png"), photo, photo)
    save_image(Image.new("RGB", (48, 32)), shown.file, DreamRecipe(**knobs))
    making_of = build_dream_tab(work).making_of
    *_, changes = making_of.stream(work, "status", Visit(shown).to_browser(), "Once")
    download = changes[making_of.video_outputs[-1]]
    assert "Time was up after" in changes["status"] and download.endswith(".mp4")


def test_between_two_pictures_time_is_up_after_the_first(engine: Engine, cat: Tensor) -> None:
    recipe = DreamRecipe(octaves=1, iterations=1, max_side=48)
    frames = itertools.islice(engine.dreams(cat, [recipe, recipe.with_changes(seed=1)]), 1, None)
    first, last = throttle_previews(frames, deadline=0)
    assert first.finished and not last.octave_step and "after 1 of 2 steps" in last.ended


def test_a_dream_in_tiles_is_ended_within_its_only_step(engine: Engine) -> None:
    recipe = DreamRecipe(octaves=1, iterations=1, tile=128, max_side=1024)
    with pytest.raises(OutOfTime, match="exceeds the time limit; fewer steps"):
        list(limited(engine, 0.3).render([recipe], torch.rand(1, 3, 1024, 1024)))


def test_what_is_expected_to_take_too_long_is_not_begun(engine: Engine, cat: Tensor) -> None:
    work = JobRunner(engine)
    work._slowdown = 1e6
    said = r"would take about \d+ seconds here, and the limit is 120; fewer steps or a sm"
    for recipe in (DreamRecipe(), ChannelRecipe(channel=3, steps=1)):
        with pytest.raises(OutOfTime, match=said):
            work.render([recipe], cat)
    with pytest.raises(OutOfTime, match=said):
        work.render([ClassRecipe()])


def test_previews_are_shrunk_and_results_are_not(engine: Engine) -> None:
    wide = torch.rand(1, 3, 64, PREVIEW_SIDE + 400)
    recipe = DreamRecipe(max_side=8192, octaves=1, iterations=1)
    first, last = JobRunner(engine).render([recipe], wide)
    assert first.picture().width == PREVIEW_SIDE and last.picture().width == PREVIEW_SIDE + 400


def test_a_forked_process_has_an_engine_of_its_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = JobRunner(engine)
    assert work._local_engine() is engine
    monkeypatch.setattr(os, "getpid", lambda: -1)
    own = work._local_engine()
    assert own is not engine and own is work._local_engine()
    assert own.device == engine.device and own.cache.shipped_folders == engine.cache.shipped_folders


def test_a_fork_waits_for_forwards_so_that_its_child_can_run_some() -> None:
    TRACE_LOCK.acquire()
    threading.Timer(0.3, TRACE_LOCK.release).start()
    child = os.fork()
    if not child:
        os._exit(0 if TRACE_LOCK.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert TRACE_LOCK.acquire(timeout=5)
    TRACE_LOCK.release()


def test_the_machine_is_timed_and_each_dream_teaches_more(engine: Engine, cat: Tensor) -> None:
    work = JobRunner(engine)
    recipe = engine.settle(DreamRecipe(max_side=200, octaves=1))
    work.warm_up(recipe)
    assert 0 < work.estimate_seconds([recipe], (300, 451)) < 60
    work._slowdown = 100.0
    before = work.estimate_seconds([recipe], (300, 451))
    for _ in work.render([recipe], cat):
        pass
    assert work.estimate_seconds([recipe], (300, 451)) < before


def test_nothing_is_run_beforehand_where_gpus_are_lent(runner: JobRunner, lender: Lender) -> None:
    runner.warm_up(runner.engine.settle(DreamRecipe()))
    assert not lender.durations and runner._slowdown == 1.0


def test_busy_hours_never_keep_a_default_dream_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job() -> Generator[int, None, None]:
        yield from range(2)

    work, clock = JobRunner(engine), itertools.count(0, 50.0)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    for _ in range(9):
        list(work._task_results(1.0, job()))
    default = engine.settle(DreamRecipe())
    assert 10 < work.estimate_seconds([default], (427, 640)) < 120


def test_channels_that_are_kept_teach_nothing_of_how_fast_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = JobRunner(Engine("cpu", shipped=[EXAMPLES / "channels"]))
    work._slowdown = 8.0
    shipped = [ChannelRecipe(channel=channel) for channel in range(0, 320, 20)]
    for seed in (1001, 1002, 1003):
        one = ChannelRecipe(channel=7, size=64, steps=2, seed=seed)
        # Estimated alone, since the others are cached.
        assert len(work.engine.plan([*shipped, one], use_cache=True)) == 2
        *_, frame = work.render([*shipped, one], use_cache=True)
        assert frame.finished and frame.done == 1
    assert work._slowdown == 8.0


def test_of_a_dreams_previews_the_first_and_the_last_stay(engine: Engine, uploads: Path) -> None:
    recipe = DreamRecipe(max_side=48, octaves=1, iterations=MAX_PREVIEWS + 9)
    frames = engine.dream(load_image(CAT), recipe)
    shown = [moment.files[0] for moment in frame_updates(frames, CAT)]
    assert len(shown) == MAX_PREVIEWS + 10
    there = {str(path) for path in uploads.rglob("*") if path.is_file()}
    assert there == {shown[0], *shown[-1 - MAX_PREVIEWS :]}


def test_the_next_photo_is_read_while_another_dreams(engine: Engine, tmp_path: Path) -> None:
    work, recipe = JobRunner(engine), DreamRecipe(max_side=48, octaves=1, iterations=12)
    with closing(stream_render(work, [recipe], CAT)) as first:
        assert next(first).frame
        (tmp_path / "bad.png").write_bytes(b"no picture")
        with pytest.raises(PictureError, match=r"bad.png is not an image"):
            stream_render(work, [recipe], str(tmp_path / "bad.png"))
        with (
            closing(stream_render(work, [recipe], CAT)) as second,
            closing(
                stream_top_channels(work, CAT, ChannelRecipe(size=48, steps=1), None, 2)
            ) as third,
        ):
            for stream in (second, third):
                assert "1 dream before yours" in next(stream).status
    # It is released, and so is a turn it waited for.
    assert next(stream_render(work, [recipe], CAT)).frame


def test_a_spot_in_a_photo_that_is_read_at_a_half_is_in_pixels_of_its_file(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def ask(*given: Any, **_: Any) -> None:
        asked.append(given[3])
        raise DreamError("asked")

    exif, work, photo = Image.Exif(), JobRunner(engine), str(tmp_path / "large.jpg")
    exif[274] = 6  # Its orientation is a quarter turn.
    Image.new("L", (29_900, 2200)).save(photo, exif=exif)
    monkeypatch.setattr(work, "render_top_channels", ask)
    with pytest.raises(DreamError, match="asked"):
        list(stream_top_channels(work, photo, ChannelRecipe(), (2000, 29_000), 2))
    assert asked == [(2000.5 / 2200, 29_000.5 / 29_900)]
    with pytest.raises(DreamError, match=r"the spot 2200, 5 .* is 2200 x 29900 pixels"):
        stream_top_channels(work, photo, ChannelRecipe(), (2200, 5), 2)


@pytest.mark.usefixtures("uploads")
def test_a_dream_that_is_stopped_leaves_all_of_its_last_picture(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = DreamRecipe(max_side=48, octaves=1, iterations=12)
    stream = frame_updates(engine.dream(load_image(CAT), recipe), CAT)
    for moment in stream:
        if moment.frame and moment.frame.step == 5:
            break
    assert lossless_path(moment.files[0]) == moment.files[0]
    stream.close()
    whole = lossless_path(moment.files[0])
    assert whole.endswith("-5.png") and photo_stem(whole) == "cat"
    assert moment.frame and torch.equal(
        load_image(whole), (moment.frame.tensor * 255).round() / 255
    )
    # A stop before the first picture offers none, not one of the folder that the server runs in.
    monkeypatch.chdir(Path(whole).parent)
    assert asyncio.run(wait_for_stopped_image("")) == gr.skip()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_full_disk_is_told_and_leaves_no_half_file(
    kind: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, uploads: Path
) -> None:
    monkeypatch.setattr("dream.service.job_runner.PREVIEW_SECONDS", 0)
    save = Image.Image.save

    def on_a_full_disk(self: Image.Image, path: Path, format: str, **about: Any) -> None:
        if format != kind or not isinstance(path, Path):  # The format is tried in memory first.
            return save(self, path, format, **about)
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", on_a_full_disk)
    recipe = DreamRecipe(max_side=48, octaves=1, iterations=3)
    name = r"dream-cat-inception4c-i5-seed0(-\d)?\.(jpg|png)"
    with pytest.raises(PictureError, match=f"^{name} cannot be written: No space left on device$"):
        list(stream_render(JobRunner(engine), [recipe], CAT))
    assert not list(uploads.rglob("*.part"))

    def no_room(self: Path, **_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", no_room)
    with pytest.raises(PictureError, match=r"^the server cannot save images: No space"):
        new_output_folder()


@pytest.mark.at_scale
@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_a_night_of_dreams_leaves_memory_files_and_networks_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in nights.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    first, *_, last = nights.make_dreams(tmp_path, 18, 6)
    assert last.done == 18 and last.networks == 1
    assert last.megabytes < 1.1 * first.megabytes
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.png")) < 3 * nights.MAX_KEPT_BYTES
