"""Gradient ascent: the step loop, its optimizers, and the constraints of a dream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dream import deterministic
from dream.networks.network import ValueAndGrad
from dream.render.transform import (
    blur,
    detail_map,
    normalise_pyramid,
    total_variation_gradient,
)
from dream.tensors import Size, WrapDims, luminance, resize_clamped, size_of

# Added to divisors, so that a gradient of all zeros (a dead channel) does not become NaN.
EPSILON = 1e-12

# Number of initial steps that use redirected ReLU gradients (see `RedirectedReLU`).
REDIRECTED_RELU_STEPS = 16

ImageFunction = Callable[[Tensor], Tensor]
# (variables, gradient) -> next variables. An optimizer may overwrite the gradient.
Optimizer = Callable[[Tensor, Tensor], Tensor]

NO_BOUNDS = (-math.inf, math.inf)
ADAM_BETAS = (0.9, 0.999)


def identity(image: Tensor) -> Tensor:
    """Return the image unchanged."""
    return image


@dataclass
class Ascent:
    """One gradient ascent, for one stage; `variables` change with each step.

    `render` turns variables into images (N, 3, H, W), `transform` is a random view of these, and
    `preview` turns variables into images in [0, 1] at the full size, whatever the stage.
    """

    variables: Tensor
    value_and_grad: ValueAndGrad
    optimizer: Optimizer
    render: ImageFunction = identity
    transform: ImageFunction = identity
    preview: ImageFunction = identity


def gradient_ascent(ascent: Ascent, steps: int) -> Iterator[Tensor]:
    """Take steps of an ascent; yield the values (N,) before each of them.

    A step computes the objective's values and gradient on transformed images, backpropagates the
    gradient through transform and canvas to the variables, and passes it to the optimizer.
    """
    for _ in range(steps):
        values, gradient = _value_and_gradient(ascent)
        ascent.variables = ascent.optimizer(ascent.variables, gradient)
        yield values


def _value_and_gradient(ascent: Ascent) -> tuple[Tensor, Tensor]:
    """Return the values (N,) of the transformed images, and the gradient of the variables."""
    leaf = ascent.variables.detach().requires_grad_()
    with torch.enable_grad():
        transformed = ascent.transform(ascent.render(leaf))
    values, gradient = ascent.value_and_grad(transformed)
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
    make_evaluator: Callable[..., ValueAndGrad], step_counter: Iterator[int]
) -> ValueAndGrad:
    """Return an evaluator whose first counted steps redirect gradients through closed ReLUs.

    `make_evaluator` is called with `redirect_relus`.
    """
    redirected, plain = make_evaluator(redirect_relus=True), make_evaluator(redirect_relus=False)

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

    def __init__(self, learning_rate: float, decay: float = 1.0) -> None:
        self.learning_rate = learning_rate
        self.learning_rate_decay = decay
        self.step_count = 0
        self.first_moment: Tensor | float = 0.0
        self.second_moment: Tensor | float = 0.0

    def __call__(self, variables: Tensor, gradient: Tensor) -> Tensor:
        """Return the variables after one step."""
        self.step_count += 1
        beta1, beta2 = ADAM_BETAS
        self.first_moment = beta1 * self.first_moment + (1 - beta1) * gradient
        self.second_moment = beta2 * self.second_moment + (1 - beta2) * gradient.square()
        mean = self.first_moment / (1 - beta1**self.step_count)
        deviation = (self.second_moment / (1 - beta2**self.step_count)).sqrt()
        rate = self.learning_rate * self.learning_rate_decay ** (self.step_count - 1)
        return variables + rate * mean / (deviation + 1e-8)


@dataclass(frozen=True)
class OctaveBase:
    """The images (N, 3, H, W) that an octave starts from, and what the dream must keep of them.

    Where the `mask` (1, 1, H, W) is 0, pixels stay bit-equal. Of each step's change of colour, a
    share `keep_colours` is dropped; with 1 only the brightness changes. Where they are smooth,
    or `detail_image` in its place, steps are weaker by the share `quiet`.
    """

    image: Tensor
    mask: Tensor | None = None
    keep_colours: float = 0.0
    quiet: float = 0.0
    wrap_dims: WrapDims = ()
    detail_image: Tensor | None = None

    def at_size(self, size: Size) -> OctaveBase:
        """Return this base resized to an octave's (height, width)."""
        if size_of(self.image) == size:
            return self
        mask = None if self.mask is None else resize_clamped(self.mask, size)
        image = resize_clamped(self.image, size, self.wrap_dims)
        detail = None if self.detail_image is None else resize_clamped(self.detail_image, size)
        return replace(self, image=image, mask=mask, detail_image=detail)

    @cached_property
    def quiet_weights(self) -> Tensor:
        """The share of a step (N, 1, H, W) that each pixel takes for being smooth."""
        image = self.image if self.detail_image is None else self.detail_image
        detail = detail_map(image, self.wrap_dims, self.mask)
        return detail.neg_().add_(1).mul_(-self.quiet).add_(1)  # 1 - quiet * (1 - detail)

    def limit_step(self, image: Tensor, moved: Tensor) -> Tensor:
        """Weaken a step from `image` to `moved` by colour, detail and mask; overwrites `moved`."""
        if self.quiet or 0 < self.keep_colours < 1:
            change = moved.sub_(image)
            if 0 < self.keep_colours < 1:
                # Not `lerp`, whose rounding depends on the processor.
                brightness = luminance(change).mul_(self.keep_colours)
                change.mul_(1 - self.keep_colours).add_(brightness)
            for weights in (self.quiet_weights if self.quiet else None, self.mask):
                if weights is not None:
                    change.mul_(weights)
            return change.add_(image)
        return moved if self.mask is None else torch.lerp(image, moved, self.mask)

    def constrain(self, dreamed: Tensor) -> Tensor:
        """Clamp `dreamed` to [0, 1] and restore masked pixels and colours; overwrites `dreamed`."""
        if self.keep_colours == 1:
            # Limit the change so that no channel is clipped, which would change the hue.
            change = luminance(dreamed.sub_(self.image))
            low, high = self.image.amin(1, keepdim=True), self.image.amax(1, keepdim=True)
            dreamed = self.image + change.clamp(-low, 1 - high)
        dreamed = dreamed.clamp_(0, 1)
        return dreamed if self.mask is None else torch.where(self.mask > 0, dreamed, self.image)


@dataclass(frozen=True)
class ConstrainedOptimizer:
    """Optimizer wrapper that constrains each step to a base.

    It lowers the total variation by about `total_variation_step` per pixel on average, weakens the
    step by `OctaveBase.limit_step`, moves the image a share `pull` of the way back to the base, and
    applies `OctaveBase.constrain`.
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
        moved = self.base.limit_step(image, moved)
        if self.pull:
            moved = moved.lerp_(self.base.image, self.pull)
        return self.base.constrain(moved)
