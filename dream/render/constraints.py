"""What holds a dream back: the photo it began with, its colours, a mask, smoothness."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dream.render.ascent import Optimizer
from dream.render.transform import total_variation_gradient
from dream.tensors import Size, WrapDims, luminance, resize_clamped


@dataclass(frozen=True)
class OctaveBase:
    """The picture (1, 3, H, W) that a dream began with at one octave, and what of it must stay.

    Where the `mask` (1, 1, H, W) is 0 all stays, bit for bit; with `keep_colours` only the
    brightness changes. What goes `around` has no edge.
    """

    image: Tensor
    mask: Tensor | None = None
    keep_colours: bool = False
    wrap_dims: WrapDims = ()

    def at_size(self, size: Size) -> OctaveBase:
        """The same at the size (height, width) of an octave."""
        if self.image.shape[2:] == size:
            return self
        mask = None if self.mask is None else resize_clamped(self.mask, size)
        picture = resize_clamped(self.image, size, self.wrap_dims)
        return OctaveBase(picture, mask, self.keep_colours, self.wrap_dims)

    def constrain(self, dreamed: Tensor) -> Tensor:
        """What of a dream (which is written over) may be: in [0, 1], what must stay kept."""
        if self.keep_colours:
            # As far as no channel of a pixel leaves its range: clipping one would change the hue.
            brighter = luminance(dreamed.sub_(self.image))
            darkest, brightest = (
                self.image.amin(1, keepdim=True),
                self.image.amax(1, keepdim=True),
            )
            dreamed = self.image + brighter.clamp(-darkest, 1 - brightest)
        dreamed = dreamed.clamp_(0, 1)
        return dreamed if self.mask is None else torch.where(self.mask > 0, dreamed, self.image)


@dataclass(frozen=True)
class ConstrainedOptimizer:
    """A rule whose every step is held back.

    Of its change, `mask` by `mask` is taken; then the total variation is lowered by `smoother` on
    the mean of a pixel, and the picture goes a share `pull` of the way back to the base.
    """

    optimizer: Optimizer
    base: OctaveBase
    total_variation_step: float = 0.0
    pull: float = 0.0

    def __call__(self, image: Tensor, gradient: Tensor) -> Tensor:
        moved = self.optimizer(image, gradient)
        if self.total_variation_step:
            # It comes of four neighbours, each 1 at most: about 2 on the mean.
            moved.sub_(
                total_variation_gradient(image, self.base.wrap_dims),
                alpha=self.total_variation_step / 2,
            )
        if self.base.mask is not None:
            moved = torch.lerp(image, moved, self.base.mask)
        if self.pull:
            moved = moved.lerp_(self.base.image, self.pull)
        return self.base.constrain(moved)
