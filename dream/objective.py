"""What a dream raises: weighted sums of terms, each a number worked out from activations.

Terms are values, not closures: they compare, hash and pickle. A new objective is one term.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Activations = Mapping[str, Tensor]


@dataclass(frozen=True)
class Energy:
    """Half the squared L2 norm of a layer: whatever it sees, it shall see more of.

    Its gradient at the layer is the activation itself (Mordvintsev et al. 2015). Summed in float32.
    """

    layer: str

    def __call__(self, activations: Activations) -> Tensor:
        return activations[self.layer].float().square().sum() / 2


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; always raised, never lowered."""

    terms: tuple[tuple[float, Energy], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer the terms read, each once."""
        return tuple(dict.fromkeys(term.layer for _, term in self.terms))

    def __call__(self, activations: Activations) -> Tensor:
        values = [weight * term(activations) for weight, term in self.terms]
        return sum(values[1:], start=values[0])


def energy(layers: tuple[tuple[str, float], ...]) -> Objective:
    """The objective that raises the `Energy` of those layers, each by its weight."""
    return Objective(tuple((weight, Energy(layer)) for layer, weight in layers))
