"""Tiles change little of a dream, leave no seams, and bound the memory."""

import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dream import DreamRecipe, Engine, OutOfTime, load_image
from dream.networks.network import Network, ValueAndGrad
from dream.render import ascent
from dream.render.objective import NormalisedBlend, Objective, energy, mean
from dream.render.tiling import (
    GRID_STRIDE,
    TILE_MARGIN,
    Shift,
    make_image_evaluator,
    tile_spans,
)
from dream.render.transform import random_shift
from tests.conftest import EXAMPLES
from tests.support.processes import measure_large_dream


@pytest.fixture(scope="module")
def coffee() -> Tensor:
    """Return a photo of 400 x 280."""
    return load_image(EXAMPLES / "coffee.jpg")[..., 60:340, 100:500]


def evaluate_tiles(
    network: Any,
    objective: Any,
    tile: int,
    image: Tensor,
    shift: Shift | None = None,
    **options: Any,
) -> Tensor:
    """Return the gradient of the image, read in tiles; their borders have seed 0."""
    borders = torch.Generator().manual_seed(0)
    read = make_image_evaluator(network, objective, tile, shift, borders, **options)
    return read(image)[1]


class FakeNetwork:
    """A network whose gradient of an image is twice the image, which encodes positions."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.calls = 0

    def value_and_grad(self, *_: object, **__: object) -> ValueAndGrad:
        def evaluate(seen: Tensor) -> tuple[Tensor, Tensor]:
            self.calls += 1
            time.sleep(self.seconds)
            return seen.sum((1, 2, 3)), 2 * seen

        return evaluate


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


@pytest.mark.parametrize("side", [129, 300, 451, 768, 1000, 4096])
@pytest.mark.parametrize("tile", [128, 200, 768])
def test_tiles_cover_a_side_and_are_seen_in_their_surroundings(side: int, tile: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        tiles = tile_spans(side, tile, generator)
        assert [own.start for own, _ in tiles] == [0, *(own.stop for own, _ in tiles[:-1])]
        assert tiles[-1][0].stop == side
        lengths = [window.stop - window.start for _, window in tiles]
        assert max(lengths) - min(lengths) < GRID_STRIDE
        for own, window in tiles:
            assert window.start % GRID_STRIDE == 0
            assert window.start <= max(0, own.start - TILE_MARGIN)
            assert window.stop >= min(side, own.stop + TILE_MARGIN)
        if len(tiles) > 1:
            assert max(lengths) <= tile + 2 * TILE_MARGIN + 3 * GRID_STRIDE


def test_the_borders_of_tiles_move() -> None:
    generator = torch.Generator().manual_seed(0)
    borders = {tile_spans(1000, 256, generator)[0][0].stop for _ in range(20)}
    assert len(borders) > 10 and max(borders) - min(borders) > TILE_MARGIN


@pytest.mark.parametrize("shift", [(0, 0), (13, -7)])
def test_a_gradient_of_tiles_is_nearly_that_of_the_whole(
    shift: tuple[int, int], network: Network, coffee: Tensor
) -> None:
    objective = energy("inception4c")
    _, rolled = network.value_and_grad(objective)(torch.roll(coffee, shift, (2, 3)))
    pieces = evaluate_tiles(network, objective, 160, coffee, lambda _: shift)
    assert correlation(torch.roll(rolled, (-shift[0], -shift[1]), (2, 3)), pieces) > 0.999


def test_tiles_of_a_rolled_picture_come_back_to_their_places(noise: Tensor) -> None:
    picture = F.interpolate(noise, (450, 670))
    shift = partial(random_shift, max_shift=128, generator=torch.Generator().manual_seed(5))
    for _ in range(4):
        gradient = evaluate_tiles(FakeNetwork(), energy("x"), 128, picture, shift)
        assert torch.equal(gradient, 2 * picture)


@pytest.mark.parametrize("raised", [energy, partial(mean, absolute=True)])
def test_a_border_is_that_of_the_picture_and_not_of_each_tile(
    raised: Callable[[str, int], Objective], network: Network, coffee: Tensor
) -> None:
    objective = raised("inception5a", 4)
    _, whole = network.value_and_grad(objective)(coffee)
    pieces = evaluate_tiles(network, objective, 160, coffee)
    assert correlation(whole, pieces) > 0.99
    # Equally strong at tile borders, within tiles, and at the edges.
    strength = [F.avg_pool2d(each.abs().mean(1, keepdim=True), 40) for each in (whole, pieces)]
    share = strength[1] / strength[0].clamp(min=strength[0].mean() / 5)
    share = share[strength[0] > strength[0].mean() / 5]
    assert share.max() / share.min() < 1.6


def test_a_blend_in_tiles_is_divided_by_what_it_is_worth_in_all_of_the_picture(
    network: Network, coffee: Tensor
) -> None:
    picture = torch.cat([coffee, torch.full_like(coffee, 0.5)], 3)[:, :, :160]
    blend = NormalisedBlend(((0.5, energy("inception3b")), (0.5, mean("conv2"))))
    whole, pieces = (evaluate_tiles(network, blend, tile, picture) for tile in (0, 160))
    assert correlation(whole, pieces) > 0.99
    flat = [float(each[..., 400:].abs().mean() / each.abs().mean()) for each in (whole, pieces)]
    assert flat[1] == pytest.approx(flat[0], rel=0.02)


def test_silent_channels_are_awakened_by_steps_however_many_tiles_there_are(
    engine: Engine, cat: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[bool] = []
    plain = Network.value_and_grad

    def watched(self: Network, objective: Any, *, redirect_relus: bool = False) -> ValueAndGrad:
        def evaluate(picture: Tensor) -> tuple[Tensor, Tensor]:
            ways.append(redirect_relus)
            return plain(self, objective, redirect_relus=redirect_relus)(picture)

        return evaluate

    monkeypatch.setattr(Network, "value_and_grad", watched)
    monkeypatch.setattr(ascent, "REDIRECTED_RELU_STEPS", 2)
    by_step = []
    for frame in engine.dream(cat, DreamRecipe(channels="7", octaves=1, tile=128, iterations=3)):
        if frame.step:
            by_step.append(set(ways))
            assert len(ways) > 1
            ways.clear()
    assert by_step == [{True}, {True}, {False}]


def test_no_tile_begins_when_time_is_over(noise: Tensor) -> None:
    slow, picture = FakeNetwork(seconds=0.05), F.interpolate(noise, (450, 670))
    with pytest.raises(OutOfTime, match="exceeds the time limit; fewer steps"):
        evaluate_tiles(slow, energy("x"), 128, picture, deadline=time.monotonic() + 0.12)
    assert slow.calls <= 3


def dream_change(engine: Engine, picture: Tensor, recipe: DreamRecipe) -> Tensor:
    *_, frame = engine.dream(picture, recipe)
    return frame.tensor - picture


# Tiles are used in the last octave alone, or in the last two.
TILED_RECIPE = DreamRecipe(octaves=2, iterations=3)


@pytest.fixture(scope="module")
def full_change(engine: Engine, coffee: Tensor) -> Tensor:
    """Return the change by a dream without tiles."""
    return dream_change(engine, coffee, TILED_RECIPE.with_changes(tile=2048))


@pytest.mark.parametrize("tile", [128, 132])
def test_a_dream_in_tiles_agrees_with_one_without_and_shows_no_seams(
    tile: int, engine: Engine, coffee: Tensor, full_change: Tensor
) -> None:
    pieces = dream_change(engine, coffee, TILED_RECIPE.with_changes(tile=tile))
    assert not torch.equal(full_change, pieces)
    assert correlation(full_change, pieces) > 0.9
    for dim, side in ((2, 280), (3, 400)):
        # How much steeper the dream is at tile borders than elsewhere, on average; the image itself
        # may be steeper there.
        steps = [each.diff(dim=dim).abs().mean((0, 1, 5 - dim)) for each in (pieces, full_change)]
        count = math.ceil(side / tile)
        borders = [place * math.ceil(side / count) - 1 for place in range(1, count)]
        near = torch.tensor([border + each for border in borders for each in range(-4, 5)])
        tiles, without = (each[near].mean() / each.mean() for each in steps)
        assert tiles / without == pytest.approx(1, abs=0.05)


def test_a_photo_that_fits_is_not_cut(engine: Engine, coffee: Tensor) -> None:
    recipe = DreamRecipe(octaves=1, iterations=2)
    assert torch.equal(
        dream_change(engine, coffee, recipe),
        dream_change(engine, coffee, recipe.with_changes(tile=400)),
    )


@pytest.mark.at_scale
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_dream_of_1536_pixels_takes_less_than_a_gigabyte_and_a_quarter(tmp_path: Path) -> None:
    # `make bench` measures 4096.
    peak, _ = measure_large_dream(tmp_path, 1536, "--octaves", "1", "--iterations", "1")
    assert peak * 1024**2 < 1.25e9
