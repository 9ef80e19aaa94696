"""Canvases render what NumPy computes, and recover the variables of an image."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dream.render.canvas import (
    CANVASES,
    Canvas,
    FourierCanvas,
    PhaseCanvas,
    RawPixelCanvas,
)

CPU = torch.device("cpu")
SIZES = [(32, 32), (33, 47), (40, 31), (96, 64)]


def numpy_reference(variables: np.ndarray, size: tuple[int, int], decay: float) -> np.ndarray:
    """Compute the image step by step: spectrum, inverse FFT, colours, sigmoid."""
    height, width = size
    picture = np.empty((height, width, 3))
    for color in range(3):
        spectrum = np.zeros((height, width // 2 + 1), complex)
        for row in range(height):
            for column in range(width // 2 + 1):
                down = min(row, height - row) / height
                frequency = max(np.hypot(down, column / width), 1 / max(size))
                real, imaginary = variables[0, color, row, column]
                spectrum[row, column] = (real + 1j * imaginary) / frequency**decay
        picture[..., color] = np.fft.irfft2(spectrum, s=size) * np.sqrt(height * width) / 4
    mix = np.array([[0.26, 0.09, 0.02], [0.27, 0, -0.05], [0.27, -0.09, 0.03]])
    mix /= np.linalg.norm(mix, axis=0).max()
    return 1 / (1 + np.exp(-picture @ mix.T))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_fourier_paints_what_numpy_paints(size: tuple[int, int], decay: float) -> None:
    generator = torch.Generator().manual_seed(1)
    canvas = FourierCanvas(size, CPU, decay)
    variables = 0.3 * torch.randn(1, 3, size[0], size[1] // 2 + 1, 2, generator=generator)
    expected = numpy_reference(variables.numpy(), size, decay)
    ours = canvas.to_image(variables)[0].permute(1, 2, 0).numpy()
    assert ours.shape == (*size, 3)
    assert np.abs(ours - expected).max() < 1e-4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [Canvas, FourierCanvas])
def test_a_picture_is_found_again(kind: type[Canvas], size: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    canvas = kind(size, CPU)
    again = canvas.to_image(canvas.from_image(picture))
    assert (again - picture.clamp(0.01, 0.99)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", CANVASES.values())
def test_noise_is_faint_grey_and_follows_the_generator(
    kind: type[Canvas],
) -> None:
    canvas: Canvas = kind((64, 48), CPU)
    one, same, other = (
        canvas.to_image(canvas.random_variables(torch.Generator().manual_seed(seed)))
        for seed in (5, 5, 6)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert one.shape == (1, 3, 64, 48)
    assert (one - 0.5).abs().max() < 0.1 and one.std() > 1e-4


def test_phases_move_and_strengths_stay() -> None:
    canvas = PhaseCanvas((48, 64), CPU)
    one, other = (
        canvas.to_image(canvas.random_variables(torch.Generator().manual_seed(seed)))
        for seed in (1, 2)
    )
    assert (one - other).abs().mean() > 0.05
    mix = np.array([[0.26, 0.09, 0.02], [0.27, 0, -0.05], [0.27, -0.09, 0.03]])
    mix /= np.linalg.norm(mix, axis=0).max()
    for picture in (one, other):
        pixels = picture[0].numpy().astype(float)
        plain = np.einsum("cr,rhw->chw", np.linalg.inv(mix), np.log(pixels / (1 - pixels)))
        strength = np.abs(np.fft.rfft2(plain))[:, 1:20, 1:25]
        expected = canvas.amplitude.numpy()[1:20, 1:25]
        ratio = strength / expected
        assert ratio.std((1, 2)).max() < 0.02 * ratio.mean()
        assert plain.std((1, 2)) == pytest.approx([1, 1, 1], abs=0.02)


def test_the_phases_of_a_picture_paint_its_shapes(cat: Tensor) -> None:
    canvas = PhaseCanvas((300, 451), CPU)
    again = canvas.to_image(canvas.from_image(cat))
    correlation = torch.corrcoef(torch.stack([again.mean(1).flatten(), cat.mean(1).flatten()]))
    assert correlation[0, 1] > 0.5


def test_a_plain_canvas_is_the_picture(noise: Tensor) -> None:
    canvas = RawPixelCanvas((45, 67), CPU)
    assert canvas.to_image(canvas.from_image(noise)) is noise
    start = canvas.random_variables(torch.Generator().manual_seed(0))
    assert start.shape == noise.shape and 0.01 < start.std() < 0.03
