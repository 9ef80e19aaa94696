"""Nothing changes where a mask is black; a recipe carries its mask."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream import DreamRecipe, Engine, PictureError, RecipeError, read_recipe, save_image
from dream.files.embedded_images import decode_mask, embed_mask, feather_mask
from dream.tensors import size_of
from tests.conftest import dream_tensor
from tests.support.api import data_uri
from tests.support.corpus import png_header

SIZE = (300, 451)


def disc(path: Path, size: tuple[int, int] = SIZE, value: int = 255) -> str:
    """Write a white disc left of the centre on black; return its path."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    inside = (rows / height - 0.5) ** 2 + (columns / width - 0.4) ** 2 < 0.04
    Image.fromarray((inside * value).astype(np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"feather": 0, "rule": "adam"},
        {"pull": 0.1, "total_variation": 0.5, "laplacian": 4, "smoothing": 4.0},
        {"keep_colours": True, "tile": 128},
        {"octaves": 1, "jitter": 128},
    ],
)
def test_mask_leaves_outside_untouched(
    knobs: dict[str, Any], engine: Engine, cat: Tensor, tmp_path: Path
) -> None:
    cat = cat[:, :, ::2, ::2]
    path = disc(tmp_path / "mask.png", size_of(cat))
    recipe = DreamRecipe(mask=embed_mask(path), iterations=3).with_changes(**knobs)
    frames = list(engine.dream(cat, recipe))
    white = torch.from_numpy(np.array(Image.open(path))) > 0
    for frame in frames:  # Also in every preview.
        assert torch.equal(frame.tensor[0][:, ~white], cat[0][:, ~white])
    change = (frames[-1].tensor - cat)[0][:, white].abs().mean().item() * 255
    assert change > 2


def test_inside_a_mask_a_dream_is_as_strong_as_without(
    engine: Engine, cat: Tensor, tmp_path: Path
) -> None:
    cat = cat[:, :, ::2, ::2]
    path = disc(tmp_path / "mask.png", size_of(cat))
    white = decode_mask(embed_mask(path), size_of(cat))[0, 0] > 0
    masked, free = (
        (dream_tensor(engine, cat, DreamRecipe(octaves=2, mask=each, feather=0)) - cat)[0][:, white]
        .abs()
        .mean()
        for each in (embed_mask(path), "")
    )
    assert 0.6 < masked / free < 1.7


@pytest.mark.parametrize("size", [(75, 113), (31, 17), (601, 900), (2000, 1501), (300, 451)])
def test_a_mask_of_any_size_covers_no_more_than_it_says(
    size: tuple[int, int], tmp_path: Path
) -> None:
    path = disc(tmp_path / "mask.png", size)
    covered = decode_mask(embed_mask(path), SIZE)[0, 0] > 0
    white = np.array(Image.open(path)) > 0
    assert 0.02 < covered.float().mean() < 0.16
    for row, column in covered.nonzero()[:: 97 if size != SIZE else 1].tolist():
        # The mask is white all over this pixel.
        top, left = row * size[0] // SIZE[0], column * size[1] // SIZE[1]
        bottom, right = -(-(row + 1) * size[0] // SIZE[0]), -(-(column + 1) * size[1] // SIZE[1])
        assert white[top : max(bottom, top + 1), left : max(right, left + 1)].any()
    if size == SIZE:
        assert torch.equal(covered, torch.from_numpy(white))


def test_the_edge_of_a_mask_rises_inwards() -> None:
    given = torch.zeros(1, 1, 40, 40)
    given[..., 10:30, 5:40] = 0.8
    soft = feather_mask(given, 4)[0, 0].numpy()
    expected = np.zeros((40, 40))
    for row in range(10, 30):
        for column in range(5, 40):  # The border of the image is no edge of the mask.
            depth = min(row - 9, 30 - row, column - 4)
            expected[row, column] = 0.8 * min(depth, 4) / 4
    assert np.allclose(soft, expected)
    assert torch.equal(feather_mask(given, 0), given)


@pytest.mark.parametrize("feather", [1, 2, 3, 8, 13, 64])
@pytest.mark.parametrize("size", [(1, 1), (7, 250), (131, 97), (64, 1)])
def test_a_feather_is_the_mean_of_ever_smaller_masks(size: tuple[int, int], feather: int) -> None:
    generator = torch.Generator().manual_seed(feather)
    for share in (0.0, 0.0005, 0.02, 0.5, 1.0):
        given = torch.rand(1, 1, *size, generator=generator)
        given[torch.rand(1, 1, *size, generator=generator) < share] = 0
        inside = (given > 0).float()
        rising = inside.clone()
        for _ in range(feather - 1):
            inside = -F.max_pool2d(-inside, 3, stride=1, padding=1)
            rising += inside
        assert torch.equal(feather_mask(given, feather), given * rising / feather)


def test_a_wide_feather_of_a_large_mask_takes_little_time() -> None:
    given = torch.zeros(1, 1, 2000, 3000)
    given[..., 100:1900, 100:2900] = 1
    start = time.thread_time()
    feather_mask(given, 64)
    assert time.thread_time() - start < 1.5  # It was 9 seconds; it is 0.2.


def test_what_is_painted_on_nothing_is_where_to_dream(tmp_path: Path) -> None:
    strokes = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    strokes.paste((255, 255, 255, 255), (10, 12, 30, 40))
    strokes.save(tmp_path / "strokes.png")
    covered = decode_mask(embed_mask(str(tmp_path / "strokes.png")), (48, 64))[0, 0] > 0
    assert covered.sum() == 20 * 28 and covered[12:40, 10:30].all()


def test_a_mask_may_be_a_thin_line(tmp_path: Path) -> None:
    Image.new("L", (20_000, 5), 255).save(tmp_path / "line.png")
    assert decode_mask(embed_mask(str(tmp_path / "line.png")), (48, 64)).min() == 1


def test_the_noise_of_a_jpeg_is_black(tmp_path: Path) -> None:
    Image.open(disc(tmp_path / "mask.png")).save(tmp_path / "mask.jpg", quality=60)
    covered = decode_mask(embed_mask(str(tmp_path / "mask.jpg")), SIZE)[0, 0] > 0
    assert not covered[:20].any() and not covered[:, -100:].any()


def test_a_mask_that_is_black_is_refused_before_the_first_frame(
    engine: Engine, cat: Tensor, tmp_path: Path
) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "black.png")
    black = DreamRecipe(mask=data_uri((tmp_path / "black.png").read_bytes()))
    for refused in (lambda: embed_mask(tmp_path / "black.png"), lambda: engine.dream(cat, black)):
        with pytest.raises(RecipeError, match="mask is completely black; paint white the area"):
            refused()
    with pytest.raises(PictureError, match=r"there is no file nope.png"):
        embed_mask("nope.png")


@pytest.mark.parametrize(("name", "side"), [("mask", 1024), ("guide", 256)])
def test_a_picture_in_a_recipe_that_is_none_or_too_large_is_refused(
    name: str, side: int, engine: Engine, cat: Tensor
) -> None:
    large = [png_header(side + beyond, side + beyond) for beyond in (1, 100_000)]
    texts = [f"data:image/png;base64,{content}" for content in ("", "AAAA", "not base 64!")]
    texts += [*map(data_uri, large), "data:image/svg+xml;base64,PHN2Zy8+", "data:image/png"]
    said = f"the {name} in the recipe is not an image of at most {side} pixels a side"
    for text in texts:
        with pytest.raises(RecipeError, match=f"^{said}$"):
            engine.dream(cat, DreamRecipe(**{name: text}))  # type: ignore[arg-type]


def test_a_mask_of_noise_stays_small_in_a_recipe(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(100, 256, (2000, 2000), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert len(embed_mask(str(tmp_path / "noise.png"))) < 200_000


def test_the_recipe_of_a_masked_dream_is_whole_by_itself(
    engine: Engine, cat: Tensor, tmp_path: Path
) -> None:
    path = disc(tmp_path / "mask.png")
    recipe = engine.settle(DreamRecipe(mask=embed_mask(path), iterations=2, max_side=200))
    *_, frame = engine.dream(cat, recipe)
    save_image(frame.picture(), tmp_path / "dream.png", recipe)
    Path(path).unlink()
    found = read_recipe(tmp_path / "dream.png", DreamRecipe)
    assert found == recipe == engine.settle(found)
    assert torch.equal(dream_tensor(engine, cat, found), frame.tensor)
