"""What a dream takes from a guide: activations, centred by the layer's mean, and colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from dream import deterministic
from dream.networks.network import Network
from dream.render.canvas import frequencies, white_noise
from dream.tensors import ROWS_PER_CHUNK, luminance, resize_clamped, size_of

NOISE_SIDE = 224
NOISE_COUNT = 8
NOISE_CONTRAST = 0.2
# Share of the noise that is grey. With this share, and amplitudes of 1/frequency**2, mean
# activations were as close to those of 35 photos as the means of single photos were.
GREY_FRACTION = 0.8
# Variances of chroma: added to an image's, so that the noise of a grey one is not amplified, and
# to a guide's, so that a grey one has an inverse.
IMAGE_CHROMA_VARIANCE, GUIDE_CHROMA_VARIANCE = 0.05**2, 0.001**2
# Mean (N, 2, 1, 1) and covariance (N, 2, 2) of chroma.
ChromaStats = tuple[Tensor, Tensor]


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


def guide_colours(guide: Tensor) -> ChromaStats:
    """Return the statistics of the chroma of a guide (1, 3, H, W), for `recolour`."""
    return _chroma_stats(guide, GUIDE_CHROMA_VARIANCE)


def recolour(
    image: Tensor, colours: ChromaStats, share: float, mask: Tensor | None = None
) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] with a share, 0 to 1, of a guide's `guide_colours`.

    Linear optimal transport gives the chroma the mean and covariance of the guide (Pitie and
    Kokaram 2007). Luminance stays; a colour too strong for it becomes paler. Where the mask
    (1, 1, H, W) is 0, pixels stay bit-equal and do not count.
    """
    mean, covariance = _chroma_stats(image, IMAGE_CHROMA_VARIANCE, mask)
    guide_mean, guide_covariance = colours
    matrix = _geometric_mean(_inverse(covariance), guide_covariance).float()
    recoloured = torch.empty_like(image)
    for rows, result, weights in _chunks(image, recoloured, mask):
        chroma = _chroma(rows)
        moved = guide_mean + sum(
            matrix[:, :, index, None, None] * (chroma - mean)[:, index, None] for index in range(2)
        )
        # `lerp` fuses product and sum on some processors, and so rounds differently.
        coloured = _with_chroma(luminance(rows), chroma + share * (moved - chroma))
        result.copy_(coloured if mask is None else rows + weights * (coloured - rows))
    return recoloured


def _chunks(
    image: Tensor, other: Tensor, mask: Tensor | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield views of some rows at a time of two images and a mask, to save memory.

    Without a mask its rows are ones.
    """
    if mask is None:
        mask = image.new_ones(()).expand(1, 1, *size_of(image))
    yield from zip(
        *(torch.split(each, ROWS_PER_CHUNK, 2) for each in (image, other, mask)), strict=True
    )


def _chroma(image: Tensor) -> Tensor:
    """Return red and blue minus luminance, (N, 2, H, W)."""
    return image[:, ::2] - luminance(image)


def _with_chroma(brightness: Tensor, chroma: Tensor) -> Tensor:
    """Return images in [0, 1] with this luminance (N, 1, H, W) and chroma, paler if need be."""
    red, blue = torch.split(chroma, 1, 1)
    colour = torch.cat([red, -(0.299 * red + 0.114 * blue) / 0.587, blue], 1)
    room = torch.where(colour > 0, 1 - brightness, brightness)
    scale = (room / colour.abs().clamp(min=1e-6)).amin(1, keepdim=True).clamp(max=1)
    return colour.mul_(scale).add_(brightness).clamp_(0, 1)


def _chroma_stats(image: Tensor, variance: float, mask: Tensor | None = None) -> ChromaStats:
    """Return the chroma's mean (N, 2, 1, 1) and its covariance (N, 2, 2), plus a variance.

    Pixels count as much as the mask (1, 1, H, W) says. The covariance is in float64 on a CPU.
    """

    def average(values: Callable[[Tensor], Tensor]) -> Tensor:
        total = count = torch.zeros(()).to(image)
        for rows, _, weights in _chunks(image, image, mask):
            total = total + deterministic.upcast(values(rows) * weights).sum((-2, -1))
            count = count + deterministic.upcast(weights).sum()
        # A black mask has no weight, and nothing to recolour.
        return (total / count.clamp(min=1e-6)).to(image.dtype)

    def products(rows: Tensor) -> Tensor:
        centred = _chroma(rows) - mean
        return centred[:, :, None] * centred[:, None]

    mean = average(_chroma)[:, :, None, None]
    covariance = deterministic.upcast(average(products))
    return mean, covariance + variance * torch.eye(2).to(covariance)


def _determinant(matrix: Tensor) -> Tensor:
    """Return the determinants of matrices (N, 2, 2), as (N, 1, 1)."""
    ((first, second), (third, fourth)) = (row.unbind(1) for row in matrix.unbind(1))
    return (first * fourth - second * third)[:, None, None]


def _inverse(matrix: Tensor) -> Tensor:
    """Return the inverses of symmetric matrices (N, 2, 2)."""
    signs = torch.tensor([[1, -1], [-1, 1]]).to(matrix)
    return matrix.flip(1, 2) * signs / _determinant(matrix)


def _geometric_mean(first: Tensor, second: Tensor) -> Tensor:
    """Return the geometric mean of positive definite matrices (N, 2, 2) in closed form."""
    roots = [_determinant(each).sqrt() for each in (first, second)]
    total = first / roots[0] + second / roots[1]
    return (roots[0] * roots[1] / _determinant(total)).sqrt() * total
