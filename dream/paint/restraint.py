"""What holds a dream back: the photo it began with, its colours, a mask, smoothness."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dream.paint.ascent import Rule
from dream.paint.transform import roughness
from dream.tensors import Around, Size, luminance, resized


@dataclass(frozen=True)
class Base:
    """The picture (1, 3, H, W) that a dream began with at one octave, and what of it must stay.

    Where the `mask` (1, 1, H, W) is 0 all stays, bit for bit; with `keep_colours` only the
    brightness changes. What goes `around` has no edge.
    """

    picture: Tensor
    mask: Tensor | None = None
    keep_colours: bool = False
    around: Around = ()

    def at(self, size: Size) -> Base:
        """The same at the size (height, width) of an octave."""
        if self.picture.shape[2:] == size:
            return self
        mask = None if self.mask is None else resized(self.mask, size)
        picture = resized(self.picture, size, self.around)
        return Base(picture, mask, self.keep_colours, self.around)

    def hold(self, dreamed: Tensor) -> Tensor:
        """What of a dream (which is written over) may be: in [0, 1], what must stay kept."""
        if self.keep_colours:
            # As far as no channel of a pixel leaves its range: clipping one would change the hue.
            brighter = luminance(dreamed.sub_(self.picture))
            darkest, brightest = (
                self.picture.amin(1, keepdim=True),
                self.picture.amax(1, keepdim=True),
            )
            dreamed = self.picture + brighter.clamp(-darkest, 1 - brightest)
        dreamed = dreamed.clamp_(0, 1)
        return dreamed if self.mask is None else torch.where(self.mask > 0, dreamed, self.picture)


@dataclass(frozen=True)
class Restrained:
    """A rule whose every step is held back.

    Of its change, `mask` by `mask` is taken; then the total variation is lowered by `smoother` on
    the mean of a pixel, and the picture goes a share `pull` of the way back to the base.
    """

    rule: Rule
    base: Base
    smoother: float = 0.0
    pull: float = 0.0

    def __call__(self, picture: Tensor, gradient: Tensor) -> Tensor:
        moved = self.rule(picture, gradient)
        if self.smoother:
            # It comes of four neighbours, each 1 at most: about 2 on the mean.
            moved.sub_(roughness(picture, self.base.around), alpha=self.smoother / 2)
        if self.base.mask is not None:
            moved = torch.lerp(picture, moved, self.base.mask)
        if self.pull:
            moved = moved.lerp_(self.base.picture, self.pull)
        return self.base.hold(moved)
