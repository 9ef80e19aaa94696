"""Objectives: weighted sums of terms computed from activations.

A term maps the activation of N images at one layer, (N, C, H, W) or (N, C), to N values in float32.
A new objective is one function that returns an `Objective`; recipes choose it by a name in
`LAYER_OBJECTIVES` and `recipe.dream.OBJECTIVE_REQUIREMENTS`. Sums that its gradient depends on are
computed by `deterministic.upcast`. With tiles the values of windows are added, so a mean is scaled
by `_border_scale`; another statistic is that of each window. Objectives can be added, subtracted
and scaled:

>>> both = energy("inception4c") + 0.5 * channel("inception3b", 42)
>>> both.layers
('inception4c', 'inception3b')
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from dream import deterministic
from dream.networks.network import INPUT_LAYER, Activations, Network
from dream.recipe.base import WeightedNames
from dream.recipe.dream import DreamRecipe
from dream.render.guide import centred_guide, salient_positions

# Similarities in memory at once (128 MB), however large image and guide are.
MAX_SIMILARITIES = 2**24
# Positions that do not resemble the guide need a gradient too.
MIN_COSINE = 0.1
# Lengths are at least this, so that a position of all zeros has a cosine.
MIN_LENGTH = 1e-8

# Positions that are ignored at the top, bottom, left and right.
Border = tuple[int, int, int, int]
# Whether a window touches the image's top, bottom, left and right edge.
ImageEdges = tuple[bool, bool, bool, bool]


@dataclass(frozen=True)
class Term:
    """One value per image, (N,), that `evaluate` computes from an activation and a border."""

    layer: str
    evaluate: Callable[[Tensor, Border], Tensor]
    border: Border


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
        values = [
            weight * term.evaluate(activations[term.layer], term.border)
            for weight, term in self.terms
        ]
        return sum(values[1:], start=values[0])

    def for_window(self, edges: ImageEdges) -> Objective:
        """Return the objective for a window of an image: a border only at the image's edges."""
        terms = []
        for weight, term in self.terms:
            top, bottom, left, right = (
                width * edge for width, edge in zip(term.border, edges, strict=True)
            )
            terms.append((weight, replace(term, border=(top, bottom, left, right))))
        return Objective(tuple(terms))

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
class NormalisedBlend:
    """A weighted sum of objectives, each divided by its magnitude.

    Activations of layers differ by orders of magnitude; in a plain sum the largest would win.
    `magnitudes` (objectives, N) are the divisors; None measures them on the current activations.
    """

    weighted_objectives: tuple[tuple[float, Objective], ...]
    magnitudes: Tensor | None = None

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

    def for_window(self, edges: ImageEdges) -> NormalisedBlend:
        """See `Objective.for_window`."""
        blended = ((weight, each.for_window(edges)) for weight, each in self.weighted_objectives)
        return replace(self, weighted_objectives=tuple(blended))


AnyObjective = Objective | NormalisedBlend


def _single_term(
    layer: str, evaluate: Callable[[Tensor, Border], Tensor], border: int = 0
) -> Objective:
    """Return an objective of one term with weight 1 and the same border on all sides."""
    return Objective(((1.0, Term(layer, evaluate, (border, border, border, border))),))


def energy(layer: str, border: int = 0) -> Objective:
    """Return the DeepDream objective: half the layer's squared norm (Mordvintsev et al. 2015).

    Its gradient at the layer is the activation itself.
    """

    def evaluate(activation: Tensor, border: Border) -> Tensor:
        return _flatten_positions(activation, border).square().flatten(1).sum(1) / 2

    return _single_term(layer, evaluate, border)


def mean(layer: str, border: int = 0, *, absolute: bool = False) -> Objective:
    """Return the mean of all channels; unlike `energy` it does not favour the most active ones.

    `absolute` takes the mean absolute value, for layers before a ReLU, which have both signs.
    """

    def evaluate(activation: Tensor, border: Border) -> Tensor:
        values = _flatten_positions(activation, border)
        values = values.abs() if absolute else values
        return values.flatten(1).mean(1) * _border_scale(activation, border)

    return _single_term(layer, evaluate, border)


def direction(
    layer: str,
    weights: Mapping[int, float],
    position: tuple[float, float] | None = None,
    border: int = 0,
) -> Objective:
    """Return a weighted sum of channels: its mean over the image, or its value at one position.

    `position` is (down, right) in shares of the height and the width, from 0 to 1.
    """
    numbers, factors = tuple(weights), tuple(weights.values())

    def evaluate(activation: Tensor, border: Border) -> Tensor:
        if position and activation.dim() == 4:
            row, column = (
                min(int(share * side), side - 1)
                for share, side in zip(position, activation.shape[2:], strict=True)
            )
            activation = activation[:, :, row, column]
        index = _device_constant(numbers, torch.int64, activation.device)
        means = _flatten_positions(activation.index_select(1, index), border).mean(2)
        weighted = means @ _device_constant(factors, means.dtype, means.device)
        return weighted * _border_scale(activation, border)

    return _single_term(layer, evaluate, border)


def match(
    layer: str, guide_activations: Tensor, mean: Tensor, border: int = 0, use_cosine: bool = False
) -> Objective:
    """Return the similarity of positions to the most similar ones of a guide: copies its objects.

    `guide_activations` (M, C) are centred: minus the layer's `mean` activation (C,) (see
    `guide.centred_guide`). The most similar guide position has the largest dot product of its
    activation, scaled to length 1, with that of the image, also centred. The value is the dot
    product of each position's activation with its match, summed over positions. Without centring,
    all guides give the same creature.

    With `use_cosine` activations are centred in that product too, and it is multiplied by their
    cosine, at least 0.1, as in Lucid's caricatures: it then counts which channels a position
    activates, and not only how strongly.
    """
    directions = F.normalize(deterministic.upcast(guide_activations)).T
    chunk_size = max(1, MAX_SIMILARITIES // len(guide_activations))

    def evaluate(activation: Tensor, border: Border) -> Tensor:
        vectors = _flatten_positions(activation, border).transpose(1, 2)
        with torch.no_grad():
            best = [
                (deterministic.upcast(chunk - mean) @ directions).argmax(2)
                for chunk in torch.split(vectors, chunk_size, 1)
            ]
            target = guide_activations[torch.cat(best, 1)]
        if use_cosine:
            return _times_cosine(vectors - mean, target)
        return (vectors * target).sum((1, 2))

    return _single_term(layer, evaluate, border)


def _times_cosine(vectors: Tensor, target: Tensor) -> Tensor:
    """Return the sum (N,) of the products of vectors (N, P, C) and targets, times their cosines.

    Sums over channels are part of its gradient: (2 cos) target - (cos product / length²) vector.
    So these two factors are rounded to float32 first, and the gradient is that of a stand-in.
    """
    with torch.no_grad():
        upcast, upcast_target = deterministic.upcast(vectors), deterministic.upcast(target)
        product = (upcast * upcast_target).sum(2, keepdim=True)
        length = upcast.norm(dim=2, keepdim=True).clamp(min=MIN_LENGTH)
        cosine = product / (length * upcast_target.norm(dim=2, keepdim=True)).clamp(min=MIN_LENGTH)
        is_similar = cosine > MIN_COSINE
        value = (product * cosine.clamp(min=MIN_COSINE)).sum((1, 2)).float()
        towards = torch.where(is_similar, 2 * cosine, MIN_COSINE).float()
        away = torch.where(is_similar, cosine * product / length.square(), 0.0).float()
    stand_in = (towards * vectors * target - away / 2 * vectors.square()).sum((1, 2))
    with_gradient: Tensor = value + (stand_in - stand_in.detach())
    return with_gradient


def texture(layer: str, guide_activations: Tensor, border: int = 0) -> Objective:
    """Return the similarity to the mean of a centred guide (M, C): copies its stripes or scales."""
    weights = deterministic.mean(guide_activations, 0).tolist()
    return direction(layer, dict(enumerate(weights)), border=border)


def channel(layer: str, channel: int) -> Objective:
    """Return the mean of one channel, which gives textures and many copies (Olah et al. 2017)."""
    return direction(layer, {channel: 1.0})


def neuron(layer: str, channel: int, position: tuple[float, float] = (0.5, 0.5)) -> Objective:
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

    def log_sum_exp(activation: Tensor, _: Border) -> Tensor:
        logits = deterministic.upcast(activation)
        logits = logits.flatten(2).mean(2) if logits.dim() == 4 else logits
        return logits.logsumexp(1).float()

    return logit(layer, label) - rival_weight * _single_term(layer, log_sum_exp)


def squared_norm() -> Objective:
    """Return the squared L2 norm of the network's normalised input."""
    return 2 * energy(INPUT_LAYER)


def batch(objectives: Sequence[Objective]) -> Objective:
    """Return an objective for a batch from that of each image; all read the same layer."""
    (layer,) = {layer for each in objectives for layer in each.layers}

    def evaluate(activation: Tensor, _: Border) -> Tensor:
        parts = zip(objectives, torch.split(activation, 1), strict=True)
        return torch.cat([each({layer: part}) for each, part in parts])

    return _single_term(layer, evaluate)


LAYER_OBJECTIVES: dict[str, Callable[[str, int], Objective]] = {
    "norm": energy,
    "mean": mean,
    "absolute": partial(mean, absolute=True),
}


def dream_objective(
    network: Network, recipe: DreamRecipe, layers: WeightedNames, guide: Tensor | None = None
) -> Objective:
    """Return the weighted sum of the recipe's objectives at those layers.

    `guide` is the decoded image (1, 3, H, W) of the recipe's guide, if it has one.
    """
    return reduce(
        operator.add,
        (weight * _layer_objective(network, recipe, layer, guide) for layer, weight in layers),
    )


def _layer_objective(
    network: Network, recipe: DreamRecipe, layer: str, guide: Tensor | None
) -> Objective:
    """Return the recipe's objective at one layer."""
    if recipe.channels:
        network.check_channels(layer, (channel for channel, _ in recipe.channel_weights))
        return direction(layer, dict(recipe.channel_weights), border=recipe.border)
    if guide is None:
        return LAYER_OBJECTIVES[recipe.objective](layer, recipe.border)
    activations, mean_activation = centred_guide(network, layer, guide)
    if recipe.objective == "texture":
        return texture(layer, activations, recipe.border)
    if recipe.objective == "match":
        return match(layer, activations, mean_activation, recipe.border)
    salient = salient_positions(activations)
    return match(layer, salient, mean_activation, recipe.border, use_cosine=True)


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
