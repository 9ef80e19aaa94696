"""Octaves end at the full size, keep the aspect ratio, and skip sizes that are too small."""

import pytest
import torch

from dream import ClassRecipe, DreamRecipe, PictureError, VideoRecipe, ZoomRecipe
from dream.recipe import Recipe
from dream.render import kinds
from dream.render.plan import octave_sizes
from dream.tensors import limit_size, resize


@pytest.mark.parametrize("size", [(300, 451), (33, 517), (640, 640), (97, 64)])
@pytest.mark.parametrize("scale", [1.1, 1.4, 2.0])
def test_octaves_keep_proportions_and_end_at_the_full_size(
    size: tuple[int, int], scale: float
) -> None:
    sizes = octave_sizes(size, 5, scale, max_side=640, min_side=32)
    assert sizes[-1] == size
    assert sizes == sorted(sizes)
    for index, (height, width) in enumerate(reversed(sizes)):
        # Each size is rounded once from the full size: at most half a pixel off.
        assert abs(height - size[0] / scale**index) <= 0.5
        assert abs(width - size[1] / scale**index) <= 0.5
        assert min(height, width) >= 32


def test_a_large_picture_is_limited_and_a_small_one_is_not_enlarged() -> None:
    assert octave_sizes((3000, 4000), 1, 1.4, max_side=640, min_side=32) == [(480, 640)]
    assert octave_sizes((48, 64), 1, 1.4, max_side=640, min_side=32) == [(48, 64)]
    assert limit_size((20_000, 5), 256) == (256, 1) and limit_size((5, 20_000), 256) == (1, 256)


def test_octaves_too_small_for_the_network_are_left_out() -> None:
    sizes = octave_sizes((64, 64), 4, 1.4, max_side=640, min_side=32)
    assert sizes == [(33, 33), (46, 46), (64, 64)]


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((40, 31), "is 31 x 40 pixels; the network needs 32 or more"),
        ((100, 5000), r"5000 x 100 pixels, 640 x 13 .* at most 640"),
    ],
)
def test_a_picture_too_small_is_refused_with_its_sizes(size: tuple[int, int], said: str) -> None:
    with pytest.raises(PictureError, match=said):
        octave_sizes(size, 4, 1.4, max_side=640, min_side=32)


def test_resizing_averages_instead_of_skipping() -> None:
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 1
    small = resize(stripes, (16, 16))
    # Nearest neighbour would give all 0 or all 1.
    assert (small[..., 2:-2, 2:-2] - 0.5).abs().max() < 0.05
    assert resize(stripes, (64, 64)) is stripes


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (DreamRecipe(max_side=640), "set max_side to 1280 or more"),
        (ZoomRecipe(max_side=512), "set max_side to 1280 or more"),
        (VideoRecipe(max_side=512), "set max_side to 1280 or more"),
        (ClassRecipe(size=512), "the network needs 32 or more on each side"),  # It ends at 1024.
        (ClassRecipe(model="inception_v3", size=512), "or more on each side"),
    ],
)
def test_a_panorama_that_becomes_too_thin_says_how_large_is_enough(
    recipe: Recipe, said: str
) -> None:
    size = (500, 20_000)
    with pytest.raises(PictureError, match=f"{said}$"):
        kinds.plan([recipe.with_defaults("cpu", True)], size)
    if "max_side" in said:
        (job,) = kinds.plan([recipe.with_max_side(1280).with_defaults("cpu", True)], size)
        assert min(job.stages[-1].size) >= 32
    with pytest.raises(PictureError, match=r"on each side$"):
        kinds.plan([recipe.with_defaults("cpu", True)], (20, 800))  # Every size is too small.
