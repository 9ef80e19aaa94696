"""Gradient ascent on a picture: the one loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dream.network import ValueAndGrad
from dream.transform import blur, random_shift, roll

# Keeps a gradient of all zeros (a dead channel) from turning the picture into NaN.
EPSILON = 1e-12


def ascend(
    picture: Tensor,
    value_and_grad: ValueAndGrad,
    generator: torch.Generator,
    *,
    iterations: int,
    step: float,
    jitter: int,
    smoothing: float,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Climb, yielding after each step the new picture (1, 3, H, W) and the value before the step.

    A step sees the picture rolled by a random `jitter`, blurs the gradient by `smoothing` pixels,
    and moves pixels by `step` grey levels of 255 on the mean: divided by its mean absolute value,
    the gradient has the same strength at every layer, octave and picture (Mordvintsev et al. 2015;
    by its L2 norm, as some have it, a step is far too small to see). Pictures stay in [0, 1].
    """
    for _ in range(iterations):
        down, right = random_shift(picture, jitter, generator)
        value, gradient = value_and_grad(roll(picture, (down, right)))
        gradient = blur(roll(gradient, (-down, -right)), smoothing)
        gradient /= gradient.abs().mean() + EPSILON
        picture = (picture + step / 255 * gradient).clamp(0, 1)
        yield picture, value
