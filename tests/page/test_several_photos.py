"""Several photos, one after another: the handlers, without an app."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dream import DreamError, DreamRecipe, RecipeError
from dream.errors import PictureError, WeightsError
from dream.page.widgets import several_photos
from dream.page.widgets.components import Updates
from dream.page.widgets.several_photos import SeveralPhotos, check_photos
from dream.recipe.knob import knobs
from tests.support.page import build_tab


class Dreamer:
    """A section whose dreams are made at once, except of files named in `errors`."""

    def __init__(self) -> None:
        self.section = build_tab(lambda page: SeveralPhotos())
        self.section._dream = self.dream
        self.section._status = "status"  # type: ignore[assignment]
        self.recipes: list[DreamRecipe] = []
        self.errors: dict[str, DreamError] = {}

    def dream(self, photo: str, saved: Any, recipe: DreamRecipe) -> Iterator[Updates]:
        self.recipes.append(recipe)
        yield {"status": "<span>Octave 1.</span>"}
        if error := self.errors.get(Path(photo).name):
            raise error
        yield {"status": "<span>Dreamed.</span>", "view": photo}

    def start(self, photos: list[str], **changes: Any) -> list[Updates]:
        values = {name: knob.default for name, knob in knobs(DreamRecipe).items()}
        values |= {"guide": None, "channels": "", "objective": "", **changes}
        return list(self.section.start(photos, None, False, **values))

    def follow(self, updates: Updates) -> list[Updates]:
        return list(self.section.dream_next(updates[self.section._batch], None))


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{name}.jpg" for name in ("one", "two", "three")]
    for path in paths:
        path.write_bytes(b"photo")
    return [str(path) for path in paths]


@pytest.mark.filterwarnings("default")
def test_each_photo_is_a_run_of_its_own_by_the_recipe_of_the_first(photos: list[str]) -> None:
    dreamer = Dreamer()
    follow_up = dreamer.section._follow_up
    dreamer.errors["two.jpg"] = PictureError("this is too thin")
    first = dreamer.start(photos, intensity=7, mask="painted.png")
    assert [each.get("view") for each in first] == [None, photos[0], photos[0]]
    assert first[0]["status"] == "<span>Photo 1 of 3. Octave 1.</span>"
    assert "1 of 3 photos dreamed." in first[-1]["status"] and first[-1][follow_up]
    second = dreamer.follow(first[-1])
    said = "1 of 3 photos dreamed. Left out: two.jpg: this is too thin."
    assert said in second[-1]["status"]
    assert second[-1][follow_up] not in ("", first[-1][follow_up])
    third = dreamer.follow(second[-1])
    said = "2 of 3 photos dreamed. Left out: two.jpg: this is too thin."
    assert said in third[-1]["status"] and third[-1][follow_up] == ""
    assert len(dreamer.recipes) == 3 and len(set(dreamer.recipes)) == 1
    assert dreamer.recipes[0].intensity == 7 and dreamer.recipes[0].mask == ""


def test_what_no_photo_is_to_blame_for_ends_all(photos: list[str]) -> None:
    dreamer = Dreamer()
    dreamer.errors["one.jpg"] = WeightsError("vgg16 is damaged")
    with pytest.raises(WeightsError):
        dreamer.start(photos)
    with pytest.raises(DreamError, match='is lost; press "Dream all photos" again'):
        list(dreamer.section.dream_next(None, None))


def test_photos_are_limited_in_number_and_bytes(
    photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DreamError, match=r"Choose photos first\."):
        check_photos([])
    for check in (check_photos, Dreamer().start):
        with pytest.raises(DreamError, match="at most 10 photos and 50 MB at a time, not 12"):
            check(photos * 4)
    with pytest.raises(RecipeError, match="intensity"):
        check_photos(photos, intensity=99)
    monkeypatch.setattr(several_photos, "MAX_UPLOAD_BYTES", 14)
    with pytest.raises(DreamError, match="too large; choose at most 10 photos"):
        Dreamer().start(photos)
