"""The cost of an image is counted before rendering; `make bench` measures the time."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from dream import ChannelRecipe, ClassRecipe, DreamRecipe, Engine, PictureError
from dream.networks import architecture, catalogue
from dream.recipe import Recipe
from dream.render.cost import CPU_PACES, STEP_OVERHEAD, Cost, Pace, network_cost, pace, total_cost
from dream.tensors import Size

SIZE = (300, 451)


def dream_cost(**knobs: object) -> Cost:
    return cost_of([DreamRecipe(**knobs)], SIZE)  # type: ignore[arg-type]


def cost_of(recipes: Sequence[Recipe], size: Size | None = None) -> Cost:
    jobs = Engine("cpu").plan(recipes, size)
    return total_cost(stage for job in jobs for stage in job.stages)


@pytest.mark.parametrize(
    ("model", "layer"),
    [("dreamlet", "inception4c"), ("vgg16", "features.22"), ("mobilenet_v2", "features.6")],
)
def test_a_network_costs_what_its_convolutions_multiply(model: str, layer: str) -> None:
    extractor = architecture.create_extractor(
        architecture.build_on_meta(catalogue.get_card(model).build).to("meta").eval(), (layer,)
    )
    multiplied, called = 0, 0

    def count(module: nn.Conv2d, _: object, made: torch.Tensor) -> None:
        nonlocal multiplied, called
        multiplied += made.numel() * module.weight[0].numel()
        called += 1

    for module in extractor.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    extractor(torch.empty(1, 3, 224, 224, device="meta"))
    counted = network_cost(model, (layer,))
    assert counted.flops == pytest.approx(2 * multiplied / 224**2)
    assert counted.operations >= called
    assert counted.values_written > 0


def test_a_dream_costs_by_its_steps() -> None:
    ten, twenty = dream_cost(iterations=10), dream_cost(iterations=20)
    assert twenty == Cost(2 * ten.operations, 2 * ten.flops, 2 * ten.values_written)
    assert dream_cost(iterations=0) == Cost()


def test_a_dream_costs_by_the_pixels_of_its_octaves() -> None:
    one, network = dream_cost(octaves=1, iterations=1), network_cost("dreamlet", ("inception4c",))
    assert one.flops == pytest.approx(math.prod(SIZE) * network.flops)
    assert one.operations == network.operations + STEP_OVERHEAD.operations
    assert dream_cost(octaves=2, iterations=1).flops == pytest.approx(
        (math.prod(SIZE) + 214 * 322) * network.flops
    )
    assert dream_cost(octaves=1, iterations=1, max_side=226).flops < one.flops / 3.9


def test_layers_further_up_and_more_bands_cost_more() -> None:
    low, high = dream_cost(layer="inception3b"), dream_cost(layer="inception5a")
    assert low.operations < high.operations and low.flops < high.flops
    assert dream_cost(layer="inception3b:0.5,inception5a") == high
    assert low.flops < dream_cost(layer="inception3b>inception5a").flops < high.flops
    assert dream_cost(laplacian=4).values_written > dream_cost().values_written


def test_tiles_are_counted_with_what_surrounds_them() -> None:
    whole, tiled = dream_cost(octaves=1, tile=512), dream_cost(octaves=1, tile=128)
    assert 1.1 * whole.flops < tiled.flops < 4 * whole.flops
    assert tiled.operations > 2 * whole.operations


def test_channels_in_a_batch_share_their_calls() -> None:
    eight = [ChannelRecipe(channel=channel) for channel in range(8)]
    one, batch = cost_of(eight[:1]), cost_of(eight)
    assert batch.operations == one.operations
    assert batch.flops == pytest.approx(8 * one.flops)
    assert cost_of([*eight, ChannelRecipe(channel=8)]).operations == 2 * one.operations
    assert cost_of(eight[:2], SIZE) == cost_of(eight[:1], SIZE) + cost_of(eight[:1], SIZE)
    many = [ChannelRecipe(channel=channel, size=300, steps=1) for channel in range(9)]
    assert cost_of(many).operations == 5 * cost_of(many[:1]).operations


def test_every_mode_of_class_images_has_a_cost() -> None:
    assert cost_of([ClassRecipe()]).flops < cost_of([ClassRecipe(tries=8)]).flops
    assert cost_of([ClassRecipe(mode="phase", steps=8)]).flops == pytest.approx(
        2 * cost_of([ClassRecipe(mode="fourier", steps=8)]).flops
    )
    for mode in ("octaves", "classic"):
        assert cost_of([ClassRecipe(mode=mode)]).flops > 0
    assert cost_of([ClassRecipe()], SIZE).flops > 0


def test_what_cannot_be_made_has_no_cost() -> None:
    with pytest.raises(PictureError, match="the network needs"):
        cost_of([DreamRecipe()], (8, 8))
    with pytest.raises(PictureError, match="a dream needs a photo; give one"):
        cost_of([DreamRecipe()])


def test_seconds_are_those_of_calls_of_flops_and_of_values() -> None:
    assert Pace(0.5, 2.0, 4.0).seconds(Cost(2, 3, 5)) == 2 * 0.5 + 3 * 2.0 + 5 * 4.0
    for (device, dtype), known in CPU_PACES.items():
        assert pace(torch.device(device), dtype) == known
    gpu, cpu = (pace(torch.device(name), torch.bfloat16) for name in ("cuda", "cpu"))
    assert gpu.seconds_per_flop < cpu.seconds_per_flop
