"""The ZIP of a visit's dreams."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import pytest
import torch

from dream import DreamRecipe, PictureError, read_recipe, save_image
from dream.files import zip_archive as packing
from dream.files.zip_archive import write_zip
from dream.page.image_stream import new_output_folder
from dream.page.widgets.visit import MAX_DREAMS, Visit, VisitEntry, VisitOutputs, zip_dreams

# Its updates are by name here, not by component.
OUTPUTS = VisitOutputs(*(field.name for field in fields(VisitOutputs)))
# Outside a page a toast becomes a warning.
warns_of_dreams = pytest.mark.filterwarnings("default:These dreams")


pytestmark = pytest.mark.usefixtures("uploads")


def write_dreams(*names: str) -> list[Path]:
    """Write a dream of each name, each with its own folder and recipe."""
    paths = []
    for seed, name in enumerate(names):
        paths.append(new_output_folder() / name)
        save_image(torch.rand(1, 3, 8, 8), paths[-1], DreamRecipe(seed=seed))
    return paths


def browser_visit(paths: list[Path]) -> dict[str, Any]:
    """Return a visit with those dreams, as a browser stores it."""
    return Visit(dreams=tuple(VisitEntry(*[str(path)] * 3) for path in paths)).to_browser()


def test_a_zip_holds_dreams_as_they_are_by_names_of_their_own_and_their_recipes(
    tmp_path: Path,
) -> None:
    paths = write_dreams("dream-cat.png", "dream-é.png", "dream-cat.png", "Dream-cat.png")
    names = ["dream-cat.png", "dream-é.png", "dream-cat (2).png", "Dream-cat (3).png"]
    write_zip(paths, tmp_path / "dreams.zip")
    with ZipFile(tmp_path / "dreams.zip") as archive:
        assert archive.namelist() == [*names, "recipes.jsonl"]
        assert {each.compress_type for each in archive.infolist()} == {ZIP_STORED}
        for name, path in zip(names, paths, strict=True):
            assert archive.read(name) == path.read_bytes()
        lines = [json.loads(line) for line in archive.read("recipes.jsonl").splitlines()]
    assert [line["file"] for line in lines] == names
    for line, path in zip(lines, paths, strict=True):
        assert DreamRecipe.from_json(json.dumps(line["recipe"])) == read_recipe(path)


@warns_of_dreams
def test_dreams_that_are_gone_are_passed_over_in_words(tmp_path: Path) -> None:
    paths = write_dreams("dream-1.png", "dream-2.png", "dream-3.png")
    paths[0].unlink()
    path, said = zip_dreams(browser_visit(paths))
    assert path and "2 dreams" in said and "1 more are no longer on the server" in said
    with ZipFile(path) as archive:
        assert archive.namelist() == ["dream-2.png", "dream-3.png", "recipes.jsonl"]
    for each in paths[1:]:
        each.unlink()
    path, said = zip_dreams(browser_visit(paths))
    assert path is None and "no longer on the server" in said


@warns_of_dreams
def test_what_is_too_large_to_pack_is_said_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_dreams("dream-1.png", "dream-2.png")
    monkeypatch.setattr(packing, "MAX_ZIP_BYTES", 100.0)
    with pytest.raises(PictureError, match=r"a ZIP here is 0 MB. Download them one"):
        write_zip(paths, tmp_path / "dreams.zip")
    assert not (tmp_path / "dreams.zip").exists()
    assert zip_dreams(browser_visit(paths))[0] is None


def test_a_visit_keeps_its_latest_dreams_and_offers_all_of_several() -> None:
    paths = [str(path) for path in write_dreams(*(f"{each}.png" for each in range(MAX_DREAMS + 2)))]
    visit = Visit()
    for count, path in enumerate(paths, 1):
        changes = OUTPUTS.added_dream(replace(visit, shown=VisitEntry(path, path, path)))
        visit = Visit.read(changes["visit"])
        assert changes["download_all"]["visible"] == (count > 1)
    assert [each.file for each in visit.dreams] == paths[2:]
    assert [file for file, _ in changes["strip"]["value"]] == paths[2:]
    Path(paths[5]).unlink()
    changes = OUTPUTS.added_dream(replace(visit, shown=visit.dreams[0]))
    assert paths[5] not in [each.file for each in Visit.read(changes["visit"]).dreams]
