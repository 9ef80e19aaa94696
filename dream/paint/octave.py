"""Octaves: the sizes a picture is dreamed at."""

from __future__ import annotations

from dream.errors import PictureError
from dream.tensors import Size, limited, shrunk


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
        fitted = f", {full[1]} x {full[0]} with its longest side at most {max_side}"
        raise PictureError(
            f"the picture is {size[1]} x {size[0]} pixels{fitted if full != size else ''}; "
            f"the network needs {min_side} or more on each side"
        )
    sizes = [shrunk(full, scale**-octave) for octave in reversed(range(octaves))]
    return [size for size in sizes if min(size) >= min_side]
