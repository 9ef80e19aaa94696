"""Videos in files: frames, rates, lengths, colours and recipes come back as they were written."""

import os
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from dream import PictureError, RecipeError, ZoomRecipe, read_recipe
from dream.files.film import FORMATS, Film
from dream.files.video import Limits, Video, frames_of, load_video
from dream.tensors import to_tensor
from tests.conftest import change
from tests.support.videos import encoded, panned, steady, turned, written

RATES = (12, "24000/1001", 24, 30, 60)


def read(path: Path) -> tuple[Video, list[Image.Image]]:
    video = load_video(path)
    return video, list(frames_of(video, video.size))


@pytest.mark.parametrize("rate", [Fraction(rate) for rate in RATES], ids=str)
def test_frames_rate_and_length_are_exact(rate: Fraction, tmp_path: Path) -> None:
    images = panned(17)
    video, frames = read(steady(tmp_path / "steady.mp4", images, rate))
    assert video.frames == len(frames) == 17 and video.rate == rate
    assert video.times == tuple(frame / rate for frame in range(18))
    assert max(change(*map(to_tensor, pair)) for pair in zip(images, frames, strict=True)) < 6


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    times = [Fraction(at, 600) for at in (0, 20, 25, 60, 61, 200, 230)]
    path = written(tmp_path / "variable.mp4", panned(6), times, Fraction(1, 600))
    video, frames = read(path)
    assert video.times == tuple(times) and len(frames) == 6
    # From the middle on, as one that goes on.
    assert [*frames_of(video, video.size, 4)][0].tobytes() == frames[4].tobytes()


@pytest.mark.parametrize("ending", FORMATS)
def test_a_film_of_several_parts_carries_its_recipe(ending: str, tmp_path: Path) -> None:
    layer, base, images = "0 s: conv3; 5 s: inception3b", Fraction(1, 25), panned(30)
    recipe = ZoomRecipe(layer=layer, seed=7, seconds=1.2, fps=25)
    film = Film(tmp_path / f"film{ending}", recipe, (48, 64), 1 / base, base)
    for first in (0, 12, 24):
        with film.part(first * base) as part:
            for at, image in enumerate(images[first : first + 12]):
                part.add(image, at * base, base)
    film.finish()
    film.drop()
    assert [path.name for path in tmp_path.iterdir()] == [f"film{ending}"]
    assert read_recipe(film.path) == recipe
    video, frames = read(film.path)
    assert video.frames == 30 and video.size == (48, 64)
    assert float(video.times[-1]) == pytest.approx(30 / 25, abs=0.001)
    assert max(change(*map(to_tensor, pair)) for pair in zip(images, frames, strict=True)) < 6


def test_colours_are_those_of_films(tmp_path: Path) -> None:
    colours = [(250, 20, 30), (20, 200, 60), (30, 40, 220), (200, 200, 200)]
    images = [Image.new("RGB", (64, 48), colour) for colour in colours]
    for ending in (".mp4", ".webm"):
        _, frames = read(steady(tmp_path / f"colours{ending}", images))
        for image, frame in zip(images, frames, strict=True):
            assert change(to_tensor(image), to_tensor(frame)) < 4


def test_an_mp4_begins_at_once_and_tells_nothing_else(tmp_path: Path) -> None:
    content = steady(tmp_path / "fast.mp4", panned(5)).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert str(tmp_path).encode() not in content


def test_a_gif_is_no_quicker_than_browsers_show(tmp_path: Path) -> None:
    path = steady(tmp_path / "quick.gif", panned(30), Fraction(60))
    with Image.open(path) as image:
        delays = []
        for at in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(at)
            delays.append(image.info["duration"])
    assert min(delays) >= 20 and 480 <= sum(delays) <= 510


def test_a_film_goes_on_from_its_last_part_and_from_its_own_only(tmp_path: Path) -> None:
    base, images = Fraction(1, 10), panned(6)

    def film(recipe: ZoomRecipe) -> Film:
        return Film(tmp_path / "film.mp4", recipe, (48, 64), 1 / base, base)

    begun = film(ZoomRecipe())
    with begun.part(Fraction(0)) as part:
        for at in range(3):
            part.add(images[at], at * base, base)
    with pytest.raises(KeyboardInterrupt), begun.part(3 * base) as part:
        part.add(images[3], Fraction(0), base)
        raise KeyboardInterrupt
    # What there is can be looked at.
    assert begun.finish() and read(begun.path)[0].frames == 4
    again = film(ZoomRecipe())
    assert again.done == 3 and again.last and again.last.tobytes() == images[2].tobytes()
    assert film(ZoomRecipe(seed=1)).done == 0
    assert not film(ZoomRecipe()).folder.exists()


def test_the_video_of_a_phone_comes_out_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 48), "black")
    image.paste("red", (0, 0, 32, 48))  # The left half: the upper one of what was filmed.
    path = turned(tmp_path / "phone.mp4", steady(tmp_path / "flat.mp4", [image] * 3))
    video, (upright, *_) = read(path)
    assert video.size == (64, 48)
    top, bottom = upright.getpixel((24, 8)), upright.getpixel((24, 56))
    assert top[0] > 200 > 50 > bottom[0]  # type: ignore[index]


def test_what_is_no_video_to_dream_is_refused_in_one_line(tmp_path: Path) -> None:
    good = steady(tmp_path / "good.mp4", panned(8)).read_bytes()
    bad = {
        "corrupt.mp4": good[: len(good) // 3],
        "noise.mp4": good[:40] + os.urandom(2000),
        "empty.mp4": b"",
        "list.mp4": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "text.webm": b"hello",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=f"^{name} ") as caught:
            load_video(tmp_path / name)
        assert "\n" not in str(caught.value), caught.value
    with pytest.raises(PictureError, match="there is no file none.mp4"):
        load_video(tmp_path / "none.mp4")


def test_tags_that_are_no_utf_8_do_no_harm(tmp_path: Path) -> None:
    path = steady(tmp_path / "tagged.mp4", panned(3))
    path.write_bytes(path.read_bytes().replace(b'"dreamlet"', b'"dreamle\xe9"'))
    assert load_video(path).frames == 3
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
    images = panned(8)
    video, frames = read(encoded(tmp_path / f"in.{ending}", images, codec, pixels))
    assert video.frames == 8 and float(video.rate) == pytest.approx(24, abs=0.1)
    assert max(change(*map(to_tensor, pair)) for pair in zip(images, frames, strict=True)) < 8


def test_a_video_beyond_the_limits_is_refused_in_one_line(tmp_path: Path) -> None:
    images = panned(3)
    hours = [Fraction(0), Fraction(60), Fraction(120), Fraction(36_000)]
    written(tmp_path / "long.mp4", images, hours, Fraction(1))
    steady(tmp_path / "one.mp4", images[:1])
    steady(tmp_path / "quick.mp4", images, Fraction(1000))
    gif = bytearray(steady(tmp_path / "large.gif", images).read_bytes())
    gif[6:10] = (16_384).to_bytes(2, "little") * 2
    (tmp_path / "large.gif").write_bytes(gif)
    for name, said in {
        "long.mp4": "long.mp4 lasts 36000 seconds; cut it: the limit is 3600",
        "one.mp4": "one.mp4 has one frame; a video has more, and this is a picture",
        "quick.mp4": "quick.mp4 has 1000 frames a second; slow it down: the limit is 120",
        "large.gif": "large.gif is damaged, or its pictures are far too large",
    }.items():
        with pytest.raises(PictureError) as caught:
            load_video(tmp_path / name)
        assert str(caught.value) == said
    good = steady(tmp_path / "good.mp4", images)
    with pytest.raises(PictureError, match="good.mp4 has a side of 64 pixels; shrink it"):
        load_video(good, Limits(side=60))
    with pytest.raises(PictureError, match="good.mp4 has 3 frames; cut it: the limit is 2"):
        load_video(good, Limits(frames=2))
