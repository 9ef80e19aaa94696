"""What a guide shows to a layer: its activations, less those that any picture gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from dream import deterministic
from dream.networks.network import Network
from dream.render.canvas import frequencies, white_noise
from dream.tensors import resize_clamped

NOISE_SIDE = 224
NOISE_COUNT = 8
NOISE_CONTRAST = 0.2
# How much of the noise is grey. With it, and an amplitude that falls with the square of frequency,
# means were as near to those of 35 photographs as the means of single photographs were.
GREY_FRACTION = 0.8


def centred_guide(network: Network, layer: str, guide: Tensor) -> tuple[Tensor, Tensor]:
    """The guide (1, 3, H, W) as the layer sees it, (M, C) without the mean, and the mean (C,).

    A guide smaller than the network reads is enlarged.
    """
    least = network.card.min_side
    if min(guide.shape[2:]) < least:
        size = (max(guide.shape[2], least), max(guide.shape[3], least))
        guide = resize_clamped(guide, size)
    mean = mean_activation(network, layer)
    return _activation_vectors(network, layer, guide.to(mean.device)) - mean, mean


def mean_activation(network: Network, layer: str) -> Tensor:
    """What each channel of a layer (C,) answers to pictures on the mean.

    For layers that a network lists it comes with the network, where it does (`make means`); for
    others it is measured once, on blurred noise, which serves nearly as well.
    """
    if layer not in network.means:
        side = max(NOISE_SIDE, network.card.min_side)
        noises = (noise.to(network.mean.device) for noise in blurred_noise(side))
        network.means[layer] = average_activation(network, layer, noises)
    return network.means[layer]


def average_activation(network: Network, layer: str, pictures: Iterable[Tensor]) -> Tensor:
    """The mean activation (C,) of a layer over pictures (1, 3, H, W)."""
    each = [
        deterministic.mean(_activation_vectors(network, layer, picture), 0) for picture in pictures
    ]
    return deterministic.mean(torch.stack(each), 0)


def blurred_noise(side: int) -> Iterator[Tensor]:
    """Square pictures (1, 3, side, side) of noise at all scales, mostly grey."""
    generator = torch.Generator().manual_seed(0)
    amplitude = frequencies((side, side)).pow(-2)
    for _ in range(NOISE_COUNT):
        waves = torch.fft.rfft2(white_noise((1, 3, side, side), generator).double()) * amplitude
        noise = torch.fft.irfft2(waves, s=(side, side)).float()
        noise = noise.lerp(noise.mean(1, keepdim=True) * math.sqrt(3), GREY_FRACTION)
        yield (0.45 + NOISE_CONTRAST * noise / noise.std()).clamp(0, 1)


def _activation_vectors(network: Network, layer: str, image: Tensor) -> Tensor:
    """What the layer answers at each position, (M, C)."""
    with torch.no_grad():
        seen: Tensor = network.activations(image, (layer,))[layer][0].float()
    return seen.flatten(1).T if seen.dim() == 3 else seen[None]
