"""Responses rank channels by their activations, at a spot or in the whole image."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dream import Engine, RecipeError
from dream.networks.network import Network
from dream.render.layer_response import LayerResponse
from dream.tensors import resize
from tests.conftest import hook_activations


def test_the_ranking_equals_a_direct_computation(
    cat: Tensor, network64: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_PRECISION", "float32")
    response = Engine("cpu").response(cat, "dreamlet", "inception4c")
    shrunk = resize(cat, (298, 448)).clamp(0, 1)
    (seen,) = hook_activations(network64, shrunk, "inception4c")
    activation = seen[0].detach().numpy()
    for spot, strengths in (
        (None, activation.mean((1, 2))),
        ((0.5, 0.25), activation[:, int(0.25 * activation.shape[1]), activation.shape[2] // 2]),
        ((0.0, 1.0), activation[:, -1, 0]),
    ):
        answers = response.top(12, spot)
        order = np.argsort(-strengths, kind="stable")[:12]
        assert [answer.channel for answer in answers] == order.tolist()
        assert np.allclose([answer.strength for answer in answers], strengths[order], rtol=1e-4)


def test_a_spot_outside_is_refused(cat: Tensor, engine: Engine) -> None:
    with pytest.raises(RecipeError, match="the spot must be 0 to 1 across"):
        engine.response(cat).top(3, (1.2, 0.5))


def test_before_a_relu_channels_that_answer_negatively_are_left_out() -> None:
    activation = torch.tensor([-1.0, 2.0, 0.0, 0.5]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    response = LayerResponse(torch.rand(1, 3, 8, 8), activation)
    assert [answer.channel for answer in response.top(4)] == [1, 3]


def test_silent_channels_are_left_out() -> None:
    activation = torch.zeros(1, 5, 2, 2)
    activation[0, 3, 1, 1] = 2.0
    response = LayerResponse(torch.zeros(1, 3, 8, 8), activation)
    assert [(each.channel, each.strength) for each in response.top()] == [(3, 0.5)]
    assert response.top(spot=(0, 0)) == []
    assert repr(response) == "LayerResponse(5 channels of 2 x 2)"
    assert [each.strength for each in response.top(spot=(1, 1))] == [2.0]


def test_the_map_marks_where_a_channel_answers() -> None:
    activation = torch.zeros(1, 2, 4, 4)
    activation[0, 1, 0, 3] = 5.0
    response = LayerResponse(torch.full((1, 3, 64, 64), 0.5), activation)
    where = response.heatmap(1)
    assert where.shape == (1, 1, 64, 64) and where.max() == 1
    assert where[0, 0, :16, 48:].mean() > 0.5 and where[0, 0, 32:, :32].max() == 0
    image = np.asarray(response.overlay_heatmap(1)).astype(int)
    marked, elsewhere = image[4, 60], image[60, 4]
    assert marked[0] > marked[1] + 50 and elsewhere[0] == elsewhere[1] == elsewhere[2]
    assert response.heatmap(0).max() == 0  # A channel that is zero everywhere.


def test_logits_answer_too(cat: Tensor, engine: Engine) -> None:
    best = engine.response(cat, layer="fc").top(5)
    assert {281, 282} & {answer.channel for answer in best}  # tabby, tiger cat
