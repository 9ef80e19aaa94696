"""In a dreamed video the dream moves along, sound and times stay, and it resumes."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from dream import Engine, PictureError, VideoRecipe, read_recipe
from dream import __main__ as command_line
from dream.files import video_writer as film_module
from dream.files.video_reader import read_video_info
from dream.files.video_writer import VideoWriter
from dream.render.job_loop import to_batch
from dream.render.video import backward_flow, in_bounds_mask, warp, warp_previous_dream
from dream.render.video_job import dream_video_job
from dream.tensors import resize_clamped, size_of
from tests.conftest import change
from tests.support.videos import add_beeps, find_beeps, pan, render_some, write_timed, write_video

TINY = {"max_side": 48, "iterations": 1}


def dream_video(engine: Engine, seen: Tensor, recipe: VideoRecipe) -> list[Tensor]:
    """Dream the frames (N, 3, H, W) of a video."""
    (job,) = engine.plan([recipe], size_of(seen))
    return [
        frame.tensor for frame in engine.render([job.for_frames(len(seen))], seen) if frame.finished
    ]


def test_a_flow_leads_from_the_new_frame_back_to_the_old_one(cat: Tensor) -> None:
    photo = resize_clamped(cat, (120, 180))
    before, seen = photo[..., 10:-10], photo[..., 6:-14]  # The image moves right by 4 pixels.
    flow = backward_flow(before, seen)
    inner = (slice(10, -10), slice(15, -15))
    off = np.hypot(flow[inner][..., 0] + 4, flow[inner][..., 1])
    assert float(np.median(off)) < 0.15
    assert change(warp(before, flow)[(..., *inner)], seen[(..., *inner)]) < 3
    # The part that enters at the edge has no source.
    assert in_bounds_mask(flow)[..., 20:-20, 2].mean() < 0.1 and in_bounds_mask(flow)[..., 60].all()


def test_what_comes_into_sight_begins_anew(cat: Tensor) -> None:
    before = resize_clamped(cat, (96, 144))
    seen, dream = before.clone(), 1 - before
    seen[..., 30:60, 40:80] = torch.tensor([0.1, 0.9, 0.1]).view(3, 1, 1)
    begun = warp_previous_dream(dream, before, seen, 0.9)
    covered, still = (..., slice(35, 55), slice(45, 75)), (..., slice(75, 90), slice(100, 140))
    assert change(begun[covered], seen[covered]) < 8
    assert change(begun[still], seen[still].lerp(dream[still], 0.9)) < 8
    assert torch.equal(warp_previous_dream(dream, before, before, 0.0), before)


def test_what_was_dreamed_goes_along_and_flickers_less_than_half_as_much(engine: Engine) -> None:
    seen = to_batch(pan(7, (64, 96), 2.0))

    def share_of_flicker(recipe: VideoRecipe) -> float:
        frames = dream_video(engine, seen, recipe)
        changes = []
        for at in range(3, len(frames)):
            flow = backward_flow(seen[at - 1 : at], seen[at : at + 1])
            apart = (warp(frames[at - 1], flow) - frames[at]).abs() * in_bounds_mask(flow)
            changes.append(float(apart.mean() / in_bounds_mask(flow).mean()) * 255)
        return sum(changes) / len(changes) / change(torch.cat(frames), seen)

    recipe = VideoRecipe(max_side=96, iterations=3)
    together, alone = share_of_flicker(recipe), share_of_flicker(recipe.with_changes(carry=0))
    assert together < 0.5 * alone


def test_a_first_frame_has_no_fewer_octaves_than_the_others_and_none_that_nothing_carries() -> None:
    assert VideoRecipe(octaves=7).first_frame_recipe().octaves == 7
    alone = VideoRecipe(carry=0)
    assert alone.first_frame_recipe() == alone.frame_recipe()


@pytest.mark.parametrize("first_octaves", [0, 5])
def test_a_video_begins_dreamed_and_goes_on_alike(first_octaves: int, engine: Engine) -> None:
    seen = to_batch(pan(9, (64, 96), 1.0))
    frames = dream_video(engine, seen, VideoRecipe(max_side=96, first_octaves=first_octaves))
    first, second, *_, last = (change(*each) for each in zip(frames, seen.split(1), strict=True))
    if first_octaves:
        assert second == pytest.approx(first, rel=0.1) and first > 0.8 * last
    else:  # The dream grows for a second.
        assert second > 1.3 * first and first < 0.4 * last


UNEVEN_TIMES = [Fraction(at, 20) for at in (0, 2, 3, 12, 13, 30, 32, 38)]


@pytest.mark.parametrize(
    ("times", "base"),
    [([Fraction(at, 24) for at in range(8)], 24), (UNEVEN_TIMES, 20)],
    ids=["steady", "variable"],
)
def test_a_dreamed_video_has_the_times_and_the_recipe(
    times: list[Fraction], base: int, engine: Engine, tmp_path: Path
) -> None:
    path = write_timed(tmp_path / "in.mp4", pan(7), times, Fraction(1, base))
    out = tmp_path / "out.mp4"
    options = ["--max-side", "48", "--iterations", "1"]
    assert command_line.main(["video", str(path), "-o", str(out), *options]) == 0
    video = read_video_info(out)
    assert video.times == tuple(times) and video.size == (36, 48)
    assert read_recipe(out) == VideoRecipe(**TINY)  # type: ignore[arg-type]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize(
    ("source", "codec", "ending"),
    [("mp4", "aac", "mp4"), ("webm", "libopus", "mp4"), ("mp4", "aac", "webm")],
)
def test_sound_is_there_and_in_step(source: str, codec: str, ending: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / f"silent.{source}", pan(24), Fraction(12))
    path = add_beeps(tmp_path / f"in.{source}", video, [0.5, 1.25], codec)
    heard = find_beeps(path)
    assert heard == pytest.approx([0.5, 1.25], abs=0.03)
    out = tmp_path / f"out.{ending}"
    options = ["--max-side", "48", "--iterations", "1"]
    assert command_line.main(["video", str(path), "-o", str(out), *options]) == 0
    assert find_beeps(out) == pytest.approx(heard, abs=0.01)
    assert float(read_video_info(out).times[-1]) == pytest.approx(2, abs=0.001)


def damage_audio(video: Path, packets: range) -> Path:
    """Overwrite those audio packets of a video with nonsense, in place."""
    content = bytearray(video.read_bytes())
    with av.open(str(video)) as container:
        sound = [packet for packet in container.demux(audio=0) if packet.size]
    for at in packets:
        place = sound[at].pos
        content[place : place + sound[at].size] = bytes([0x5A]) * sound[at].size
    video.write_bytes(content)
    return video


@pytest.mark.parametrize("ending", ["webm", "mp4"])
def test_damaged_sound_costs_no_film(ending: str, tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mp4", pan(24), Fraction(12))
    path = damage_audio(add_beeps(tmp_path / "in.mp4", silent, [0.5, 1.5]), range(40, 44))
    out = write_with_audio(tmp_path / f"out.{ending}", path)
    assert not out.remark and read_video_info(out.path).frame_count == 2
    if ending == "webm":  # An MP4 copies the audio unchanged, damage included.
        assert find_beeps(out.path)[0] == pytest.approx(0.5, abs=0.03)


def write_with_audio(path: Path, source: Path) -> VideoWriter:
    """Write a video of two seconds with the sound of another one."""
    film = VideoWriter(path, VideoRecipe(), (48, 64), Fraction(1), Fraction(1))
    with film.open_part(Fraction(0)) as part:
        for at, image in enumerate(pan(2)):
            part.add(image, Fraction(at), Fraction(1))
    assert film.finish(read_video_info(source))
    film.discard_parts()
    return film


def test_a_film_whose_sound_cannot_be_had_is_there_without_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = write_video(tmp_path / "silent.mp4", pan(4))
    unknown = add_beeps(tmp_path / "law.mov", silent, [], "pcm_alaw")
    out = tmp_path / "out.mp4"
    options = ["-o", str(out), "--max-side", "48", "--iterations", "1"]
    assert command_line.main(["video", str(unknown), *options]) == 0
    said = "its audio is in pcm_alaw, which this program does not read, and is left out\n"
    assert capsys.readouterr().err == said and read_video_info(out).frame_count == 4
    for error, code in ((KeyboardInterrupt(), 130), (PictureError("it is too much"), 2)):

        def stopped(_: float, where: str, error: BaseException = error) -> None:
            if where.startswith("frame 2"):
                raise error

        with monkeypatch.context() as patch:
            patch.setattr("dream.commands.videos.show_progress_bar", stopped)
            assert command_line.main(["video", str(unknown), *options]) == code
        assert capsys.readouterr().err.startswith(said) and read_video_info(out).frame_count < 4
    assert not write_with_audio(tmp_path / "out.gif", unknown).remark  # A GIF has no sound.
    heard = add_beeps(tmp_path / "in.mp4", silent, [0.05])

    def fails(*_: Any) -> Any:
        raise PictureError("in.mp4 is damaged")
        yield

    monkeypatch.setattr(film_module, "_encode_audio", fails)
    without = write_with_audio(tmp_path / "out.webm", heard)
    silent_video = read_video_info(without.path)
    assert silent_video.frame_count == 2 and not silent_video.has_audio
    assert without.remark.endswith("left out: in.mp4 is damaged")


def test_sound_of_one_channel_stays_of_one(tmp_path: Path) -> None:
    silent = write_video(tmp_path / "silent.mp4", pan(24), Fraction(12))
    with av.open(str(add_beeps(tmp_path / "in.mov", silent, [0.5], "alac"))) as container:
        channels = [container.streams.audio[0].codec_context.layout.nb_channels]
    for ending in ("mp4", "webm"):
        out = write_with_audio(tmp_path / f"out.{ending}", tmp_path / "in.mov").path
        with av.open(str(out)) as container:
            channels.append(container.streams.audio[0].codec_context.layout.nb_channels)
    assert channels[1:] == [channels[0]] * 2 and channels[0] == 1


def test_a_video_that_was_broken_off_goes_on_bit_by_bit_and_sound_ends_with_it(
    engine: Engine, tmp_path: Path
) -> None:
    silent = write_video(tmp_path / "silent.mp4", pan(14), Fraction(5))
    video = read_video_info(add_beeps(tmp_path / "in.mp4", silent, [0.4, 2.0]))
    (job,) = engine.plan([VideoRecipe(max_side=72, iterations=1)], video.size)
    reel = dream_video_job(job, video)
    assert [len(stages) for stages in reel.render_job.frames] == [2] + [1] * 13

    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    assert render_some(engine, reel, whole, 1000) and not render_some(engine, reel, cut, 12)
    assert read_video_info(cut).frame_count == 7 and len(find_beeps(cut)) == 1
    assert render_some(engine, reel, cut, 1000) and cut.read_bytes() == whole.read_bytes()
    assert len(find_beeps(whole)) == 2


def test_a_bad_video_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_video(tmp_path / "one.mp4", pan(1))
    assert command_line.main(["video", str(one), "-o", str(tmp_path / "out.mp4")]) == 2
    said = "one.mp4 has one frame; use it as an image, not as a video"
    assert capsys.readouterr().err == f"python -m dream: {said}\n"
    assert list(tmp_path.iterdir()) == [one]


def test_a_video_is_split_where_memory_or_a_second_ends(engine: Engine, tmp_path: Path) -> None:
    video = read_video_info(write_video(tmp_path / "in.mp4", pan(9), Fraction(4)))
    (job,) = engine.plan([VideoRecipe(**TINY)], video.size)  # type: ignore[arg-type]
    reel = dream_video_job(job, video)
    assert list(reel.split_parts()) == [(0, 4), (4, 8), (8, 9)]
    assert list(reel.split_parts(6)) == [(6, 8), (8, 9)]
