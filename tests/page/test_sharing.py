"""Recipes are shared as links and text, and never name a file of the server."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gradio.components.image_editor import AcceptBlobs
from PIL import Image

from dream import (
    DreamError,
    DreamRecipe,
    Engine,
    RecipeError,
    load_image,
    read_recipe,
    save_image,
)
from dream.files.embedded_images import decode_mask, embed_guide, embed_mask
from dream.page.widgets import mask_editor as painter
from dream.page.widgets.layer_picker import EMPTY_ROW, OCTAVE_GROUPS, ROW_COUNT, parse_rows
from dream.page.widgets.recipe_controls import check_embedded_images, recipe_in_photo
from dream.page.widgets.recipe_sharing import (
    MAX_LINK_IMAGE_LENGTH,
    linkable_json,
    preset_image,
)
from dream.recipe.presets import presets
from dream.tensors import to_pil_image
from tests.conftest import CAN_REMAKE, EXAMPLES, ROOT
from tests.support.api import data_uri
from tests.support.corpus import png_header, png_with_recipe

CAT = str(EXAMPLES / "cat.jpg")


def test_each_preset_has_its_picture_with_its_recipe_which_makes_it_again(engine: Engine) -> None:
    folder = EXAMPLES / "presets"
    assert {preset_image(name) for name in presets()} == set(folder.iterdir())
    for name, recipe in presets().items():
        assert read_recipe(preset_image(name)) == recipe.with_changes(max_side=384)
    photo = load_image(EXAMPLES / "coffee.jpg")
    *_, frame = engine.dream(photo, read_recipe(preset_image("Creatures"), DreamRecipe))
    shown = Image.open(preset_image("Creatures"))

    def difference(image: torch.Tensor) -> float:
        small = to_pil_image(image).resize(shown.size, Image.Resampling.BICUBIC)
        return float(np.abs(np.asarray(small, float) - np.asarray(shown, float)).mean())

    assert difference(frame.tensor) < (0.5 if CAN_REMAKE else 0.8) * difference(photo)


def test_a_link_carries_the_recipe_and_only_small_pictures(engine: Engine, tmp_path: Path) -> None:
    recipe = engine.settle(DreamRecipe(intensity=7, layer="inception5a>inception3b:0.5"))
    assert DreamRecipe.from_json(linkable_json(recipe)) == recipe
    Image.new("1", (64, 64), 1).save(tmp_path / "mask.png")
    masked = engine.settle(recipe.with_changes(mask=embed_mask(tmp_path / "mask.png")))
    assert 0 < len(masked.mask) < MAX_LINK_IMAGE_LENGTH
    assert DreamRecipe.from_json(linkable_json(masked)) == masked
    guided = engine.settle(DreamRecipe(guide=embed_guide(CAT), intensity=7))
    assert len(guided.guide) > MAX_LINK_IMAGE_LENGTH
    assert DreamRecipe.from_json(linkable_json(guided)) == engine.settle(DreamRecipe(intensity=7))


@pytest.mark.parametrize("name", ["guide", "mask"])
def test_a_visitors_recipe_names_no_file_of_the_server(name: str, tmp_path: Path) -> None:
    (tmp_path / "crafted.png").write_bytes(png_with_recipe(json.dumps({name: CAT})))
    assert recipe_in_photo(str(tmp_path / "crafted.png")) is None


def test_a_dropped_picture_brings_its_recipe_if_it_has_one(engine: Engine, tmp_path: Path) -> None:
    recipe = engine.settle(DreamRecipe(guide=embed_guide(CAT)))
    save_image(torch.rand(1, 3, 32, 32), tmp_path / "dream.png", recipe)
    assert recipe_in_photo(str(tmp_path / "dream.png")) == recipe
    of_another_kind = str(EXAMPLES / "class-goldfish-seed0.png")
    for other in (CAT, str(tmp_path / "nothing.png"), None, of_another_kind):
        assert recipe_in_photo(other) is None


def write_strokes(path: Path, size: tuple[int, int] = (451, 300)) -> str:
    """Write a painted layer: one half-transparent box."""
    layer = Image.new("RGBA", size, (255, 255, 255, 0))
    layer.paste((255, 255, 255, 153), (100, 50, 180, 90))
    layer.save(path)
    return str(path)


@pytest.mark.parametrize("name", ["guide", "mask"])
@pytest.mark.parametrize("content", [b"", png_header(9000, 9000), png_header(40, 40)])
def test_a_recipe_whose_picture_is_none_is_refused(
    name: str, content: bytes, tmp_path: Path
) -> None:
    recipe = DreamRecipe(**{name: data_uri(content)})  # type: ignore[arg-type]
    with pytest.raises(DreamError):
        check_embedded_images(recipe)
    save_image(torch.rand(1, 3, 32, 32), tmp_path / "crafted.png", recipe)
    assert recipe_in_photo(str(tmp_path / "crafted.png")) is None


def test_what_was_painted_comes_back_as_it_was(tmp_path: Path) -> None:
    layer = write_strokes(tmp_path / "layer.png")
    uri = painter.encode_painted_mask(layer)
    assert (decode_mask(uri, (300, 451)) > 0).sum() == 80 * 40
    shown = painter.editor_update(CAT, uri)["value"]
    assert shown["background"].size == (451, 300)
    with Image.open(layer) as first:
        assert shown["layers"][0].getchannel("A").tobytes() == first.getchannel("A").tobytes()
    shown["layers"][0].save(tmp_path / "again.png")
    again = str(tmp_path / "again.png")
    assert painter.encode_painted_mask(again) == uri


def test_nothing_painted_is_no_mask(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 30), (255, 255, 255, 0)).save(tmp_path / "erased.png")
    for layer in (None, "", str(tmp_path / "erased.png")):
        assert painter.encode_painted_mask(layer) == ""
    assert painter.editor_update(CAT, "")["value"]["layers"] == []
    assert painter.editor_update(str(tmp_path / "nothing.jpg"))["value"] is None
    Image.new("RGB", (2000, 1000)).save(tmp_path / "large.png")
    shown = painter.editor_update(str(tmp_path / "large.png"))["value"]
    assert shown["background"].size == (512, 256)


def test_a_layer_that_no_painter_made_is_refused_unopened(tmp_path: Path) -> None:
    for side in (513, 9000, 100_000):
        (tmp_path / "huge.png").write_bytes(png_header(side, side))
        with pytest.raises(RecipeError, match="is not an image of at most 512 pixels per side"):
            painter.encode_painted_mask(str(tmp_path / "huge.png"))
    with pytest.raises(RecipeError, match="the mask is not an image of at most 512 pixels"):
        painter.encode_painted_mask(__file__)


def test_strokes_that_are_sent_and_never_dreamed_are_not_kept() -> None:
    editor = painter.build_mask_editor(CAT)
    about: Any = {"type": "composite", "index": None, "file": b"", "id": "1"}
    editor.accept_blobs(AcceptBlobs(data=about, files=[("composite.png", b"strokes")]))
    assert not editor.blob_storage


def test_the_rows_of_a_mix_say_what_the_text_says() -> None:
    for layer in (
        *("inception4c", "inception3b:0.5,inception4c", "inception5a>inception3b"),
        *("inception5a,conv3:-0.5>conv3:-0.5", "conv3>conv3:2"),
    ):
        rows = parse_rows("dreamlet", layer)
        assert len(rows) == ROW_COUNT and rows_to_text(rows) == layer


def rows_to_text(rows: list[tuple[str, float, str]]) -> str:
    """Convert rows to text by the page's script."""
    if not shutil.which("node"):
        pytest.skip("no node here")
    script = (ROOT / "dream" / "page" / "page.js").read_text(encoding="utf-8")
    (function,) = re.findall(r"^function mixText.*?^}", script, re.DOTALL | re.MULTILINE)
    values = f"{json.dumps(OCTAVE_GROUPS)}, {json.dumps(sum(rows, ()))}"
    script = f"{function}; process.stdout.write(mixText({values}))"
    return subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout


def test_a_text_that_says_more_than_the_rows_is_left_alone() -> None:
    four_layers = "conv3,inception3a,inception3b,inception4c"
    for layer in ("conv3>inception3b>inception4c", four_layers, "x"):
        assert parse_rows("dreamlet", layer) == [EMPTY_ROW] * ROW_COUNT
    assert rows_to_text([EMPTY_ROW] * ROW_COUNT) == ""
