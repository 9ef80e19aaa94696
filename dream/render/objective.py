"""What a picture shall raise: weighted sums of terms, each a number worked out from activations.

Terms are values, not closures: they compare, hash and pickle. They are called with the activations
of a batch of N pictures, each (N, C, H, W) or (N, C), and give N values, in float32. A new
objective is one function that makes an `Objective`; they add, subtract and scale:

>>> both = energy("inception4c") + 0.5 * channel("inception3b", 42)
>>> both.layers
('inception4c', 'inception3b')
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from dream import deterministic
from dream.networks.network import INPUT_LAYER, Activations

CENTRE = (0.5, 0.5)
# How many similarities are held at once (128 MB), however large picture and guide.
MAX_SIMILARITIES = 2**24


# How many positions do not count above, below, to the left and to the right.
Border = tuple[int, int, int, int]
NO_BORDER = (0, 0, 0, 0)


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

    def for_window(self, edges: tuple[bool, bool, bool, bool]) -> Objective:
        """What it is for a part of a picture that has those of its edges (above, below, to the
        left, to the right): only there is its border cut off.
        """
        return Objective(
            tuple((weight, _term_for_window(term, edges)) for weight, term in self.terms)
        )

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
class BatchObjective:
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
class NormalisedBlend:
    """Several objectives, each by its weight whatever its size: as if all were 1 now.

    Layers differ by orders of magnitude in what they answer; the larger would drown the other.
    `magnitudes` (parts, N) are what the objectives are divided by; None for what they are worth in
    the activations at hand.
    """

    weighted_objectives: tuple[tuple[float, Objective], ...]
    magnitudes: Tensor | None = field(default=None, compare=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer the objectives read, each once."""
        return tuple(
            dict.fromkeys(layer for _, each in self.weighted_objectives for layer in each.layers)
        )

    def __call__(self, activations: Activations) -> Tensor:
        known = self.measure(activations) if self.magnitudes is None else self.magnitudes
        tiny = torch.finfo(torch.float32).tiny
        magnitudes = known.abs().float().clamp(min=tiny)
        return torch.stack(
            [
                weight * each(activations) / magnitude
                for (weight, each), magnitude in zip(
                    self.weighted_objectives, magnitudes, strict=True
                )
            ]
        ).sum(0)

    def measure(self, activations: Activations) -> Tensor:
        """Return what each objective is worth (parts, N), summed in the precision of `sums`: one
        last bit of a divisor becomes another picture.
        """
        with torch.no_grad():
            wide = {layer: deterministic.upcast(activations[layer]) for layer in self.layers}
            return torch.stack(
                [deterministic.upcast(each(wide)) for _, each in self.weighted_objectives]
            )

    def for_window(self, edges: tuple[bool, bool, bool, bool]) -> NormalisedBlend:
        """As `Objective.within`."""
        return replace(
            self,
            weighted_objectives=tuple(
                (weight, each.for_window(edges)) for weight, each in self.weighted_objectives
            ),
        )


# What a dream may raise.
AnyObjective = Objective | NormalisedBlend


@dataclass(frozen=True)
class Energy:
    """Half the squared L2 norm of a layer; its gradient there is the activation itself."""

    layer: str
    border: Border = NO_BORDER

    def __call__(self, activations: Activations) -> Tensor:
        return (
            _flatten_positions(activations[self.layer], self.border).square().flatten(1).sum(1) / 2
        )


@dataclass(frozen=True)
class Mean:
    """The mean of a layer; of the `absolute` values, where asked for."""

    layer: str
    border: Border = NO_BORDER
    absolute: bool = False

    def __call__(self, activations: Activations) -> Tensor:
        activation = activations[self.layer]
        seen = _flatten_positions(activation, self.border)
        seen = (seen.abs() if self.absolute else seen).flatten(1).mean(1)
        return seen * _border_scale(activation, self.border)


@dataclass(frozen=True)
class Direction:
    """A weighted sum of channels: its mean over the picture, or its value `at` one position.

    `at` is (down, right) in shares of the height and the width, from 0 to 1.
    """

    layer: str
    weights: tuple[tuple[int, float], ...]
    position: tuple[float, float] | None = None
    border: Border = NO_BORDER

    def __call__(self, activations: Activations) -> Tensor:
        activation = activations[self.layer]
        if self.position and activation.dim() == 4:
            row, column = (
                min(int(share * side), side - 1)
                for share, side in zip(self.position, activation.shape[2:], strict=True)
            )
            activation = activation[:, :, row, column]
        channels, weights = zip(*self.weights, strict=True)
        chosen = activation.index_select(
            1, _device_constant(channels, torch.int64, activation.device)
        )
        seen = _flatten_positions(chosen, self.border).mean(2)
        weighted = seen @ _device_constant(weights, seen.dtype, seen.device)
        return weighted * _border_scale(activation, self.border)


@dataclass(frozen=True, eq=False)
class Match:
    """How much each position of a layer is like the position of a guide that it resembles most.

    `guide` (M, C) are the guide's activations less the `mean` (C,) that the layer has on any
    picture. Which one a position resembles is decided by the dot product of its own, centred too,
    with each of the guide's brought to length 1; then the dot product of the two is raised, summed
    over all positions. Without the centring every guide gives the same creature.
    """

    layer: str
    guide: Tensor
    mean: Tensor
    border: Border = NO_BORDER

    def __call__(self, activations: Activations) -> Tensor:
        seen = _flatten_positions(activations[self.layer], self.border).transpose(1, 2)
        with torch.no_grad():
            directions = F.normalize(deterministic.upcast(self.guide)).T
            most = max(1, MAX_SIMILARITIES // len(self.guide))
            best = [
                (deterministic.upcast(part - self.mean) @ directions).argmax(2)
                for part in torch.split(seen, most, 1)
            ]
            target = self.guide[torch.cat(best, 1)]
        return (seen * target).sum((1, 2))


@dataclass(frozen=True)
class LogSumExp:
    """The smooth maximum of all logits: what all classes together have."""

    layer: str

    def __call__(self, activations: Activations) -> Tensor:
        logits = deterministic.upcast(activations[self.layer])
        logits = logits.flatten(2).mean(2) if logits.dim() == 4 else logits
        return logits.logsumexp(1).float()


@lru_cache(maxsize=256)
def _device_constant(
    numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Numbers on a device, moved there once: to move them in each step would stop a GPU's queue."""
    return torch.tensor(numbers, dtype=dtype, device=device)


def _flatten_positions(activation: Tensor, border: Border) -> Tensor:
    """An activation (N, C, H, W) or (N, C) as (N, C, positions), in float32 (float64 stays), less
    its border.
    """
    precise = torch.promote_types(activation.dtype, torch.float32)
    if activation.dim() == 2:
        return activation.to(precise)[..., None]
    for dim, (start, stop) in _inner_spans(activation, border).items():
        activation = activation.narrow(dim, start, stop - start)
    return activation.to(precise).flatten(2)


def _inner_spans(activation: Tensor, border: Border) -> dict[int, tuple[int, int]]:
    """From where to where each side goes, less the border: one position at least stays."""
    spans = {}
    for dim, cut in ((2, border[:2]), (3, border[2:])):
        side = activation.shape[dim]
        most = (side - 1) // 2
        spans[dim] = min(cut[0], most), side - min(cut[1], most)
    return spans


def _border_scale(activation: Tensor, border: Border) -> float:
    """By what a mean is multiplied, where a border is cut off at some sides of a part alone, so
    that each position counts as in other parts.
    """
    if len(set(border)) == 1 or activation.dim() == 2:
        return 1.0
    inside = [stop - start for start, stop in _inner_spans(activation, border).values()]
    return math.prod(inside) / math.prod(activation.shape[2:])


def _term_for_window(term: Term, edges: tuple[bool, bool, bool, bool]) -> Term:
    border = getattr(term, "border", NO_BORDER)
    if not any(border):
        return term
    cut = tuple(each * edge for each, edge in zip(border, edges, strict=True))
    return replace(term, border=cut)  # type: ignore[type-var]


def _single_term(term: Term) -> Objective:
    return Objective(((1.0, term),))


def _uniform_border(border: int) -> Border:
    return (border, border, border, border)


def energy(layer: str, border: int = 0) -> Objective:
    """Whatever the layer sees, it shall see more of (Mordvintsev et al. 2015)."""
    return _single_term(Energy(layer, _uniform_border(border)))


def mean(layer: str, border: int = 0) -> Objective:
    """All channels alike: as the energy, but the strongest count no more than others."""
    return _single_term(Mean(layer, _uniform_border(border)))


def absolute(layer: str, border: int = 0) -> Objective:
    """The mean of the absolute values: a layer before its ReLU may go either way."""
    return _single_term(Mean(layer, _uniform_border(border), absolute=True))


def direction(
    layer: str,
    weights: Mapping[int, float],
    position: tuple[float, float] | None = None,
    border: int = 0,
) -> Objective:
    """A mix of channels, by weight: all over the picture, or at one position."""
    return _single_term(Direction(layer, tuple(weights.items()), position, _uniform_border(border)))


def match(layer: str, guide: Tensor, mean: Tensor, border: int = 0) -> Objective:
    """What is in a guide (activations (M, C), centred by `mean` (C,)), place by place: things."""
    return _single_term(Match(layer, guide, mean, _uniform_border(border)))


def texture(layer: str, guide: Tensor, border: int = 0) -> Objective:
    """What is in a guide (activations (M, C), centred), on the whole: stripes, petals, scales."""
    return direction(layer, dict(enumerate(deterministic.mean(guide, 0).tolist())), border=border)


def channel(layer: str, channel: int) -> Objective:
    """One channel, all over the picture: textures and many copies (Olah et al. 2017)."""
    return direction(layer, {channel: 1.0})


def neuron(layer: str, channel: int, position: tuple[float, float] = CENTRE) -> Objective:
    """One channel at one position, the middle by default: a single subject there."""
    return direction(layer, {channel: 1.0}, position)


def logit(layer: str, label: int) -> Objective:
    """The score of a class before the softmax, in the last layer (Simonyan et al. 2013)."""
    return direction(layer, {label: 1.0})


def logit_margin(layer: str, label: int, rival_weight: float) -> Objective:
    """The score of a class, less a share of what all classes together have.

    A mere logit may be raised along with its rivals', and then stalls in texture; a probability is
    raised soonest by putting rivals down, which other networks do not fall for. This is between.
    """
    return logit(layer, label) - Objective(((rival_weight, LogSumExp(layer)),))


def squared_norm() -> Objective:
    """The squared L2 norm of the picture as the network is given it."""
    return 2 * energy(INPUT_LAYER)
