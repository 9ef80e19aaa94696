"""Gradient ascent: the one loop, and the rules by which it steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dream.network import ValueAndGrad
from dream.transform import blur

# Keeps a gradient of all zeros (a dead channel) from turning the picture into NaN.
EPSILON = 1e-12

Paint = Callable[[Tensor], Tensor]
Rule = Callable[[Tensor, Tensor], Tensor]


def ascend(
    variables: Tensor,
    paint: Paint,
    view: Paint,
    value_and_grad: ValueAndGrad,
    rule: Rule,
    *,
    steps: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Climb, yielding after each step the new variables and the values (N,) before the step.

    A step paints the variables as pictures (N, 3, H, W), takes a random view of them, asks the
    network how that view should change, carries the gradient back through view and canvas, and
    leaves it to the rule what to make of it.
    """
    for _ in range(steps):
        leaf = variables.detach().requires_grad_()
        with torch.enable_grad():
            seen = view(paint(leaf))
        values, gradient = value_and_grad(seen)
        (gradient,) = torch.autograd.grad(seen, leaf, gradient)
        variables = rule(variables, gradient)
        yield variables, values


@dataclass(frozen=True)
class Normalised:
    """Moves the pixels of a picture in [0, 1] by `step` grey levels of 255 on the mean.

    The gradient is blurred by `smoothing` pixels and divided by its mean absolute value: so it has
    the same strength at every layer, octave and picture (Mordvintsev et al. 2015; by its L2 norm,
    as some have it, a step is far too small to see).
    """

    step: float
    smoothing: float

    def __call__(self, picture: Tensor, gradient: Tensor) -> Tensor:
        gradient = blur(gradient, self.smoothing)
        gradient /= gradient.abs().mean() + EPSILON
        return (picture + self.step / 255 * gradient).clamp(0, 1)


class Adam:
    """Adam (Kingma and Ba 2015), upwards; each number moves by about `rate` a step.

    It keeps its moments from step to step, so each ascent needs one of its own.
    """

    def __init__(self, rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.rate = rate
        self.betas = betas
        self.steps = 0
        self.mean: Tensor | float = 0.0
        self.square: Tensor | float = 0.0

    def __call__(self, variables: Tensor, gradient: Tensor) -> Tensor:
        self.steps += 1
        slow, slower = self.betas
        self.mean = slow * self.mean + (1 - slow) * gradient
        self.square = slower * self.square + (1 - slower) * gradient.square()
        mean = self.mean / (1 - slow**self.steps)
        deviation = (self.square / (1 - slower**self.steps)).sqrt()
        return variables + self.rate * mean / (deviation + 1e-8)
