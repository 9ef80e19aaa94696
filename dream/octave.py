"""Octaves: the sizes a picture is dreamed at, and the resizing between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from dream.errors import PictureError

Size = tuple[int, int]


def octave_sizes(
    size: Size, octaves: int, scale: float, *, max_side: int, min_side: int
) -> list[Size]:
    """Sizes (height, width) to dream at, smallest first; the last is `size`, `limited`.

    Every size is rounded from the full one, so that proportions do not drift from octave to
    octave. Octaves whose shorter side would fall below `min_side` pixels are left out: the
    network cannot read them.

    Raises:
        PictureError: if even the last size has a side below `min_side`.

    >>> octave_sizes((560, 840), octaves=3, scale=1.4, max_side=420, min_side=32)
    [(143, 214), (200, 300), (280, 420)]
    """
    full = limited(size, max_side)
    if min(full) < min_side:
        shrunk = f", {full[1]} x {full[0]} with its longest side at most {max_side}"
        raise PictureError(
            f"the picture is {size[1]} x {size[0]} pixels{shrunk if full != size else ''}; "
            f"the network needs {min_side} or more on each side"
        )
    sizes = [_shrunk(full, scale**-octave) for octave in reversed(range(octaves))]
    return [size for size in sizes if min(size) >= min_side]


def limited(size: Size | Sequence[int], max_side: int) -> Size:
    """That size (height, width), shrunk (never enlarged) to a longest side of `max_side` pixels."""
    return _shrunk((size[0], size[1]), min(1.0, max_side / max(size)))


def _shrunk(size: Size, factor: float) -> Size:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def resize(picture: Tensor, size: Size) -> Tensor:
    """The picture (or the detail of one) (N, C, H, W) at another (height, width).

    Antialiased bicubic in float32; the same tensor when the size is right already. It may overshoot
    the range of its input a little.
    """
    if picture.shape[2:] == size:
        return picture
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True)


def resized(picture: Tensor, size: Size) -> Tensor:
    """The picture at another (height, width), in [0, 1]; the same tensor if the size is right."""
    return picture if picture.shape[2:] == size else resize(picture, size).clamp_(0, 1)
