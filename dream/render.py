"""From a recipe to frames: each function here is one kind of picture, in straight lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from dream import zoo
from dream.ascent import ascend
from dream.network import Network
from dream.objective import energy
from dream.octave import Size, octave_sizes, resize
from dream.picture import to_image
from dream.recipe import DreamRecipe


@dataclass(frozen=True)
class Frame:
    """A moment of a dream: how far it has come, and the picture as it is now.

    `step` of `total` counts over all octaves, `octave` of `octaves` from 1; `done` is the share of
    the work, from 0 to 1, that lies behind. Frames stay as they are; nothing is worked out, nor
    copied from the device, until `value` or `picture()` is asked for.
    """

    step: int
    total: int
    octave: int
    octaves: int
    done: float
    original: Tensor
    base: Tensor
    dreamed: Tensor
    objective: Tensor | None

    @property
    def value(self) -> float:
        """The objective before this step, NaN for the first frame; comparable within one octave."""
        return math.nan if self.objective is None else float(self.objective)

    @property
    def tensor(self) -> Tensor:
        """The picture, (1, 3, H, W) in [0, 1], at full size whatever the octave."""
        if self.dreamed.shape == self.original.shape:
            return self.dreamed
        detail = resize(self.dreamed - self.base, _size(self.original))
        return (self.original + detail).clamp(0, 1)

    def picture(self) -> Image.Image:
        """The picture as an 8-bit RGB image of its own."""
        return to_image(self.tensor)


def dream(network: Network, picture: Tensor, recipe: DreamRecipe) -> Iterator[Frame]:
    """Dream a picture (1, 3, H, W) in [0, 1]; yields a frame after each step.

    The first frame is the picture untouched, but for its longest side limited to the recipe's
    `max_side`; the last one is the result. Every octave starts from the original, shrunk to its
    size, plus the detail that the octaves before have won: so nothing of the photo is lost to
    shrinking, and with no iterations it comes back exactly.

    Raises:
        PictureError: if a side is smaller than the network reads.
    """
    sizes = dream_sizes(picture, recipe)
    original = resize(picture, sizes[-1]).clamp(0, 1)
    value_and_grad = network.value_and_grad(energy(recipe.layers()))
    # On the CPU whatever the device, so that the same seed rolls alike everywhere.
    generator = torch.Generator().manual_seed(recipe.seed)
    total = len(sizes) * recipe.iterations
    work = sum(math.prod(size) for size in sizes) * recipe.iterations
    step = worked = 0
    detail = torch.zeros_like(original)
    yield Frame(0, total, 1, len(sizes), 0.0, original, original, original, None)
    for octave, size in enumerate(sizes, start=1):
        base = resize(original, size).clamp(0, 1)
        dreamed = (base + resize(detail, size)).clamp(0, 1)
        steps = ascend(
            dreamed,
            value_and_grad,
            generator,
            iterations=recipe.iterations,
            step=recipe.step,
            jitter=recipe.jitter,
            smoothing=recipe.smoothing,
        )
        for dreamed, value in steps:
            step += 1
            worked += math.prod(size)
            yield Frame(
                step, total, octave, len(sizes), worked / work, original, base, dreamed, value
            )
        detail = dreamed - base


def dream_sizes(picture: Tensor, recipe: DreamRecipe) -> list[Size]:
    """The octaves (height, width), smallest first, that this picture is dreamed at.

    Raises:
        PictureError: if a side is smaller than the network reads.
    """
    return octave_sizes(
        _size(picture),
        recipe.octaves,
        recipe.scale,
        max_side=recipe.max_side,
        min_side=zoo.card(recipe.model).min_side,
    )


def _size(picture: Tensor) -> Size:
    return picture.shape[2], picture.shape[3]
