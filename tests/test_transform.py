"""Rolling is undone exactly, shifts stay in bounds, blurring equals a plain convolution."""

import numpy as np
import pytest
import torch

from dream.transform import blur, random_shift, roll


def test_rolling_moves_pixels_down_and_right_around_the_edge() -> None:
    picture = torch.zeros(1, 3, 5, 7)
    picture[0, :, 4, 6] = 1
    assert roll(picture, (2, 3))[0, :, 1, 2].tolist() == [1, 1, 1]


def test_rolling_back_gives_the_same_picture(noise: torch.Tensor) -> None:
    assert torch.equal(roll(roll(noise, (13, -29)), (-13, 29)), noise)


def test_shifts_reach_the_jitter_and_no_further() -> None:
    generator = torch.Generator().manual_seed(0)
    shifts = [random_shift(torch.zeros(1, 3, 400, 20), 9, generator) for _ in range(500)]
    down, right = zip(*shifts, strict=True)
    assert (min(down), max(down)) == (-9, 9)
    assert (min(right), max(right)) == (-5, 5)  # a quarter of the side


@pytest.mark.parametrize("sigma", [0.5, 1.3, 4.0])
def test_blur_equals_a_numpy_convolution(sigma: float, noise: torch.Tensor) -> None:
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-((np.arange(-radius, radius + 1) / sigma) ** 2) / 2)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    padded = np.pad(noise[0].numpy(), ((0, 0), (radius,) * 2, (radius,) * 2), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape, axis=(1, 2))
    expected = (windows * kernel).sum((-2, -1))
    assert np.abs(blur(noise, sigma)[0].numpy() - expected).max() < 1e-5


def test_blur_of_nothing_changes_nothing(noise: torch.Tensor) -> None:
    assert blur(noise, 0) is noise


def test_blur_reads_pictures_smaller_than_its_kernel() -> None:
    assert blur(torch.ones(1, 3, 4, 5), 4.0) == pytest.approx(torch.ones(1, 3, 4, 5))
