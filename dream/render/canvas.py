"""Canvases: what the ascent changes in the place of a picture, and how it becomes one.

A canvas paints variables as a picture (N, 3, H, W), RGB in (0, 1), and finds the variables of a
picture. Steps that are equal on such variables are natural ones on the picture: colours mix as they
do in photographs, and with `Fourier` large shapes move as easily as small ones (Olah, Mordvintsev
and Schubert, "Feature visualization", 2017; the numbers are Lucid's).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from dream.deterministic import in_float64_on_cpu, to_device
from dream.tensors import Size

# The square root of the covariance of colours in ImageNet, its largest column of length 1.
COLOUR_CORRELATION = (
    torch.tensor(
        [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64
    )
    / 0.46195
)
NOISE_STD = 0.01
SPECTRUM_SCALE = 4.0
LOGIT_MARGIN = 0.01


class Canvas(Protocol):
    """A way to paint a picture from variables."""

    def random_variables(self, generator: torch.Generator) -> Tensor:
        """Variables of one picture of faint noise, drawn on the CPU."""
        ...

    def to_image(self, variables: Tensor) -> Tensor:
        """The pictures that the variables stand for; differentiable."""
        ...

    def from_image(self, image: Tensor) -> Tensor:
        """The variables that paint a picture (N, 3, H, W) in [0, 1], its extremes softened."""
        ...


class PixelCanvas:
    """Pixels in decorrelated colours, squashed into (0, 1); variables are (N, 3, H, W)."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size = size
        self.device = device

    def random_variables(self, generator: torch.Generator) -> Tensor:
        return NOISE_STD * white_noise((1, 3, *self.size), generator).to(self.device)

    @in_float64_on_cpu
    def to_image(self, variables: Tensor) -> Tensor:
        return _to_rgb(variables)

    @in_float64_on_cpu
    def from_image(self, image: Tensor) -> Tensor:
        return _from_rgb(image)


class FourierCanvas:
    """Waves in decorrelated colours, each as strong as in nature: amplitude falls as 1/frequency.

    Variables are (N, 3, H, W // 2 + 1, 2): real and imaginary part of half of the spectrum, divided
    by that amplitude.
    """

    def __init__(self, size: Size, device: torch.device, decay: float = 1.0) -> None:
        self.size = size
        self.device = device
        self.amplitude = to_device(frequencies(size).pow(-decay), device)

    def random_variables(self, generator: torch.Generator) -> Tensor:
        return NOISE_STD * white_noise((1, 3, *self.amplitude.shape, 2), generator).to(self.device)

    @in_float64_on_cpu
    def to_image(self, variables: Tensor) -> Tensor:
        waves = torch.view_as_complex(variables) * self.amplitude
        return _to_rgb(torch.fft.irfft2(waves, s=self.size, norm="ortho") / SPECTRUM_SCALE)

    @in_float64_on_cpu
    def from_image(self, image: Tensor) -> Tensor:
        waves = torch.fft.rfft2(_from_rgb(image) * SPECTRUM_SCALE, norm="ortho")
        return torch.view_as_real(waves / self.amplitude)


class PhaseCanvas:
    """Waves of fixed strength, as natural pictures have them on average; only their phases move.

    No frequency can be overdone, so nothing grows neon or speckled (Fel et al., "MaCo", 2023). The
    amplitudes are an analytic stand-in for the mean spectrum of ImageNet in decorrelated colours:
    it falls with frequency by powers of 1.3, 1.8 and 5.7. Variables are (N, 3, H, W // 2 + 1).
    """

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size = size
        self.device = device
        frequency = frequencies(size)
        amplitude = (frequency.clamp(max=0.05) / 0.05).pow(-1.3)
        amplitude *= (frequency.clamp(0.05, 0.25) / 0.05).pow(-1.8)
        amplitude *= (frequency.clamp(min=0.25) / 0.25).pow(-5.7)
        amplitude[0, 0] = 0
        self.amplitude = to_device(amplitude, device)

    def random_variables(self, generator: torch.Generator) -> Tensor:
        phases = torch.rand(1, 3, *self.amplitude.shape, generator=generator)
        return (2 * math.pi * (phases - 0.5)).to(self.device)

    @in_float64_on_cpu
    def to_image(self, variables: Tensor) -> Tensor:
        waves = torch.polar(self.amplitude.expand_as(variables), variables)
        values = torch.fft.irfft2(waves, s=self.size, norm="ortho")
        return _to_rgb(values / values.std((2, 3), keepdim=True))

    @in_float64_on_cpu
    def from_image(self, image: Tensor) -> Tensor:
        phases: Tensor = torch.fft.rfft2(_from_rgb(image)).angle()
        return phases


class RawPixelCanvas:
    """The picture itself, without bounds: variables are (N, 3, H, W)."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size = size
        self.device = device

    def random_variables(self, generator: torch.Generator) -> Tensor:
        return (0.5 + 2 * NOISE_STD * white_noise((1, 3, *self.size), generator)).to(self.device)

    def to_image(self, variables: Tensor) -> Tensor:
        return variables

    def from_image(self, image: Tensor) -> Tensor:
        return image


CANVASES: dict[str, type[PixelCanvas] | type[FourierCanvas]] = {
    "fourier": FourierCanvas,
    "pixels": PixelCanvas,
}


def white_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """White noise, the same from the same seed everywhere: that of float32 is not."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).float()


def frequencies(size: Size) -> Tensor:
    """How many waves a pixel each number of half of a spectrum stands for, in float64."""
    rows, columns = (
        grid(side, dtype=torch.float64)
        for grid, side in zip((torch.fft.fftfreq, torch.fft.rfftfreq), size, strict=True)
    )
    return torch.hypot(rows[:, None], columns).clamp(min=1 / max(size))


@lru_cache(maxsize=16)
def _colour_matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    """`COLOURS` and its inverse, moved to a device once: each move would stop a GPU's queue."""
    return to_device(COLOUR_CORRELATION, device), to_device(COLOUR_CORRELATION.inverse(), device)


def _to_rgb(values: Tensor) -> Tensor:
    return torch.einsum("rc,nchw->nrhw", _colour_matrices(values.device)[0], values).sigmoid()


def _from_rgb(image: Tensor) -> Tensor:
    values = image.clamp(LOGIT_MARGIN, 1 - LOGIT_MARGIN).logit()
    return torch.einsum("cr,nrhw->nchw", _colour_matrices(values.device)[1], values)
