"""Canvases: image parametrizations (Lucid's `param`), the variables that an ascent optimises.

A canvas converts variables to images (N, 3, H, W), RGB in (0, 1), and images to variables. Gradient
steps on such variables give natural images: colours are decorrelated as in photos, and with
`FourierCanvas` large shapes change as easily as small ones (Olah, Mordvintsev and Schubert,
"Feature visualization", 2017; constants from Lucid). A new canvas is one subclass of `Canvas`,
its name in `CANVASES` and in the choices of `ChannelRecipe.canvas`. Class images, which use their
own selection (`class_image.CANVASES_BY_MODE`), also find images again by `from_image`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from dream.deterministic import in_float64_on_cpu, to_device
from dream.tensors import Size

# Square root of the colour covariance of ImageNet, scaled so that its longest column has length 1.
COLOUR_CORRELATION = torch.tensor(
    [[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64
).div(0.46195)
NOISE_STD = 0.01
SPECTRUM_SCALE = 4.0
LOGIT_MARGIN = 0.01


class Canvas:
    """An image of one size as variables: variables -> decorrelated colours -> RGB, and back.

    Here they are the decorrelated colours (N, 3, H, W) of pixels, which a sigmoid maps to (0, 1).
    `to_image(from_image(image))` is the image, but for softened black and white.
    """

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size = size
        self.device = device

    def random_variables(self, generator: torch.Generator) -> Tensor:
        """Return the variables of one image of faint noise, drawn on the CPU."""
        return NOISE_STD * white_noise((1, 3, *self.size), generator).to(self.device)

    def _decode(self, variables: Tensor) -> Tensor:
        """Return the values (N, 3, H, W) of the variables; differentiable."""
        return variables

    def _encode(self, values: Tensor) -> Tensor:
        """Return the variables of values (N, 3, H, W)."""
        return values

    @in_float64_on_cpu
    def to_image(self, variables: Tensor) -> Tensor:
        """Return the images (N, 3, H, W) of the variables; differentiable."""
        values = self._decode(variables)
        return torch.einsum("rc,nchw->nrhw", _colour_matrices(values.device)[0], values).sigmoid()

    @in_float64_on_cpu
    def from_image(self, image: Tensor) -> Tensor:
        """Return the variables of images (N, 3, H, W) in [0, 1]; black and white are softened."""
        values = image.clamp(LOGIT_MARGIN, 1 - LOGIT_MARGIN).logit()
        values = torch.einsum("cr,nrhw->nchw", _colour_matrices(values.device)[1], values)
        return self._encode(values)


class RawPixelCanvas(Canvas):
    """The pixels (N, 3, H, W) themselves, unbounded."""

    def random_variables(self, generator: torch.Generator) -> Tensor:
        """See `Canvas`."""
        return (0.5 + 2 * NOISE_STD * white_noise((1, 3, *self.size), generator)).to(self.device)

    def to_image(self, variables: Tensor) -> Tensor:
        """Return the variables, which are the image."""
        return variables

    def from_image(self, image: Tensor) -> Tensor:
        """Return the image, which is its own variables."""
        return image


class FourierCanvas(Canvas):
    """Fourier coefficients in decorrelated colours, scaled by 1/frequency**decay as in photos.

    Variables are (N, 3, H, W // 2 + 1, 2): real and imaginary parts of half of the spectrum,
    divided by that scale.
    """

    def __init__(self, size: Size, device: torch.device, decay: float = 1.0) -> None:
        super().__init__(size, device)
        self.amplitude = to_device(frequencies(size).pow(-decay), device)

    def random_variables(self, generator: torch.Generator) -> Tensor:
        """See `Canvas`."""
        return NOISE_STD * white_noise((1, 3, *self.amplitude.shape, 2), generator).to(self.device)

    def _decode(self, variables: Tensor) -> Tensor:
        spectrum = torch.view_as_complex(variables) * self.amplitude
        values: Tensor = torch.fft.irfft2(spectrum, s=self.size, norm="ortho")
        return values / SPECTRUM_SCALE

    def _encode(self, values: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(values * SPECTRUM_SCALE, norm="ortho")
        return torch.view_as_real(spectrum / self.amplitude)


class PhaseCanvas(Canvas):
    """Fourier phases (N, 3, H, W // 2 + 1) with fixed amplitudes, those of an average photo.

    As no frequency can grow, images become neither neon nor speckled (Fel et al., "MaCo", 2023).
    The amplitudes approximate the mean spectrum of ImageNet in decorrelated colours: they fall by
    powers 1.3, 1.8 and 5.7 of the frequency, in three ranges. Images lose their own amplitudes.
    """

    def __init__(self, size: Size, device: torch.device) -> None:
        super().__init__(size, device)
        frequency = frequencies(size)
        amplitude = (frequency.clamp(max=0.05) / 0.05).pow(-1.3)
        amplitude *= (frequency.clamp(0.05, 0.25) / 0.05).pow(-1.8)
        amplitude *= (frequency.clamp(min=0.25) / 0.25).pow(-5.7)
        amplitude[0, 0] = 0
        self.amplitude = to_device(amplitude, device)

    def random_variables(self, generator: torch.Generator) -> Tensor:
        """Return random phases in [-pi, pi), drawn on the CPU."""
        phases = torch.rand(1, 3, *self.amplitude.shape, generator=generator)
        return (2 * math.pi * (phases - 0.5)).to(self.device)

    def _decode(self, variables: Tensor) -> Tensor:
        spectrum = torch.polar(self.amplitude.expand_as(variables), variables)
        values: Tensor = torch.fft.irfft2(spectrum, s=self.size, norm="ortho")
        return values / values.std((2, 3), keepdim=True)

    def _encode(self, values: Tensor) -> Tensor:
        phases: Tensor = torch.fft.rfft2(values).angle()
        return phases


CANVASES: dict[str, type[Canvas]] = {"fourier": FourierCanvas, "pixels": Canvas}


def white_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return Gaussian noise, drawn in float64: in float32 it differs between CPUs for one seed."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).float()


def frequencies(size: Size) -> Tensor:
    """Return the frequencies (H, W // 2 + 1) of a half spectrum, in cycles per pixel, float64."""
    rows = torch.fft.fftfreq(size[0], dtype=torch.float64)
    columns = torch.fft.rfftfreq(size[1], dtype=torch.float64)
    return torch.hypot(rows[:, None], columns).clamp(min=1 / max(size))


@lru_cache(maxsize=16)
def _colour_matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return `COLOUR_CORRELATION` and its inverse; cached, as each copy to a GPU stalls it."""
    return to_device(COLOUR_CORRELATION, device), to_device(COLOUR_CORRELATION.inverse(), device)
