"""`python -m dream` turns a photo into a PNG; bad input ends in one line and exit code 2."""

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    __version__,
    load_image,
    read_recipe,
    save_image,
)
from dream import __main__ as command_line
from dream.commands.options import build_recipe, is_address
from dream.commands.progress import download_with_progress
from dream.files.embedded_images import embed_guide
from dream.networks import catalogue
from dream.networks.weights import DownloadProgress
from dream.recipe import Recipe
from dream.recipe.presets import preset
from dream.tensors import to_pil_image, to_tensor
from tests.conftest import EXAMPLES, KNOB_VALUES, ROOT, change, is_frame, spy
from tests.support.corpus import png_with_recipe
from tests.support.processes import run_python
from tests.support.videos import pan, write_video
from tools.measure import save_random_weights

CAT = EXAMPLES / "cat.jpg"
QUICK = "--octaves 2 --iterations 2 --max-side 128"
IMAGE = f"image cat.jpg -o out.png {QUICK}"
CHANNEL = "channel -o out.png --size 64 --steps 3"
CLASS = "class -o out.png --size 64 --steps 4"

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder that has cat.jpg and photo.png, of 64 x 64."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAT, tmp_path)
    save_image(load_image(CAT)[..., :64, :64], "photo.png", DreamRecipe())
    return tmp_path


def run(command: str, *more: str) -> int:
    try:
        return command_line.main([*shlex.split(command), *more])
    except SystemExit as stop:
        return int(stop.code or 0)


def written() -> set[str]:
    """Return the names of new files."""
    return set(os.listdir()) - {"cat.jpg", "photo.png"}


def test_a_photo_becomes_a_dream_with_its_recipe(capsys: Printed, engine: Engine) -> None:
    options = "--layer inception3b --scale 1.5 --step 2 --jitter 8 --seed 3"
    assert run(f"{IMAGE} {options}") == 0
    recipe = DreamRecipe(
        layer="inception3b", octaves=2, scale=1.5, iterations=2, step=2, jitter=8, seed=3
    ).with_changes(max_side=128)
    assert read_recipe("out.png") == recipe
    assert capsys.readouterr().out.startswith("out.png: 128 x 85, inception3b, seed 3, ")
    # The command line's image equals Python's.
    *_, frame = engine.dream(load_image(CAT), recipe)
    assert is_frame("out.png", frame)


def test_a_recipe_is_followed_and_options_change_it() -> None:
    assert run(f"{IMAGE} --seed 9") == 0
    assert run("image cat.jpg -o second.png --recipe out.png") == 0
    assert Path("second.png").read_bytes() == Path("out.png").read_bytes()
    recipe = DreamRecipe(octaves=1, max_side=64, iterations=2)
    Path("r.json").write_text(recipe.to_json())
    assert run("image cat.jpg -o second.png --recipe r.json --intensity 1") == 0
    assert read_recipe("second.png") == recipe.with_changes(intensity=1)


def test_the_name_selects_the_format_of_every_image() -> None:
    assert run(f"{IMAGE.replace('out.png', 'out.jpg')} --quality 100") == 0
    recipe = read_recipe("out.jpg")
    for command in (
        "image cat.jpg -o dream.avif --recipe out.jpg --quality 40",
        "image cat.jpg -o again.webp --recipe dream.avif",
        "sheet cat.jpg -o sheet.webp --recipe again.webp --intensities 3,5 --max-side 64",
        f"{CHANNEL.replace('out.png', 'channel.avif')} --channel 7",
        f"{CLASS.replace('out.png', 'fish.jpeg')} goldfish",
    ):
        assert run(command) == 0
    assert read_recipe("dream.avif") == read_recipe("again.webp") == recipe
    assert read_recipe("channel.avif", ChannelRecipe).channel == 7
    assert read_recipe("fish.jpeg", ClassRecipe).target == "goldfish"
    kinds = {}
    for name in written():
        with Image.open(name) as image:
            kinds[name] = image.format
    assert kinds.pop("fish.jpeg") == kinds.pop("out.jpg") == "JPEG"
    assert kinds.pop("sheet.webp") == kinds.pop("again.webp") == "WEBP"
    assert set(kinds.values()) == {"AVIF"}


def test_a_recipe_too_long_for_a_jpeg_is_refused_before_the_dream(capsys: Printed) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save("noise.png")
    for command in (f"{IMAGE.replace('out.png', 'out.jpg')}", "batch . out --format jpg"):
        assert run(f"{command} --guide noise.png") == 2
        said = capsys.readouterr()
        assert "use PNG, WebP or AVIF instead of JPEG" in said.err and said.err.count("\n") == 1
        assert said.out == "" and written() == {"noise.png"}


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("http://127.0.0.1:5000", True),
        ("head:6379", True),
        ("auto", True),
        (r"C:\photos\cat.jpg", False),
        ("C:/photos", False),
        ("d:cat.jpg", False),
        (r"\\server\share\cat.jpg", False),
        ("cat.jpg", False),
    ],
)
def test_a_drive_of_windows_is_no_address(text: str, is_one: bool) -> None:
    assert is_address(text) == is_one


BAD_INPUT = {
    "": "required",
    "imge": "there is no command 'imge'; did you mean image?",
    "paint": "there is no command 'paint'; try image, sheet, ",
    "--versin": "there is no option '--versin'; did you mean --version?",
    "image cat.jpg --intensty 5": "no option '--intensty'; did you mean --intensity",
    "image cat.jpg dog.jpg -o out.png": "'dog.jpg' is one word too many; for several photos, use",
    "layers vgg16 vgg19": "'vgg19' is one word too many",
    "image cat.jpg": "required: -o",
    "image nope.jpg -o out.png": "there is no file nope.jpg",
    f"image {shlex.quote(__file__)} -o out.png": "is not an image",
    "image cat.jpg -o /no/such/folder/x.png": "cannot be written",
    f"image cat.jpg -o /tmp/{'x' * 300}.png": "cannot be written: File name too",
    "image cat.jpg -o x.bmp": "use x.png or x.jpg or x.jpeg or x.webp or x.avif",
    "image cat.jpg -o x.jgp": "the name selects the format: use x.jpg\n",
    "image cat.jpg -o x": "the name selects the format: use x.png or",
    "zoom cat.jpg -o x.mp3": "the name selects the format: use x.mp4",
    "image cat.jpg -o .": ". is a folder; name a file in it, such as dream.png",
    "image cat.jpg -o dreams/": f"name a file in it, such as {Path('dreams/dream.png')}",
    "zoom cat.jpg -o .": ". is a folder; name a file in it, such as dream.mp4",
    "image . -o out.png": ". is a folder; give a file, or use batch for all its images",
    "image ~/no/such/cat.jpg -o out.png": f"there is no file {Path.home()}/no/such/cat.jpg",
    "image --mask=~/no.png cat.jpg -o out.png": f"there is no file {Path.home()}/no.png",
    "image cta.jpg -o out.png": "there is no file cta.jpg; did you mean cat.jpg?",
    "image cat.jpg -o x.png --quality 80": "x.png is a PNG, which is lossless and has no quality",
    "image cat.jpg -o x.jpg --quality 0": "quality must be a whole number from 1 to 100, not 0",
    "batch . out --format jpgg": "format must be png or jpg or jpeg or webp or avif, not 'jpgg'",
    "batch . cat.jpg": "cat.jpg is a file; give a folder for OUT",
    "image 'no\nsuch\x1b[31m.png' -o out.png": r"there is no file no\nsuch\x1b[31m.png",
    f"{IMAGE} '--bo\ngus'": r"there is no option '--bo\ngus'; python -m dream image --help",
    f"{IMAGE} --octaves many": "octaves must be a whole number from 1 to 10, not 'many'",
    f"{IMAGE} --layer foo": "layer 'foo' is not in dreamlet; try",
    f"{IMAGE} --max-side 40": "the network needs 32 or more",
    f"{IMAGE} --recipe nope.png": "there is no file nope.png",
    f"{IMAGE} --recipe cat.jpg": "cat.jpg has no recipe",
    f"{IMAGE} --guide nope.jpg": "there is no file nope.jpg",
    f"{IMAGE} --mask {shlex.quote(__file__)}": "is not an image this program reads",
    f"{IMAGE} --preset Neon": "there is no preset 'Neon'; try",
    f"{IMAGE} --preset x --recipe photo.png": "give only one of --preset and --recipe",
    f"{IMAGE} --weights cat.jpg": "cat.jpg is not a weights file",
    f"{IMAGE} --weights x.safetensors": "there is no file x.safetensors",
    "layers vgg": "model 'vgg' is not known",
    "serve --port 0": "port must be a whole number from 1 to 65535, not 0",
    "serve --port web": "port must be a whole number from 1 to 65535, not 'web'",
    "top cat.jpg --count -5": "count must be a whole number from 1 to 65536, not -5",
    "top cat.jpg --count few": "count must be a whole number from 1 to 65536, not 'few'",
    "top cat.jpg --spot 2 0.5": "the spot must be 0 to 1 across",
    "sheet cat.jpg": "a contact sheet compares 2 to 36 dreams, not 1",
    "sheet cat.jpg --intensities a,b": "intensities must be whole numbers such as 3,5,8",
    "sheet nope.jpg --intensities 3,5": "there is no file nope.jpg",
    f"{CHANNEL} --channel 320": "inception4c has channels 0 to 319, not 320",
    f"{CHANNEL} --grid many": "a grid has 1 to 64 channels, not 'many'",
    f"{CHANNEL} --channels 1,x": "inception4c has channels 0 to 319, not 'x'",
    f"{CHANNEL} --grid 4 --image cat.jpg": "give only one of --grid, --channels and --image",
    f"{CHANNEL} --recipe photo.png": "has kind 'dream'; kind",
    f"{CHANNEL} --grid 2 --weights x.safetensors": "there is no file x.safetensors",
    f"{CHANNEL} --image no.jpg": "there is no file no.jpg",
    CLASS: "give a class, as goldfish",
    f"{CLASS} goldfish --recipe photo.png": "kind 'class' is needed",
    # An option is not shortened.
    "image --mlfl cat.jpg -o out.png": "no option '--mlfl'; did you mean --mlflow",
}


@pytest.mark.parametrize("command", BAD_INPUT)
def test_bad_input_ends_in_one_line_and_exit_code_2(command: str, capsys: Printed) -> None:
    assert run(command) == 2
    said = capsys.readouterr()
    assert BAD_INPUT[command] in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not written()


def test_a_strangers_recipe_takes_no_file_of_ones_own(capsys: Printed) -> None:
    Path("stranger.png").write_bytes(png_with_recipe(json.dumps({"guide": str(CAT)})))
    assert run(f"{IMAGE} --recipe stranger.png") == 2
    said = capsys.readouterr().err
    assert "guide must be an image as a data URI" in said and said.count("\n") == 1
    assert written() == {"stranger.png"}


@pytest.mark.parametrize("name", ["photo.png", "./photo.png", "link.png", "hard.png"])
@pytest.mark.parametrize(
    "command",
    [
        "image IN",
        "image cat.jpg --mask IN",
        "image cat.jpg --recipe IN",
        "sheet IN --intensities 3,5",
        "channel --image IN",
        "class goldfish --image IN",
        "zoom clip.gif",  # A GIF counts as a photo.
        "video clip.gif",
        "making-of clip.gif",
    ],
)
def test_what_is_read_is_never_written_over(command: str, name: str, capsys: Printed) -> None:
    source = Path("photo.png")
    if "clip" in command:
        source, name = write_video(Path("clip.gif"), pan(3)), name.replace(".png", ".gif")
        name = name.replace("photo", "clip")
    before = source.read_bytes()
    Path("link").with_suffix(source.suffix).symlink_to(source)
    Path("hard").with_suffix(source.suffix).hardlink_to(source)
    for given, out in ((str(source), name), (name, str(source))):
        assert run(command.replace("IN", given).replace("clip.gif", given), "-o", out) == 2
        said = f"python -m dream: {out} is an input of this command; give another name for OUT\n"
        assert capsys.readouterr().err == said
        assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "mlflow", "ray"),
    [
        ("--mlflow IN OUT", "", None),
        ("--mlflow http://127.0.0.1:5000 IN OUT", "http://127.0.0.1:5000", None),
        ("--mlflow=runs --ray IN OUT", "runs", ""),
        ("IN --ray head:6379 OUT --mlflow", "", "head:6379"),
        ("IN OUT --ray auto --mlflow sqlite:///a.db", "sqlite:///a.db", "auto"),
        ("IN OUT --mlflow runs", "runs", None),
        ("--mlflow runs IN OUT --ray", "runs", ""),
        ("--mlflow IN --ray OUT", "", ""),
    ],
)
def test_an_option_with_or_without_an_address_swallows_no_file(
    given: str, mlflow: str, ray: str | None
) -> None:
    parsed = command_line._build_parser().parse_args(["batch", *given.split()])
    assert (parsed.source, parsed.dest) == ("IN", "OUT")
    assert (parsed.mlflow, parsed.ray) == (mlflow, ray)


@pytest.mark.parametrize("called", ["dream", "python -m dream"])
def test_messages_have_the_name_by_which_the_program_was_called(
    called: str, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"dream": "/venv/bin/dream", "python -m dream": "/venv/dream/__main__.py"}
    monkeypatch.setattr(sys, "argv", [paths[called]])
    assert run("layers vgg") == 2 and run("class -o out.png") == 2 and run("--version") == 0
    shown = capsys.readouterr()
    assert shown.out == f"dream {__version__}\n"
    first, second = shown.err.splitlines()
    assert first.startswith(f"{called}: model ")
    assert second.endswith(f"; {called} classes lists them")


def test_serve_starts_the_app_at_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "8000")
    started = []
    monkeypatch.setattr("dream.page.app.main", lambda: started.append(dict(os.environ)))
    assert run("serve --host 0.0.0.0 --port 8123") == 0
    assert started[0]["GRADIO_SERVER_NAME"] == "0.0.0.0"
    assert started[0]["GRADIO_SERVER_PORT"] == "8123"


def test_an_interrupted_dream_writes_nothing(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dream.files.image.save_image", interrupted)
    assert run(IMAGE) == 130
    assert "Traceback" not in capsys.readouterr().err and not written()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_a_pipe_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    assert run(IMAGE) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert run(IMAGE) == 0
    shown = terminal.getvalue().split("\r")
    assert shown[1].startswith("[------------------------------] octave 1 of 2, step 0 of 4")
    assert shown[-1] == "[##############################] octave 2 of 2, step 4 of 4 \n"


def test_a_download_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    steps = (
        DownloadProgress("vgg16", "the hub", done * 10**6, 553 * 10**6) for done in (0, 200, 553)
    )
    download_with_progress(steps)
    shown = terminal.getvalue().split("\r")
    assert shown[2].startswith("[###########-----") and "200 of 553 MB" in shown[2]


def test_layers_are_listed_with_what_they_bring(capsys: Printed) -> None:
    assert run("layers") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(catalogue.get_card("dreamlet").layers)
    assert [line for line in lines if "(default)" in line] == [
        "inception4c                     parts       Faces, wheels  (default)"
    ]
    assert run("layers vgg16") == 0
    assert "features.22           relu4_3   parts" in capsys.readouterr().out


def test_models_are_listed_with_what_is_here(
    capsys: Printed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "vgg16.safetensors").write_bytes(bytes(2_000_000))
    monkeypatch.setenv("DREAM_WEIGHTS_DIR", str(folder))
    assert run("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(catalogue.CARDS)
    assert "6 MB, on disk" in lines[0] and "2 MB, on disk" in lines[1]
    assert run("fetch vgg16") == run("fetch dreamlet") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"vgg16: {folder / 'vgg16.safetensors'}"
    assert second.endswith("dreamlet.safetensors")


def test_the_classes_are_listed(capsys: Printed) -> None:
    assert run("classes goldF") == 0
    assert capsys.readouterr().out == "   1  goldfish\n  11  goldfinch\n"
    assert run("classes") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1000


def test_weights_that_cannot_be_had_end_in_one_line(
    capsys: Printed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    for command in ("fetch vgg16", f"{IMAGE} --model vgg16"):
        assert run(command) == 2
        said = capsys.readouterr().err
        assert "the weights of vgg16 could not be downloaded" in said and said.count("\n") == 1


def test_weights_of_ones_own_dream(capsys: Printed) -> None:
    save_random_weights(catalogue.get_card("mobilenet_v2"), Path("mine.safetensors"))
    assert run(f"{IMAGE} --model mobilenet_v2 --weights mine.safetensors") == 0
    assert read_recipe("out.png").model == "mobilenet_v2"
    assert run(f"{IMAGE} --model squeezenet1_1 --weights mine.safetensors") == 2
    assert "mine.safetensors does not fit squeezenet1_1: missing: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.pth"])
def test_weights_that_are_a_pipe_keep_nobody_waiting(name: str, capsys: Printed) -> None:
    os.mkfifo(name)
    assert run(f"{IMAGE} --weights {name}") == 2
    said = f"python -m dream: {name} is not a weights file: it is not a regular file\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-8"])
def test_a_recipe_is_read_as_any_editor_writes_it(encoding: str) -> None:
    recipe = DreamRecipe(seed=7)
    Path("r.json").write_bytes(f" {recipe.to_json()}\r\n".encode(encoding))
    assert read_recipe("r.json") == recipe
    assert DreamRecipe.from_json(f"\ufeff{recipe.to_json()}") == recipe


def test_it_runs_as_a_module(folder: Path) -> None:
    command = IMAGE.replace("cat.jpg", str(CAT)).replace("out.png", str(folder / "out.png"))
    done = run_python("-m", "dream", *shlex.split(command))
    assert (done.returncode, done.stderr) == (0, "")
    assert load_image("out.png").shape == (1, 3, 85, 128)


@pytest.mark.parametrize("command", ["classes", "layers"])  # More and less than a buffer.
def test_a_reader_who_has_had_enough_ends_it_quietly(command: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dream", command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 141
    process.stderr.close()


def test_a_stream_that_is_closed_ends_no_command_in_a_traceback(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for closed in ("stdin", "stdout"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, closed, None)
            assert run("pipe --size 32x32") == 2
            assert "stdin and stdout must be pipes of raw rgb24 frames" in capsys.readouterr().err
    for closed in ("stdout", "stderr"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, closed, None)
            assert run("classes") == 0
            assert run(IMAGE) == 0


def test_a_channel_is_shown_from_noise_with_its_recipe(capsys: Printed, engine: Engine) -> None:
    assert run(f"{CHANNEL} --layer inception3b --channel 7") == 0
    recipe = ChannelRecipe(layer="inception3b", channel=7, size=64, steps=3)
    assert read_recipe("out.png") == recipe
    assert capsys.readouterr().out.startswith("out.png: 64 x 64, channel 7 of inception3b, seed 0,")
    *_, frame = engine.channel(recipe)
    assert is_frame("out.png", frame)
    assert run("channel --recipe out.png --seed 1 -o other.png") == 0
    assert read_recipe("other.png") == recipe.with_changes(seed=1)


@pytest.mark.parametrize(
    "command",
    [f"{CHANNEL} --channel 80", f"{CLASS} tiger --mode octaves"],
    ids=["channel", "class"],
)
def test_a_channel_or_class_is_raised_in_a_photo(command: str) -> None:
    assert run(f"{command} --image cat.jpg") == 0
    assert load_image("out.png").shape == (1, 3, 43, 64)


def test_a_grid_is_one_labelled_sheet() -> None:
    assert run("channel --size 64 --steps 8 --grid 4 -o grid.png") == 0
    assert run("channel --size 64 --steps 8 --channels 80,0,160 -o some.png") == 0
    with Image.open("grid.png") as sheet, Image.open("some.png") as other:
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
    capsys: Printed, engine: Engine, cat: Tensor
) -> None:
    assert run("top cat.jpg --layer inception4c --count 3 --spot 0.5 0.25") == 0
    lines = capsys.readouterr().out.splitlines()
    answers = engine.response(cat, layer="inception4c").top(3, (0.5, 0.25))
    assert [line.split()[1] for line in lines] == [str(answer.channel) for answer in answers]


def test_a_class_is_shown_with_its_recipe_and_a_verdict(capsys: Printed, engine: Engine) -> None:
    assert run(f"{CLASS} 'Green Snake' --seed 2") == 0
    recipe = ClassRecipe(target="green snake", size=64, steps=4, seed=2)
    assert read_recipe("out.png") == recipe
    *_, frame = engine.class_image(recipe)
    assert is_frame("out.png", frame)
    first, told, *seen = capsys.readouterr().out.splitlines()
    assert first.startswith("out.png: 64 x 64, green snake, seed 2, ")
    verdict = engine.verdict(frame.tensor, recipe)
    assert told.startswith("green snake: logit ") and told.endswith("top classes of dreamlet:")
    assert f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, rank" in told
    assert [line.split(maxsplit=1)[1] for line in seen] == [name for name, _ in verdict.seen]
    assert run("class --recipe out.png -o again.png") == 0
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()


def test_a_dream_makes_two_recipes_and_paints_its_picture_once() -> None:
    check = spy(Recipe, "__post_init__")
    with check as made, patch("dream.render.job_loop.to_pil_image", wraps=to_pil_image) as painted:
        assert run("image cat.jpg -o out.png --iterations 0") == 0
    # The requested knobs with their defaults, none because of an option alone.
    assert made.call_count == 2 and painted.call_count == 1


def test_a_mask_and_colours_are_options() -> None:
    photo = load_image(CAT)[..., :120, :160]
    save_image(photo, "photo.png")
    mask = Image.new("L", (160, 120))
    mask.paste(255, (0, 0, 80, 120))
    mask.save("mask.png")
    options = "--mask mask.png --feather 0 --keep-colours --iterations 2"
    assert run(f"image photo.png -o out.png {options}") == 0
    dreamed = load_image("out.png")
    assert torch.equal(dreamed[..., 80:], load_image("photo.png")[..., 80:])
    changed = (dreamed - photo)[..., :80] * 255
    assert changed.abs().mean() > 1
    assert torch.allclose(changed[:, 0], changed[:, 2], atol=1.01)  # Equal in all colours.
    recipe = read_recipe("out.png", DreamRecipe)
    assert recipe.keep_colours == 1 and recipe.mask.startswith("data:image/png;base64,")
    Path("mask.png").unlink()  # It is no longer needed.
    again = "image photo.png -o again.png --recipe out.png"
    assert run(again) == 0
    assert Path("again.png").read_bytes() == Path("out.png").read_bytes()
    assert run(f"{again} --no-keep-colours --mask ''") == 0
    recipe = read_recipe("again.png", DreamRecipe)
    assert recipe.keep_colours == 0 and not recipe.mask
    assert run(f"{again} --keep-colours 0.3") == 0
    assert read_recipe("again.png", DreamRecipe).keep_colours == 0.3


def test_a_guide_is_an_option(engine: Engine) -> None:
    guide = str(EXAMPLES / "rocket.jpg")
    assert run(f"{IMAGE} --objective texture", "--guide", guide) == 0
    recipe = read_recipe("out.png", DreamRecipe)
    guided = DreamRecipe(guide=embed_guide(guide), objective="texture")
    given = guided.with_changes(octaves=2, iterations=2, max_side=128)
    assert recipe == engine.settle(given) and recipe.layer == "inception5a"
    *_, frame = engine.dream(load_image(CAT), given)
    assert is_frame("out.png", frame)


def test_a_file_of_any_name_is_told_in_one_line(capsys: Printed) -> None:
    out = "a\nb\x1b[31mc.png"
    assert run("image cat.jpg --max-side 64 --iterations 0", "-o", out) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert r"a\nb\x1b[31mc.png: 64 x 43" in line and line.isprintable() and Path(out).exists()


def test_a_sheet_shows_layers_by_intensities(capsys: Printed) -> None:
    small = "--octaves 1 --max-side 64"
    lists = "--layers inception3b,inception4c,inception5a --intensities 3,8"
    assert run(f"sheet cat.jpg {lists} {small}") == 0
    assert capsys.readouterr().out.startswith("sheet.png: 146 x 207, 6 dreams, seed 0, ")
    assert run(f"image cat.jpg -o out.png {small} --layer inception5a --intensity 8") == 0
    sheet, one = load_image("sheet.png"), load_image("out.png")
    height, width = one.shape[2:]
    assert torch.equal(sheet[..., -(18 + 6 + height) : -(18 + 6), -(6 + width) : -6], one)


def test_every_knob_and_a_preset_are_options() -> None:
    def recipe_of(*options: str) -> DreamRecipe:
        given = ["image", "cat.jpg", "-o", "out.png", *options]
        return build_recipe(command_line._build_parser().parse_args(given), DreamRecipe)

    for name, value in KNOB_VALUES.items():
        option = f"--{name.replace('_', '-')}"
        given = [option, str(value)]
        assert recipe_of(*given) == DreamRecipe(**{name: value}), name
    animals = recipe_of("--preset", "standing animals", "--octaves", "2")
    assert animals == preset("Standing animals").with_changes(octaves=2)
    assert recipe_of("--keep-colours") == DreamRecipe(keep_colours=1)
