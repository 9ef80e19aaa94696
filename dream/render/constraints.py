"""Constraints of a dream: pull to the photo, kept colours, a mask, total variation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dream.render.ascent import Optimizer
from dream.render.transform import total_variation_gradient
from dream.tensors import Size, WrapDims, luminance, resize_clamped


@dataclass(frozen=True)
class OctaveBase:
    """The image (1, 3, H, W) that an octave starts from, and what the dream must keep of it.

    Where the `mask` (1, 1, H, W) is 0, pixels stay bit-equal. With `keep_colours` only the
    brightness changes.
    """

    image: Tensor
    mask: Tensor | None = None
    keep_colours: bool = False
    wrap_dims: WrapDims = ()

    def at_size(self, size: Size) -> OctaveBase:
        """Return this base resized to an octave's (height, width)."""
        if self.image.shape[2:] == size:
            return self
        mask = None if self.mask is None else resize_clamped(self.mask, size)
        image = resize_clamped(self.image, size, self.wrap_dims)
        return OctaveBase(image, mask, self.keep_colours, self.wrap_dims)

    def constrain(self, dreamed: Tensor) -> Tensor:
        """Clamp `dreamed` to [0, 1] and restore masked pixels and colours; overwrites `dreamed`."""
        if self.keep_colours:
            # Limit the change so that no channel is clipped, which would change the hue.
            change = luminance(dreamed.sub_(self.image))
            low, high = self.image.amin(1, keepdim=True), self.image.amax(1, keepdim=True)
            dreamed = self.image + change.clamp(-low, 1 - high)
        dreamed = dreamed.clamp_(0, 1)
        return dreamed if self.mask is None else torch.where(self.mask > 0, dreamed, self.image)


@dataclass(frozen=True)
class ConstrainedOptimizer:
    """Optimizer wrapper that constrains each step to a base.

    It lowers the total variation by about `total_variation_step` per pixel on average, scales the
    change by the mask, moves the image a share `pull` of the way back to the base, and applies
    `OctaveBase.constrain`.
    """

    optimizer: Optimizer
    base: OctaveBase
    total_variation_step: float = 0.0
    pull: float = 0.0

    def __call__(self, image: Tensor, gradient: Tensor) -> Tensor:
        """Return the image after one constrained step."""
        moved = self.optimizer(image, gradient)
        if self.total_variation_step:
            # Four neighbours contribute at most 1 each: the mean magnitude is about 2.
            moved.sub_(
                total_variation_gradient(image, self.base.wrap_dims),
                alpha=self.total_variation_step / 2,
            )
        if self.base.mask is not None:
            moved = torch.lerp(image, moved, self.base.mask)
        if self.pull:
            moved = moved.lerp_(self.base.image, self.pull)
        return self.base.constrain(moved)
