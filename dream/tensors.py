"""Images as float tensors (N, 3, H, W), RGB in [0, 1]: conversion, resizing and checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream.errors import PictureError

Size = tuple[int, int]  # Height and width.
# Dimensions of an image (N, C, H, W) whose opposite edges meet: (), (3,) or (2, 3).
WrapDims = tuple[int, ...]
# Rows that are converted to float at once, to save memory.
ROWS_PER_CHUNK = 256


def size_of(image: Tensor) -> Size:
    """Return the (height, width) of an image (N, C, H, W)."""
    return image.shape[2], image.shape[3]


def limit_size(size: Size | Sequence[int], max_side: int) -> Size:
    """Return `size` (height, width), shrunk if its longest side exceeds `max_side` pixels."""
    return scale_size((size[0], size[1]), min(1.0, max_side / max(size)))


def scale_size(size: Size, factor: float) -> Size:
    """Return `size` times a factor, at least one pixel a side."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def even_size(size: Size) -> Size:
    """Return `size` with odd sides reduced by one, as video codecs need even sides."""
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


def resize(image: Tensor, size: Size, wrap_dims: WrapDims = ()) -> Tensor:
    """Resize images, or differences of images, (N, C, H, W) to another (height, width).

    Antialiased bicubic; it may overshoot the input's range a little. Edges wrap in `wrap_dims`.
    Returns the same tensor if it has that size.
    """
    if size_of(image) == size:
        return image
    for dim in wrap_dims:  # Resize three copies side by side and keep the middle one.
        side = size[dim - 2]
        tripled = list(size_of(image))
        tripled[dim - 2] = 3 * side
        image = torch.cat([image] * 3, dim)
        image = F.interpolate(image, size=tripled, mode="bicubic", antialias=True)
        image = image.narrow(dim, side, side)
    if size_of(image) == size:
        return image.contiguous()
    return F.interpolate(image, size=size, mode="bicubic", antialias=True)


def resize_clamped(image: Tensor, size: Size, wrap_dims: WrapDims = ()) -> Tensor:
    """Resize images to another (height, width) and clamp to [0, 1]; as `resize`."""
    return image if size_of(image) == size else resize(image, size, wrap_dims).clamp_(0, 1)


def luminance(image: Tensor) -> Tensor:
    """Return the luminance of images, or of differences of images, (N, 1, H, W) (ITU-R BT.601)."""
    red, green, blue = torch.split(image, 1, 1)
    return (0.299 * red).add_(0.587 * green).add_(0.114 * blue)


def to_tensor(image: Image.Image) -> Tensor:
    """Convert an 8-bit RGB image to a tensor (1, 3, H, W) in [0, 1]."""
    pixels = torch.empty(image.height, image.width, 3)
    for top in range(0, image.height, ROWS_PER_CHUNK):
        rows = pixels[top : top + ROWS_PER_CHUNK]
        rows.copy_(torch.from_numpy(np.array(image.crop((0, top, image.width, top + len(rows))))))
    return pixels.permute(2, 0, 1).unsqueeze(0).div_(255)


def to_pil_image(image: Tensor) -> Image.Image:
    """Convert a tensor (1, 3, H, W) in [0, 1] to an 8-bit RGB image, rounded to nearest.

    Raises:
        PictureError: if it has values that are not finite.
    """
    if not image.sum().isfinite():
        raise PictureError("the image has infinite or undefined values; try smaller weights")
    pixels = (image[0] * 255).round_().to("cpu", torch.uint8).permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def check_image(image: Tensor) -> Tensor:
    """Return the image in float32, without gradient.

    Raises:
        PictureError: if it is not a float tensor (1, 3, H, W) in [0, 1].
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        raise PictureError("an image must be a float tensor; load_image reads one from a file")
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[:2] != (1, 3) or not image.numel():
        raise PictureError(f"an image must have the shape (1, 3, H, W), not {shape}")
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):
        raise PictureError("the values of an image must lie in [0, 1]")
    return image.detach().float()
