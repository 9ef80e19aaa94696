"""Objectives: weighted sums of terms computed from activations.

A term maps the activations of N images, each (N, C, H, W) or (N, C), to N values in float32. Terms
are dataclasses, not closures, so that they compare, hash and pickle. A new objective is one
function that returns an `Objective`. Objectives can be added, subtracted and scaled:

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
# Similarities in memory at once (128 MB), however large image and guide are.
MAX_SIMILARITIES = 2**24

# Positions that are ignored at the top, bottom, left and right.
Border = tuple[int, int, int, int]
NO_BORDER = (0, 0, 0, 0)


class Term(Protocol):
    """Interface of a term: one value per image, computed from one layer."""

    @property
    def layer(self) -> str:
        """Name of the layer."""

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; it is always maximised."""

    terms: tuple[tuple[float, Term], ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the terms read, without repetition."""
        return tuple(dict.fromkeys(term.layer for _, term in self.terms))

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        values = [weight * term(activations) for weight, term in self.terms]
        return sum(values[1:], start=values[0])

    def for_window(self, edges: tuple[bool, bool, bool, bool]) -> Objective:
        """Return the objective for a window of an image.

        `edges` says whether the window touches the image's top, bottom, left and right edge; the
        border is ignored only there.
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
    """A separate objective for each image of a batch, in one forward pass."""

    objectives: tuple[Objective, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the objectives read, without repetition."""
        return tuple(dict.fromkeys(layer for each in self.objectives for layer in each.layers))

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        by_image = {layer: torch.split(each, 1) for layer, each in activations.items()}
        return torch.cat(
            [
                objective({layer: by_image[layer][index] for layer in objective.layers})
                for index, objective in enumerate(self.objectives)
            ]
        )


@dataclass(frozen=True)
class NormalisedBlend:
    """A weighted sum of objectives, each divided by its magnitude.

    Activations of layers differ by orders of magnitude; in a plain sum the largest would win.
    `magnitudes` (objectives, N) are the divisors; None measures them on the current activations.
    """

    weighted_objectives: tuple[tuple[float, Objective], ...]
    magnitudes: Tensor | None = field(default=None, compare=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that the objectives read, without repetition."""
        return tuple(
            dict.fromkeys(layer for _, each in self.weighted_objectives for layer in each.layers)
        )

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        measured = self.measure(activations) if self.magnitudes is None else self.magnitudes
        divisors = measured.abs().float().clamp(min=torch.finfo(torch.float32).tiny)
        parts = zip(self.weighted_objectives, divisors, strict=True)
        return torch.stack(
            [weight * each(activations) / divisor for (weight, each), divisor in parts]
        ).sum(0)

    def measure(self, activations: Activations) -> Tensor:
        """Return the value of each objective (objectives, N), without gradient.

        It is summed as in `dream.deterministic`: one different bit of a divisor changes the image.
        """
        with torch.no_grad():
            upcast = {layer: deterministic.upcast(activations[layer]) for layer in self.layers}
            return torch.stack(
                [deterministic.upcast(each(upcast)) for _, each in self.weighted_objectives]
            )

    def for_window(self, edges: tuple[bool, bool, bool, bool]) -> NormalisedBlend:
        """See `Objective.for_window`."""
        blended = ((weight, each.for_window(edges)) for weight, each in self.weighted_objectives)
        return replace(self, weighted_objectives=tuple(blended))


AnyObjective = Objective | NormalisedBlend


@dataclass(frozen=True)
class Energy:
    """Half the squared L2 norm of a layer; its gradient there is the activation itself."""

    layer: str
    border: Border = NO_BORDER

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        activation = _flatten_positions(activations[self.layer], self.border)
        return activation.square().flatten(1).sum(1) / 2


@dataclass(frozen=True)
class Mean:
    """The mean of a layer, or of its absolute values."""

    layer: str
    border: Border = NO_BORDER
    uses_absolute_values: bool = False

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        activation = activations[self.layer]
        values = _flatten_positions(activation, self.border)
        values = (values.abs() if self.uses_absolute_values else values).flatten(1).mean(1)
        return values * _border_scale(activation, self.border)


@dataclass(frozen=True)
class Direction:
    """A weighted sum of channels: its mean over the image, or its value at one position.

    `weights` are (channel, weight) pairs; `position` is (down, right) in shares of the height and
    the width, from 0 to 1.
    """

    layer: str
    weights: tuple[tuple[int, float], ...]
    position: tuple[float, float] | None = None
    border: Border = NO_BORDER

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        activation = activations[self.layer]
        if self.position and activation.dim() == 4:
            row, column = (
                min(int(share * side), side - 1)
                for share, side in zip(self.position, activation.shape[2:], strict=True)
            )
            activation = activation[:, :, row, column]
        channels, weights = zip(*self.weights, strict=True)
        index = _device_constant(channels, torch.int64, activation.device)
        means = _flatten_positions(activation.index_select(1, index), self.border).mean(2)
        weighted = means @ _device_constant(weights, means.dtype, means.device)
        return weighted * _border_scale(activation, self.border)


@dataclass(frozen=True, eq=False)
class Match:
    """The similarity of each position of a layer to the most similar position of a guide.

    `guide_activations` (M, C) are centred: minus the layer's `mean` activation (C,). The most
    similar guide position has the largest dot product of its activation, scaled to length 1, with
    that of the image, also centred. The value is the dot product of each position's activation with
    its match, summed over positions. Without centring, all guides give the same creature.
    """

    layer: str
    guide_activations: Tensor
    mean: Tensor
    border: Border = NO_BORDER

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        vectors = _flatten_positions(activations[self.layer], self.border).transpose(1, 2)
        with torch.no_grad():
            directions = F.normalize(deterministic.upcast(self.guide_activations)).T
            chunk_size = max(1, MAX_SIMILARITIES // len(self.guide_activations))
            best = [
                (deterministic.upcast(chunk - self.mean) @ directions).argmax(2)
                for chunk in torch.split(vectors, chunk_size, 1)
            ]
            target = self.guide_activations[torch.cat(best, 1)]
        return (vectors * target).sum((1, 2))


@dataclass(frozen=True)
class LogSumExp:
    """The log-sum-exp of all logits, a smooth maximum over the classes."""

    layer: str

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""
        logits = deterministic.upcast(activations[self.layer])
        logits = logits.flatten(2).mean(2) if logits.dim() == 4 else logits
        return logits.logsumexp(1).float()


@lru_cache(maxsize=256)
def _device_constant(
    numbers: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return numbers as a tensor on a device; cached, as each copy to a GPU stalls it."""
    return torch.tensor(numbers, dtype=dtype, device=device)


def _flatten_positions(activation: Tensor, border: Border) -> Tensor:
    """Return an activation as (N, C, positions), without its border, at least in float32."""
    dtype = torch.promote_types(activation.dtype, torch.float32)
    if activation.dim() == 2:
        return activation.to(dtype)[..., None]
    for dim, (start, stop) in _inner_spans(activation, border).items():
        activation = activation.narrow(dim, start, stop - start)
    return activation.to(dtype).flatten(2)


def _inner_spans(activation: Tensor, border: Border) -> dict[int, tuple[int, int]]:
    """Return (start, stop) for dimensions 2 and 3 without the border; one position always stays."""
    spans = {}
    for dim, (before, after) in ((2, border[:2]), (3, border[2:])):
        side = activation.shape[dim]
        most = (side - 1) // 2
        spans[dim] = min(before, most), side - min(after, most)
    return spans


def _border_scale(activation: Tensor, border: Border) -> float:
    """Return the share of positions inside an uneven border: all windows then weigh alike."""
    if len(set(border)) == 1 or activation.dim() == 2:
        return 1.0
    inner = [stop - start for start, stop in _inner_spans(activation, border).values()]
    return math.prod(inner) / math.prod(activation.shape[2:])


def _term_for_window(term: Term, edges: tuple[bool, bool, bool, bool]) -> Term:
    """Return the term with a border only at those edges (see `Objective.for_window`)."""
    border = getattr(term, "border", NO_BORDER)
    if not any(border):
        return term
    border = tuple(width * edge for width, edge in zip(border, edges, strict=True))
    return replace(term, border=border)  # type: ignore[type-var]


def _single_term(term: Term) -> Objective:
    return Objective(((1.0, term),))


def _uniform_border(border: int) -> Border:
    return (border, border, border, border)


def energy(layer: str, border: int = 0) -> Objective:
    """Return the DeepDream objective: half the layer's squared norm (Mordvintsev et al. 2015)."""
    return _single_term(Energy(layer, _uniform_border(border)))


def mean(layer: str, border: int = 0) -> Objective:
    """Return the mean of all channels; unlike `energy` it does not favour the most active ones."""
    return _single_term(Mean(layer, _uniform_border(border)))


def mean_absolute(layer: str, border: int = 0) -> Objective:
    """Return the mean absolute activation, for layers before a ReLU, which have both signs."""
    return _single_term(Mean(layer, _uniform_border(border), uses_absolute_values=True))


def direction(
    layer: str,
    weights: Mapping[int, float],
    position: tuple[float, float] | None = None,
    border: int = 0,
) -> Objective:
    """Return a weighted sum of channels, over the whole image or at one position."""
    return _single_term(Direction(layer, tuple(weights.items()), position, _uniform_border(border)))


def match(layer: str, guide_activations: Tensor, mean: Tensor, border: int = 0) -> Objective:
    """Return the similarity to a guide's (M, C) best matching positions: copies its objects.

    They are centred by `mean` (C,) (see `guide.centred_guide`).
    """
    return _single_term(Match(layer, guide_activations, mean, _uniform_border(border)))


def texture(layer: str, guide_activations: Tensor, border: int = 0) -> Objective:
    """Return the similarity to the mean of a centred guide (M, C): copies its stripes or scales."""
    weights = deterministic.mean(guide_activations, 0).tolist()
    return direction(layer, dict(enumerate(weights)), border=border)


def channel(layer: str, channel: int) -> Objective:
    """Return the mean of one channel, which gives textures and many copies (Olah et al. 2017)."""
    return direction(layer, {channel: 1.0})


def neuron(layer: str, channel: int, position: tuple[float, float] = CENTRE) -> Objective:
    """Return one channel at one position, by default the centre, which gives a single subject."""
    return direction(layer, {channel: 1.0}, position)


def logit(layer: str, label: int) -> Objective:
    """Return the score of a class before the softmax (Simonyan et al. 2013)."""
    return direction(layer, {label: 1.0})


def logit_margin(layer: str, label: int, rival_weight: float) -> Objective:
    """Return the logit of a class minus `rival_weight` times the log-sum-exp of all logits.

    A logit (weight 0) also grows with its rivals' and then ends in texture. A log-probability
    (weight 1) grows fastest by suppressing rivals, in ways that do not fool other networks.
    """
    return logit(layer, label) - Objective(((rival_weight, LogSumExp(layer)),))


def squared_norm() -> Objective:
    """Return the squared L2 norm of the network's normalised input."""
    return 2 * energy(INPUT_LAYER)
