"""`python -m dream` turns a photo into a PNG; bad input ends in one line and exit code 2."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    load_image,
    read_recipe,
    save_image,
)
from dream import __main__ as command_line
from dream.commands.progress import download_with_progress
from dream.files.embedded_images import embed_guide
from dream.networks import catalogue
from dream.networks.architecture import build
from dream.networks.weights import DownloadProgress
from dream.recipe import Recipe
from dream.recipe.presets import preset
from dream.tensors import to_pil_image, to_tensor
from tests.conftest import EXAMPLES, KNOB_VALUES, ROOT, change
from tests.support.videos import pan, write_video

CAT = str(EXAMPLES / "cat.jpg")
QUICK = ["--octaves", "2", "--iterations", "2", "--max-side", "128"]


def run(*arguments: str) -> int:
    try:
        return command_line.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def test_a_photo_becomes_a_dream_with_its_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: Engine
) -> None:
    out = tmp_path / "out.png"
    options = ["--layer", "inception3b", "--scale", "1.5", "--step", "2", "--jitter", "8"]
    assert run("image", CAT, "-o", str(out), *QUICK, *options, "--seed", "3") == 0
    recipe = DreamRecipe(
        layer="inception3b",
        octaves=2,
        scale=1.5,
        iterations=2,
        step=2,
        jitter=8,
        seed=3,
        max_side=128,
    )
    assert read_recipe(out) == recipe
    assert capsys.readouterr().out.startswith(f"{out}: 128 x 85, inception3b, seed 3, ")
    # The command line's image equals Python's, level by level.
    *_, frame = engine.dream(load_image(CAT), recipe)
    expected = (frame.tensor * 255).round() / 255
    assert torch.equal(load_image(out), expected)


def test_a_recipe_is_followed_and_options_change_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    assert run("image", CAT, "-o", str(first), *QUICK, "--seed", "9") == 0
    assert run("image", CAT, "-o", str(second), "--recipe", str(first)) == 0
    assert second.read_bytes() == first.read_bytes()
    (tmp_path / "r.json").write_text(DreamRecipe(octaves=1, max_side=64).to_json())
    assert (
        run(
            "image",
            CAT,
            "-o",
            str(second),
            "--recipe",
            str(tmp_path / "r.json"),
            "--intensity",
            "1",
        )
        == 0
    )
    assert read_recipe(second) == DreamRecipe(octaves=1, max_side=64, intensity=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["paint"], "invalid choice: 'paint'"),
        (["image", CAT], "required: -o"),
        (["image", "nope.jpg", "-o", "OUT"], "there is no file nope.jpg"),
        (["image", __file__, "-o", "OUT"], "is not an image"),
        (
            ["image", CAT, "-o", "OUT", "--octaves", "many"],
            "octaves must be a whole number from 1 to 10",
        ),
        (
            ["image", CAT, "-o", "OUT", "--octaves", "0"],
            "octaves must be a whole number from 1 to 10",
        ),
        (
            ["image", CAT, "-o", "OUT", "--seed", "-1"],
            "seed must be a whole number from 0 to 2147483647",
        ),
        (["image", CAT, "-o", "OUT", "--scale", "nan"], "scale must be a number from 1.1 to 2"),
        (["image", CAT, "-o", "OUT", "--layer", "foo"], "layer 'foo' is not in dreamlet; try"),
        (["image", CAT, "-o", "OUT", "--model", "vgg"], "model 'vgg' is not known"),
        (["image", CAT, "-o", "OUT", "--max-side", "40"], "the network needs 32 or more"),
        (["image", CAT, "-o", "OUT", "--recipe", "nope.png"], "nope.png cannot be read"),
        (["image", CAT, "-o", "OUT", "--recipe", CAT], "cat.jpg has no recipe"),
        (["image", CAT, "-o", "OUT", "--bogus", "1"], "unrecognized arguments: --bogus"),
        (["image", CAT, "-o", "/no/such/folder/x.png"], "cannot be written"),
        (["image", CAT, "-o", "/tmp/" + "x" * 300 + ".png"], "cannot be written: File name too"),
        (["image", "no\nsuch\x1b[31m.png", "-o", "OUT"], r"there is no file no\nsuch\x1b[31m.png"),
        (["image", CAT, "-o", "OUT", "--bo\ngus"], r"unrecognized arguments: --bo\ngus"),
        (["image", CAT, "-o", "OUT", "--layer", "conv3:1e39"], "from -1000 to 1000, not '1e39'"),
        (["top", CAT, "--count", "-5"], "count must be a whole number from 1 to 65536, not -5"),
        (["top", CAT, "--count", "few"], "count must be a whole number from 1 to 65536, not 'few'"),
        (["image", CAT, "-o", "x.jpg"], "name it x.png"),
        (["layers", "vgg"], "model 'vgg' is not known"),
        (["image", CAT, "-o", "OUT", "--weights", CAT], "cat.jpg is not a weights file"),
        (
            ["image", CAT, "-o", "OUT", "--weights", "x.safetensors", "--model", "resnet50"],
            "x.safetensors is not a weights file: No such file",
        ),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out.png")
    assert run(*(out if each == "OUT" else each for each in arguments)) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["photo.png", "./photo.png", "link.png", "hard.png"])
@pytest.mark.parametrize(
    "command",
    [
        ["image", "IN"],
        ["image", CAT, "--mask", "IN"],
        ["image", CAT, "--recipe", "IN"],
        ["sheet", "IN", "--intensities", "3,5"],
        ["channel", "--image", "IN"],
        ["class", "goldfish", "--image", "IN"],
    ],
    ids=" ".join,
)
def test_what_is_read_is_never_written_over(
    command: list[str],
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = tmp_path / "photo.png"
    save_image(load_image(CAT)[..., :64, :64], photo, DreamRecipe())
    before = photo.read_bytes()
    (tmp_path / "link.png").symlink_to(photo)
    (tmp_path / "hard.png").hardlink_to(photo)
    for given, out in (("photo.png", name), (name, "photo.png")):
        assert run(*(given if each == "IN" else each for each in command), "-o", out) == 2
        said = f"python -m dream: {out} is an input of this command; give another name for OUT\n"
        assert capsys.readouterr().err == said
        assert photo.read_bytes() == before


@pytest.mark.parametrize("command", ["video", "zoom", "making-of"])
def test_a_film_is_never_written_over_what_it_is_made_of(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_video(tmp_path / "clip.gif", pan(3))  # A GIF counts as a photo.
    before = source.read_bytes()
    (tmp_path / "link.gif").symlink_to(source)
    assert run(command, str(source), "-o", str(tmp_path / "link.gif")) == 2
    assert capsys.readouterr().err.endswith("give another name for OUT\n")
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "mlflow", "ray"),
    [
        (["--mlflow", "IN", "OUT"], "", None),
        (["--mlflow", "http://127.0.0.1:5000", "IN", "OUT"], "http://127.0.0.1:5000", None),
        (["--mlflow=runs", "--ray", "IN", "OUT"], "runs", ""),
        (["IN", "--ray", "head:6379", "OUT", "--mlflow"], "", "head:6379"),
        (["IN", "OUT", "--ray", "auto", "--mlflow", "sqlite:///a.db"], "sqlite:///a.db", "auto"),
        (["IN", "OUT", "--mlflow", "runs"], "runs", None),
        (["--mlflow", "runs", "IN", "OUT", "--ray"], "runs", ""),
        (["--mlflow", "IN", "--ray", "OUT"], "", ""),
    ],
)
def test_an_option_with_or_without_an_address_swallows_no_file(
    given: list[str], mlflow: str, ray: str | None
) -> None:
    parsed = command_line._build_parser().parse_args(["batch", *given])
    assert (parsed.source, parsed.dest) == ("IN", "OUT")
    assert (parsed.mlflow, parsed.ray) == (mlflow, ray)


def test_a_part_of_an_options_name_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    parsed = command_line._build_parser().parse_args(["image", "--mlflow", CAT, "-o", "out.png"])
    assert (parsed.photo, parsed.mlflow) == (CAT, "")
    assert run("image", "--mlfl", CAT, "-o", "out.png") == 2
    assert capsys.readouterr().err == "python -m dream: unrecognized arguments: --mlfl\n"


def test_an_unknown_device_ends_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_DEVICE", "warp")
    assert run("image", CAT, "-o", str(tmp_path / "out.png")) == 2
    assert "device 'warp' is not available" in capsys.readouterr().err


def test_an_interrupted_dream_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dream.commands.images.save_image", interrupted)
    assert run("image", CAT, "-o", str(tmp_path / "out.png"), *QUICK) == 130
    assert "Traceback" not in capsys.readouterr().err and not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_a_pipe_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out.png")
    assert run("image", CAT, "-o", out, *QUICK) == 0
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run("image", CAT, "-o", out, *QUICK) == 0
    shown = terminal.getvalue().split("\r")
    assert shown[1].startswith("[------------------------------] octave 1 of 2, step 0 of 4")
    assert shown[-1] == "[##############################] octave 2 of 2, step 4 of 4 \n"


def test_layers_are_listed_with_what_they_bring(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("layers") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(catalogue.get_card("dreamlet").layers)
    assert [line for line in lines if "(default)" in line] == [
        "inception4c                     parts       Faces, fur  (default)"
    ]


def test_models_are_listed_with_what_is_here(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vgg16.safetensors").write_bytes(bytes(2_000_000))
    monkeypatch.setenv("DREAM_WEIGHTS_DIR", str(tmp_path))
    assert run("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(catalogue.CARDS)
    assert "6 MB, on disk" in lines[0] and "2 MB, on disk" in lines[1]
    assert run("fetch", "vgg16") == 0
    assert capsys.readouterr().out == f"vgg16: {tmp_path / 'vgg16.safetensors'}\n"
    assert run("fetch", "dreamlet") == 0
    assert capsys.readouterr().out.endswith("dreamlet.safetensors\n")
    assert run("layers", "vgg16") == 0
    assert "features.22           relu4_3   parts" in capsys.readouterr().out


def test_weights_that_cannot_be_had_end_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for arguments in (["fetch", "vgg16"], ["image", CAT, "-o", "x.png", "--model", "vgg16"]):
        assert run(*arguments) == 2
        said = capsys.readouterr().err
        assert "the weights of vgg16 could not be downloaded" in said and said.count("\n") == 1


def test_weights_of_ones_own_dream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    weights, out = tmp_path / "mine.safetensors", tmp_path / "out.png"
    safetensors.torch.save_file(build(catalogue.get_card("mobilenet_v2")).state_dict(), weights)
    own = ["--model", "mobilenet_v2", "--weights", str(weights)]
    assert run("image", CAT, "-o", str(out), *QUICK, *own) == 0
    assert read_recipe(out).model == "mobilenet_v2"
    own = ["--model", "squeezenet1_1", "--weights", str(weights)]
    assert run("image", CAT, "-o", str(out), *QUICK, *own) == 2
    assert "mine.safetensors does not fit squeezenet1_1: missing: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.pth"])
def test_weights_that_are_a_pipe_keep_nobody_waiting(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / name)
    own = ["--weights", str(tmp_path / name)]
    assert run("image", CAT, "-o", str(tmp_path / "out.png"), *QUICK, *own) == 2
    said = f"python -m dream: {name} is not a weights file: it is not a regular file\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-8"])
def test_a_recipe_is_read_as_any_editor_writes_it(encoding: str, tmp_path: Path) -> None:
    recipe = DreamRecipe(seed=7)
    (tmp_path / "r.json").write_bytes(f" {recipe.to_json()}\r\n".encode(encoding))
    assert read_recipe(tmp_path / "r.json") == recipe
    assert DreamRecipe.from_json(f"\ufeff{recipe.to_json()}") == recipe


def test_a_download_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    steps = (
        DownloadProgress("vgg16", "the hub", done * 10**6, 553 * 10**6) for done in (0, 200, 553)
    )
    download_with_progress(steps)
    shown = terminal.getvalue().split("\r")
    assert shown[2].startswith("[###########-----") and "200 of 553 MB" in shown[2]


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dream", "image", CAT, "-o", str(tmp_path / "out.png"), *QUICK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert load_image(tmp_path / "out.png").shape == (1, 3, 85, 128)


@pytest.mark.parametrize("command", [["classes"], ["layers"], ["models"]], ids=" ".join)
def test_a_reader_who_has_had_enough_ends_it_quietly(command: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dream", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141
    process.stderr.close()


def test_a_stream_that_is_closed_ends_no_command_in_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for closed in ("stdin", "stdout"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, closed, None)
            assert run("pipe", "--size", "32x32") == 2
            assert "stdin and stdout must be pipes of raw rgb24 frames" in capsys.readouterr().err
    for closed in ("stdout", "stderr"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, closed, None)
            assert run("classes") == 0
            assert run("image", CAT, "-o", str(tmp_path / f"{closed}.png"), *QUICK) == 0


CHANNEL = ["channel", "--size", "64", "--steps", "3"]


def test_a_channel_is_shown_from_noise_with_its_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: Engine
) -> None:
    out = tmp_path / "out.png"
    assert run(*CHANNEL, "--layer", "inception3b", "--channel", "7", "-o", str(out)) == 0
    recipe = ChannelRecipe(layer="inception3b", channel=7, size=64, steps=3)
    assert read_recipe(out) == recipe
    assert capsys.readouterr().out.startswith(f"{out}: 64 x 64, channel 7 of inception3b, seed 0,")
    *_, frame = engine.channel(recipe)
    with Image.open(out) as image:
        assert image.tobytes() == frame.picture().tobytes()
    other = tmp_path / "other.png"
    assert run("channel", "--recipe", str(out), "--seed", "1", "-o", str(other)) == 0
    assert read_recipe(other) == recipe.with_changes(seed=1)


def test_a_channel_is_raised_in_a_photo(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert run(*CHANNEL, "--image", CAT, "--channel", "80", "-o", str(out)) == 0
    with Image.open(out) as image:
        assert image.size == (64, 43)


def test_a_grid_is_one_labelled_sheet(tmp_path: Path) -> None:
    grid, some = tmp_path / "grid.png", tmp_path / "some.png"
    few = ["channel", "--size", "64", "--steps", "8"]
    assert run(*few, "--grid", "4", "-o", str(grid)) == 0
    assert run(*few, "--channels", "80,0,160", "-o", str(some)) == 0
    with Image.open(grid) as sheet, Image.open(some) as other:
        # Two by two, in the requested order: 0, 80, 160, 240 and 80, 0, 160.
        assert sheet.size == other.size == (146, 182)
        left, right = (6, 6, 70, 70), (76, 6, 140, 70)
        zero, eighty = (to_tensor(sheet.crop(place)) for place in (left, right))
        apart = change(zero, eighty)
        assert change(zero, to_tensor(other.crop(right))) < 0.2 * apart
        assert change(eighty, to_tensor(other.crop(left))) < 0.2 * apart
        labels = sheet.crop((6, 71, 70, 88)).convert("L")
        assert labels.getextrema()[0] < 60  # type: ignore[operator]


def test_the_channels_that_answer_a_photo_are_listed(
    capsys: pytest.CaptureFixture[str], engine: Engine, cat: Tensor
) -> None:
    assert run("top", CAT, "--layer", "inception4c", "--count", "3", "--spot", "0.5", "0.25") == 0
    lines = capsys.readouterr().out.splitlines()
    answers = engine.response(cat, layer="inception4c").top(3, (0.5, 0.25))
    assert [line.split()[1] for line in lines] == [str(answer.channel) for answer in answers]


def test_a_dream_of_single_channels(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert run("image", CAT, "-o", str(out), *QUICK, "--channels", "80,120:0.5") == 0
    assert read_recipe(out, DreamRecipe).channel_weights == ((80, 1.0), (120, 0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["channel", "--channel", "320"], "inception4c has channels 0 to 319, not 320"),
        (["channel", "--grid", "0"], "a grid has 1 to 64 channels, not 0"),
        (["channel", "--grid", "many"], "a grid has 1 to 64 channels, not 'many'"),
        (["channel", "--channels", "1,x"], "inception4c has channels 0 to 319, not 'x'"),
        (
            ["channel", "--grid", "4", "--image", CAT],
            "give only one of --grid, --channels and --image",
        ),
        (["channel", "--recipe", str(EXAMPLES / "layers/conv3.png")], "has kind 'dream'; kind"),
        (
            ["channel", "--grid", "2", "--model", "resnet50", "--weights", "x.safetensors"],
            "x.safetensors is not a weights file: No such file",
        ),
        (["channel", "--size", "99999"], "size must be a whole number from 32 to 1024"),
        (["channel", "--image", "no.jpg"], "there is no file no.jpg"),
    ],
)
def test_a_bad_channel_ends_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    assert run(*arguments, "-o", str(out)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not out.exists()


def test_a_spot_outside_of_the_photo_ends_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("top", CAT, "--spot", "2", "0.5") == 2
    assert "the spot must be 0 to 1 across" in capsys.readouterr().err


CLASS = ["class", "--size", "64", "--steps", "4"]


def test_a_class_is_shown_with_its_recipe_and_a_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: Engine
) -> None:
    out = tmp_path / "out.png"
    assert run(*CLASS, "Green Snake", "-o", str(out), "--seed", "2") == 0
    recipe = ClassRecipe(target="green snake", size=64, steps=4, seed=2)
    assert read_recipe(out) == recipe
    *_, frame = engine.class_image(recipe)
    with Image.open(out) as image:
        assert image.tobytes() == frame.picture().tobytes()
    first, told, *seen = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{out}: 64 x 64, green snake, seed 2, ")
    verdict = engine.verdict(frame.tensor, recipe)
    assert told.startswith("green snake: logit ") and told.endswith("top classes of dreamlet:")
    assert f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, rank" in told
    assert [line.split(maxsplit=1)[1] for line in seen] == [name for name, _ in verdict.seen]
    again = tmp_path / "again.png"
    assert run("class", "--recipe", str(out), "-o", str(again)) == 0
    assert again.read_bytes() == out.read_bytes()


def test_a_class_is_raised_in_a_photo(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert run(*CLASS, "tiger", "--image", CAT, "--mode", "octaves", "-o", str(out)) == 0
    with Image.open(out) as image:
        assert image.size == (64, 43)


def test_the_classes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("classes", "goldF") == 0
    assert capsys.readouterr().out == "   1  goldfish\n  11  goldfinch\n"
    assert run("classes") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["snake"], "'snake' may be "),
        (["unicorn"], "there is no class 'unicorn'; try "),
        ([], "give a class, as goldfish"),
        (["goldfish", "--mode", "magic"], "mode must be growing or fourier"),
        (["goldfish", "--recipe", str(EXAMPLES / "layers/conv3.png")], "kind 'class' is needed"),
    ],
)
def test_a_bad_class_ends_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    assert run("class", *arguments, "-o", str(out)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not out.exists()


def white_left_half(path: Path) -> str:
    picture = Image.new("L", (451, 300))
    picture.paste(255, (0, 0, 225, 300))
    picture.save(path)
    return str(path)


def test_a_dream_makes_two_recipes_and_paints_its_picture_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Recipe] = []
    painted: list[Tensor] = []
    check = Recipe.__post_init__

    def counted(recipe: Recipe) -> None:
        made.append(recipe)
        check(recipe)

    def image(picture: Tensor) -> Image.Image:
        painted.append(picture)
        return to_pil_image(picture)

    monkeypatch.setattr(Recipe, "__post_init__", counted)
    monkeypatch.setattr("dream.render.job_loop.to_pil_image", image)
    assert run("image", CAT, "-o", str(tmp_path / "out.png"), "--iterations", "0") == 0
    # The requested knobs with their defaults, none because of an option alone.
    assert len(made) == 2 and len(painted) == 1


def test_a_mask_and_colours_are_options(tmp_path: Path) -> None:
    out, path = tmp_path / "out.png", white_left_half(tmp_path / "mask.png")
    options = ["--mask", path, "--feather", "0", "--keep-colours", "--iterations", "2"]
    assert run("image", CAT, "-o", str(out), *options) == 0
    photo, dreamed = load_image(CAT), load_image(out)
    assert torch.equal(dreamed[..., 225:], photo[..., 225:])
    change = (dreamed - photo)[..., :225] * 255
    assert change.abs().mean() > 1
    assert torch.allclose(change[:, 0], change[:, 2], atol=1.01)  # Equal in all colours.
    recipe = read_recipe(out, DreamRecipe)
    assert recipe.keep_colours and recipe.mask.startswith("data:image/png;base64,")
    # The mask's file is no longer needed.
    Path(path).unlink()
    again = tmp_path / "again.png"
    assert run("image", CAT, "-o", str(again), "--recipe", str(out)) == 0
    assert again.read_bytes() == out.read_bytes()
    assert (
        run("image", CAT, "-o", str(again), "--recipe", str(out), "--no-keep-colours", "--mask", "")
        == 0
    )
    assert not read_recipe(again, DreamRecipe).keep_colours
    assert not read_recipe(again, DreamRecipe).mask


def test_a_guide_is_an_option(tmp_path: Path, engine: Engine) -> None:
    out, guide = tmp_path / "out.png", str(EXAMPLES / "rocket.jpg")
    assert (
        run("image", CAT, "-o", str(out), *QUICK, "--guide", guide, "--objective", "texture") == 0
    )
    recipe = read_recipe(out, DreamRecipe)
    guided = DreamRecipe(guide=embed_guide(guide), objective="texture")
    given = guided.with_changes(octaves=2, iterations=2, max_side=128)
    assert recipe == engine.settle(given) and recipe.layer == "inception5a"
    *_, frame = engine.dream(load_image(CAT), given)
    assert torch.equal(load_image(out), (frame.tensor * 255).round() / 255)


def test_a_strangers_recipe_takes_no_file_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "stranger.png", tmp_path / "out.png"
    info = PngImagePlugin.PngInfo()
    info.add_itxt("deepdream", json.dumps({"guide": CAT}))
    Image.new("RGB", (32, 32)).save(recipe, pnginfo=info)
    assert run("image", CAT, "-o", str(out), *QUICK, "--recipe", str(recipe)) == 2
    said = capsys.readouterr().err
    assert "guide must be an image as a data URI" in said and said.count("\n") == 1
    assert not out.exists()


def test_a_file_of_any_name_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a\nb\x1b[31mc.png"
    assert run("image", CAT, "-o", str(out), "--max-side", "64", "--iterations", "0") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert r"a\nb\x1b[31mc.png: 64 x 43" in line and line.isprintable() and out.exists()


def test_a_preset_is_where_to_start_from(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert run("image", CAT, "-o", str(out), *QUICK, "--preset", "fur and eyes") == 0
    expected = preset("Fur and eyes").with_changes(octaves=2, iterations=2, max_side=128)
    assert read_recipe(out, DreamRecipe) == expected


def test_a_sheet_shows_layers_by_intensities(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lists = ["--layers", "inception3b,inception4c,inception5a", "--intensities", "3,8"]
    options = ["--octaves", "1", "--max-side", "128"]
    assert run("sheet", CAT, *lists, *options) == 0
    assert capsys.readouterr().out.startswith("sheet.png: 274 x 333, 6 dreams, seed 0, ")
    sheet = load_image("sheet.png")
    out = tmp_path / "one.png"
    assert run("image", CAT, "-o", str(out), *options, "--layer", "inception5a") == 0
    louder = str(tmp_path / "louder.png")
    assert run("image", CAT, "-o", louder, "--recipe", str(out), "--intensity", "8") == 0
    one = load_image(louder)
    height, width = one.shape[2:]
    assert torch.equal(sheet[..., -(18 + 6 + height) : -(18 + 6), -(6 + width) : -6], one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["image", CAT, "-o", "OUT", "--guide", "nope.jpg"], "there is no file nope.jpg"),
        (["image", CAT, "-o", "OUT", "--mask", __file__], "is not an image this program reads"),
        (["image", CAT, "-o", "OUT", "--objective", "match"], "objective match needs guide"),
        (["image", CAT, "-o", "OUT", "--rule", "sgd"], "rule must be normalised or adam"),
        (["image", CAT, "-o", "OUT", "--preset", "Neon"], "there is no preset 'Neon'; try"),
        (["image", CAT, "-o", "OUT", "--preset", "x", "--recipe", "y"], "one of --preset and"),
        (["sheet", CAT], "a contact sheet compares 2 to 36 dreams, not 1"),
        (["sheet", CAT, "--layers", "conv3,foo"], "layer 'foo' is not in dreamlet"),
        (["sheet", CAT, "--intensities", "a,b"], "intensities must be whole numbers such as 3,5,8"),
        (["sheet", "nope.jpg", "--intensities", "3,5"], "there is no file nope.jpg"),
    ],
)
def test_bad_pictures_and_lists_end_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out.png"
    assert run(*(str(out) if each == "OUT" else each for each in arguments)) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", KNOB_VALUES)
def test_every_knob_is_an_option(name: str, tmp_path: Path, engine: Engine) -> None:
    out, option = tmp_path / "out.png", f"--{name.replace('_', '-')}"
    given = [option] if KNOB_VALUES[name] is True else [option, str(KNOB_VALUES[name])]
    # `test_render` tests what the recipe does.
    still: dict[str, Any] = {"max_side": 128, "iterations": 0}
    before = ["--max-side", "128", "--iterations", "0"]
    assert run("image", CAT, "-o", str(out), *before, *given) == 0
    assert read_recipe(out) == engine.settle(DreamRecipe(**still | {name: KNOB_VALUES[name]}))
