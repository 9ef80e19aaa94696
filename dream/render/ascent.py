"""Gradient ascent: the step loop and its optimizers."""

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

# Added to divisors, so that a gradient of all zeros (a dead channel) does not become NaN.
EPSILON = 1e-12

# Number of initial steps that use redirected ReLU gradients (see `RedirectedReLU`).
REDIRECTED_RELU_STEPS = 16

ImageFunction = Callable[[Tensor], Tensor]
# (variables, gradient) -> next variables. An optimizer may overwrite the gradient.
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
    """Run gradient ascent; yield the variables after each step and the values (N,) before it.

    A step renders the variables to images (N, 3, H, W), applies a random transform, computes the
    objective's values and gradient on the transformed images, backpropagates the gradient through
    transform and canvas to the variables, and passes it to the optimizer.
    """
    for _ in range(steps):
        values, gradient = _value_and_gradient(variables, render, transform, value_and_grad)
        variables = optimizer(variables, gradient)
        yield variables, values


def _value_and_gradient(
    variables: Tensor, render: ImageFunction, transform: ImageFunction, value_and_grad: ValueAndGrad
) -> tuple[Tensor, Tensor]:
    """Return the values (N,) of the transformed images, and the gradient of the variables."""
    leaf = variables.detach().requires_grad_()
    with torch.enable_grad():
        transformed = transform(render(leaf))
    values, gradient = value_and_grad(transformed)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(_FixedGradient.apply(transformed, gradient), leaf)
    return values, gradient


class _FixedGradient(torch.autograd.Function):
    """A scalar zero whose gradient with respect to `image` is `gradient`.

    With `grad_outputs=gradient` torch would import its compiler, which takes a third of a second.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return image.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None


def redirect_first_steps(
    redirected: ValueAndGrad, plain: ValueAndGrad, step_counter: Iterator[int]
) -> ValueAndGrad:
    """Return a function that calls `redirected` in the first counted steps, then `plain`."""

    def value_and_grad(image: Tensor) -> tuple[Tensor, Tensor]:
        return (redirected if next(step_counter) < REDIRECTED_RELU_STEPS else plain)(image)

    return value_and_grad


@dataclass(frozen=True)
class NormalisedStep:
    """Optimizer that moves pixels by `step` grey levels of 255 on average.

    It divides the gradient by its mean absolute value inside the `mask` (1, 1, H, W), so that a
    step has the same strength at every layer and octave and in every image (Mordvintsev et al.
    2015). Divided by its L2 norm, as some do, a step would be far too small to see. Images are
    clamped to `bounds`.
    """

    step: float
    bounds: tuple[float, float] = (0.0, 1.0)
    mask: Tensor | None = None

    def __call__(self, image: Tensor, gradient: Tensor) -> Tensor:
        """Return the image after one step; overwrites the gradient."""
        # One channel at a time: the absolute values of a whole large image take much memory.
        magnitudes = [self._mean_magnitude(channel) for channel in gradient.unbind(1)]
        coverage = 1.0 if self.mask is None else deterministic.mean(self.mask, (0, 1, 2, 3))
        magnitude = torch.stack(magnitudes).mean(0).view(-1, 1, 1, 1) / (coverage + EPSILON)
        gradient.div_(magnitude + EPSILON).mul_(self.step / 255)
        return gradient.add_(image).clamp_(*self.bounds)

    def _mean_magnitude(self, channel: Tensor) -> Tensor:
        magnitude = channel.abs() if self.mask is None else channel.abs() * self.mask[:, 0]
        return deterministic.mean(magnitude, (1, 2))


@dataclass(frozen=True)
class SmoothedGradient:
    """Optimizer wrapper: blurs the gradient by `smoothing` pixels and normalises its `bands`."""

    optimizer: Optimizer
    smoothing: float = 0.0
    bands: int = 1
    wrap_dims: WrapDims = ()

    def __call__(self, image: Tensor, gradient: Tensor) -> Tensor:
        """Return the image after one step; overwrites the gradient."""
        for channel in torch.split(gradient, 1, 1):  # In place, to save memory.
            channel.copy_(blur(channel, self.smoothing, self.wrap_dims))
        return self.optimizer(image, normalise_pyramid(gradient, self.bands, self.wrap_dims))


class Adam:
    """Adam (Kingma and Ba 2015) for ascent; each variable moves by about the learning rate a step.

    The learning rate is multiplied by `decay` after each step. An instance keeps its moments
    between steps, so each ascent needs a new one.
    """

    def __init__(
        self, learning_rate: float, decay: float = 1.0, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.learning_rate = learning_rate
        self.learning_rate_decay = decay
        self.betas = betas
        self.step_count = 0
        self.first_moment: Tensor | float = 0.0
        self.second_moment: Tensor | float = 0.0

    def __call__(self, variables: Tensor, gradient: Tensor) -> Tensor:
        """Return the variables after one step."""
        self.step_count += 1
        beta1, beta2 = self.betas
        self.first_moment = beta1 * self.first_moment + (1 - beta1) * gradient
        self.second_moment = beta2 * self.second_moment + (1 - beta2) * gradient.square()
        mean = self.first_moment / (1 - beta1**self.step_count)
        deviation = (self.second_moment / (1 - beta2**self.step_count)).sqrt()
        rate = self.learning_rate * self.learning_rate_decay ** (self.step_count - 1)
        return variables + rate * mean / (deviation + 1e-8)
