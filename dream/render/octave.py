"""Octaves: the sizes a picture is dreamed at."""

from __future__ import annotations

import math

from dream.errors import PictureError
from dream.recipe.base import Recipe
from dream.recipe.knob import knobs
from dream.tensors import Size, limit_size, scale_size


def sizes_of(recipe: Recipe, size: Size, octaves: int = 1, scale: float = 1.4) -> list[Size]:
    """The `octave_sizes` of a picture of that (height, width), as large as the recipe says."""
    side, most = (
        getattr(recipe, recipe.size_knob_name),
        int(knobs(recipe)[recipe.size_knob_name].high),
    )
    try:
        return octave_sizes(size, octaves, scale, max_side=side, min_side=recipe.card.min_side)
    except PictureError as error:
        enough = math.ceil(recipe.card.min_side * max(size) / min(size))
        if side < enough <= min(most, max(size)):
            raise PictureError(
                f"{error}; a {recipe.size_knob_name} of {enough} would do"
            ) from error
        raise


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
    full = limit_size(size, max_side)
    if min(full) < min_side:
        fitted = f", {full[1]} x {full[0]} with its longest side at most {max_side}"
        raise PictureError(
            f"the picture is {size[1]} x {size[0]} pixels{fitted if full != size else ''}; "
            f"the network needs {min_side} or more on each side"
        )
    sizes = [scale_size(full, scale**-octave) for octave in reversed(range(octaves))]
    return [size for size in sizes if min(size) >= min_side]
