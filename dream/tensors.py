"""Pictures as float tensors (N, 3, H, W), RGB in [0, 1]: checked, resized, made of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream.errors import PictureError

Size = tuple[int, int]  # Height and width.
# The dimensions of a picture (N, C, H, W) whose two edges meet: none, (3,) or (2, 3).
WrapDims = tuple[int, ...]
# Pictures are made floats by so many rows, which takes less memory.
ROWS_PER_CHUNK = 256


def size_of(image: Tensor) -> Size:
    """The height and width of a picture (N, C, H, W)."""
    return image.shape[2], image.shape[3]


def limit_size(size: Size | Sequence[int], max_side: int) -> Size:
    """That size (height, width), shrunk (never enlarged) to a longest side of `max_side` pixels."""
    return scale_size((size[0], size[1]), min(1.0, max_side / max(size)))


def scale_size(size: Size, factor: float) -> Size:
    """That size times a factor, a pixel a side at least."""
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def even_size(size: Size) -> Size:
    """That size with sides that a video may have: even, a pixel less where they are not."""
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


def resize(image: Tensor, size: Size, wrap_dims: WrapDims = ()) -> Tensor:
    """The picture (or the detail of one) (N, C, H, W) at another (height, width).

    Antialiased bicubic in float32; the same tensor when the size is right already. It may overshoot
    the range of its input a little. What is `around` goes on at the other edge.
    """
    if size_of(image) == size:
        return image
    for dim in wrap_dims:  # One after the other, as three of it side by side, of which one is kept.
        side = size[dim - 2]
        threefold = list(size_of(image))
        threefold[dim - 2] = 3 * side
        image = torch.cat([image] * 3, dim)
        image = F.interpolate(image, size=threefold, mode="bicubic", antialias=True)
        image = image.narrow(dim, side, side)
    if size_of(image) == size:
        return image.contiguous()
    return F.interpolate(image, size=size, mode="bicubic", antialias=True)


def resize_clamped(image: Tensor, size: Size, wrap_dims: WrapDims = ()) -> Tensor:
    """The picture at another (height, width), in [0, 1]; the same tensor if the size is right."""
    return image if size_of(image) == size else resize(image, size, wrap_dims).clamp_(0, 1)


def luminance(image: Tensor) -> Tensor:
    """How bright each pixel is, (N, 1, H, W), or the change of it (ITU-R BT.601)."""
    red, green, blue = torch.split(image, 1, 1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def to_tensor(image: Image.Image) -> Tensor:
    """An 8-bit RGB image as a picture (1, 3, H, W)."""
    pixels = torch.empty(image.height, image.width, 3)
    for top in range(0, image.height, ROWS_PER_CHUNK):
        rows = pixels[top : top + ROWS_PER_CHUNK]
        rows.copy_(torch.from_numpy(np.array(image.crop((0, top, image.width, top + len(rows))))))
    return pixels.permute(2, 0, 1).unsqueeze(0).div_(255)


def to_pil_image(image: Tensor) -> Image.Image:
    """A picture (1, 3, H, W) as an 8-bit RGB image, rounded to the nearest level.

    Raises:
        PictureError: if it is not finite.
    """
    if not image.sum().isfinite():
        raise PictureError(
            "this went beyond all numbers and left no picture; smaller weights may help"
        )
    pixels = (image[0] * 255).round_().to("cpu", torch.uint8).permute(1, 2, 0)
    return Image.fromarray(pixels.contiguous().numpy())


def check_image(image: Tensor) -> Tensor:
    """The picture in float32.

    Raises:
        PictureError: if it is no float tensor (1, 3, H, W) in [0, 1].
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        raise PictureError("a picture is a float tensor; load_image makes one of a file")
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[:2] != (1, 3) or not image.numel():
        raise PictureError(f"a picture is a tensor (1, 3, H, W), not {shape}")
    low, high = image.aminmax()
    if not (low >= 0 and high <= 1):
        raise PictureError("the values of a picture lie in [0, 1]")
    return image.detach().float()
