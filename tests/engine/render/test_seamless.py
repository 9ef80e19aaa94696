"""A seamless dream shows no edge when repeated, across or in both directions."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dream import DreamRecipe, Engine
from dream.networks.network import Network
from dream.render.objective import energy
from dream.render.tiling import with_wrap_padding
from dream.render.transform import blur, make_periodic, total_variation_gradient
from dream.tensors import resize
from tests.conftest import change

SMALL = {"max_side": 128, "octaves": 2, "iterations": 3}


def seam(picture: Tensor, dim: int) -> float:
    """Return the step between opposite edges, relative to the mean step between neighbours.

    The image is rolled by half, so that the edges meet in its middle.
    """
    half = picture.shape[dim] // 2
    steps = torch.roll(picture, half, dim).diff(dim=dim).abs()
    edge = steps.narrow(dim, half - 1, 1).mean()
    return float(edge / steps.mean())


@pytest.mark.parametrize("tile", [512, 128], ids=["whole", "in-tiles"])
def test_no_edge_stands_out_where_it_lies_beside_itself(
    tile: int, engine: Engine, cat: Tensor
) -> None:
    pictures = {}
    for name in ("none", "across", "all"):
        recipe = DreamRecipe(seamless=name, tile=tile, **SMALL)  # type: ignore[arg-type]
        *_, frame = engine.dream(cat, recipe)
        pictures[name] = frame.tensor
    seams = {name: [seam(each, dim) for dim in (2, 3)] for name, each in pictures.items()}
    # Control: an ordinary dream's edges do.
    assert min(seams["none"]) > 2
    assert seams["across"][1] < 1.5 and seams["across"][0] > 2
    assert max(seams["all"]) < 1.5
    assert change(pictures["all"], pictures["none"]) > 2


def test_edges_are_made_to_meet_and_little_else_changes(cat: Tensor) -> None:
    for around in ((3,), (2, 3)):
        met = make_periodic(cat, around)
        for dim in (2, 3):
            assert (seam(met, dim) < 1.5) == (dim in around)
        inner = (..., slice(60, -60), slice(90, -90))
        assert change(met[inner], cat[inner]) < 0.5 * change(met, cat)
    # A panorama, whose sides already meet, is unchanged.
    panorama = torch.cat((cat, cat.flip(3)), 3)
    assert change(make_periodic(panorama, (3,)), panorama) < 0.01
    assert make_periodic(cat, ()) is cat


def test_shrinking_blurring_and_smoothing_go_round(noise: Tensor) -> None:
    rolled = torch.roll(noise, 10, 3)
    for work in (
        lambda each: blur(each, 1.5, (3,)),
        lambda each: total_variation_gradient(each, (3,)),
    ):
        assert torch.allclose(work(rolled), torch.roll(work(noise), 10, 3), atol=1e-6)
    twice = torch.roll(noise[..., :60], 20, 3)
    small = resize(noise[..., :60], (45, 30), (3,))
    assert torch.allclose(resize(twice, (45, 30), (3,)), torch.roll(small, 10, 3), atol=1e-6)
    assert torch.allclose(resize(noise, (20, 31), (2, 3)).mean(), noise.mean(), atol=0.01)


def test_the_gradient_is_that_of_what_goes_on(network: Network, cat: Tensor) -> None:
    """It equals the gradient of three copies side by side."""
    picture = F.interpolate(cat, (64, 96))
    value_and_grad = network.value_and_grad(energy("conv3"))
    _, gradient = with_wrap_padding(value_and_grad, (3,))(picture)
    _, wide = value_and_grad(torch.cat([picture] * 3, 3))
    assert torch.allclose(gradient, wide[..., 96:192], atol=1e-3 * float(wide.abs().max()))
