"""`python -m dream batch` makes each image once, across interruptions and errors."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import DreamRecipe, Engine, load_image, read_recipe
from dream.__main__ import main
from dream.batch.destination import Destination
from dream.batch.estimate import MAX_BATCH_PIXELS, group_batches
from dream.batch.local_workers import LocalWorkers
from dream.batch.manifest import Manifest
from dream.batch.manifest_row import input_file_sha256
from dream.batch.tasks import Task, list_images, make_tasks, select_shard
from dream.errors import DreamError
from dream.files.embedded_images import encode_mask
from dream.networks.network import Network
from dream.recipe.presets import sweep
from dream.tensors import to_pil_image
from tests.conftest import ROOT
from tests.support.many import QUICK, RECIPE, add_unreadable_photos, make_photos, manifest
from tests.support.videos import pan, write_video

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of three photos, two of one size, and a text file."""
    folder = make_photos(tmp_path / "in", 3)
    (folder / "notes.txt").write_text("no picture")
    return folder


def run_batch(*given: object) -> int:
    try:
        return main(["batch", *map(str, given)])
    except SystemExit as stop:
        return int(stop.code or 0)


def test_each_photo_is_dreamed_by_each_recipe_as_it_is_alone(
    photos: Path, tmp_path: Path, engine: Engine, capsys: Printed
) -> None:
    out = tmp_path / "out"
    sweeps = ["--sweep", "layer=inception3b,conv3", "--sweep", "intensity=2,9"]
    assert run_batch(photos, out, *QUICK, *sweeps, "--sheet") == 0
    first, *_, sheet = capsys.readouterr().out.splitlines()
    assert first.startswith("12 to do, about ") and first.endswith(f" MB, into {out}")
    assert sheet == "sheet-photo02.png: contact sheet of the sweep"
    rows = manifest(out)
    assert len(rows) == len({row["output"] for row in rows}) == 12
    recipes = sweep(RECIPE, {"layer": ["inception3b", "conv3"], "intensity": [2, 9]}, iterations=2)
    for recipe in recipes:
        name = f"dream-photo01-{recipe.layer}-i{recipe.intensity}-seed0"
        name += "-octaves1-iterations2-max_side64.png"
        (row,) = (row for row in rows if row["output"] == name)
        assert row["sha256"] == input_file_sha256(str(photos / "photo01.png"))
        assert read_recipe(out / name) == DreamRecipe.from_dict(row["recipe"]) == recipe
        *_, frame = engine.dream(load_image(photos / "photo01.png"), recipe)
        assert (
            row["objective"] == pytest.approx(frame.value)
            and row["seconds"] > 0
            and not row["error"]
        )
        with Image.open(out / name) as picture:
            assert picture.tobytes() == frame.picture().tobytes()


def test_a_second_start_makes_only_what_is_missing_by_content(
    photos: Path, tmp_path: Path, capsys: Printed
) -> None:
    out = tmp_path / "out"
    assert run_batch(photos, out, *QUICK) == 0
    before = {each.name: each.stat().st_mtime_ns for each in out.glob("*.png")}
    assert run_batch(photos, out, *QUICK) == 0
    assert "3 exist already; nothing left to do" in capsys.readouterr().out
    gone, changed = sorted(before)[:2]
    (out / gone).unlink()
    (photos / "photo00.png").touch()  # Another modification time is the same content.
    (photos / "photo02.png").rename(photos / "photo01.png")
    assert run_batch(photos, out, *QUICK) == 0
    after = {each.name: each.stat().st_mtime_ns for each in out.glob("*.png")}
    assert {name for name in before if before[name] != after[name]} == {gone, changed}
    assert len(manifest(out)) == 5
    # Another recipe gives other names.
    assert run_batch(photos, out, *QUICK, "--smoothing", "1") == 0
    assert len(list(out.glob("*.png"))) == 5


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


def test_what_is_too_much_together_is_made_one_by_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = Network.value_and_grad

    def with_little_room(self: Network, *given: Any, **about: Any) -> Any:
        inner = evaluate(self, *given, **about)

        def within(pictures: Tensor) -> Any:
            if len(pictures) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
            return inner(pictures)

        return within

    monkeypatch.setattr(Network, "value_and_grad", with_little_room)
    assert run_batch(photos, tmp_path / "out", *QUICK) == 0
    assert [(row["error"], row["remark"]) for row in manifest(tmp_path / "out")] == [("", "")] * 3


def test_a_batch_that_was_killed_goes_on_and_makes_each_picture_once(tmp_path: Path) -> None:
    photos, out = make_photos(tmp_path / "in", 37), tmp_path / "out"
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
    assert run_batch(photos, out, *QUICK) == 0
    rows = manifest(out)
    good, bad = ([row["output"] for row in rows if bool(row["error"]) == wrong] for wrong in (0, 1))
    assert len(good) == len(set(good)) == 37 and good[: len(before)] == before
    assert len(bad) == len(set(bad)) == 3
    assert {each.name for each in out.glob("*.png")} == set(good)
    assert len({load_image(each).sum().item() for each in out.glob("*.png")}) == 37


def test_a_manifest_that_is_a_link_loses_nothing_of_what_it_leads_to(
    photos: Path, tmp_path: Path
) -> None:
    out, target = tmp_path / "out", tmp_path / "notes.jsonl"
    out.mkdir()
    (out / "manifest.jsonl").symlink_to(target)
    for before in ('{"output": "x", "error": ""}', "my notes", '{"inputs": 3', "[" * 200_000):
        target.write_text(before)
        assert run_batch(photos, out, *QUICK) == 0
        assert target.read_text().startswith(f"{before}\n")
        for each in out.glob("*.png"):
            each.unlink()
    for half in ('{"in', '{"input": "half a li'):
        target.write_text(f"first\n{half}")
        assert run_batch(photos, out, *QUICK) == 0
        assert target.read_text().startswith('first\n{"input": "/')
        for each in out.glob("*.png"):
            each.unlink()


@pytest.mark.parametrize("place", ["IN", "manifest", "listed"])
def test_a_pipe_keeps_nobody_waiting(
    place: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    out, pipe = tmp_path / "out", tmp_path / "pipe.png"
    out.mkdir()
    os.mkfifo(out / "manifest.jsonl" if place == "manifest" else pipe)
    if place == "listed":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{pipe}\n".encode())))
    source = {"IN": pipe, "manifest": photos, "listed": "-"}[place]
    assert run_batch(source, out, *QUICK) == 2
    said = {
        "IN": f"there is no file or folder {pipe}",
        "manifest": f"{out} cannot be read: manifest.jsonl is not a regular file",
        "listed": "no image could be dreamed; the manifest has the errors",
    }
    assert capsys.readouterr().err.endswith(f"python -m dream: {said[place]}\n")


def test_ctrl_c_keeps_what_is_finished(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    add = Manifest.add

    def interrupted(self: Manifest, row: Any) -> None:
        if len(self.rows) == 2:
            raise KeyboardInterrupt
        add(self, row)

    monkeypatch.setattr(Manifest, "add", interrupted)
    assert run_batch(photos, tmp_path / "out", *QUICK) == 130
    assert capsys.readouterr().out.endswith(
        "2 images were saved; run the same command again to resume\n"
    )
    assert len(manifest(tmp_path / "out")) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk with room for two dreams."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("no disk can be made here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_what_was_finished_is_found_again(
    tmp_path: Path, small_disk: Path, capsys: Printed
) -> None:
    photos = make_photos(tmp_path / "in", 9)
    assert run_batch(photos, small_disk, *QUICK) == 2
    printed = capsys.readouterr()
    assert printed.err.endswith("No space left on device\n") and printed.err.count("\n") == 1
    rows = manifest(small_disk)
    assert 0 < len(rows) < 9
    assert {each.name for each in small_disk.iterdir()} - {"manifest.jsonl"} >= {
        row["output"] for row in rows
    }
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    assert run_batch(photos, small_disk, *QUICK) == 0
    assert len(manifest(small_disk)) == 9
    assert f"{len(rows)} exist already; {9 - len(rows)} to do" in capsys.readouterr().out


def test_shards_part_the_work_and_share_a_folder(photos: Path, tmp_path: Path) -> None:
    all_tasks = make_tasks(
        [f"/{place}.png" for place in range(50)], [RECIPE, RECIPE.with_changes(seed=1)], "cpu"
    )
    parts = [select_shard(all_tasks, f"{place}/4") for place in range(1, 5)]
    assert sorted(map(hash, chain(*parts))) == sorted(map(hash, all_tasks))
    assert min(map(len, parts)) > 10
    for shard in ("1/2", "2/2"):
        assert run_batch(photos, tmp_path / "out", *QUICK, "--shard", shard) == 0
    assert len(manifest(tmp_path / "out", "manifest-*of2.jsonl")) == 3


def test_a_picture_has_its_share_and_its_name_whatever_is_put_beside_it(
    photos: Path, tmp_path: Path, capsys: Printed
) -> None:
    out, files = tmp_path / "out", [f"/in/{place}.png" for place in range(20)]
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
    assert run_batch(photos, out, *QUICK) == 0
    before = {each.name for each in out.glob("*.png")}
    to_pil_image(load_image(photos / "photo00.png")).save(photos / "photo00.jpg")
    for there in (3, 4):
        assert run_batch(photos, out, *QUICK) == 0
        assert f"{there} exist already; " in capsys.readouterr().out
    (new,) = {each.name for each in out.glob("*.png")} - before
    assert new.startswith("dream-photo00.jpg-") and len(manifest(out)) == 4


def test_a_list_and_the_frames_of_a_video_go_through_the_same_door(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = f"{photos / 'photo00.png'}\n\n{photos / 'photo02.png'}\n"
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + listed.encode()))
    )
    assert run_batch("-", tmp_path / "out", *QUICK) == 0
    made = [Path(row["input"]).name for row in manifest(tmp_path / "out")]
    assert sorted(made) == ["photo00.png", "photo02.png"]
    clip = write_video(tmp_path / "clip.mp4", pan(4), Fraction(12))
    assert run_batch(clip, tmp_path / "frames", *QUICK) == 0
    made = sorted(each.name for each in (tmp_path / "frames").glob("dream-*.png"))
    assert [name[:17] for name in made] == [f"dream-clip+00000{place}" for place in range(1, 5)]


def test_a_closed_stdin_is_needed_for_a_list_alone(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run_batch("-", tmp_path / "out", *QUICK) == 2
    said = "python -m dream: the list is read from stdin, which is closed; give a folder for IN\n"
    assert capsys.readouterr().err == said
    assert run_batch(photos, tmp_path / "out", *QUICK) == 0


def test_the_frames_of_a_video_are_as_large_as_the_largest_dream_of_them(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", pan(2, (96, 128)), Fraction(12))
    out = tmp_path / "out"
    for side in ("48", "96"):
        assert run_batch(clip, out, *QUICK[:4], "--max-side", side) == 0
    assert run_batch(clip, out, *QUICK, "--sweep", "max_side=64,128") == 0
    recipe = ["--octaves", "1", "--iterations", "2", "--max-side", "48", "--seed", "1"]
    assert run_batch(clip, out, *recipe, "--sweep", "max_side=48,80") == 0
    rows = manifest(out)
    assert len(rows) == 2 * 6
    for row in rows:
        with Image.open(out / row["output"]) as picture:
            assert picture.width == row["recipe"]["max_side"]
    # Missing frames are written again.
    (gone,) = out.glob("frames-clip-*-128x96/clip-000001.png")
    before = gone.read_bytes()
    gone.unlink()
    assert run_batch(clip, out, *QUICK[:4], "--max-side", "128") == 0
    assert gone.read_bytes() == before


def test_a_batch_of_which_every_photo_fails_has_failed(tmp_path: Path, capsys: Printed) -> None:
    photos, out = tmp_path / "in", tmp_path / "out"
    add_unreadable_photos(make_photos(photos, 1))
    (photos / "photo00.png").unlink()
    for _ in range(2):
        assert run_batch(photos, out, *QUICK) == 2
        said = "python -m dream: no image could be dreamed; the manifest has the errors\n"
        assert capsys.readouterr().err.endswith(said)
    make_photos(tmp_path / "good", 1)
    (tmp_path / "good" / "photo00.png").rename(photos / "photo00.png")
    for _ in range(2):
        assert run_batch(photos, out, *QUICK) == 0


def test_photos_of_one_name_are_all_dreamed_and_have_a_sheet_each(
    tmp_path: Path, capsys: Printed
) -> None:
    photos, out = tmp_path / "in", tmp_path / "in" / "out"
    photos.mkdir()
    for name in ("100APPLE", "101APPLE"):
        make_photos(photos / name, 1)
    photo = load_image(photos / "100APPLE" / "photo00.png")
    to_pil_image(photo).save(photos / "100APPLE" / "photo00.jpg")
    (photos / "100APPLE" / "more.heic").touch()
    (photos / "101APPLE" / "back").symlink_to(photos)
    given = [photos, out, *QUICK, "--sweep", "seed=1,2", "--sheet"]
    assert run_batch(*given) == 2
    assert "there is no image in" in capsys.readouterr().err
    for _ in range(2):  # OUT lies within the input folder.
        assert run_batch(*given, "--recursive") == 0
        assert "\nskipped: 1 .heic (not supported)\n" in capsys.readouterr().out
    called = ["photo00.jpg", "100APPLE+photo00.png", "101APPLE+photo00.png"]
    rest = "octaves1-iterations2-max_side64.png"
    assert {row["output"] for row in manifest(out)} == {
        f"dream-{name}-inception4c-i5-seed{seed}-{rest}" for name in called for seed in (1, 2)
    }
    assert {each.name for each in out.glob("sheet-*")} == {f"sheet-{name}.png" for name in called}


def test_the_folder_of_a_picture_is_not_written_into_by_another_name(
    photos: Path, tmp_path: Path, capsys: Printed
) -> None:
    (tmp_path / "link").symlink_to(photos)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "photo.png").symlink_to(photos / "photo00.png")
    for source, out in ((photos, "link"), (tmp_path / "link", "in/."), (tmp_path / "links", "in")):
        assert run_batch(source, f"{tmp_path}/{out}", *QUICK) == 2
        assert "has the input images; give another folder" in capsys.readouterr().err


def test_pictures_are_never_among_their_dreams(tmp_path: Path, capsys: Printed) -> None:
    photos = tmp_path / "in"
    photos.mkdir()
    (photos / "101APPLE").mkdir()
    make_photos(photos / "100APPLE", 1)
    make_photos(photos / "101APPLE" / "old", 1)
    for out in (photos, photos / "100APPLE", photos / "101APPLE"):
        for _ in range(2):
            assert run_batch(photos, out, *QUICK, "--recursive") == 2
            said = f"{out} has the input images; give another folder for OUT\n"
            assert capsys.readouterr().err == f"python -m dream: {said}"
    assert not [*photos.rglob("dream-*"), *photos.rglob("*.jsonl")]


def test_a_folder_is_passed_over_only_if_it_is_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    make_photos(tmp_path / "in" / "here", 1)
    monkeypatch.chdir(tmp_path / "in" / "here")
    (found,), _ = list_images(str(tmp_path / "in"), recursive=True)
    assert found.endswith("photo00.png")


def test_several_devices_work_side_by_side(photos: Path, tmp_path: Path, engine: Engine) -> None:
    files = [str(each) for each in sorted(photos.glob("*.png"))]
    todo = make_tasks(files, [RECIPE, RECIPE.with_changes(seed=1)], "cpu")
    crew = LocalWorkers({}, ["cpu", "cpu"])
    rows = list(chain(*crew.run_batches(([each] for each in todo), str(tmp_path / "out"))))
    assert sorted(row.output for row in rows) == sorted(task.output for task in todo)
    for task in todo:
        *_, frame = engine.dream(load_image(task.input), task.recipe)
        with Image.open(tmp_path / "out" / task.output) as picture:
            assert picture.tobytes() == frame.picture().tobytes()
    bad = [todo[0], Task(files[0], "no/such/folder.png", todo[0].recipe)]
    with pytest.raises(DreamError, match="cannot be written"):
        list(crew.run_batches(([each] for each in bad), str(tmp_path / "out")))


def test_pictures_go_to_what_fsspec_reaches_by_a_url(photos: Path, capsys: Printed) -> None:
    out = "memory://bucket/dreams"
    assert run_batch(photos, out, *QUICK) == 0
    assert run_batch(photos, out, *QUICK) == 0
    assert "3 exist already; nothing left to do" in capsys.readouterr().out
    names = [each.rsplit("/", 1)[1] for each in fsspec.filesystem("memory").ls(out, detail=False)]
    assert len([name for name in names if name.endswith(".png")]) == 3
    with Image.open(io.BytesIO(Destination(out).read(min(names)))) as picture:
        assert DreamRecipe.from_json(picture.info["deepdream"]).octaves == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["{IN}", "{IN}"], "in has the input images; give another folder for OUT"),
        (["{EMPTY}", "{OUT}"], "there is no image in .*empty; give files that end in .bmp, "),
        (["nowhere", "{OUT}"], "there is no file or folder nowhere"),
        (["{IN}", "{OUT}", "--sweep", "layr=a"], "--sweep: there is no knob 'layr'; try layer"),
        (["{IN}", "{OUT}", "--sweep", "layer="], "--sweep layer= needs values, as layer=A,B"),
        (["{IN}", "{OUT}", "--sweep", "intensity=3,11"], "intensity must be a whole number from 1"),
        (["{IN}", "{OUT}", "--sweep", "keep_colours=maybe"], "keep_colours must be true or false"),
        (
            ["{IN}", "{OUT}", "--sweep", f"seed={','.join(map(str, range(3334)))}"],
            "this would make 10002 images, more than 10000; add --yes to allow it",
        ),
        (["{IN}", "{OUT}", "--shard", f"1/{'9' * 5000}"], "--shard must be from 1/N to N/N"),
        (
            ["{OTHER}", "{OUT}"],
            r"there is no image in .* \(but 1 .heic \(not supported\), 1 in subfolders",
        ),
        (
            ["{IN}", "{OUT}", "--shard", "3/2"],
            "--shard must be from 1/N to N/N, as 2/8, not '3/2'",
        ),
        (["{IN}", "{FILE}/x"], "x cannot be written: Not a directory"),
        (["{IN}", "nosuch://x"], "nosuch://x cannot be written: Protocol not known: nosuch"),
        (["{CLIP}", "memory://x"], "frames of a video are extracted to OUT"),
        (["{IN}", "{OUT}", "--layer", "foo"], "layer 'foo' is not in dreamlet"),
    ],
)
def test_bad_input_is_one_line(
    given: list[str], said: str, photos: Path, tmp_path: Path, capsys: Printed
) -> None:
    names = ("IN", "OUT", "EMPTY", "OTHER", "FILE")
    places = {name: tmp_path / name.lower() for name in names} | {"CLIP": tmp_path / "clip.mp4"}
    places["EMPTY"].mkdir()
    places["FILE"].write_text("a file")
    (places["OTHER"] / "folder").mkdir(parents=True)
    (places["OTHER"] / "photo.heic").touch()
    if "{CLIP}" in given:
        write_video(places["CLIP"], pan(2), Fraction(12))
    assert run_batch(*(word.format(**places) for word in given)) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and re.search(said, printed), printed
    assert not places["OUT"].exists()


@pytest.mark.parametrize(
    ("package", "said"),
    [
        ("ray", '--ray needs Ray: pip install "ray[data]"'),
        ("mlflow", "--mlflow needs MLflow: pip install mlflow-skinny"),
    ],
)
def test_a_package_that_is_not_there_is_one_line_that_says_how_to_get_it(
    package: str,
    said: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Printed,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run_batch(photos, tmp_path / "out", *QUICK, f"--{package}") == 2
    assert capsys.readouterr().err == f"python -m dream: {said}\n"
    assert not (tmp_path / "out").exists()


def test_a_bad_sweep_takes_no_video_apart(tmp_path: Path, capsys: Printed) -> None:
    clip = write_video(tmp_path / "clip.mp4", pan(2), Fraction(12))
    assert run_batch(clip, tmp_path / "out", "--sweep", "octaves=1,99") == 2
    assert "octaves must be" in capsys.readouterr().err and not (tmp_path / "out").exists()
