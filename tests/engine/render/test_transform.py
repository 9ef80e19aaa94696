"""Rolls are undone exactly, shifts stay in bounds, and blur equals a plain convolution."""

import math
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from dream.render import transform
from dream.render.transform import (
    apply_affine,
    blur,
    normalise_pyramid,
    random_affine,
    random_colours,
    random_crops,
    random_shift,
)


def test_shifts_reach_the_jitter_and_no_further() -> None:
    generator = torch.Generator().manual_seed(0)
    shifts = [random_shift(torch.zeros(1, 3, 400, 20), 9, generator) for _ in range(500)]
    down, right = zip(*shifts, strict=True)
    assert (min(down), max(down)) == (-9, 9)
    assert (min(right), max(right)) == (-5, 5)  # A quarter of the side.


@pytest.mark.parametrize("sigma", [0.5, 1.3, 4.0])
def test_blur_equals_a_numpy_convolution(sigma: float, noise: torch.Tensor) -> None:
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-((np.arange(-radius, radius + 1) / sigma) ** 2) / 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    padded = np.pad(noise[0].numpy(), ((0, 0), (radius,) * 2, (radius,) * 2), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape, axis=(1, 2))
    expected = (windows * kernel).sum((-2, -1))
    assert np.abs(blur(noise, sigma)[0].numpy() - expected).max() < 1e-5


def test_blur_of_nothing_changes_nothing_and_small_pictures_are_read(noise: torch.Tensor) -> None:
    assert blur(noise, 0) is noise
    assert blur(torch.ones(1, 3, 4, 5), 4.0) == pytest.approx(torch.ones(1, 3, 4, 5))


def dot_image(height: int, width: int, row: int, column: int) -> torch.Tensor:
    """Return a black image with one white pixel."""
    picture = torch.zeros(1, 3, height, width)
    picture[:, :, row, column] = 1
    return picture


def brightest_pixel(picture: torch.Tensor) -> tuple[int, int]:
    place = int(picture[0, 0].argmax())
    return place // picture.shape[3], place % picture.shape[3]


@pytest.mark.parametrize(
    ("how", "place"),
    [
        ({"shift": (3, -5)}, (23, 35)),  # Down and left.
        ({"angle": math.pi / 2}, (30, 50)),  # What was above the centre goes to its right.
        ({"angle": -math.pi / 2}, (30, 30)),
        ({"zoom": 2.0}, (10, 40)),  # Twice as far from the centre.
        ({"angle": math.pi / 2, "shift": (4, 6)}, (34, 56)),  # Rotated, then shifted.
    ],
)
def test_affine_moves_a_known_pixel_where_it_should(
    how: dict[str, Any], place: tuple[int, int]
) -> None:
    # 61 x 81: the centre is (30, 40), and the dot is ten pixels above it.
    still: dict[str, Any] = {"angle": 0.0, "zoom": 1.0, "shift": (0.0, 0.0)}
    moved = apply_affine(dot_image(61, 81, 20, 40), **(still | how))
    assert brightest_pixel(moved) == place


def test_affine_equals_a_numpy_bilinear_reading(noise: torch.Tensor) -> None:
    angle, zoom, (down, right) = 0.13, 1.07, (2.5, -3.25)
    ours = apply_affine(noise, angle=angle, zoom=zoom, shift=(down, right))[0, 0].numpy()
    picture = noise[0, 0].numpy()
    height, width = picture.shape
    middle = ((height - 1) / 2, (width - 1) / 2)
    for row in range(height):
        for column in range(width):
            y, x = row - middle[0] - down, column - middle[1] - right
            above = middle[0] + (math.cos(angle) * y - math.sin(angle) * x) / zoom
            left = middle[1] + (math.sin(angle) * y + math.cos(angle) * x) / zoom
            if not (0 <= above < height - 1 and 0 <= left < width - 1):
                continue  # Mirrored, see below.
            i, j = int(above), int(left)
            v, u = above - i, left - j
            expected = (1 - v) * ((1 - u) * picture[i, j] + u * picture[i, j + 1]) + v * (
                (1 - u) * picture[i + 1, j] + u * picture[i + 1, j + 1]
            )
            assert abs(ours[row, column] - expected) < 1e-4


def test_affine_mirrors_the_edges() -> None:
    picture = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 3, 4, 8)
    moved = apply_affine(picture, angle=0, zoom=1, shift=(0, 3))
    assert torch.allclose(moved[0, 0, 0], torch.tensor([2.0, 1, 0, 0, 1, 2, 3, 4]), atol=1e-4)


def test_a_random_affine_treats_a_batch_alike_and_follows_the_generator() -> None:
    pictures = torch.rand(3, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    pictures[2] = pictures[0]
    one, same = (random_affine(pictures, torch.Generator().manual_seed(4)) for _ in range(2))
    other = random_affine(pictures, torch.Generator().manual_seed(5))
    alone = random_affine(pictures[1:2], torch.Generator().manual_seed(4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(one[0], one[2]) and torch.allclose(one[1], alone[0], atol=1e-6)


def test_random_affines_stay_within_their_bounds() -> None:
    generator = torch.Generator().manual_seed(0)
    # The centre shows the shift; at most ten degrees, a tenth and eight pixels.
    light = blur(dot_image(101, 101, 50, 50), 2.0)
    places = [brightest_pixel(random_affine(light, generator)) for _ in range(100)]
    down, right = zip(*places, strict=True)
    assert 42 <= min(down) < 46 and 54 < max(down) <= 58
    assert 42 <= min(right) < 46 and 54 < max(right) <= 58


def test_random_colours_change_whole_colours_and_follow_the_generator() -> None:
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    changed = torch.stack([random_colours(pictures, generator) for _ in range(50)])
    assert torch.equal(changed[0], random_colours(pictures, torch.Generator().manual_seed(0)))
    contrast = changed.std((3, 4)) / pictures.std((2, 3))
    assert contrast.min() == pytest.approx(0.8, abs=0.03)
    assert contrast.max() == pytest.approx(1.2, abs=0.03)
    assert torch.allclose(contrast, contrast[:, :1, :1].expand_as(contrast), atol=1e-4)
    at_grey = changed.mean((3, 4)) - 0.5 - contrast * (pictures.mean((2, 3)) - 0.5)
    assert at_grey.aminmax() == pytest.approx((-0.1, 0.1), abs=0.02)


def test_crops_are_parts_of_the_picture_at_its_size() -> None:
    down = torch.linspace(0, 1, 64).view(1, 1, 64, 1).expand(1, 3, 64, 48)
    generator = torch.Generator().manual_seed(0)
    whole = random_crops(down, generator, share=1.0, count=2)
    assert whole.shape == (2, 3, 64, 48) and (whole - down).abs().max() < 1e-4
    starts = set()
    for crop in random_crops(down, generator, share=0.5, count=40):
        column = crop[0, :, 20]
        assert column.max() - column.min() == pytest.approx(0.5, abs=0.02)
        assert column.min() >= 0 and column.max() <= 1
        starts.add(round(column[0].item(), 1))
    assert {0.0, 0.2, 0.4} <= starts  # From anywhere.


def test_crops_of_a_batch_come_crop_by_crop() -> None:
    pictures = torch.stack([torch.zeros(3, 20, 20), torch.ones(3, 20, 20)])
    crops = random_crops(pictures, torch.Generator().manual_seed(0), share=0.7, count=3)
    assert crops[:, 0, 10, 10].round().tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("size", [(64, 64), (45, 67), (5, 90), (3, 3)])
def test_bands_are_brought_to_one_strength(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    fine = torch.randn(2, 3, *size, generator=generator)
    ramp = torch.linspace(-1, 1, size[1]).expand_as(fine)
    gradient = fine + 0.05 * ramp  # The large shape is drowned out.
    even = normalise_pyramid(gradient, 4)
    assert even.shape == gradient.shape and even.isfinite().all()
    if min(size) >= 45:
        before, after = (
            torch.corrcoef(torch.stack([each.flatten(), ramp.flatten()]))[0, 1]
            for each in (gradient, even)
        )
        assert after > 1.5 * before
    # Neither strength nor the rest of the batch matters.
    assert torch.allclose(normalise_pyramid(1000 * gradient, 4), even, rtol=1e-3, atol=1e-4)
    assert torch.allclose(normalise_pyramid(gradient[:1], 4), even[:1], atol=1e-5)


def test_one_band_is_the_gradient_itself_and_bands_of_nothing_are_nothing(
    noise: torch.Tensor,
) -> None:
    assert normalise_pyramid(noise, 1) is noise
    assert normalise_pyramid(torch.zeros(1, 3, 32, 32), 4).abs().max() == 0


def test_where_mirrored_edges_are_missing_the_sampling_runs_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(F, "grid_sample", sample := Mock(wraps=F.grid_sample))
    monkeypatch.setattr(transform, "NO_REFLECTION_DEVICES", ("cuda",))
    with FakeTensorMode():  # Meta tensors have the shapes and devices of a GPU without one.
        view = apply_affine(
            torch.empty(1, 3, 8, 9, device="cuda"), angle=0.1, zoom=1.1, shift=(1, 2)
        )
    (call,) = sample.call_args_list
    assert [each.device.type for each in call.args] == ["cpu", "cpu"] and view.device.type == "cuda"
