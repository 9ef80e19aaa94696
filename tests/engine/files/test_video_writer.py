"""Video files keep frames, rates, lengths, colours and recipes as written."""

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from dream import PictureError, RecipeError, ZoomRecipe, read_recipe
from dream.__main__ import main
from dream.files.gif import write_gif
from dream.files.video_info import OUTPUT_FORMATS, VideoLimits
from dream.files.video_reader import read_frames, read_video_info
from dream.files.video_writer import VideoPart, VideoWriter
from dream.tensors import to_tensor
from tests.conftest import EXAMPLES, change
from tests.support.videos import encode, pan, read_video, write_timed, write_video

RATES = (12, "24000/1001", 24, 30, 60)


@pytest.mark.parametrize("rate", [Fraction(rate) for rate in RATES], ids=str)
def test_frames_rate_and_length_are_exact(rate: Fraction, tmp_path: Path) -> None:
    images = pan(17)
    video, frames = read_video(write_video(tmp_path / "steady.mp4", images, rate))
    assert video.frame_count == len(frames) == 17 and video.frame_rate == rate
    assert video.times == tuple(frame / rate for frame in range(18))
    assert max(change(*map(to_tensor, pair)) for pair in zip(images, frames, strict=True)) < 6


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [Fraction(at, 600) for at in (0, 20, 25, 60, 61, 200, 230)]
    path = write_timed(tmp_path / "variable.mp4", pan(6), times, Fraction(1, 600))
    video, frames = read_video(path)
    assert video.times == tuple(times) and len(frames) == 6
    # From the middle, as a resumed video reads them.
    assert next(iter(read_frames(video, video.size, 4))).tobytes() == frames[4].tobytes()


@pytest.mark.parametrize("ending", OUTPUT_FORMATS)
def test_a_film_of_several_parts_carries_its_recipe(ending: str, tmp_path: Path) -> None:
    layer, base, images = "0 s: conv3; 5 s: inception3b", Fraction(1, 25), pan(30)
    recipe = ZoomRecipe(layer=layer, seed=7, seconds=1.2, fps=25)
    film = VideoWriter(tmp_path / f"film{ending}", recipe, (48, 64), 1 / base, base)
    for first in (0, 12, 24):
        with film.open_part(first * base) as part:
            for at, image in enumerate(images[first : first + 12]):
                part.add(image, at * base, base)
    film.finish()
    film.discard_parts()
    assert [path.name for path in tmp_path.iterdir()] == [f"film{ending}"]
    assert read_recipe(film.path) == recipe
    video, frames = read_video(film.path)
    assert video.frame_count == 30 and video.size == (48, 64)
    assert float(video.times[-1]) == pytest.approx(30 / 25, abs=0.001)
    assert max(change(*map(to_tensor, pair)) for pair in zip(images, frames, strict=True)) < 6


def test_colours_are_those_of_films(tmp_path: Path) -> None:
    colours = [(250, 20, 30), (20, 200, 60), (30, 40, 220), (200, 200, 200)]
    images = [Image.new("RGB", (64, 48), colour) for colour in colours]
    for ending in (".mp4", ".webm"):
        _, frames = read_video(write_video(tmp_path / f"colours{ending}", images))
        for image, frame in zip(images, frames, strict=True):
            assert change(to_tensor(image), to_tensor(frame)) < 4


def test_an_mp4_begins_at_once_and_tells_nothing_else(tmp_path: Path) -> None:
    content = write_video(tmp_path / "fast.mp4", pan(5)).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert str(tmp_path).encode() not in content


def test_a_gif_is_no_quicker_than_browsers_show(tmp_path: Path) -> None:
    path = write_video(tmp_path / "quick.gif", pan(30), Fraction(60))
    with Image.open(path) as image:
        delays = []
        for at in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(at)
            delays.append(image.info["duration"])
    assert min(delays) >= 20 and 480 <= sum(delays) <= 510


def test_a_film_goes_on_from_its_last_part_and_from_its_own_only(tmp_path: Path) -> None:
    base, images = Fraction(1, 10), pan(6)

    def film(recipe: ZoomRecipe) -> VideoWriter:
        return VideoWriter(tmp_path / "film.mp4", recipe, (48, 64), 1 / base, base)

    begun = film(ZoomRecipe())
    with begun.open_part(Fraction(0)) as part:
        for at in range(3):
            part.add(images[at], at * base, base)
    with pytest.raises(KeyboardInterrupt), begun.open_part(3 * base) as part:  # noqa: PT012
        part.add(images[3], Fraction(0), base)
        raise KeyboardInterrupt
    # The partial video plays.
    assert begun.finish() and read_video(begun.path)[0].frame_count == 4
    again = film(ZoomRecipe())
    assert again.frames_done == 3 and again.last_frame
    assert again.last_frame.tobytes() == images[2].tobytes()


ZOOM_OPTIONS = ["--max-side", "48", "--iterations", "1", "--fps", "2", "--octaves", "1"]


def run_zoom(out: Path, *options: str) -> int:
    return main(["zoom", str(EXAMPLES / "cat.jpg"), "-o", str(out), *ZOOM_OPTIONS, *options])


def stop_after(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the writing of videos after so many frames."""
    add = VideoPart.add

    def counted(self: VideoPart, image: Image.Image, start: Fraction, duration: Fraction) -> None:
        nonlocal frames
        if frames == 0:
            raise KeyboardInterrupt
        frames -= 1
        add(self, image, start, duration)

    monkeypatch.setattr(VideoPart, "add", counted)


def test_by_other_options_an_unfinished_film_is_neither_gone_on_with_nor_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, parts = tmp_path / "zoom.mp4", tmp_path / ".zoom.mp4.parts"
    with monkeypatch.context() as patch:
        stop_after(6, patch)
        assert run_zoom(out, "--layer", "0 s: conv3; 2 s: inception3b") == 130
    before = {each.name: each.read_bytes() for each in (out, *parts.iterdir())}
    assert sum(name[0].isdigit() and name.endswith("mp4") for name in before) == 3
    capsys.readouterr()
    for options, said in {
        ("--layer", "conv3"): "--layer '0 s: conv3; 2 s: inception3b'",
        ("--layer", "0 s: conv3; 2 s: inception3b", "--zoom", "2.1"): "--zoom 2.0",
    }.items():
        assert run_zoom(out, *options) == 2
        assert capsys.readouterr().err == (
            f"python -m dream: {out} was started with {said} and has 6 frames: run that again to "
            f"resume it, or use another name for OUT, or delete {parts} to start again\n"
        )
    other = ["making-of", str(EXAMPLES / "cat.jpg"), "-o", str(out), "--max-side", "48"]
    assert main(other) == 2 and "was started as a zoom and has 6" in capsys.readouterr().err
    photo = [str(EXAMPLES / "clouds.jpg"), "-o", str(out), *ZOOM_OPTIONS]
    assert main(["zoom", *photo, "--layer", "0 s: conv3; 2 s: inception3b"]) == 2
    assert "was started with another image or video and has 6" in capsys.readouterr().err
    assert {each.name: each.read_bytes() for each in (out, *parts.iterdir())} == before
    for name, said in {
        "2.start": "has damaged parts (No such file or directory): use another name",
        "6.png": "has damaged parts (there is no file 6.png): use another name",
        "film.json": "was started by another version of this program and has 6 frames",
    }.items():
        (parts / name).unlink()
        assert run_zoom(out, "--layer", "0 s: conv3; 2 s: inception3b") == 2
        assert said in capsys.readouterr().err
        (parts / name).write_bytes(before[name])
    assert run_zoom(out, "--layer", "0 s: conv3; 2 s: inception3b") == 0 and not parts.exists()


def test_an_unfinished_zoom_of_an_earlier_version_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, key = tmp_path / "zoom.mp4", tmp_path / ".zoom.mp4.parts" / "film.json"
    with monkeypatch.context() as patch:
        stop_after(2, patch)
        assert run_zoom(out, "--layer", "inception4c") == 130
    # As 0.4.0 wrote it: no option gives that zoom again.
    _, ending, recipe, sources = json.loads(key.read_text())
    del recipe["keep_colours"]
    key.write_text(json.dumps([2, ending, recipe, sources]))
    capsys.readouterr()
    for options in ([], ["--layer", "inception4c"]):
        assert run_zoom(out, *options) == 2
        assert "was started by another version of this program" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".mp4", ".gif"])
def test_parts_are_kept_where_a_disk_is_full_and_it_goes_on(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, whole = tmp_path / f"zoom{ending}", tmp_path / f"whole{ending}"
    assert run_zoom(whole) == 0
    for frames, lasts in ((0, 0), (5, 2), (6, 4)):
        with monkeypatch.context() as patch, fill_disk_after(frames, patch):
            capsys.readouterr()
            assert run_zoom(out) == 2
        printed = capsys.readouterr()
        said = "python -m dream: the video cannot be written: File too large\n"
        assert printed.err == said and not out.exists()
        parts = out.with_name(f".{out.name}.parts")
        there = f"{parts} has the first {lasts}.0 seconds; run the same command to resume\n"
        assert printed.out == (there if lasts else "")
    assert run_zoom(out) == 0 and sorted(tmp_path.iterdir()) == sorted([out, whole])
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("frames", [0, 40])
def test_a_making_of_on_a_full_disk_ends_in_a_line(
    frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    making = ["making-of", str(EXAMPLES / "cat.jpg"), "-o", str(tmp_path / "m.mp4")]
    with fill_disk_after(frames, monkeypatch):
        assert main([*making, "--max-side", "48", "--octaves", "1", "--iterations", "1"]) == 2
    assert capsys.readouterr().err == (
        "python -m dream: the video cannot be written: File too large\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_gif_that_does_not_fit_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", pan(30))
    before, frame_size = resource.getrlimit(resource.RLIMIT_FSIZE), read_video_info(clip).size
    for size in (500, 5_000, 20_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                write_gif(tmp_path / "clip.gif", {clip: Fraction(0)}, "", frame_size)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob(".*"))


@contextmanager
def fill_disk_after(frames: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Limit files to a few bytes once a video has so many frames."""
    before, add = resource.getrlimit(resource.RLIMIT_FSIZE), VideoPart.add

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))

    def counted(self: VideoPart, image: Image.Image, start: Fraction, duration: Fraction) -> None:
        nonlocal frames
        add(self, image, start, duration)
        frames -= 1
        if frames == 0:
            fill()

    monkeypatch.setattr(VideoPart, "add", counted)
    if not frames:
        fill()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("command", ["zoom", "making-of"])
def test_a_name_too_long_for_its_parts_is_refused_in_a_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"{'x' * 250}.mp4"
    assert main([command, str(EXAMPLES / "cat.jpg"), "-o", str(out)]) == 2
    assert capsys.readouterr().err.endswith(
        "cannot be written: File name too long; use a shorter name for OUT\n"
    )
    assert not list(tmp_path.iterdir())


def test_tags_that_are_no_utf_8_do_no_harm(tmp_path: Path) -> None:
    path = write_video(tmp_path / "tagged.mp4", pan(3))
    path.write_bytes(path.read_bytes().replace(b'"dreamlet"', b'"dreamle\xe9"'))
    assert read_video_info(path).frame_count == 3
    with pytest.raises(RecipeError, match="dreamle\N{REPLACEMENT CHARACTER}"):
        read_recipe(path)


CODECS_TO_READ = [
    *(("libx264", "mp4", "yuv420p"), ("libx265", "mp4", "yuv420p"), ("libvpx", "webm", "yuv420p")),
    *(("libvpx-vp9", "webm", "yuv420p"), ("libsvtav1", "webm", "yuv420p")),
    *(("mpeg4", "mov", "yuv420p"), ("mjpeg", "mov", "yuvj420p"), ("rawvideo", "mov", "rgb24")),
    ("prores_ks", "mov", "yuv422p10le"),
]


@pytest.mark.parametrize(("codec", "ending", "pixels"), CODECS_TO_READ)
def test_what_cameras_and_browsers_write_is_read(
    codec: str, ending: str, pixels: str, tmp_path: Path
) -> None:
    images = pan(8)
    video, frames = read_video(encode(tmp_path / f"in.{ending}", images, codec, pixels))
    assert video.frame_count == 8 and float(video.frame_rate) == pytest.approx(24, abs=0.1)
    assert max(change(*map(to_tensor, pair)) for pair in zip(images, frames, strict=True)) < 8


@pytest.mark.parametrize(
    ("rate", "ending", "every"),
    [(240, "mp4", 2), (240, "webm", 2), (480, "mp4", 4), (120, "mp4", 1)],
)
def test_of_slow_motion_some_frames_are_left_out(
    rate: int, ending: str, every: int, tmp_path: Path
) -> None:
    images = pan(24)
    video, frames = read_video(write_video(tmp_path / f"slow.{ending}", images, Fraction(rate)))
    assert video.frame_count == len(frames) == 24 / every and video.frame_rate <= 121
    assert float(video.times[-1]) == pytest.approx(24 / rate, abs=0.003)
    for at, frame in enumerate(frames):
        near = images[max(0, every * at - 1) : every * at + 2]
        assert min(change(to_tensor(frame), to_tensor(image)) for image in near) < 8


def test_no_more_of_slow_motion_is_decoded_than_four_times_what_is_taken(tmp_path: Path) -> None:
    images, limits = pan(21), VideoLimits(max_frames=5, max_frame_rate=60)
    slow = write_video(tmp_path / "slow.mp4", images[:20], Fraction(240))
    assert read_video_info(slow, limits).frame_count == 5
    write_video(slow, images, Fraction(240))
    said = "^slow.mp4 has more than 20 frames, of which at most 5 are used; cut it and try again$"
    with pytest.raises(PictureError, match=said):
        read_video_info(slow, limits)


def test_a_video_beyond_the_limits_is_refused_in_one_line(tmp_path: Path) -> None:
    images = pan(3)
    hours = [Fraction(0), Fraction(60), Fraction(120), Fraction(36_000)]
    write_timed(tmp_path / "long.mp4", images, hours, Fraction(1))
    gif = bytearray(write_video(tmp_path / "large.gif", images).read_bytes())
    gif[6:10] = (16_384).to_bytes(2, "little") * 2
    (tmp_path / "large.gif").write_bytes(gif)
    for name, said in {
        "long.mp4": "long.mp4 lasts 36000 seconds; the limit is 3600. Cut it and try again.",
        "large.gif": "large.gif is damaged, or its frames are far too large",
    }.items():
        with pytest.raises(PictureError) as caught:
            read_video_info(tmp_path / name)
        assert str(caught.value) == said
    good = write_video(tmp_path / "good.mp4", images)
    with pytest.raises(PictureError, match=r"good.mp4 has a side of 64 pixels; the limit is 60"):
        read_video_info(good, VideoLimits(max_side=60))
    with pytest.raises(PictureError, match=r"good.mp4 has 3 frames; the limit is 2. Cut it"):
        read_video_info(good, VideoLimits(max_frames=2))
