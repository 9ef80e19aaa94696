"""`python -m dream batch` makes each image once, across interruptions and errors."""

import io
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fsspec
import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import DreamRecipe, Engine, load_image, read_recipe
from dream.__main__ import main
from dream.batch.destination import Destination
from dream.batch.inputs import list_images
from dream.batch.manifest import Manifest, ManifestRow, input_file_sha256
from dream.batch.tasks import (
    MAX_BATCH_PIXELS,
    Task,
    estimate_costs,
    group_batches,
    make_tasks,
    recipe_summary,
    select_shard,
)
from dream.batch.worker import LocalWorkers
from dream.errors import DreamError
from dream.files.embedded_images import encode_mask
from dream.files.image import image_size
from dream.recipe.presets import sweep
from dream.tensors import to_pil_image
from tests.conftest import ROOT, is_frame, scarce_memory
from tests.support.many import QUICK, RECIPE, add_unreadable_photos, make_photos, manifest
from tests.support.small_disk import mount_small_disk
from tests.support.videos import pan, write_video

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(folder: Path) -> Path:
    """Return a folder of three photos, two of one size, and a text file."""
    photos = make_photos(folder / "in", 3)
    (photos / "notes.txt").write_text("no picture")
    return photos


def run_batch(given: str = "in out") -> int:
    """Run `batch` with these words and `QUICK`."""
    try:
        return main(["batch", *shlex.split(given), *QUICK])
    except SystemExit as stop:
        return int(stop.code or 0)


def dreams(folder: str = "out") -> dict[str, int]:
    """Return the dreams in a folder, with the times they were written at."""
    return {path.name: path.stat().st_mtime_ns for path in Path(folder).glob("dream-*.png")}


def test_each_photo_is_dreamed_by_each_recipe_as_it_is_alone(
    photos: Path, engine: Engine, capsys: Printed
) -> None:
    sweeps = "--sweep layer=inception3b,conv3 --sweep intensity=2,9"
    assert run_batch(f"in out {sweeps} --sheet") == 0
    first, *_, sheet = capsys.readouterr().out.splitlines()
    assert first.startswith("12 to do, about ") and first.endswith(" MB, into out")
    assert sheet == "sheet-photo02.png: contact sheet of the sweep"
    rows = manifest(Path("out"))
    assert len(rows) == len({row["output"] for row in rows}) == 12
    recipes = sweep(RECIPE, {"layer": ["inception3b", "conv3"], "intensity": [2, 9]}, iterations=2)
    for recipe in recipes:
        name = f"dream-photo01-{recipe.layer}-i{recipe.intensity}-seed0"
        name += "-octaves1-iterations2-max_side64.png"
        (row,) = (row for row in rows if row["output"] == name)
        assert row["sha256"] == input_file_sha256(str(photos / "photo01.png"))
        assert read_recipe(f"out/{name}") == DreamRecipe.from_dict(row["recipe"]) == recipe
        *_, frame = engine.dream(load_image(photos / "photo01.png"), recipe)
        assert row["objective"] == pytest.approx(frame.value)
        assert row["seconds"] > 0 and not row["error"]
        assert is_frame(f"out/{name}", frame)


def test_a_second_start_makes_only_what_is_missing_by_content(
    photos: Path, capsys: Printed
) -> None:
    assert run_batch() == 0
    before = dreams()
    assert run_batch() == 0
    assert "3 exist already; nothing left to do" in capsys.readouterr().out
    gone, changed = sorted(before)[:2]
    Path("out", gone).unlink()
    (photos / "photo00.png").touch()  # Another modification time is the same content.
    (photos / "photo02.png").rename(photos / "photo01.png")
    assert run_batch() == 0
    after = dreams()
    assert {name for name in before if before[name] != after[name]} == {gone, changed}
    assert len(manifest(Path("out"))) == 5
    assert run_batch("in out --smoothing 1") == 0  # Another recipe gives other names.
    assert len(dreams()) == 5


def test_each_format_has_files_of_its_own_and_resumes(photos: Path, capsys: Printed) -> None:
    assert run_batch() == 0
    for quality, line in ((90, "3 to do"), (20, "3 exist already; nothing left to do")):
        assert run_batch(f"in out --format webp --quality {quality} --sheet") == 0
        assert line in capsys.readouterr().out
    files = {path.name for path in Path("out").glob("dream-*")}
    stems = {Path(name).stem for name in files}
    assert files == {f"{stem}{ending}" for stem in stems for ending in (".png", ".webp")}
    assert len(files) == len(manifest(Path("out"))) == 6
    for stem in stems:
        assert read_recipe(f"out/{stem}.webp") == read_recipe(f"out/{stem}.png") == RECIPE


def test_accents_that_macos_splits_from_their_letters_are_resumed(
    folder: Path, capsys: Printed
) -> None:
    make_photos(folder / "in", 1).joinpath("photo00.png").rename(folder / "in" / "cafe\u0301.png")
    assert run_batch() == 0
    (made,) = Path("out").glob("dream-*")
    assert made.name.startswith("dream-caf\u00e9-")
    made.rename(made.with_name(made.name.replace("\u00e9", "e\u0301")))  # As HFS+ lists it.
    assert run_batch() == 0
    assert "1 exist already; nothing left to do" in capsys.readouterr().out


def test_pictures_of_one_size_climb_together_as_each_alone(engine: Engine, cat: Tensor) -> None:
    pictures = torch.cat([cat[..., :64, left : left + 75] for left in (0, 90, 200)])
    mask = encode_mask(torch.linspace(0, 1, 75).expand(1, 3, 64, 75))
    changes: tuple[dict[str, Any], ...] = (
        {"mask": mask, "laplacian": 2},
        {"rule": "adam", "keep_colours": True},
        {"seamless": "all", "pull": 0.1},
    )
    for each in changes:
        recipe = RECIPE.with_changes(octaves=2, max_side=75, **each)
        (job,) = engine.plan([recipe], (64, 75))
        *_, together = engine.render([job.for_batch(3)], pictures)
        assert len(together.recipes) == len(together.values) == 3
        for place, made in enumerate(together.pictures()):
            *_, alone = engine.dream(pictures[place : place + 1], recipe)
            assert made.tobytes() == alone.picture().tobytes()
            assert together.values[place] == pytest.approx(alone.value)


def test_only_small_pictures_of_one_size_and_recipe_climb_together() -> None:
    recipe = RECIPE.with_defaults("cpu", True)
    small = [(Task(f"{place}.png", f"{place}", recipe), (48, 64)) for place in range(20)]
    other = [
        (Task("x.png", "x", recipe.with_changes(seed=4)), (48, 64)),
        (Task("y.png", "y", recipe), None),
    ]
    large = (Task("z.png", "z", recipe.with_changes(max_side=900)), (600, 900))
    made = [
        [task.output for task in each] for each in group_batches([*small, *other, large, large])
    ]
    assert sorted(map(len, made)) == [1, 1, 1, 1, 4, 16]
    assert sorted(chain(*made)) == sorted([*map(str, range(20)), "x", "y", "z", "z"])
    assert MAX_BATCH_PIXELS / 2 < 600 * 900


def test_what_is_too_much_together_is_made_one_by_one(photos: Path) -> None:
    with scarce_memory(lambda pictures: len(pictures) > 1):
        assert run_batch() == 0
    assert [(row["error"], row["remark"]) for row in manifest(Path("out"))] == [("", "")] * 3


def test_each_photo_is_opened_once_for_all_of_its_recipes(folder: Path, engine: Engine) -> None:
    photos = add_unreadable_photos(make_photos(folder / "in", 1))
    files = [str(photos / name) for name in ("photo00.png", "garbage.png")]
    todo = make_tasks(files, [RECIPE.with_changes(seed=seed) for seed in range(3)], "cpu")
    with patch("dream.batch.tasks.image_size", wraps=image_size) as read:
        sizes = [size for _, size, _ in estimate_costs(engine, "cpu", todo)]
    assert sizes.count(None) == 3 and read.call_count == 2


def test_a_batch_that_was_killed_goes_on_and_makes_each_picture_once(folder: Path) -> None:
    photos, out = make_photos(folder / "in", 37), folder / "out"
    add_unreadable_photos(photos)
    command = [sys.executable, "-m", "dream", "batch", str(photos), str(out), *QUICK]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    written = out / "manifest.jsonl"
    while not written.exists() or written.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with written.open("ab") as file:
        file.write(b'{"input": "half a li')
    for each in out.glob("*.png"):
        load_image(each)  # Every file is complete.
    before = [row["output"] for row in manifest(out, is_complete=False) if not row["error"]]
    assert len(before) < 37
    assert run_batch() == 0
    rows = manifest(out)
    good, bad = ([row["output"] for row in rows if bool(row["error"]) == wrong] for wrong in (0, 1))
    assert len(good) == len(set(good)) == 37 and good[: len(before)] == before
    assert len(bad) == len(set(bad)) == 3
    assert {each.name for each in out.glob("*.png")} == set(good)
    assert len({load_image(each).sum().item() for each in out.glob("*.png")}) == 37


@pytest.mark.parametrize("keep_colours", [False, True])
def test_a_dream_of_an_earlier_version_is_not_made_again(photos: Path, keep_colours: bool) -> None:
    recipe = DreamRecipe(keep_colours=keep_colours, **DreamRecipe.old_values, max_side=64)
    tasks = make_tasks([str(photos / "photo01.png")], [recipe], "cpu")
    old_recipe = recipe_summary(tasks[0].recipe) | {"keep_colours": keep_colours}
    for name in DreamRecipe.old_values:
        del old_recipe[name]
    old = ManifestRow(tasks[0].input, input_file_sha256(tasks[0].input), "old.png", old_recipe)
    Path("out").mkdir()
    Path("out", "old.png").touch()
    Path("out", "manifest.jsonl").write_bytes(old.to_json_line())
    manifest = Manifest(Destination("out"))
    (task,) = manifest.with_old_names(tasks)
    assert task.output == "old.png" and manifest.is_done(task, "")
    other = replace(task, recipe=recipe.with_changes(quiet=0.5))
    assert not manifest.is_done(other, "")
    manifest.close()


def test_a_manifest_that_is_a_link_loses_nothing_of_what_it_leads_to(photos: Path) -> None:
    target, out = Path("notes.jsonl"), Path("out")
    out.mkdir()
    (out / "manifest.jsonl").symlink_to(target.absolute())
    for before in ('{"output": "x", "error": ""}', "my notes", '{"inputs": 3', "[" * 200_000):
        target.write_text(before)
        Manifest(Destination("out")).close()
        assert target.read_text() == f"{before}\n"
    for half in ('{"in', '{"input": "half a li'):
        target.write_text(f"first\n{half}")
        Manifest(Destination("out")).close()
        assert target.read_text() == "first\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("pipe.png", "there is no file or folder pipe.png"),
        ("in", "out cannot be read: manifest.jsonl is not a regular file"),
        ("-", "no image could be dreamed; the manifest has the errors"),
    ],
)
def test_a_pipe_keeps_nobody_waiting(
    source: str, said: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    Path("out").mkdir()
    os.mkfifo("out/manifest.jsonl" if source == "in" else "pipe.png")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"pipe.png\n")))
    assert run_batch(f"{source} out") == 2
    assert capsys.readouterr().err.endswith(f"python -m dream: {said}\n")


def test_ctrl_c_keeps_what_is_finished(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    add = Manifest.add

    def interrupted(self: Manifest, row: Any) -> None:
        if len(self.rows) == 2:
            raise KeyboardInterrupt
        add(self, row)

    monkeypatch.setattr(Manifest, "add", interrupted)
    assert run_batch() == 130
    said = "2 images were saved; run the same command again to resume\n"
    assert capsys.readouterr().out.endswith(said)
    assert len(manifest(Path("out"))) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk with room for two dreams."""
    with mount_small_disk(tmp_path / "disk", "40k") as disk:
        yield disk


def test_a_full_disk_is_one_line_and_what_was_finished_is_found_again(
    folder: Path, small_disk: Path, capsys: Printed
) -> None:
    make_photos(folder / "in", 9)
    assert run_batch("in disk") == 2
    printed = capsys.readouterr()
    assert printed.err.endswith("No space left on device\n") and printed.err.count("\n") == 1
    rows = manifest(small_disk)
    assert 0 < len(rows) < 9
    assert {each.name for each in small_disk.iterdir()} - {"manifest.jsonl"} >= {
        row["output"] for row in rows
    }
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    assert run_batch("in disk") == 0
    assert len(manifest(small_disk)) == 9
    assert f"{len(rows)} exist already; {9 - len(rows)} to do" in capsys.readouterr().out


def test_shards_part_the_work_and_share_a_folder(photos: Path) -> None:
    all_tasks = make_tasks(
        [f"/{place}.png" for place in range(50)], [RECIPE, RECIPE.with_changes(seed=1)], "cpu"
    )
    parts = [select_shard(all_tasks, f"{place}/4") for place in range(1, 5)]
    assert sorted(map(hash, chain(*parts))) == sorted(map(hash, all_tasks))
    assert min(map(len, parts)) > 10
    for shard in ("1/2", "2/2"):
        assert run_batch(f"in out --shard {shard}") == 0
    assert len(manifest(Path("out"), "manifest-*of2.jsonl")) == 3


def test_a_picture_has_its_share_and_its_name_whatever_is_put_beside_it(
    photos: Path, capsys: Printed
) -> None:
    files = [f"/in/{place}.png" for place in range(20)]
    beside = [file.replace("png", "jpg") for file in files]
    moved = [file.replace("/in", "/elsewhere/in") for file in files]

    def shares(source: str, listed: list[str], device: str) -> list[set[str]]:
        all_tasks = make_tasks(listed, [RECIPE.with_changes(max_side=None)], device, source)
        parts = [select_shard(all_tasks, f"{place}/3") for place in (1, 2, 3)]
        return [{Path(task.input).name for task in part} & set(names) for part in parts]

    names = [Path(file).name for file in files]
    alone = shares("/in", files, "cpu")
    assert alone == shares("/in", files + beside, "cpu")
    assert alone == shares("/elsewhere/in", moved, "cuda") and all(alone)
    assert run_batch() == 0
    before = dreams()
    to_pil_image(load_image(photos / "photo00.png")).save(photos / "photo00.jpg")
    for there in (3, 4):
        assert run_batch() == 0
        assert f"{there} exist already; " in capsys.readouterr().out
    (new,) = dreams().keys() - before
    assert new.startswith("dream-photo00.jpg-") and len(manifest(Path("out"))) == 4


def test_a_list_and_the_frames_of_a_video_go_through_the_same_door(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    listed = f"\ufeff{photos / 'photo00.png'}\n\n{photos / 'photo02.png'}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    assert run_batch("- out") == 0
    made = [Path(row["input"]).name for row in manifest(Path("out"))]
    assert sorted(made) == ["photo00.png", "photo02.png"]
    monkeypatch.setattr(sys, "stdin", None)
    assert run_batch("- out") == 2
    said = "python -m dream: the list is read from stdin, which is closed; give a folder for IN\n"
    assert capsys.readouterr().err == said
    write_video(Path("clip.mp4"), pan(4), Fraction(12))
    assert run_batch("clip.mp4 frames") == 0
    assert [name[:17] for name in sorted(dreams("frames"))] == [
        f"dream-clip+00000{place}" for place in range(1, 5)
    ]


def test_the_frames_of_a_video_are_as_large_as_the_largest_dream_of_them() -> None:
    write_video(Path("clip.mp4"), pan(2, (96, 128)), Fraction(12))
    out = Path("out")
    for side in ("max_side=96", "max_side=64,128"):
        assert run_batch(f"clip.mp4 out --sweep {side}") == 0
    rows = manifest(out)
    assert len(rows) == 2 * 3
    for row in rows:
        with Image.open(out / row["output"]) as picture:
            assert picture.width == row["recipe"]["max_side"]
    # Missing frames are written again.
    (gone,) = out.glob("frames-clip-*-128x96/clip-000001.png")
    before = gone.read_bytes()
    gone.unlink()
    assert run_batch("clip.mp4 out --sweep max_side=128") == 0
    assert gone.read_bytes() == before


def test_a_batch_of_which_every_photo_fails_has_failed(folder: Path, capsys: Printed) -> None:
    photo = add_unreadable_photos(make_photos(folder / "in", 1)) / "photo00.png"
    photo.rename(folder / "good.png")
    for _ in range(2):
        assert run_batch() == 2
        said = "python -m dream: no image could be dreamed; the manifest has the errors\n"
        assert capsys.readouterr().err.endswith(said)
    (folder / "good.png").rename(photo)
    for _ in range(2):
        assert run_batch() == 0


def test_photos_of_one_name_are_all_dreamed_and_have_a_sheet_each(
    folder: Path, capsys: Printed
) -> None:
    photos, out = folder / "in", folder / "in" / "out"
    photos.mkdir()
    for name in ("100APPLE", "101APPLE"):
        make_photos(photos / name, 1)
    photo = load_image(photos / "100APPLE" / "photo00.png")
    to_pil_image(photo).save(photos / "100APPLE" / "photo00.jpg")
    (photos / "100APPLE" / "more.dng").touch()
    (photos / "101APPLE" / "back").symlink_to(photos)
    given = "in in/out --sweep seed=1,2 --sheet"
    assert run_batch(given) == 2
    assert "there is no image in" in capsys.readouterr().err
    for _ in range(2):  # OUT lies within the input folder.
        assert run_batch(f"{given} --recursive") == 0
        assert "\nskipped: 1 .dng (not supported)\n" in capsys.readouterr().out
    called = ["photo00.jpg", "100APPLE+photo00.png", "101APPLE+photo00.png"]
    rest = "octaves1-iterations2-max_side64.png"
    assert {row["output"] for row in manifest(out)} == {
        f"dream-{name}-inception4c-i5-seed{seed}-{rest}" for name in called for seed in (1, 2)
    }
    assert {each.name for each in out.glob("sheet-*")} == {f"sheet-{name}.png" for name in called}


def test_a_sheet_reads_no_image_of_a_photo_that_has_but_one(folder: Path) -> None:
    make_photos(folder / "in", 1)
    assert run_batch("in out --sheet") == 0
    (made,) = (folder / "out").glob("dream-*.png")
    made.write_bytes(b"damaged")
    assert run_batch("in out --sheet") == 0 and not list((folder / "out").glob("sheet-*"))


def test_the_folder_of_a_picture_is_never_written_into(folder: Path, capsys: Printed) -> None:
    photos = folder / "in"
    photos.mkdir()
    make_photos(photos / "100", 1)
    (photos / "101").mkdir()
    make_photos(photos / "101" / "old", 1)
    (folder / "link").symlink_to(photos / "100")
    (folder / "links").mkdir()
    (folder / "links" / "photo.png").symlink_to(photos / "100" / "photo00.png")
    pairs = [("in/100", "in/100"), ("in/100", "link"), ("link", "in/100/."), ("links", "in/100")]
    pairs += [("in --recursive", out) for out in ("in", "in/100", "in/101")]
    for source, out in pairs:
        assert run_batch(f"{source} {out}") == 2
        said = f"python -m dream: {out} has the input images; give another folder for OUT\n"
        assert capsys.readouterr().err == said
    assert not [*photos.rglob("dream-*"), *photos.rglob("*.jsonl")]


def test_a_folder_is_passed_over_only_if_it_is_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "in").mkdir()
    monkeypatch.chdir(make_photos(folder / "in" / "here", 1))
    (found,), _ = list_images(str(folder / "in"), recursive=True)
    assert found.endswith("photo00.png")


def test_several_devices_work_side_by_side(photos: Path, engine: Engine) -> None:
    files = [str(each) for each in sorted(photos.glob("*.png"))]
    todo = make_tasks(files, [RECIPE, RECIPE.with_changes(seed=1)], "cpu")
    crew = LocalWorkers({}, ["cpu", "cpu"])
    rows = list(chain(*crew.run_batches(([each] for each in todo), "out")))
    assert sorted(row.output for row in rows) == sorted(task.output for task in todo)
    for task in todo:
        *_, frame = engine.dream(load_image(task.input), task.recipe)
        assert is_frame(f"out/{task.output}", frame)
    bad = [todo[0], Task(files[0], "no/such/folder.png", todo[0].recipe)]
    with pytest.raises(DreamError, match="cannot be written"):
        list(crew.run_batches(([each] for each in bad), "out"))


def test_pictures_go_to_what_fsspec_reaches_by_a_url(photos: Path, capsys: Printed) -> None:
    out = "memory://bucket/dreams"
    for _ in range(2):
        assert run_batch(f"in {out} --format jpg --quality 1 --sweep seed=1,2 --sheet") == 0
    assert "6 exist already; nothing left to do" in capsys.readouterr().out
    names = [each.rsplit("/", 1)[1] for each in fsspec.filesystem("memory").ls(out, detail=False)]
    dreams = [name for name in names if name.startswith("dream-") and name.endswith(".jpg")]
    assert len(dreams) == 6 and len([name for name in names if name.startswith("sheet-")]) == 3
    Path("one.jpg").write_bytes(content := Destination(out).read(dreams[0]))
    assert content.startswith(b"\xff\xd8\xff") and read_recipe("one.jpg", DreamRecipe).octaves == 1


BAD_INPUT = {
    "in in": "in has the input images; give another folder for OUT",
    "empty out": "there is no image in empty; give files that end in .avif, .bmp, ",
    "nowhere out": "there is no file or folder nowhere",
    "other out": "there is no image in other (but 1 .dng (not supported), 1 in subfolders",
    "in out --sweep layr=a": "--sweep: there is no knob 'layr'; did you mean layer",
    "in out --sweep layer=": "--sweep layer= needs values, as layer=A,B",
    "in out --sweep intensity=3,11": "intensity must be a whole number from 1",
    "in out --sweep keep_colours=maybe": "keep_colours must be a number from 0 to 1",
    f"in out --sweep seed={','.join(map(str, range(3334)))}": "this would make 10002 images, more "
    "than 10000; add --yes to allow it",
    f"in out --shard 1/{'9' * 5000}": "--shard must be from 1/N to N/N",
    "in out --shard 3/2": "--shard must be from 1/N to N/N, as 2/8, not '3/2'",
    "in file/x": "x cannot be written: Not a directory",
    "in nosuch://x": "nosuch://x cannot be written: Protocol not known: nosuch",
    "in out --layer foo": "layer 'foo' is not in dreamlet",
    "clip.mp4 memory://x": "frames of a video are extracted to OUT",
    "clip.mp4 out --sweep octaves=1,99": "octaves must be",
}


def test_bad_input_is_one_line(photos: Path, folder: Path, capsys: Printed) -> None:
    (folder / "empty").mkdir()
    (folder / "file").touch()
    (folder / "other" / "folder").mkdir(parents=True)
    (folder / "other" / "photo.dng").touch()
    write_video(folder / "clip.mp4", pan(2), Fraction(12))
    for given, said in BAD_INPUT.items():
        assert run_batch(given) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1 and said in printed, printed
        assert not (folder / "out").exists(), given


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("ray", '--ray needs Ray: pip install "ray[data]"'),
        ("mlflow", "--mlflow needs MLflow: pip install mlflow-skinny"),
    ],
)
def test_a_package_that_is_not_there_is_one_line_that_says_how_to_get_it(
    package: str, said: str, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run_batch(f"in out --{package}") == 2
    assert capsys.readouterr().err == f"python -m dream: {said}\n"
    assert not Path("out").exists()
