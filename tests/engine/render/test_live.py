"""A live dream moves with its object, new objects appear, and nothing burns out."""

import io
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import Engine, LiveRecipe, PictureError
from dream import __main__ as command_line
from dream.commands import pipe as command
from dream.recipe.motion import GROWTH_RATES
from dream.render.job_loop import Frame, to_batch
from dream.render.live import CROSSFADE_SECONDS, LiveDreamer
from dream.render.plan import AnyJob
from dream.render.zoom import MIN_COLOURFULNESS, MIN_CONTRAST, ImageStats
from dream.tensors import resize_clamped, to_pil_image
from tests.conftest import EXAMPLES, ROOT, change
from tools.measure import correlation, live_dreamer

RECIPE = LiveRecipe(max_side=180, intensity=8, keep_colours=0, quiet=0)


@pytest.fixture
def dreamer(engine: Engine) -> LiveDreamer:
    return live_dreamer(engine)


def dream_frames(
    dreamer: LiveDreamer, seen: Sequence[Image.Image], recipe: LiveRecipe = RECIPE
) -> list[Tensor]:
    return [to_batch([dreamer.dream_frame(each, recipe)]) for each in seen]


def texture(size: tuple[int, int], seed: int) -> Tensor:
    """Return coarse noise, which optical flow can follow everywhere."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 3, size[0] // 6, size[1] // 6, generator=generator)
    return torch.nn.functional.interpolate(noise, size, mode="bicubic").clamp(0, 1)


def with_square(left: int | None) -> Image.Image:
    """Return a texture with a square of another texture at `left` pixels, if given."""
    picture = 0.3 + 0.4 * texture((120, 180), 1)
    if left is not None:
        picture[..., 30:90, left : left + 60] = texture((60, 60), 2)
    return to_pil_image(picture)


def test_what_moves_takes_its_dream_along(dreamer: LiveDreamer) -> None:
    places = [10] * 10 + [10 + 3 * step for step in range(1, 11)]
    frames = dream_frames(dreamer, [with_square(left) for left in places])
    first, last = (square(frames[at], places[at]) for at in (9, -1))
    own = square(to_batch([with_square(10)]), 10)
    assert change(first, own) > 8
    assert correlation(first, last, own) > 0.5 and change(last, own) > 0.8 * change(first, own)
    # A jump there leaves nothing to follow.
    jumped = LiveDreamer(dreamer.render)
    jump = dream_frames(jumped, [with_square(10)] * 10 + [with_square(100)])[-1]
    assert change(square(jump, 100), own) < 0.5 * change(first, own)


def square(picture: Tensor, left: int) -> Tensor:
    """Return the inside of the square at `left` pixels."""
    return picture[..., 36:84, left + 6 : left + 54]


def test_what_is_new_is_seen_within_two_frames(dreamer: LiveDreamer) -> None:
    dream_frames(dreamer, [with_square(None)] * 12)
    *_, shown = dream_frames(dreamer, [with_square(40)] * 2)
    own, none = (square(to_batch([with_square(left)]), 40) for left in (40, None))
    assert change(square(shown, 40), own) < 0.4 * change(square(shown, 40), none)


def test_a_still_camera_never_burns_out(dreamer: LiveDreamer) -> None:
    """`make bench` runs ten minutes of it."""
    with Image.open(EXAMPLES / "coffee.jpg") as photo:
        seen = photo.convert("RGB").resize((48, 36))
    like = ImageStats.measure(to_batch([seen]))
    looks = [ImageStats.measure(frame) for frame in dream_frames(dreamer, [seen] * 100)[20:]]
    for look in looks:
        assert float(look.contrast / like.contrast.clamp(MIN_CONTRAST)) == pytest.approx(1, abs=0.1)
        assert float(
            look.colourfulness / like.colourfulness.clamp(MIN_COLOURFULNESS)
        ) == pytest.approx(1, abs=0.1)
    shown = to_batch([dreamer.last_pair[1]])
    assert change(shown, to_batch([seen])) > 8  # It dreams.


def test_a_live_dream_begins_as_a_dream_and_so_does_another_scene(engine: Engine) -> None:
    camera = [with_square(10)] * 11 + [to_pil_image(0.2 * texture((120, 180), 7))] * 2
    seen = to_batch(camera).split(1)
    grown, begun = (
        [change(*each) for each in zip(dream_frames(dreamer, camera, recipe), seen, strict=True)]
        for dreamer, recipe in (
            (live_dreamer(engine), RECIPE.with_changes(first_octaves=count, fps=10))
            for count in (0, 3)
        )
    )
    for first in (0, 11):
        assert begun[first] > 1.4 * grown[first]
        assert begun[first + 1] == pytest.approx(begun[first], rel=0.3)


def test_two_who_look_see_nothing_of_each_other(engine: Engine) -> None:
    one, other = [with_square(10)] * 6, [to_pil_image(texture((72, 96), 5))] * 6
    alone = dream_frames(live_dreamer(engine), one)
    shared = live_dreamer(engine)
    first, second = LiveDreamer(shared.render), LiveDreamer(shared.render)
    for left, right, expected in zip(one, other, alone, strict=True):
        (mine,) = dream_frames(first, [left])
        dream_frames(second, [right])
        assert torch.equal(mine, expected)


def test_another_layer_comes_within_a_second(dreamer: LiveDreamer) -> None:
    other = RECIPE.with_changes(layer="inception3b")
    mixes = []

    def paint(job: AnyJob, given: list[Image.Image]) -> Iterator[Frame]:
        mixes.append(job.recipes[0].layers)
        return real(job, given)

    real, dreamer.render = dreamer.render, paint
    dream_frames(dreamer, [with_square(10)] * 2)
    dream_frames(dreamer, [with_square(10)] * 11, other)
    assert mixes[1] == (("inception4c", 1.0),) and mixes[-1] == (("inception3b", 1.0),)
    shares = [dict(mix).get("inception3b", 0.0) for mix in mixes[1:]]
    assert shares == sorted(shares) and len(set(shares)) > 8
    assert shares.count(1.0) == len(mixes[1:]) - 10 * CROSSFADE_SECONDS


def test_growth_and_memory_are_the_same_at_any_rate() -> None:
    for fps in (5.0, 20.0):
        recipe = LiveRecipe(fps=fps, memory=2, iterations=2)
        assert recipe.frame_recipe().step * 2 * fps == pytest.approx(GROWTH_RATES[4])
        assert recipe.frame_carry ** (2 * fps) == pytest.approx(np.exp(-1))


def test_a_frame_of_another_size_begins_anew(dreamer: LiveDreamer) -> None:
    dream_frames(dreamer, [with_square(10)] * 2)
    (shown,) = dream_frames(dreamer, [with_square(10).resize((50, 67))])
    assert shown.shape == (1, 3, 67, 50)
    with pytest.raises(PictureError):
        dreamer.dream_frame(Image.new("RGB", (96, 2)), RECIPE)


def test_weights_that_come_to_nothing_are_mixed_too(dreamer: LiveDreamer) -> None:
    dream_frames(
        dreamer, [with_square(10)], RECIPE.with_changes(layer="inception3a, inception3b:-1")
    )
    dream_frames(dreamer, [with_square(10)] * 2, RECIPE.with_changes(layer="conv3:0"))


class Pipe(io.TextIOWrapper):
    def isatty(self) -> bool:
        return False


def run_pipe(
    monkeypatch: pytest.MonkeyPatch, content: bytes, *options: str, size: str = "48x32"
) -> tuple[int, bytes]:
    """Run `pipe` with that stdin; return the exit code and stdout."""
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", Pipe(io.BytesIO(content)))
    monkeypatch.setattr(sys, "stdout", Pipe(out))
    code = command_line.main(["pipe", "--size", size, *options])
    return code, out.getvalue()


def raw_frames(count: int) -> bytes:
    return to_pil_image(resize_clamped(texture((72, 96), 1), (32, 48))).tobytes() * count


def test_the_pipe_gives_a_frame_for_each(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    code, out = run_pipe(monkeypatch, raw_frames(3), "--fps", "5", "--layer", "inception3b")
    assert code == 0 and len(out) == len(raw_frames(3))
    recipe = LiveRecipe(fps=5, layer="inception3b", max_side=48)
    seen = Image.frombytes("RGB", (48, 32), raw_frames(1))
    mirror = live_dreamer(engine)
    assert out == b"".join(mirror.dream_frame(seen, recipe).tobytes() for _ in range(3))


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (raw_frames(2) + b"half a frame", {}, "stdin ended in frame 3, after 12 of its"),
        (raw_frames(2) + b"half a frame", {"latest": "yes"}, "ended in frame 3, after 12 of its"),
        (raw_frames(2), {"size": "48x33"}, "check --size"),
        (b"", {}, "no frames arrived"),
        *(
            (raw_frames(1), {"size": size}, "--size must be as 320x240")
            for size in ("garbage", "0x0", "99999x48")
        ),
    ],
)
def test_what_the_pipe_cannot_take_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    options: dict[str, str],
    said: str,
) -> None:
    latest = ["--latest"] if options.pop("latest", "") else []
    code, _ = run_pipe(monkeypatch, content, *latest, **options)
    lines = capsys.readouterr().err.splitlines()
    assert code == 2 and len(lines) == 1 and said in lines[0]


@pytest.mark.parametrize(
    ("end", "options"),
    [
        ("interrupt", ["--latest"]),
        pytest.param("reader", ["--latest"], marks=pytest.mark.at_scale),
        pytest.param("interrupt", [], marks=pytest.mark.at_scale),
    ],
)
def test_the_pipe_ends_quietly_while_a_camera_goes_on(end: str, options: list[str]) -> None:
    """A thread, or the program, waits for a frame meanwhile."""
    command = [sys.executable, "-m", "dream", "pipe", "--size", "48x32", *options]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(raw_frames(1))
    process.stdin.flush()
    assert len(process.stdout.read(len(raw_frames(1)))) == len(raw_frames(1))
    if end == "reader":
        process.stdout.close()
        process.stdin.write(raw_frames(1))
        process.stdin.flush()
    else:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == (0 if end == "reader" else 130)
    with process:
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "first",
    [b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10JFIX", b"\x89PNG\x00", b"RIFF", b"YUV4MPEG"],
)
def test_pixels_that_look_like_the_head_of_a_file_are_pixels(
    first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out = run_pipe(monkeypatch, first + raw_frames(2)[len(first) :])
    assert code == 0 and len(out) == len(raw_frames(2))


@pytest.mark.parametrize(
    ("kind", "name"),
    [("PNG", "PNG"), ("JPEG", "JPEG"), ("MPO", "JPEG"), ("WEBP", "AVI or WebP"), ("Y4M", "Y4M")],
)
def test_files_in_the_place_of_raw_frames_are_named(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = io.BytesIO(b"YUV4MPEG2 W48 H32 F25:1\n")
    if kind != "Y4M":
        with_square(10).save(file, kind)
    code, _ = run_pipe(monkeypatch, file.getvalue() + raw_frames(1))
    assert code == 2 and f"stdin is {name}, but raw frames are needed" in capsys.readouterr().err


def test_frames_that_come_while_one_is_looked_at_are_left_out() -> None:
    all_came = threading.Event()

    def frames() -> Iterator[Image.Image]:
        yield Image.new("RGB", (1, 1), (0, 0, 0))
        assert looking.wait(10)
        for number in range(1, 5):
            yield Image.new("RGB", (1, 1), (number, 0, 0))
        all_came.set()

    looking = threading.Event()
    latest = command._drop_stale_frames(frames())
    seen = [next(latest)]
    looking.set()
    assert all_came.wait(10)
    seen += latest
    assert [each.getpixel((0, 0)) for each in seen] == [(0, 0, 0), (4, 0, 0)]


def test_the_first_frame_is_dreamed_by_the_layers_of_all_frames() -> None:
    recipe = LiveRecipe(layer="inception5a>inception3b")
    assert recipe.first_frame_recipe().layers == recipe.layers == (("inception3b", 1.0),)
