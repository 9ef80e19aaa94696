"""Blind pairs: which side is left is in the key alone, and verdicts are counted by it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from dream import DreamRecipe, Engine, load_image
from tests.conftest import EXAMPLES
from tools.measure import last_frame
from tools.pairs import draw_sides, main, read_side

A = {"octaves": 1, "iterations": 1}
B = "octaves=1,iterations=2,layer=inception3b:0.5,inception4c"
SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "photos").mkdir()
    for name in ("cat", "coffee", "clouds", "rocket"):
        with Image.open(EXAMPLES / f"{name}.jpg") as photo:
            photo.resize((80, 60)).save(folder / "photos" / f"{name}.jpg")
    assert make(folder, json.dumps(A), B, "out", "--png") == 0
    return folder


def make(folder: Path, a: str, b: str, out: str, *options: str) -> int:
    side = f"--max-side={SIDE}"
    return main(["make", a, b, str(folder / "photos"), "-o", str(folder / out), side, *options])


def test_the_picture_at_left_on_the_sheet_is_that_of_the_side_in_the_key(
    folder: Path, engine: Engine
) -> None:
    pairs = json.loads((folder / "out-key.json").read_text())["pairs"]
    assert [pairs[each]["left"] for each in "1234"] == draw_sides(4, 0)
    assert {each.suffix for each in (folder / "out").iterdir()} == {".png"}, "the judge opens it"
    recipe = DreamRecipe.from_dict({**A, "max_side": SIDE})
    for number, pair in pairs.items():
        photo = load_image(folder / "photos" / pair["photo"])
        dream = last_frame(engine.dream(photo, recipe)).picture()
        index = int(number) - 1
        sheet = Image.open(folder / "out" / f"sheet-to-{3 if index < 3 else 4}.png")
        for place, column in (("left", 1), ("right", 2)):
            top, left = 6 + index % 3 * (48 + 24), 6 + column * (SIDE + 6)
            drawn = sheet.convert("RGB").crop((left, top, left + SIDE, top + 48))
            is_a = (place == "left") == (pair["left"] == "A")
            assert (drawn.tobytes() == dream.tobytes()) is is_a
            alone = Image.open(folder / "out" / f"{number}-{place}.png")
            assert alone.tobytes() == drawn.tobytes()
            assert not alone.info, "metadata would tell the side"


def test_ready_pictures_take_the_place_of_dreams_and_jpeg_sheets_are_small(folder: Path) -> None:
    photos = folder / "photos"
    assert make(folder, str(photos), json.dumps(A), "ready", "--seed", "3", "--first", "5") == 0
    key = json.loads((folder / "ready-key.json").read_text())
    assert list(key["pairs"]) == ["5", "6", "7", "8"]
    place = "left" if key["pairs"]["5"]["left"] == "A" else "right"
    shown = Image.open(folder / "ready" / f"5-{place}.png")
    with Image.open(photos / key["pairs"]["5"]["photo"]) as photo:
        photo.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        assert shown.tobytes() == photo.tobytes()
    assert (folder / "ready" / "sheet-to-8.jpg").stat().st_size <= 300_000


def test_a_seed_always_draws_the_same_sides_and_each_is_left_in_half() -> None:
    assert draw_sides(12, 5) == draw_sides(12, 5) != draw_sides(12, 6)
    assert draw_sides(12, 5).count("A") == 6


def test_knobs_are_given_as_text_and_start_from_a_preset() -> None:
    assert read_side("") == DreamRecipe()
    recipe = read_side("preset=Same colours,intensity=3,channels=7,12")
    assert isinstance(recipe, DreamRecipe)
    assert (recipe.keep_colours, recipe.intensity, recipe.channels) == (True, 3, "7,12")


def test_the_table_counts_wins_by_the_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten of twelve: Wilson's interval is 55 to 95 %, and p = 2 (66 + 12 + 1) / 4096."""
    lefts = draw_sides(14, 1)
    keys = []
    for first in (1, 8):
        pairs = {str(first + each): {"left": lefts[first - 1 + each]} for each in range(7)}
        keys.append(tmp_path / f"key{first}.json")
        key = {"A": {"seed": 0, "scale": 1.4}, "B": {"seed": 0, "scale": 1.6}, "pairs": pairs}
        keys[-1].write_text(json.dumps(key))
    winners = ["A"] * 10 + ["B"] * 2
    said = ["left" if lefts[each] == winner else "right" for each, winner in enumerate(winners)]
    rows = [f"{number}, better, {each}" for number, each in enumerate([*said, "tie", "tie"], 1)]
    verdicts = tmp_path / "verdicts.csv"
    verdicts.write_text("\n".join(["pair,question,verdict", *rows, "1, cleaner, tie"]))
    assert main(["table", str(verdicts), *map(str, keys)]) == 0
    printed = capsys.readouterr().out
    assert 'A: {"scale": 1.4}\n\nB: {"scale": 1.6}\n' in printed
    assert "| better | 10 | 2 | 2 | 83% (55% to 95%) | 0.039 |" in printed
    assert "| cleaner | 0 | 0 | 1 | none decided |  |" in printed
    assert "independent" not in printed
    verdicts.write_text("pair,question,verdict,judge\n1,better,left,I\n1,better,left,II")
    assert main(["table", str(verdicts), *map(str, keys)]) == 0
    assert "the verdicts of 2 judges on one pair as independent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("pair,question,verdict\n1,better,both", "line 2: 'both' is none of left, right, tie"),
        ("pair,question,verdict\n9,better,left", "line 2: pair '9' is in no key"),
        ("pair,question,verdict\n1,better,left\n1,better,tie", "line 3: pair 1 has a verdict"),
        ("pair,verdict\n1,left", "no column question"),
    ],
)
def test_bad_verdicts_are_refused_in_one_line(
    rows: str, fault: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "verdicts.csv").write_text(rows)
    assert main(["table", str(tmp_path / "verdicts.csv"), str(folder / "out-key.json")]) == 2
    error = capsys.readouterr().err
    assert fault in error
    assert error.count("\n") == 1


def test_bad_sides_are_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side, fault in (
        ("nowhere.json", "no file, no folder and no knob=value"),
        ("intensity=99", "intensity"),
        ("vividness=1", "vividness"),
        (str(tmp_path), "no photos"),
    ):
        assert make(folder, side, "", str(tmp_path / "none")) == 2
        error = capsys.readouterr().err
        assert fault in error
        assert error.count("\n") == 1
