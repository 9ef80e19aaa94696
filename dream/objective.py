"""What a picture shall raise: weighted sums of terms, each a number worked out from activations.

Terms are values, not closures: they compare, hash and pickle. They are called with the activations
of a batch of N pictures, each (N, C, H, W) or (N, C), and give N values, in float32. A new
objective is one function that makes an `Objective`; they add, subtract and scale:

>>> both = energy("inception4c") + 0.5 * channel("inception3b", 42)
>>> both.layers
('inception4c', 'inception3b')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Activations = Mapping[str, Tensor]
CENTRE = (0.5, 0.5)
# The picture itself, as the network is given it: its mean taken away, in units of its deviation.
PICTURE = "picture"


class Term(Protocol):
    """One number a picture, worked out from one layer."""

    @property
    def layer(self) -> str: ...

    def __call__(self, activations: Activations) -> Tensor: ...


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; always raised, never lowered."""

    terms: tuple[tuple[float, Term], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer the terms read, each once."""
        return tuple(dict.fromkeys(term.layer for _, term in self.terms))

    def __call__(self, activations: Activations) -> Tensor:
        values = [weight * term(activations) for weight, term in self.terms]
        return sum(values[1:], start=values[0])

    def __add__(self, other: Objective) -> Objective:
        return Objective(self.terms + other.terms)

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def __neg__(self) -> Objective:
        return -1 * self

    def __mul__(self, factor: float) -> Objective:
        return Objective(tuple((factor * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Batch:
    """An objective of its own for each picture of a batch, read in one forward pass."""

    objectives: tuple[Objective, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer the objectives read, each once."""
        return tuple(dict.fromkeys(layer for each in self.objectives for layer in each.layers))

    def __call__(self, activations: Activations) -> Tensor:
        alone = {layer: torch.split(each, 1) for layer, each in activations.items()}
        return torch.cat(
            [
                objective({layer: alone[layer][place] for layer in objective.layers})
                for place, objective in enumerate(self.objectives)
            ]
        )


@dataclass(frozen=True)
class Energy:
    """Half the squared L2 norm of a layer; its gradient there is the activation itself."""

    layer: str

    def __call__(self, activations: Activations) -> Tensor:
        return activations[self.layer].float().square().flatten(1).sum(1) / 2


@dataclass(frozen=True)
class Direction:
    """A weighted sum of channels: its mean over the picture, or its value `at` one position.

    `at` is (down, right) in shares of the height and the width, from 0 to 1.
    """

    layer: str
    weights: tuple[tuple[int, float], ...]
    at: tuple[float, float] | None = None

    def __call__(self, activations: Activations) -> Tensor:
        activation = activations[self.layer]
        if self.at and activation.dim() == 4:
            row, column = (
                min(int(share * side), side - 1)
                for share, side in zip(self.at, activation.shape[2:], strict=True)
            )
            activation = activation[:, :, row, column]
        channels, weights = zip(*self.weights, strict=True)
        seen = activation[:, list(channels)].float()
        return (seen.flatten(2).mean(2) if seen.dim() == 4 else seen) @ seen.new_tensor(weights)


@dataclass(frozen=True)
class LogSumExp:
    """The smooth maximum of all logits: what all classes together have."""

    layer: str

    def __call__(self, activations: Activations) -> Tensor:
        logits = activations[self.layer].float()
        return logits.flatten(2).mean(2).logsumexp(1) if logits.dim() == 4 else logits.logsumexp(1)


def energy(layer: str) -> Objective:
    """Whatever the layer sees, it shall see more of (Mordvintsev et al. 2015)."""
    return Objective(((1.0, Energy(layer)),))


def direction(
    layer: str, weights: Mapping[int, float], at: tuple[float, float] | None = None
) -> Objective:
    """A mix of channels, by weight: all over the picture, or at one position."""
    return Objective(((1.0, Direction(layer, tuple(weights.items()), at)),))


def channel(layer: str, channel: int) -> Objective:
    """One channel, all over the picture: textures and many copies (Olah et al. 2017)."""
    return direction(layer, {channel: 1.0})


def neuron(layer: str, channel: int, at: tuple[float, float] = CENTRE) -> Objective:
    """One channel at one position, the middle by default: a single subject there."""
    return direction(layer, {channel: 1.0}, at)


def logit(layer: str, label: int) -> Objective:
    """The score of a class before the softmax, in the last layer (Simonyan et al. 2013)."""
    return direction(layer, {label: 1.0})


def margin(layer: str, label: int, rivals: float) -> Objective:
    """The score of a class, less a share of what all classes together have.

    A mere logit may be raised along with its rivals', and then stalls in texture; a probability is
    raised soonest by putting rivals down, which other networks do not fall for. This is between.
    """
    return logit(layer, label) - Objective(((rivals, LogSumExp(layer)),))


def squared_norm() -> Objective:
    """The squared L2 norm of the picture as the network is given it."""
    return 2 * energy(PICTURE)
