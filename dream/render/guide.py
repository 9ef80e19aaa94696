"""What a dream takes from a guide: activations, centred by the layer's mean, and colours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from dream import deterministic
from dream.networks.network import Network
from dream.render.canvas import frequencies, white_noise
from dream.tensors import luminance, resize_clamped

NOISE_SIDE = 224
NOISE_COUNT = 8
NOISE_CONTRAST = 0.2
# Share of the noise that is grey. With this share, and amplitudes of 1/frequency**2, mean
# activations were as close to those of 35 photos as the means of single photos were.
GREY_FRACTION = 0.8
# Variances of chroma: added to an image's, so that the noise of a grey one is not amplified, and
# to a guide's, so that a grey one has an inverse.
IMAGE_CHROMA, GUIDE_CHROMA = 0.05**2, 0.001**2


def centred_guide(network: Network, layer: str, guide: Tensor) -> tuple[Tensor, Tensor]:
    """Return a guide's activations at its M positions, centred, (M, C), and the layer's mean (C,).

    `guide` is (1, 3, H, W); it is enlarged if it is smaller than the network accepts.
    """
    min_side = network.card.min_side
    if min(guide.shape[2:]) < min_side:
        guide = resize_clamped(
            guide, (max(guide.shape[2], min_side), max(guide.shape[3], min_side))
        )
    mean = mean_activation(network, layer)
    return _activation_vectors(network, layer, guide.to(mean.device)) - mean, mean


def salient_positions(activations: Tensor) -> Tensor:
    """Return the half of a guide's positions (M, C) that differ most from the mean: its objects."""
    lengths = deterministic.upcast(activations).norm(dim=1)
    return activations[lengths >= lengths.median()]


def mean_activation(network: Network, layer: str) -> Tensor:
    """Return the mean activation (C,) of a layer on images in general.

    Some networks come with the means of their listed layers (`make means`). Other means are
    measured once, on blurred noise, which is nearly as good as photos.
    """
    if layer not in network.mean_activations:
        side = max(NOISE_SIDE, network.card.min_side)
        noise = (image.to(network.mean.device) for image in blurred_noise(side))
        network.mean_activations[layer] = average_activation(network, layer, noise)
    return network.mean_activations[layer]


def average_activation(network: Network, layer: str, images: Iterable[Tensor]) -> Tensor:
    """Return the mean activation (C,) of a layer over images (1, 3, H, W)."""
    means = [deterministic.mean(_activation_vectors(network, layer, image), 0) for image in images]
    return deterministic.mean(torch.stack(means), 0)


def blurred_noise(side: int) -> Iterator[Tensor]:
    """Yield `NOISE_COUNT` images (1, 3, side, side) of noise at all scales, mostly grey."""
    generator = torch.Generator().manual_seed(0)
    amplitude = frequencies((side, side)).pow(-2)
    for _ in range(NOISE_COUNT):
        spectrum = torch.fft.rfft2(white_noise((1, 3, side, side), generator).double()) * amplitude
        noise = torch.fft.irfft2(spectrum, s=(side, side)).float()
        noise = noise.lerp(noise.mean(1, keepdim=True) * math.sqrt(3), GREY_FRACTION)
        yield (0.45 + NOISE_CONTRAST * noise / noise.std()).clamp(0, 1)


def _activation_vectors(network: Network, layer: str, image: Tensor) -> Tensor:
    """Return the activation at each of a layer's M positions, (M, C)."""
    with torch.no_grad():
        activation: Tensor = network.activations(image, (layer,))[layer][0].float()
    return activation.flatten(1).T if activation.dim() == 3 else activation[None]


def recolour(image: Tensor, guide: Tensor, share: float, mask: Tensor | None = None) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] with a share, 0 to 1, of a guide's colours.

    Linear optimal transport gives the chroma the mean and covariance of the guide's (1, 3, H, W)
    (Pitie and Kokaram 2007). Luminance stays; a colour too strong for it becomes paler. Where the
    mask (1, 1, H, W) is 0, pixels stay bit-equal.
    """
    brightness, chroma = luminance(image), _chroma(image)
    (mean, covariance), (guide_mean, guide_covariance) = (
        _chroma_stats(each, variance)
        for each, variance in ((chroma, IMAGE_CHROMA), (_chroma(guide.to(image)), GUIDE_CHROMA))
    )
    matrix = _geometric_mean(torch.linalg.inv(covariance), guide_covariance).float()
    moved = guide_mean + sum(
        matrix[:, :, index, None, None] * (chroma - mean)[:, index, None] for index in range(2)
    )
    # `lerp` fuses product and sum on some processors, and so rounds differently.
    red, blue = torch.split(chroma + share * (moved - chroma), 1, 1)
    colour = torch.cat([red, -(0.299 * red + 0.114 * blue) / 0.587, blue], 1)
    room = torch.where(colour > 0, 1 - brightness, brightness)
    scale = (room / colour.abs().clamp(min=1e-6)).amin(1, keepdim=True).clamp(max=1)
    coloured = colour.mul_(scale).add_(brightness).clamp_(0, 1)
    return coloured if mask is None else image + mask * (coloured - image)


def _chroma(image: Tensor) -> Tensor:
    """Return red and blue minus luminance, (N, 2, H, W)."""
    return image[:, ::2] - luminance(image)


def _chroma_stats(chroma: Tensor, variance: float) -> tuple[Tensor, Tensor]:
    """Return the mean (N, 2, 1, 1) and the covariance (N, 2, 2), plus a variance, in float64."""
    mean = deterministic.mean(chroma, (2, 3), keepdim=True)
    centred = chroma - mean
    rows = (deterministic.mean(centred * each, (2, 3)) for each in torch.split(centred, 1, 1))
    covariance = deterministic.upcast(torch.stack([*rows], 1))
    return mean, covariance + variance * torch.eye(2).to(covariance)


def _geometric_mean(first: Tensor, second: Tensor) -> Tensor:
    """Return the geometric mean of positive definite matrices (N, 2, 2) in closed form."""
    roots = [each.det().sqrt()[:, None, None] for each in (first, second)]
    total = first / roots[0] + second / roots[1]
    return (roots[0] * roots[1] / total.det()[:, None, None]).sqrt() * total
