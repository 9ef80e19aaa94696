"""JPEG, WebP and AVIF carry a dream's recipe as PNG does; hostile metadata costs one line."""

import os
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from dream import (
    ChannelRecipe,
    DreamRecipe,
    PictureError,
    RecipeError,
    embed_guide,
    read_recipe,
    save_image,
)
from dream.files import image_formats
from dream.files.embedded_text import FROM_PHOTO, build_xmp, recipe_in_xmp
from dream.files.image_formats import check_image_options, check_output_path
from dream.page.widgets.recipe_controls import recipe_in_photo
from tests.support.corpus import HOSTILE_XMP, encode, quarters

LOSSY = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".AVIF": "AVIF"}
# XML marks text with these characters.
MIX = DreamRecipe(layer="inception5a > inception3b:0.5, conv3", seed=7)


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> DreamRecipe:
    """Return a recipe with the guide that takes the most bytes."""
    path = tmp_path_factory.mktemp("guide") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return DreamRecipe(guide=embed_guide(path))


@pytest.mark.parametrize("ending", LOSSY)
def test_the_ending_selects_the_format_and_the_recipe_is_read_again(
    ending: str, tmp_path: Path
) -> None:
    path, photo = tmp_path / f"dream{ending}", quarters()
    scheduler = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None
    for recipe in (MIX, ChannelRecipe(channel=80)):
        save_image(photo, path, recipe)
        assert read_recipe(path) == recipe
    save_image(photo, path, MIX)
    first = path.read_bytes()
    save_image(photo, path, MIX)
    assert path.read_bytes() == first and recipe_in_photo(str(path)) == MIX
    with Image.open(path) as image:
        assert (image.format, image.mode) == (LOSSY[ending], "RGB")
        assert not image.getexif() and not set(image.info) & {"icc_profile", "comment"}
        assert FROM_PHOTO.encode() in image.info["xmp"]
        assert np.abs(np.asarray(image, float) - np.asarray(photo)).mean() < 4
    save_image(photo, path, MIX, quality=10)
    assert len(path.read_bytes()) < len(first) and read_recipe(path) == MIX
    if scheduler is not None:
        assert os.sched_getscheduler(0) == scheduler


def test_a_decoder_process_reads_the_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_DECODER", "process")
    for ending in LOSSY:
        save_image(quarters(), tmp_path / f"dream{ending}", MIX)
        assert read_recipe(tmp_path / f"dream{ending}") == MIX


def test_a_long_recipe_is_kept_or_refused_before_and_at_writing(
    tmp_path: Path, guided: DreamRecipe
) -> None:
    assert len(guided.guide) > 200_000
    for ending in (".png", ".webp", ".avif"):
        check_image_options(tmp_path / f"dream{ending}", [guided])
        save_image(quarters(), tmp_path / f"dream{ending}", guided)
        assert read_recipe(tmp_path / f"dream{ending}") == guided
    said = "is too long for dream.jpg; use PNG, WebP or AVIF instead of JPEG"
    with pytest.raises(PictureError, match=said):
        check_image_options(tmp_path / "dream.jpg", [guided])
    with pytest.raises(PictureError, match=said):
        save_image(quarters(), tmp_path / "dream.jpg", guided)
    assert not (tmp_path / "dream.jpg").exists()


def test_a_blend_that_no_format_but_png_notes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"^a blend is saved as PNG: name it dream\.png$"):
        save_image(quarters(), tmp_path / "dream.webp", MIX, blend=40)
    assert not [*tmp_path.iterdir()]


def test_what_passes_before_the_dream_fits_with_all_defaults(
    tmp_path: Path, guided: DreamRecipe
) -> None:
    def fits(length: int) -> bool:
        try:
            check_image_options("x.jpg", [DreamRecipe(guide=guided.guide[:length])])
        except PictureError:
            return False
        return True

    length = max(filter(fits, range(60_000, 66_000, 100)))
    assert 63_000 < length < 65_000
    complete = DreamRecipe(guide=guided.guide[:length]).with_defaults("cpu", True)
    save_image(quarters(), tmp_path / "x.jpg", complete)
    assert read_recipe(tmp_path / "x.jpg") == complete


def test_xmp_is_well_formed_for_any_text_and_read_as_other_programs_write_it() -> None:
    text = """{"a": "<b> & 'c' \\u00e9 ]]> &amp; &#60;"}"""
    packet = build_xmp(True, text)
    names = {"d": "urn:deepdream:"}
    assert ElementTree.fromstring(packet).findtext(".//d:recipe", None, names) == text
    assert recipe_in_xmp(packet.encode()) == text
    for quote in "\"'":
        value = text.replace("&", "&amp;").replace("<", "&lt;").replace(quote, f"&#{ord(quote)};")
        rewritten = f"<rdf:Description\n deepdream:recipe={quote}{value}{quote}/>"
        assert recipe_in_xmp(rewritten.encode()) == text
    assert recipe_in_xmp(build_xmp(False).encode()) == ""


@pytest.mark.parametrize("name", HOSTILE_XMP)
def test_hostile_xmp_is_no_recipe_in_one_line(name: str, tmp_path: Path) -> None:
    for kind in ("JPEG", "WEBP", "AVIF"):
        path = tmp_path / f"photo.{kind.lower()}"
        path.write_bytes(encode(quarters(), kind, xmp=HOSTILE_XMP[name].encode()))
        start = time.thread_time()
        with pytest.raises(RecipeError) as caught:
            read_recipe(path)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 300
        assert "root:" not in str(caught.value) and time.thread_time() - start < 1
        assert recipe_in_photo(str(path)) is None


@pytest.mark.parametrize("part", ["<deepdream:recipe>", " deepdream:recipe='", "<" * 18])
def test_xmp_of_megabytes_is_searched_in_time_or_not_at_all(part: str, tmp_path: Path) -> None:
    for megabytes in (3, 9):
        content = encode(quarters(), "WEBP", xmp=part.encode() * (megabytes * 10**6 // len(part)))
        (tmp_path / "photo.webp").write_bytes(content)
        start = time.thread_time()
        with pytest.raises(RecipeError, match=r"photo.webp has no recipe"):
            read_recipe(tmp_path / "photo.webp")
        assert time.thread_time() - start < 2


def test_a_damaged_file_with_a_recipe_is_refused_in_one_line(tmp_path: Path) -> None:
    for kind in ("JPEG", "WEBP", "AVIF"):
        content = encode(quarters(), kind, xmp=build_xmp(True, MIX.to_json()).encode())
        for length in (12, 40, 90):
            (tmp_path / "cut").write_bytes(content[:length])
            with pytest.raises(RecipeError, match=r"^cut (cannot be read|has no recipe)"):
                read_recipe(tmp_path / "cut")
    # Its recipe is at its end.
    (tmp_path / "cut").write_bytes(encode(quarters(), "WEBP", xmp=build_xmp(True).encode())[:-90])
    with pytest.raises(RecipeError, match=r"^cut cannot be read: it is cut off$"):
        read_recipe(tmp_path / "cut")


def test_an_image_that_a_format_cannot_hold_leaves_no_file(tmp_path: Path) -> None:
    for name, width in (("a.webp", 16_384), ("a.jpg", 65_536)):
        with pytest.raises(PictureError, match=f"^{name} cannot be written: ") as caught:
            save_image(Image.new("RGB", (width, 2)), tmp_path / name)
        assert str(caught.value).isprintable()
    with pytest.raises(PictureError, match=r"a.avif cannot be written: .*none is not a"):
        save_image(torch.zeros(1, 3, 8, 8), tmp_path / "none" / "a.avif")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("quality", [0, 101, 50.5, "high", True])
def test_a_quality_is_a_whole_number_from_1_to_100(quality: int, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="quality must be a whole number from 1 to 100, not"):
        save_image(quarters(), tmp_path / "a.jpg", quality=quality)
    with pytest.raises(PictureError, match=r"a.png is a PNG, which is lossless and has no quality"):
        save_image(quarters(), tmp_path / "a.png", quality=50)


def test_names_that_windows_keeps_for_itself_are_refused_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("CON.png", "con.jpg", "com1.png", "aux.backup.webp", "cat:dream.png")
    for name in (*names, "console.png"):
        assert check_output_path(tmp_path / name) == tmp_path / name
    monkeypatch.setattr(image_formats, "IS_WINDOWS", True)
    for name in names:
        with pytest.raises(PictureError, match=f"Windows keeps names such as {name} for itself"):
            check_output_path(tmp_path / name)
    assert check_output_path(tmp_path / "console.png")


def test_an_older_pillow_without_an_encoder_is_one_line_before_the_dream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(image_formats.ENCODER_OPTIONS, "AVIF", {"codec": "none"})
    with pytest.raises(PictureError, match=r"x.avif cannot be written: Invalid saving codec"):
        check_image_options("x.avif")
