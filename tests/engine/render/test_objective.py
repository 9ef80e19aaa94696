"""Objectives add, subtract and scale; each equals a NumPy reference on the same activations."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dream.networks.network import Network
from dream.render.objective import (
    NormalisedBlend,
    batch,
    channel,
    direction,
    energy,
    logit,
    logit_margin,
    mean,
    neuron,
    squared_norm,
)


@pytest.fixture
def activations() -> dict[str, Tensor]:
    """Return activations of two images at two layers, and logits."""
    generator = torch.Generator().manual_seed(2)
    return {
        "a": torch.randn(2, 5, 4, 7, generator=generator),
        "b": torch.randn(2, 3, 2, 2, generator=generator).bfloat16(),
        "fc": torch.randn(2, 10, generator=generator),
    }


def test_each_term_equals_numpy(activations: dict[str, Tensor]) -> None:
    a, fc = activations["a"].numpy(), activations["fc"].numpy()
    for objective, expected in (
        (energy("a"), (a**2).sum((1, 2, 3)) / 2),
        (channel("a", 3), a[:, 3].mean((1, 2))),
        (neuron("a", 3), a[:, 3, 2, 3]),
        (neuron("a", 3, position=(1.0, 0.0)), a[:, 3, 3, 0]),
        (direction("a", {1: 0.5, 4: -2.0}), (0.5 * a[:, 1] - 2 * a[:, 4]).mean((1, 2))),
        (logit("fc", 7), fc[:, 7]),
        (neuron("fc", 7), fc[:, 7]),
        (mean("a"), a.mean((1, 2, 3))),
        (mean("a", absolute=True), np.abs(a).mean((1, 2, 3))),
        (energy("a", border=1), (a[:, :, 1:-1, 1:-1] ** 2).sum((1, 2, 3)) / 2),
        # The border leaves at least one row of each half of four, and one of seven columns.
        (mean("a", border=8), a[:, :, 1:3, 3:4].mean((1, 2, 3))),
        (
            direction("a", {1: 0.5, 4: -2.0}, border=1),
            (0.5 * a[:, 1] - 2 * a[:, 4])[:, 1:-1, 1:-1].mean((1, 2)),
        ),
        (mean("fc", border=3, absolute=True), np.abs(fc).mean(1)),
        (logit_margin("fc", 7, 0.4), fc[:, 7] - 0.4 * np.log(np.exp(fc).sum(1))),
    ):
        assert np.allclose(objective(activations).numpy(), expected, atol=1e-5), objective


def test_objectives_compose(activations: dict[str, Tensor]) -> None:
    one, two = channel("a", 0), energy("b")
    combined = 2 * one - two * 0.5 + -logit("fc", 1)
    expected = 2 * one(activations) - 0.5 * two(activations) - activations["fc"][:, 1]
    assert torch.allclose(combined(activations), expected)
    assert combined.layers == ("a", "b", "fc")


def test_a_blend_counts_each_objective_as_one_on_any_number_of_threads() -> None:
    generator = torch.Generator().manual_seed(4)
    seen = {name: 9 * torch.rand(1, 64, 150, 150, generator=generator) for name in "ab"}
    blend = NormalisedBlend(((0.25, energy("a")), (0.75, mean("b"))))
    assert blend(seen).item() == pytest.approx(1)
    gradients = []
    own = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 5, 8):
            torch.set_num_threads(threads)
            leaves = {name: each.clone().requires_grad_() for name, each in seen.items()}
            gradients.append(torch.autograd.grad(blend(leaves).sum(), list(leaves.values())))
    finally:
        torch.set_num_threads(own)
    for each in gradients[1:]:
        assert all(map(torch.equal, each, gradients[0]))


def test_a_batch_gives_each_picture_its_own_objective(activations: dict[str, Tensor]) -> None:
    objectives = (channel("a", 0), energy("a") - logit("a", 4))
    assert batch(objectives).layers == ("a",)
    first, second = (each(activations)[place] for place, each in enumerate(objectives))
    assert torch.allclose(batch(objectives)(activations), torch.stack([first, second]))


def test_a_batch_has_the_gradients_of_its_pictures_alone(network64: Network, noise: Tensor) -> None:
    pictures = torch.cat([noise, noise.flip(3), noise.flip(2)])
    objectives = (channel("inception4a", 5), energy("inception4a"), neuron("inception4a", 285))
    values, gradients = network64.value_and_grad(batch(objectives))(pictures)
    for place, objective in enumerate(objectives):
        value, gradient = network64.value_and_grad(objective)(pictures[place : place + 1])
        assert torch.allclose(values[place], value, rtol=1e-4)
        assert gradient.any()
        assert (gradients[place] - gradient[0]).abs().max() < 1e-5 * gradient.abs().max()


def test_the_squared_norm_is_that_of_what_the_network_is_given(
    network: Network, noise: Tensor
) -> None:
    value, gradient = network.value_and_grad(squared_norm())(noise)
    given = (noise - network.mean) / network.std
    assert value.item() == pytest.approx(given.square().sum().item(), rel=1e-5)
    assert torch.allclose(gradient, 2 * given / network.std, rtol=1e-4, atol=1e-5)
