"""Octaves: the sizes at which an image is dreamed."""

from __future__ import annotations

import math

from dream.errors import PictureError
from dream.recipe.base import Recipe
from dream.recipe.knob import knobs
from dream.tensors import Size, limit_size, scale_size


def recipe_sizes(recipe: Recipe, size: Size, octaves: int = 1, scale: float = 1.4) -> list[Size]:
    """Return the `octave_sizes` of an image of that (height, width), limited by the recipe's size.

    Raises:
        PictureError: as `octave_sizes`; the message names a size that is large enough, if any.
    """
    knob_name, min_side = recipe.size_knob_name, recipe.card.min_side
    side = getattr(recipe, knob_name)
    try:
        return octave_sizes(size, octaves, scale, max_side=side, min_side=min_side)
    except PictureError as error:
        needed = math.ceil(min_side * max(size) / min(size))
        if side < needed <= min(int(knobs(recipe)[knob_name].high), max(size)):
            raise PictureError(f"{error}; set {knob_name} to {needed} or more") from error
        raise


def octave_sizes(
    size: Size, octaves: int, scale: float, *, max_side: int, min_side: int
) -> list[Size]:
    """Return the (height, width) of each octave, smallest first.

    The last one is `size` with its longest side limited to `max_side` pixels. Each size is computed
    from the last one, so that rounding errors do not add up. Octaves with a side below `min_side`
    are left out, because the network cannot read them.

    Raises:
        PictureError: if even the last size has a side below `min_side`.

    >>> octave_sizes((560, 840), octaves=3, scale=1.4, max_side=420, min_side=32)
    [(143, 214), (200, 300), (280, 420)]
    """
    full = limit_size(size, max_side)
    if min(full) < min_side:
        fitted = f", {full[1]} x {full[0]} with its longest side at most {max_side}"
        raise PictureError(
            f"the image is {size[1]} x {size[0]} pixels{fitted if full != size else ''}; "
            f"the network needs {min_side} or more on each side"
        )
    sizes = [scale_size(full, scale**-octave) for octave in reversed(range(octaves))]
    return [size for size in sizes if min(size) >= min_side]
