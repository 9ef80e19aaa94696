"""Gradient ascent: the one loop, and the rules by which it steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dream import deterministic
from dream.networks.network import ValueAndGrad
from dream.render.transform import blur, normalise_pyramid
from dream.tensors import WrapDims

# Keeps a gradient of all zeros (a dead channel) from turning the picture into NaN.
EPSILON = 1e-12

# For how many steps gradients find their way through ReLUs that are shut (see `RedirectedReLU`).
REDIRECTED_RELU_STEPS = 16

ImageFunction = Callable[[Tensor], Tensor]
# From variables and their gradient, which a rule may use up, to the next variables.
Optimizer = Callable[[Tensor, Tensor], Tensor]


def gradient_ascent(
    variables: Tensor,
    render: ImageFunction,
    transform: ImageFunction,
    value_and_grad: ValueAndGrad,
    optimizer: Optimizer,
    *,
    steps: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Climb, yielding after each step the new variables and the values (N,) before the step.

    A step paints the variables as pictures (N, 3, H, W), takes a random view of them, asks the
    network how that view should change, carries the gradient back through view and canvas, and
    leaves it to the rule what to make of it.
    """
    for _ in range(steps):
        values, gradient = _value_and_gradient(variables, render, transform, value_and_grad)
        variables = optimizer(variables, gradient)
        yield variables, values


def _value_and_gradient(
    variables: Tensor, paint: ImageFunction, view: ImageFunction, value_and_grad: ValueAndGrad
) -> tuple[Tensor, Tensor]:
    """The values (N,) of what a random view shows, and the gradient to the variables."""
    leaf = variables.detach().requires_grad_()
    with torch.enable_grad():
        seen = view(paint(leaf))
    values, gradient = value_and_grad(seen)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(_FixedGradient.apply(seen, gradient), leaf)
    return values, gradient


class _FixedGradient(torch.autograd.Function):
    """A number whose gradient to what is seen is the one that was given.

    Given to `torch.autograd.grad`, it would have torch import its compiler: a third of a second.
    """

    @staticmethod
    def forward(ctx: Any, seen: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return seen.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


def redirect_first_steps(
    redirected: ValueAndGrad, plain: ValueAndGrad, step_counter: Iterator[int]
) -> ValueAndGrad:
    """Values and gradients, those of the first steps, by that counter, through redirected ReLUs."""

    def value_and_grad(picture: Tensor) -> tuple[Tensor, Tensor]:
        return (redirected if next(step_counter) < REDIRECTED_RELU_STEPS else plain)(picture)

    return value_and_grad


@dataclass(frozen=True)
class NormalisedStep:
    """Moves the pixels of a picture by `step` grey levels of 255 on the mean.

    The gradient is divided by its mean absolute value, that inside of a `mask` (1, 1, H, W) where
    there is one: so a step has the same strength at every layer, octave and picture (Mordvintsev et
    al. 2015; by its L2 norm, as some have it, a step is far too small to see). Pictures are kept
    `within` these bounds.
    """

    step: float
    bounds: tuple[float, float] = (0.0, 1.0)
    mask: Tensor | None = None

    def __call__(self, image: Tensor, gradient: Tensor) -> Tensor:
        # Channel by channel, as the absolute values of all of a large picture take much memory.
        sizes = [
            deterministic.mean(self._apply_mask(each.abs()), (1, 2)) for each in gradient.unbind(1)
        ]
        share = 1.0 if self.mask is None else deterministic.mean(self.mask, (0, 1, 2, 3))
        size = torch.stack(sizes).mean(0).view(-1, 1, 1, 1) / (share + EPSILON)
        gradient.div_(size + EPSILON).mul_(self.step / 255)
        return gradient.add_(image).clamp_(*self.bounds)

    def _apply_mask(self, channel: Tensor) -> Tensor:
        return channel if self.mask is None else channel * self.mask[:, 0]


@dataclass(frozen=True)
class SmoothedGradient:
    """A rule that is given gradients blurred by `smoothing` pixels, their `bands` evened out."""

    optimizer: Optimizer
    smoothing: float = 0.0
    bands: int = 1
    wrap_dims: WrapDims = ()

    def __call__(self, image: Tensor, gradient: Tensor) -> Tensor:
        for channel in torch.split(gradient, 1, 1):  # In place: less memory for large pictures.
            channel.copy_(blur(channel, self.smoothing, self.wrap_dims))
        return self.optimizer(image, normalise_pyramid(gradient, self.bands, self.wrap_dims))


class Adam:
    """Adam (Kingma and Ba 2015), upwards; each number moves by about `rate` a step.

    The rate shrinks from step to step to its `decay`-th part.
    It keeps its moments from step to step, so each ascent needs one of its own.
    """

    def __init__(
        self, rate: float, decay: float = 1.0, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.learning_rate = rate
        self.learning_rate_decay = decay
        self.betas = betas
        self.step_count = 0
        self.first_moment: Tensor | float = 0.0
        self.second_moment: Tensor | float = 0.0

    def __call__(self, variables: Tensor, gradient: Tensor) -> Tensor:
        self.step_count += 1
        slow, slower = self.betas
        self.first_moment = slow * self.first_moment + (1 - slow) * gradient
        self.second_moment = slower * self.second_moment + (1 - slower) * gradient.square()
        mean = self.first_moment / (1 - slow**self.step_count)
        deviation = (self.second_moment / (1 - slower**self.step_count)).sqrt()
        rate = self.learning_rate * self.learning_rate_decay ** (self.step_count - 1)
        return variables + rate * mean / (deviation + 1e-8)
