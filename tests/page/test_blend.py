"""The dream over its photo: the file and its metadata."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dream import DreamRecipe, RecipeError, load_image, read_recipe, save_image
from dream.files.embedded_text import BLEND_KEY
from dream.page.image_stream import new_output_folder, photo_stem
from dream.page.widgets.blend import blend_file, blend_shown
from dream.page.widgets.visit import Visit, VisitEntry


def write_visit(recipe: DreamRecipe | None, size: tuple[int, int] = (60, 41)) -> Visit:
    """Write a photo of twice the size of its dream, and the dream; return the visit."""
    folder = new_output_folder()
    photo, dream = folder / "cat.png", folder / "dream-cat-inception4c-i5-seed0.png"
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (82, 120, 3), np.uint8))
    image.save(photo)
    save_image(torch.rand(1, 3, *size[::-1]), dream, recipe, photo=True)
    return Visit(VisitEntry(str(dream), str(photo), str(photo)))


@pytest.mark.usefixtures("uploads")
@pytest.mark.parametrize("recipe", [DreamRecipe(seed=3), None])
def test_a_blend_is_both_images_by_their_shares_and_says_so(recipe: DreamRecipe | None) -> None:
    visit = write_visit(recipe)
    assert blend_file(visit, 100) == visit.shown.file  # Bit for bit.
    dream = load_image(visit.shown.file)
    photo = torch.nn.functional.interpolate(
        load_image(visit.shown.before), dream.shape[2:], mode="bicubic", antialias=True
    )
    for share in (0, 25, 60):
        path = Path(blend_file(visit, share))
        assert path.name == f"dream-cat-inception4c-i5-seed0-blend{share}.png"
        expected = photo.clamp(0, 1).lerp(dream, share / 100)
        assert (load_image(path) - expected).abs().max() < 2 / 255
        with Image.open(path) as image:
            assert image.info[BLEND_KEY] == str(share)
        if recipe:
            assert read_recipe(path) == recipe
        else:
            with pytest.raises(RecipeError, match="has no recipe"):
                read_recipe(path)
        assert photo_stem(str(path)) == "cat"


@pytest.mark.usefixtures("uploads")
@pytest.mark.filterwarnings("default")
def test_what_cannot_be_blended_is_said_in_one_line() -> None:
    visit = write_visit(None)
    path, status = asyncio.run(blend_shown(visit.to_browser(), 40))
    assert path and "The image is 40 % dream, 60 % photo." in status
    photo_alone = replace(visit, shown=VisitEntry(*[visit.shown.photo] * 3))
    for saved, share, words in (
        (photo_alone.to_browser(), 40, "Dream this photo first."),
        (visit.to_browser(), 140, "The blend must be a whole number from 0 to 100, not 140."),
        (visit.to_browser(), None, "The blend must be a whole number"),
    ):
        path, status = asyncio.run(blend_shown(saved, share))
        assert path is None and words in status
    Path(visit.shown.photo).unlink()
    path, status = asyncio.run(blend_shown(visit.to_browser(), 40))
    assert path is None and "no longer on the server" in status
