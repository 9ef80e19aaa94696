"""Channel visualizations excite their channel, and differ from each other."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dream import ChannelRecipe, Engine, Frame, load_image
from dream.networks import catalogue
from dream.networks.network import Network
from dream.recipe.channel import evenly_spaced_channels
from dream.render import ascent
from dream.render.channel import silent_channels_message
from dream.tensors import to_tensor
from tests.conftest import EXAMPLES, change, render_recipes
from tools.measure import correlation

PHOTOS = sorted(EXAMPLES.glob("*.jpg"))


@pytest.fixture(scope="module")
def new_engine() -> Engine:
    """Return an engine without an image cache."""
    engine = Engine("cpu")
    engine.cache.max_bytes = 0
    return engine


def recipes(layer: str, channels: list[int], **knobs: int) -> list[ChannelRecipe]:
    return [ChannelRecipe(layer=layer, channel=channel, **knobs) for channel in channels]  # type: ignore[arg-type]


def make_channels(engine: Engine, wanted: list[ChannelRecipe]) -> dict[int, Tensor]:
    """Return the finished images, each (1, 3, H, W) in 8-bit levels, by channel."""
    pictures: dict[int, Tensor] = {}
    for frame in engine.channels(wanted):
        if frame.finished:
            pictures |= zip(frame.channels, frame.tensor.split(1), strict=True)
    return {channel: (picture * 255).round() / 255 for channel, picture in pictures.items()}


def channel_activations(network: Network, picture: Tensor, layer: str) -> Tensor:
    """Return the activations (C, positions) of a fresh pass, without transforms."""
    return network.activations(picture, (layer,))[layer][0].float().flatten(1)


def test_a_channel_answers_its_picture_more_than_the_best_of_photos(
    new_engine: Engine, network: Network
) -> None:
    # The mean over the image, against the 99th percentile of positions in photographs.
    layer, channels = "inception4c", random.Random(4).sample(range(320), 3)
    seen = torch.cat(
        [channel_activations(network, load_image(photo), layer) for photo in PHOTOS], dim=1
    )
    highest = torch.quantile(seen[channels], 0.99, dim=1)
    pictures = make_channels(new_engine, recipes(layer, channels, size=96, steps=32))
    for place, channel in enumerate(channels):
        mean = channel_activations(network, pictures[channel], layer)[channel].mean()
        assert mean > highest[place], f"channel {channel}"


def test_in_a_batch_each_picture_is_what_it_is_alone(network: Network) -> None:
    # Few steps, so that last bits, which differ between batches, do not grow.
    wanted = recipes("inception4a", [3, 50, 200], size=64, steps=5)
    *_, together = render_recipes(network, wanted)
    assert change(together.tensor[0], together.tensor[1]) > 1
    for place, recipe in enumerate(wanted):
        *_, alone = render_recipes(network, [recipe])
        assert change(together.tensor[place], alone.tensor[0]) < 0.05


def test_frames_count_from_the_noise_to_the_result(new_engine: Engine) -> None:
    frames = list(new_engine.channel(ChannelRecipe(channel=7, size=64, steps=5)))
    assert [frame.step for frame in frames] == list(range(6))
    assert [frame.finished for frame in frames] == [False] * 5 + [True]
    assert frames[0].values == [] and frames[-1].done == 1
    assert all(isinstance(frame, Frame) and frame.total == 5 for frame in frames)
    assert {frame.picture().size for frame in frames} == {(64, 64)}
    assert frames[-1].value > frames[1].value
    # No steps give the noise.
    (frame,) = new_engine.channel(ChannelRecipe(size=64, steps=0))
    assert frame.finished and (frame.tensor - 0.5).abs().max() < 0.1


def test_without_redirected_relus_channels_would_stay_grey(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The start noise leaves up to a third of the channels silent.
    channels = list(evenly_spaced_channels(16, "dreamlet", "inception5a"))
    wanted = recipes("inception5a", channels, size=64, steps=ascent.REDIRECTED_RELU_STEPS + 4)
    *_, awake = render_recipes(network, wanted)  # One batch.
    monkeypatch.setattr(ascent, "REDIRECTED_RELU_STEPS", 0)
    *_, asleep = render_recipes(network, [each.with_changes(steps=6) for each in wanted])
    assert len(asleep.silent) >= 2 and not awake.silent
    assert set(asleep.silent) <= {recipe.channel for recipe in wanted}
    assert "silent: nothing in the image activates" in silent_channels_message("x", asleep.silent)


@pytest.mark.parametrize("changes", [{"objective": "neuron"}, {"canvas": "pixels"}])
def test_the_other_choices_raise_what_they_say(
    changes: dict[str, str], new_engine: Engine, network: Network
) -> None:
    recipe = ChannelRecipe(layer="inception4a", channel=100, size=96, steps=40, **changes)  # type: ignore[arg-type]
    *_, frame = new_engine.channel(recipe)
    seen = network.activations(frame.tensor, ("inception4a",))["inception4a"][0, 100].float()
    middle = seen[seen.shape[0] // 2, seen.shape[1] // 2]
    assert (middle if recipe.objective == "neuron" else seen.mean()) > 5
    if recipe.objective == "neuron":
        # The centre does not see the corners, which stay as they were.
        assert middle > 3 * seen[[0, 0, -1, -1], [0, -1, 0, -1]].max()


def test_a_photo_keeps_its_shape_and_answers_more(
    new_engine: Engine, network: Network, cat: Tensor
) -> None:
    recipe = ChannelRecipe(layer="inception4c", channel=80, size=160, steps=16)
    frames = list(new_engine.channel(recipe, cat))
    assert torch.equal(frames[0].tensor, frames[0].tensor.clamp(0, 1))
    assert {frame.picture().size for frame in frames} == {(160, 106)}
    assert frames[-1].total == 16 and frames[-1].octaves == 4
    before, after = (
        channel_activations(network, frame.tensor, "inception4c").mean(1)
        for frame in (frames[0], frames[-1])
    )
    rise = after - before
    assert rise[80] > 1 and rise[80] > 5 * rise.median()


def test_a_silent_channel_of_a_photo_is_woken(new_engine: Engine, network: Network) -> None:
    grey = torch.full((1, 3, 96, 128), 0.5)
    silent = (channel_activations(network, grey, "inception5a").amax(1) == 0).nonzero()[0].item()
    recipe = ChannelRecipe(layer="inception5a", channel=silent, size=128, steps=32)  # type: ignore[arg-type]
    *_, frame = new_engine.channel(recipe, grey)
    activations = channel_activations(network, frame.tensor, "inception5a")
    assert frame.silent == () and activations[silent].max() > 0  # type: ignore[index]


def test_what_is_kept_comes_at_once_and_is_the_same(tmp_path: Path) -> None:
    engine = Engine("cpu")
    engine.cache.folder = tmp_path
    wanted = recipes("inception3a", [1, 5], size=64, steps=4)
    first = make_channels(engine, wanted[:1])
    assert engine.cached_channels(wanted) == []
    frames = list(engine.channels(wanted))
    assert frames[0].finished and frames[0].channels == (1,) and not frames[0].values
    assert frames[-1].finished and frames[-1].channels == (5,) and frames[-1].total == 4
    (only,) = engine.channels(wanted)
    assert only.finished and only.done == 1 and only.channels == (1, 5)
    again = make_channels(engine, wanted)
    assert torch.equal(again[1], first[1])
    assert [image.size for image in engine.cached_channels(wanted)] == [(64, 64)] * 2
    assert engine.cached_channels([]) == []
    # In two sizes it comes in two frames.
    wanted = [ChannelRecipe(channel=3, size=size, steps=2) for size in (64, 48)]
    made = [frame.tensor.shape for frame in engine.channels(wanted) if frame.finished]
    assert [frame.tensor.shape for frame in engine.channels(wanted)] == made


def test_what_was_made_in_another_precision_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_CACHE_DIR", str(tmp_path))
    pictures = []
    for precision in ("float32", "bfloat16"):
        monkeypatch.setenv("DREAM_PRECISION", precision)
        *_, frame = Engine("cpu").channels(recipes("inception3a", [1], size=48, steps=4))
        pictures.append(frame.tensor)
        assert frame.values  # It was rendered, not cached.
    assert not torch.equal(*pictures)
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_weights_of_ones_own_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 3)
    ids = {
        Engine("cpu", {"squeezenet1_1": tmp_path / name}).networks.weights_id("squeezenet1_1")
        for name in ("a", "b")
    }
    assert len(ids | {Engine("cpu").networks.weights_id("squeezenet1_1")}) == 3


def test_a_large_grid_comes_in_batches_that_bound_its_memory(
    new_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dream.render.channel.BATCH_PIXELS", 3 * 64**2)
    frames = list(new_engine.channels(recipes("conv2", [0, 1, 2, 3, 4], size=64, steps=2)))
    assert {len(frame.tensor) for frame in frames} == {3, 2}
    assert [frame.step for frame in frames if frame.finished] == [2, 4]
    assert [frame.done for frame in frames] == sorted(frame.done for frame in frames)


def test_recipes_that_differ_in_more_than_the_channel_climb_apart(new_engine: Engine) -> None:
    seeds = [ChannelRecipe(seed=seed, size=48, steps=3) for seed in (1, 1, 2)]
    finished = [frame for frame in new_engine.channels(seeds) if frame.finished]
    assert [frame.recipes for frame in finished] == [(seeds[0],), (seeds[2],)]
    assert change(*(frame.tensor for frame in finished)) > 2
    for frame in finished:
        *_, alone = new_engine.channel(frame.recipes[0])  # type: ignore[arg-type]
        assert torch.equal(frame.tensor, alone.tensor)


def test_what_ships_is_what_the_recipes_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_PRECISION", "float32")  # The precision in which it was rendered.
    engine = Engine("cpu", shipped=[EXAMPLES / "channels"])
    engine.cache.folder = Path("/proc/none")
    for layer in ("inception3b", "inception4c", "inception5a"):
        wanted = recipes(layer, list(evenly_spaced_channels(16, "dreamlet", layer)))
        assert len(engine.cached_channels(wanted)) == 16
    # One alone; batches of eight may have other bits (`test_reproducible`).
    (kept,) = engine.cached_channels(recipes("inception3b", [0]))
    unaided = Engine("cpu")
    unaided.cache.max_bytes = 0
    anew = make_channels(unaided, recipes("inception3b", [0]))[0]
    assert correlation(to_tensor(kept), anew, torch.full_like(anew, 0.5)) > 0.4


def test_a_layer_is_written_down_by_its_module() -> None:
    recipe = ChannelRecipe(model="vgg16", layer="relu4_3", channel=511)
    assert recipe.layer == "features.22"
    assert recipe.with_changes(layer="relu1_2") == ChannelRecipe(model="vgg16", layer="features.3")
    assert recipe.with_changes(model="dreamlet") == ChannelRecipe()


@pytest.mark.parametrize("model", catalogue.CARDS)
def test_every_listed_layer_has_channels(model: str) -> None:
    card = catalogue.get_card(model)
    for layer in card.layers:
        assert card.channel_count(layer.name) >= 24
    assert card.channel_count(card.last_weight_layer) == 1000


def test_one_picture_of_a_frame_is_made_alone(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    (frame,) = render_recipes(network, recipes("inception4a", [3, 50, 200], size=48, steps=0))
    made: list[object] = []
    monkeypatch.setattr("dream.render.job_loop.to_pil_image", made.append)
    frame.picture()
    assert len(made) == 1
    frame.pictures()
    assert len(made) == 4
