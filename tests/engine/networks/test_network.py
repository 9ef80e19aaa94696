"""Layers are read as the whole network computes them, and gradients point uphill."""

import threading

import pytest
import torch
from torch import Tensor

from dream.networks import catalogue
from dream.networks.architecture import channel_count
from dream.networks.graph_rewrite import redirected_relu
from dream.networks.network import Network
from dream.render.objective import Objective, channel, energy
from tests.conftest import hook_activations, load_dreamlet

LAYERS = [layer.name for layer in catalogue.get_card("dreamlet").layers]


def test_the_forward_stops_at_the_deepest_layer(network: Network) -> None:
    used = dict(network.get_extractor(("inception3a", "conv2")).named_modules())
    assert any(name.startswith("inception3a") for name in used)
    assert not any(name.startswith(("inception3b", "inception4", "fc")) for name in used)


def test_value_and_gradient_equal_autograd_on_the_whole_network(
    network: Network, network64: Network, noise: Tensor
) -> None:
    leaf = noise.clone().requires_grad_()
    one, other = hook_activations(network64, leaf, "inception3b", "inception4c")
    expected = 0.25 * one.square().sum() - 0.5 * other.square().sum()
    (gradient,) = torch.autograd.grad(expected, leaf)
    objective = 0.5 * energy("inception3b") - energy("inception4c")
    value, ours = network.value_and_grad(objective)(noise)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert (ours - gradient).abs().max() < 1e-5 * gradient.abs().max()


def test_weights_are_frozen_and_collect_no_gradient(network: Network, noise: Tensor) -> None:
    network.value_and_grad(energy("inception5b"))(noise)
    for parameter in network.network.parameters():
        assert not parameter.requires_grad and parameter.grad is None


def test_the_gradient_is_taken_even_where_autograd_is_off(network: Network, noise: Tensor) -> None:
    with torch.no_grad():
        _, gradient = network.value_and_grad(energy("conv3"))(noise)
    assert gradient.abs().sum() > 0


def test_a_layer_is_checked_while_another_thread_is_within_a_forward(noise: Tensor) -> None:
    card = catalogue.get_card("dreamlet")
    network = load_dreamlet()
    within, go_on = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        within.set()
        go_on.wait(10)

    network.network.get_submodule("pool").register_forward_hook(wait)
    thread = threading.Thread(target=network.activations, args=(noise, ("inception3a",)))
    thread.start()
    assert within.wait(10)
    channel_count.cache_clear()
    assert card.channel_count("inception4b.branch3") == 40
    assert thread.is_alive()
    go_on.set()
    thread.join()


def test_reading_new_layers_disturbs_no_forward_in_another_thread(noise: Tensor) -> None:
    # torch.fx patches nn.Module for all threads while it traces.
    network = load_dreamlet()
    expected = network.activations(noise, ("inception3b",))["inception3b"]
    stop, wrong = threading.Event(), []

    def read_all_the_time() -> None:
        while not stop.is_set():
            try:
                seen = network.activations(noise, ("inception3b",))["inception3b"]
                if not torch.equal(seen, expected):
                    wrong.append("another activation")
            except Exception as error:
                wrong.append(repr(error))

    thread = threading.Thread(target=read_all_the_time)
    thread.start()
    for layer in LAYERS:
        load_dreamlet().activations(noise, (layer,))
    stop.set()
    thread.join()
    assert not wrong


def test_half_the_squared_norm_is_summed_in_float32() -> None:
    activation = torch.full((1, 1, 300, 300), 0.1, dtype=torch.bfloat16)
    value = Objective(energy("x").terms)({"x": activation})
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(90_000 * activation[0, 0, 0, 0].item() ** 2 / 2, rel=1e-4)


def silent_channels(network: Network, layer: str, picture: Tensor) -> list[int]:
    """Return the channels of a layer that are zero everywhere in an image."""
    activation = network.activations(picture, (layer,))[layer]
    return (activation.amax((0, 2, 3)) == 0).nonzero().flatten().tolist()


def test_a_redirected_relu_lets_a_gradient_through_where_all_is_shut(network: Network) -> None:
    grey = torch.full((1, 3, 96, 96), 0.5)
    silent = silent_channels(network, "inception5a", grey)
    assert len(silent) > 50
    objective = channel("inception5a", silent[0])
    value, stopped = network.value_and_grad(objective)(grey)
    same, gradient = network.value_and_grad(objective, redirect_relus=True)(grey)
    assert value == same == 0
    assert stopped.abs().max() == 0 and gradient.abs().max() > 0


def test_redirected_relus_change_no_activation_and_no_live_gradient(
    network: Network, cat: Tensor
) -> None:
    picture = cat[:, :, :128, :160]
    plain, redirected = (
        network.activations(picture, ("inception4c",), redirect_relus=redirected)["inception4c"]
        for redirected in (False, True)
    )
    assert torch.equal(plain, redirected)
    live = int(plain.mean((0, 2, 3)).argmax())
    for objective in (channel("inception4c", live), energy("inception4c")):
        _, one = network.value_and_grad(objective)(picture)
        _, other = network.value_and_grad(objective, redirect_relus=True)(picture)
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-9)


def test_a_redirected_relu_follows_its_rule_sample_by_sample() -> None:
    x = torch.tensor([[-1.0, 2.0, -3.0], [-1.0, -2.0, -3.0], [7.0, -1.0, 8.0]], requires_grad=True)
    slope = torch.tensor([[1.0, 1.0, -1.0], [1.0, -1.0, 0.5], [1.0, -1.0, -2.0]])
    made = redirected_relu(x, 6.0)
    assert made.tolist() == [[0, 2, 0], [0, 0, 0], [6, 0, 6]]
    (gradient,) = torch.autograd.grad(made, x, slope)
    assert gradient.tolist() == [
        [0, 1, 0],  # One ReLU is active: the ordinary gradient.
        [1, 0, 0.5],  # All are inactive: a push further down is stopped, the rest passes.
        [0, 0, -2],  # All are clipped above or below: only a push back into range passes.
    ]
