"""Transforms of images (N, 3, H, W): random ones, periodic edges, and smoothing of gradients."""

from __future__ import annotations

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from dream import deterministic
from dream.tensors import Size, WrapDims, resize, size_of

# Device types where `grid_sample` lacks reflection padding or its backward pass (pytorch#169143).
NO_REFLECTION_DEVICES = ("mps",)


# Distance over which edges count as detail, in pixels of an octave; the share of an image's mean
# detail that is full detail; and the detail, in [0, 1] per pixel, below which an image is flat.
DETAIL_RADIUS_PIXELS = 5.0
DETAIL_SHARE = 0.6
MIN_DETAIL = 0.1 / 255

# Dimensions that wrap for each value of `DreamRecipe.seamless`.
WRAP_DIMS: dict[str, WrapDims] = {"none": (), "across": (3,), "all": (2, 3)}


def random_shift(image: Tensor, max_shift: int, generator: torch.Generator) -> tuple[int, int]:
    """Return a random (down, right) shift, each up to `max_shift` pixels or a quarter of a side."""
    down, right = (
        int(torch.randint(-limit, limit + 1, (), generator=generator))
        for limit in (min(max_shift, side // 4) for side in image.shape[2:])
    )
    return down, right


def jitter(image: Tensor, max_shift: int, generator: torch.Generator) -> Tensor:
    """Shift the image circularly by a `random_shift`."""
    return torch.roll(image, random_shift(image, max_shift, generator), dims=(2, 3))


def quantise_8bit(image: Tensor) -> Tensor:
    """Round the image to 8 bits, as saving and loading it would."""
    return (image * 255).round_().div_(255)


def pad_edges(image: Tensor, down: int, right: int, wrap_dims: WrapDims) -> Tensor:
    """Pad the top and bottom by `down` and the sides by `right` pixels.

    Padding is circular in `wrap_dims` and mirrored in other dimensions.
    """
    if not wrap_dims:
        return F.pad(image, (right, right, down, down), mode="reflect")
    for dim, pads in ((2, (0, 0, down, down)), (3, (right, right, 0, 0))):
        mode = "circular" if dim in wrap_dims else "reflect"
        image = F.pad(image, pads, mode=mode) if any(pads) else image
    return image


def make_periodic(image: Tensor, wrap_dims: WrapDims) -> Tensor:
    """Return the periodic component of images (N, 3, H, W) in [0, 1], whose opposite edges match.

    It is the image minus the smooth component of Moisan, "Periodic plus smooth image
    decomposition", 2011: the smoothest image with the same jumps between opposite edges. Dimensions
    that do not wrap are mirrored.
    """
    if not wrap_dims:
        return image
    upcast = deterministic.upcast(image)
    jumps = torch.zeros_like(upcast)
    for dim in wrap_dims:
        last = upcast.shape[dim] - 1
        jump = upcast.narrow(dim, last, 1) - upcast.narrow(dim, 0, 1)
        jumps.narrow(dim, 0, 1).add_(jump)
        jumps.narrow(dim, last, 1).sub_(jump)
    for dim in {2, 3}.difference(wrap_dims):
        jumps = torch.cat((jumps, jumps.flip(dim)), dim)
    # Solve the Poisson equation in frequency space, where the Laplacian is a product.
    indices = (torch.arange(side, device=image.device) for side in size_of(jumps))
    rows, columns = (
        2 * torch.cos(2 * math.pi * deterministic.upcast(index) / len(index)) for index in indices
    )
    laplacian = rows[:, None] + columns[: len(columns) // 2 + 1] - 4
    laplacian[0, 0] = 1  # The mean of the jumps is 0; avoid 0 / 0.
    smooth = torch.fft.irfft2(torch.fft.rfft2(jumps) / laplacian, s=size_of(jumps))
    periodic: Tensor = upcast - smooth[:, :, : image.shape[2], : image.shape[3]]
    if periodic.dtype == torch.float64:
        periodic = deterministic.round_to_float32(periodic)
    return periodic.clamp(0, 1)


def blur(image: Tensor, sigma: float, wrap_dims: WrapDims = ()) -> Tensor:
    """Blur by a Gaussian of `sigma` pixels, cut off at three sigma; edges as in `pad_edges`."""
    if sigma == 0:
        return image
    radii = [min(math.ceil(3 * sigma), side - 1) for side in image.shape[2:]]
    image = pad_edges(image, radii[0], radii[1], wrap_dims)
    for dim, radius in zip((2, 3), radii, strict=True):
        # Sum shifted images: a convolution takes ten times the memory of the image.
        weights = [math.exp(-((offset / sigma) ** 2) / 2) for offset in range(radius + 1)]
        total = 2 * sum(weights) - weights[0]
        side = image.shape[dim] - 2 * radius
        blurred = image.narrow(dim, radius, side) * (weights[0] / total)
        for offset, weight in enumerate(weights[1:], start=1):
            for start in (radius - offset, radius + offset):
                blurred.add_(image.narrow(dim, start, side), alpha=weight / total)
        image = blurred
    return image


def detail_map(image: Tensor, wrap_dims: WrapDims = (), mask: Tensor | None = None) -> Tensor:
    """Return how much detail images (N, 3, H, W) in [0, 1] have around each pixel, (N, 1, H, W).

    It is 1 where edges are at least as strong as `DETAIL_SHARE` of their mean over the image, or
    over the `mask` (1, 1, H, W), and falls to 0 in flat areas. So an image that is smooth all over
    counts as detailed.
    """
    edges = torch.zeros_like(image[:, :1])
    for dim in (2, 3):
        # One channel at a time, and in place: whole copies of a large image take much memory.
        steps = (channel.diff(dim=dim).abs_() for channel in torch.split(image, 1, 1))
        edges.narrow(dim, 1, image.shape[dim] - 1).add_(reduce(torch.maximum, steps))
        if dim in wrap_dims:
            step = image.narrow(dim, 0, 1) - image.narrow(dim, image.shape[dim] - 1, 1)
            edges.narrow(dim, 0, 1).add_(step.abs_().amax(1, keepdim=True))
    edges = blur(edges, DETAIL_RADIUS_PIXELS, wrap_dims)
    mean = deterministic.mean(edges if mask is None else edges * mask, (1, 2, 3), keepdim=True)
    if mask is not None:
        mean /= deterministic.mean(mask, (1, 2, 3), keepdim=True).clamp(min=MIN_DETAIL)
    return edges.add_(MIN_DETAIL).div_(DETAIL_SHARE * mean + MIN_DETAIL).clamp_(max=1)


def total_variation_gradient(image: Tensor, wrap_dims: WrapDims = ()) -> Tensor:
    """Return the gradient of the total variation, (N, C, H, W) (Rudin, Osher and Fatemi 1992).

    Total variation is the sum of absolute differences between neighbours, in each channel.
    Differences of about a grey level or less weigh less, so that flat areas stay flat.
    """
    gradient = torch.zeros_like(image)
    for dim in (2, 3):
        step = image.diff(dim=dim)
        step /= step.abs() + 1 / 255
        count = image.shape[dim] - 1
        gradient.narrow(dim, 1, count).add_(step)
        gradient.narrow(dim, 0, count).sub_(step)
        if dim in wrap_dims:
            step = image.narrow(dim, 0, 1) - image.narrow(dim, count, 1)
            step /= step.abs() + 1 / 255
            gradient.narrow(dim, 0, 1).add_(step)
            gradient.narrow(dim, count, 1).sub_(step)
    return gradient


def normalise_pyramid(gradient: Tensor, bands: int, wrap_dims: WrapDims = ()) -> Tensor:
    """Normalise the gradient by a Laplacian pyramid (TensorFlow's deep dream notebook, 2015).

    Split it into `bands` octaves of frequency (fewer if it is too small), divide each by its mean
    absolute value, and sum them, so that high frequencies do not outweigh low ones. With one band,
    return it unchanged.
    """
    if bands < 2:
        return gradient
    details = []
    for _ in range(bands - 1):
        if min(gradient.shape[2:]) < 4:
            break
        height, width = gradient.shape[2:]
        coarse = resize(gradient, ((height + 1) // 2, (width + 1) // 2), wrap_dims)
        details.append(gradient - resize(coarse, (height, width), wrap_dims))
        gradient = coarse
    total = _normalise_band(gradient)
    for detail in reversed(details):
        total = resize(total, size_of(detail), wrap_dims) + _normalise_band(detail)
    return total


def _normalise_band(band: Tensor) -> Tensor:
    """Divide the band of each image by its mean absolute value."""
    magnitude = deterministic.mean(band.abs(), (1, 2, 3), keepdim=True)
    return band / magnitude.clamp(min=torch.finfo(band.dtype).tiny)


def random_crops(image: Tensor, generator: torch.Generator, *, share: float, count: int) -> Tensor:
    """Return random crops of `share` of the sides, enlarged to full size: (count * N, 3, H, W)."""
    crops = []
    for draw in torch.rand(count, 2, generator=generator).tolist():
        # Shift from the centre, in pixels of the enlarged crop; the crop stays inside the image.
        down, right = (
            (1 - share) / share * side * (0.5 - uniform)
            for side, uniform in zip(image.shape[2:], draw, strict=True)
        )
        crops.append(apply_affine(image, angle=0, zoom=1 / share, shift=(down, right)))
    return torch.cat(crops)


def random_affine(
    image: Tensor,
    generator: torch.Generator,
    zoom_range: tuple[float, float] = (0.9, 1.1),
    max_shift: float = 8,
) -> Tensor:
    """Rotate, zoom and shift all images of a batch by the same random amounts.

    The angle is at most 10 degrees, the shift `max_shift` pixels. This suppresses speckles, which
    do not survive such changes. One resampling replaces Lucid's pad, jitter, scale, rotate and
    jitter, with equally clean results.
    """
    draw = torch.rand(4, generator=generator).tolist()
    low, high = zoom_range
    return apply_affine(
        image,
        angle=math.radians(10) * (2 * draw[0] - 1),
        zoom=low + (high - low) * draw[1],
        shift=(max_shift * (2 * draw[2] - 1), max_shift * (2 * draw[3] - 1)),
    )


def random_colours(image: Tensor, generator: torch.Generator) -> Tensor:
    """Change the contrast of all images by up to a fifth, and each colour by up to a tenth of 1."""
    contrast, *shifts = (2 * torch.rand(4, generator=generator) - 1).tolist()
    channels = zip(torch.split(image, 1, 1), shifts, strict=True)
    return torch.cat(
        [(channel - 0.5) * (1 + 0.2 * contrast) + (0.5 + 0.1 * each) for channel, each in channels],
        1,
    )


def centre_window(size: Size) -> Tensor:
    """Return weights (H, W), 1 in the middle, 0.18 at edges and 0.07 in corners, float32.

    They are a Gaussian whose standard deviation is a quarter of the side, plus a floor of 0.05.
    Weighted so, an ascent forms one subject in the middle (Nguyen, Yosinski and Clune,
    "Multifaceted feature visualization", 2016).
    """
    rows, columns = ((2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1 for side in size)
    squared = rows[:, None].square() + columns.square()
    return (0.05 + 0.95 * torch.exp(-squared / (2 * 0.5**2))).float()


def apply_affine(image: Tensor, *, angle: float, zoom: float, shift: tuple[float, float]) -> Tensor:
    """Rotate clockwise by `angle` radians about the centre, enlarge `zoom` times, then shift.

    `shift` is (down, right) in pixels. Sampling is bilinear; edges are mirrored.
    """
    height, width = image.shape[2:]
    cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
    down, right = shift
    # The source of each pixel, in coordinates from -1 to 1 along both sides.
    y, x = (
        (2 * deterministic.upcast(torch.arange(side, device=image.device)) + 1) / side - 1
        for side in (height, width)
    )
    y = y[:, None]
    source_x = cosine * x + sine * height / width * y - 2 * (cosine * right + sine * down) / width
    source_y = cosine * y - sine * width / height * x - 2 * (cosine * down - sine * right) / height
    grid = torch.stack((source_x, source_y), 2).to(image.dtype)
    grid = grid.expand(len(image), -1, -1, -1)
    device = "cpu" if image.device.type in NO_REFLECTION_DEVICES else image.device
    sampled = F.grid_sample(
        image.to(device), grid.to(device), padding_mode="reflection", align_corners=False
    )
    return sampled.to(image.device)
