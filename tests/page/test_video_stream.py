"""Videos on the page: estimated, split into leases, kept when stopped, and shown."""

import asyncio
import itertools
import re
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image

from dream import (
    DreamRecipe,
    Engine,
    Frame,
    OutOfTime,
    RecipeError,
    VideoRecipe,
    ZoomRecipe,
    read_recipe,
)
from dream.errors import DeviceError
from dream.files.video_reader import read_frames, read_video_info
from dream.files.video_writer import VideoWriter
from dream.page import blocks, status_line, video_stream
from dream.page.image_stream import frame_updates
from dream.page.tabs.channels import ChannelTab
from dream.page.tabs.class_images import ClassImageTab
from dream.page.tabs.deep_dream import DreamTab
from dream.page.tabs.zoom_and_video import ZoomAndVideoTab
from dream.page.video_stream import VideoUpdate, VideoUpdates
from dream.page.widgets.components import Updates
from dream.recipe import Recipe
from dream.render.job_loop import to_batch
from dream.render.making_of import MakingOf
from dream.service.job_runner import MAX_LEASE_SECONDS, JobRunner
from dream.tensors import size_of, to_tensor
from tests.conftest import EXAMPLES, change
from tests.support.page import build_tab
from tests.support.videos import add_beeps, pan, write_video
from tests.support.zero import Lender

CAT = str(EXAMPLES / "cat.jpg")
ZOOM = ZoomRecipe(layer="inception4c", seconds=2.2, fps=5, max_side=48, iterations=1)


def last(made: VideoUpdates) -> VideoUpdate:
    *_, moment = made
    return moment


def read_tensor(path: str) -> torch.Tensor:
    video = read_video_info(path)
    return to_batch(list(read_frames(video, video.size)))


def test_a_zoom_begins_at_once_and_ends_in_a_file_with_its_recipe(engine: Engine) -> None:
    made = video_stream.stream_zoom(JobRunner(engine), ZOOM, CAT)
    first, second = next(made), next(made)
    assert "Starting" in first.status and "Frame 0 of 11" in second.status
    # At once; in a longer run old frames would drop out as new ones come.
    with Image.open(second.preview) as image:
        assert image.format == "JPEG" and image.size == (48, 32)
    done = last(made)
    assert done.done and Path(done.path).name == "zoom-cat-inception4c-seed0.mp4"
    assert read_recipe(done.path) == ZOOM
    assert not list(Path(done.path).parent.glob(".*"))


def test_where_gpus_are_lent_it_is_cut_into_leases_and_comes_out_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lender = Lender()
    lent = JobRunner(engine, lender)
    monkeypatch.setattr(lent, "lease_count", lambda expected: 3)
    clip = str(write_video(tmp_path / "clip.mp4", pan(8)))
    video = VideoRecipe(max_side=48, iterations=1)
    streams: list[Any] = [
        (video_stream.stream_zoom, ZOOM, CAT),
        (video_stream.stream_video, video, clip),
    ]
    for stream, *given in streams:
        there, here = (last(stream(runner, *given)) for runner in (lent, JobRunner(engine)))
        # The frames are equal; the codec restarts at each part.
        assert change(read_tensor(there.path), read_tensor(here.path)) < 5
    assert len(lender.durations) == 2 * 3 and max(lender.durations) <= MAX_LEASE_SECONDS


def test_what_would_take_too_long_is_refused_before_it_begins(engine: Engine) -> None:
    for runner in (JobRunner(engine), JobRunner(engine, Lender())):
        runner._slowdown = 1e5
        with pytest.raises(OutOfTime, match=r"seconds .*, and the limit is 120; a shorter"):
            video_stream.stream_zoom(runner, ZOOM, CAT)
    with pytest.raises(OutOfTime, match="has 3600 frames; the limit is 1800"):
        video_stream.stream_zoom(JobRunner(engine), ZoomRecipe(seconds=60, fps=60), CAT)
    with pytest.raises(RecipeError, match="format must be mp4 or webm or gif, not 'exe'"):
        video_stream.stream_zoom(JobRunner(engine), ZOOM, CAT, "exe")


@pytest.mark.filterwarnings("ignore:Time was up")
def test_what_takes_too_long_after_all_is_kept_as_far_as_it_came(engine: Engine) -> None:
    runner = JobRunner(engine)
    runner.time_limit, runner._slowdown = 0.5, 0.0  # Its estimate is short.
    done = last(video_stream.stream_zoom(runner, ZOOM.with_changes(seconds=60), CAT))
    # Within a frame, or between two.
    assert re.search(r"Time was up after|exceeds the time limit", done.status)
    assert done.done and "The finished frames play" in done.status
    assert 2 <= read_video_info(done.path).frame_count < 1000


def test_a_film_that_is_stopped_plays_as_far_as_it_came(engine: Engine) -> None:
    made = video_stream.stream_zoom(JobRunner(engine), ZOOM.with_changes(seconds=60), CAT)
    while not re.search(r"Frame ([2-9]|\d\d)", (moment := next(made)).status):
        pass
    assert asyncio.run(video_stream.wait_for_stopped_video("")) == ""
    made.close()
    assert asyncio.run(video_stream.wait_for_stopped_video(moment.path)) == moment.path
    assert 1 <= read_video_info(moment.path).frame_count < 300
    begun = video_stream.stream_zoom(JobRunner(engine), ZOOM, CAT)
    path = next(begun).path
    begun.close()
    assert asyncio.run(video_stream.wait_for_stopped_video(path)) == ""
    assert not list(Path(path).parent.glob(".*"))


@pytest.mark.parametrize(("steps", "is_there"), [(1, False), (30, True)])
def test_what_fails_on_its_way_is_handed_over_as_far_as_it_is_shown(
    steps: int, is_there: bool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint = engine.render

    def failing(*given: Any) -> Iterator[Frame]:
        yield from itertools.islice(paint(*given), steps)
        raise DeviceError("no memory is left")

    def put_out(source: Iterator[Updates]) -> Updates:
        changes: Updates = {}
        with pytest.raises(DeviceError):  # noqa: PT012
            for each in source:
                changes |= each
        return changes

    runner = JobRunner(engine)
    dream_tab, class_tab, zoom_tab = build_tab(
        lambda page: (
            (tab := DreamTab(runner)),
            ClassImageTab(runner, gr.Tabs(), tab),
            ZoomAndVideoTab(runner),
        )
    )
    monkeypatch.setattr(engine, "render", failing)
    made = put_out(zoom_tab.show_video(video_stream.stream_zoom(runner, ZOOM, CAT)))
    assert made[zoom_tab.player]["visible"] and not made[zoom_tab.image]["visible"]
    download = blocks.upload_path(made[zoom_tab.made]) if is_there else None
    assert made.get(zoom_tab.download) == download == made[zoom_tab.player].get("value")
    knobs = asdict(DreamRecipe(max_side=48, seed=3)) | {"mask": None}
    dreamed, outputs = put_out(dream_tab.dream(CAT, (), False, **knobs)), dream_tab.outputs
    assert Path(dreamed[outputs.download]).suffix == ".png"
    assert Path(dreamed[outputs.download]).parent == Path(dreamed[outputs.view][1]).parent
    made = put_out(class_tab.stream(CAT, False, target="goldfish", size=64))
    assert Path(made[class_tab.download]).parent == Path(made[class_tab.image]).parent


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_no_frame_stays_in_memory_while_the_next_one_is_rendered(
    seconds: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(video_stream, "PREVIEW_SECONDS", seconds)
    writer = VideoWriter(tmp_path / "zoom.mp4", ZOOM, (32, 48), Fraction(5), Fraction(1, 5))
    made: list[weakref.ref[Any]] = []

    def previews() -> video_stream.Previews:
        for _ in range(3):
            assert not any(each() for each in made)
            make_image = partial(Image.new, "RGB", (48, 32))
            made.append(weakref.ref(make_image))
            yield "", make_image
            del make_image

    assert len(list(video_stream._UpdateWriter(writer).stream(previews()))) in (2, 4)


@pytest.mark.filterwarnings("ignore:Seed must be")
def test_where_kept_channels_cannot_be_shown_the_status_says_why(engine: Engine) -> None:
    runner = JobRunner(engine)
    tab, page = build_tab(lambda page: (ChannelTab(runner, gr.Tabs(), DreamTab(runner)), page))
    (show,) = (each.fn for each in page.fns.values() if each.name == "show_cached")
    assert show
    updates = show(model="dreamlet", layer="inception4c", seed=-5)
    assert list(updates) == [tab.status] and "Seed must be" in updates[tab.status]


@pytest.mark.parametrize(("loop", "ending"), [(False, "mp4"), (True, "gif")])
def test_a_making_of_begins_with_the_photo_and_ends_with_the_dream(
    loop: bool, ending: str, engine: Engine
) -> None:
    recipe = DreamRecipe(octaves=2, iterations=4, step=6, max_side=96)
    making = MakingOf(seconds=1, fps=10, loop=loop)
    made = last(video_stream.stream_making_of(JobRunner(engine), recipe, CAT, making, ending))
    assert read_recipe(made.path) == recipe
    pictures = read_tensor(made.path)
    start, *_, dreamed = engine.dream(to_tensor(Image.open(CAT).convert("RGB")), recipe)
    photo, end = start.tensor[:, :, : pictures.shape[2]], dreamed.tensor[:, :, : pictures.shape[2]]
    apart = change(photo, end)
    away = [change(picture, photo) for picture in pictures.split(1)]
    assert away[0] < 0.5 * apart
    # It runs until the dream is complete; a loop returns to the photo.
    top = away.index(max(away))
    assert change(pictures[top : top + 1], end) < 0.6 * apart
    assert len(away) == len(making.frame_order)
    if loop:
        assert away[-1] < 0.6 * max(away) and min(away[top:]) == pytest.approx(away[1], abs=3)
    else:
        assert top >= 9 and away[-1] > 0.9 * max(away)


def test_how_long_is_left_is_right_from_the_second_step(
    engine: Engine, cat: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine as fast as estimated, but for the first step, which makes kernels."""
    recipe = DreamRecipe(max_side=160)
    (job,) = engine.plan([recipe], size_of(cat))
    took = [engine.seconds(stage) / stage.steps for stage in job.stages]
    end, now = 5 + 2 + sum(engine.seconds(stage) for stage in job.stages), 0.0
    monkeypatch.setattr(status_line, "time", SimpleNamespace(monotonic=lambda: now))

    def timed() -> Iterator[Frame]:
        nonlocal now
        for frame in engine.dream(cat, recipe):
            now += took[frame.octave - 1] if frame.step else 5
            now += 2 * (frame.step == 1)
            yield frame

    moments = frame_updates(timed(), CAT, with_files=False)
    assert "Starting" in next(moments).status
    assert "step 1 of 10, estimating the time left" in next(moments).status
    for moment in moments:
        (left,) = re.findall(r", ([\d.]+) s left", moment.status)
        assert float(left) == pytest.approx(end - now, abs=0.06)


def test_a_making_of_is_as_long_as_asked_for() -> None:
    assert len(MakingOf(seconds=2, fps=24).frame_order) == 47 + 24
    loop = MakingOf(seconds=1, fps=10, loop=True).frame_order
    assert loop[:5] == [0] * 5 and loop.count(9) == 5 and len(loop) == 26
    with pytest.raises(RecipeError, match=r"seconds must be a number from 0.5 to 60, not 0"):
        MakingOf(seconds=0)


def test_every_kind_has_a_price(engine: Engine) -> None:
    runner = JobRunner(engine)
    kinds: list[Recipe] = [ZOOM, VideoRecipe(max_side=48), DreamRecipe(max_side=48)]
    assert all(runner.estimate_seconds([each], (300, 451)) > 0 for each in kinds)
    assert runner.estimate_seconds([ZOOM.with_changes(seconds=4.4)], (300, 451)) == pytest.approx(
        2 * runner.estimate_seconds([ZOOM], (300, 451)), rel=0.01
    )
    one, two, ten = (
        runner.estimate_seconds([VideoRecipe(max_side=96)], (300, 451), frames)
        for frames in (1, 2, 10)
    )
    assert ten - one == pytest.approx(9 * (two - one)) and one > 2 * (two - one)


def test_a_video_whose_sound_cannot_be_had_is_there_and_the_page_says_so(
    engine: Engine, tmp_path: Path
) -> None:
    silent = write_video(tmp_path / "silent.mp4", pan(3))
    clip = add_beeps(tmp_path / "law.mov", silent, [], "pcm_alaw")
    recipe = VideoRecipe(max_side=48, iterations=1)
    with pytest.warns(UserWarning, match="^Its audio is in pcm_alaw, which .* is left out"):
        done = last(video_stream.stream_video(JobRunner(engine), recipe, str(clip)))
    assert "Its audio is in pcm_alaw" in done.status and read_video_info(done.path).frame_count == 3
