"""The shipped network computes what its card says."""

import json

import pytest
import torch

from dream.networks.network import Network
from tests.conftest import ROOT, load_dreamlet

CHECK = json.loads((ROOT / "tests" / "engine" / "dreamlet_check.json").read_text())


@pytest.fixture(scope="module")
def fixed_input() -> torch.Tensor:
    return torch.linspace(-2, 2, 3 * 224 * 224).view(1, 3, 224, 224)


def test_logits_meet_the_card(fixed_input: torch.Tensor) -> None:
    with torch.no_grad():
        logits = load_dreamlet().network(fixed_input)
    assert logits.shape == (1, 1000)
    assert logits[0, :8].tolist() == pytest.approx(CHECK["logits_first8"], abs=1e-3)
    assert logits.mean().item() == pytest.approx(CHECK["logits_mean"], abs=1e-3)
    assert logits.std().item() == pytest.approx(CHECK["logits_std"], abs=1e-3)


@pytest.mark.parametrize("layer", CHECK["activations"])
def test_activations_meet_the_card(layer: str, fixed_input: torch.Tensor, network: Network) -> None:
    picture = fixed_input * network.std + network.mean
    activation = network.activations(picture, (layer,))[layer]
    expected = CHECK["activations"][layer]
    assert list(activation.shape) == expected["shape"]
    assert activation.mean().item() == pytest.approx(expected["mean"], abs=1e-3)
    assert activation.std().item() == pytest.approx(expected["std"], abs=1e-3)
