"""Dreams go from the photo octave by octave, repeat exactly, and leave nothing behind."""

import io
import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream import ChannelRecipe, DreamRecipe, Engine, PictureError, RecipeError
from dream.networks.network import Network
from dream.recipe.knob import knobs
from tests.conftest import (
    KNOB_VALUES,
    change,
    dream_tensor,
    hook_activations,
    load_dreamlet,
    render_recipes,
)
from tools.measure import correlation


@pytest.mark.parametrize("size", [(300, 451), (33, 517), (32, 32), (129, 67)])
def test_zero_iterations_give_back_the_picture_exactly(
    size: tuple[int, int], engine: Engine, cat: Tensor
) -> None:
    picture = F.interpolate(cat, size=size)
    assert torch.equal(dream_tensor(engine, picture, DreamRecipe(iterations=0)), picture)


def test_intensity_is_visible_and_rises(engine: Engine, cat: Tensor) -> None:
    picture = F.interpolate(cat, size=(64, 96))
    two, five, nine = (
        change(dream_tensor(engine, picture, DreamRecipe(intensity=intensity)), picture)
        for intensity in (2, 5, 9)
    )
    assert 5 <= five <= 40
    assert two < 0.6 * five and five < 0.6 * nine


def plain_detail(picture: Tensor) -> Tensor:
    """Return 1 around edges and less where an image is smooth, by a convolution."""
    edges = torch.zeros_like(picture[:, :1])
    edges[:, :, 1:] += picture.diff(dim=2).abs().amax(1, keepdim=True)
    edges[..., 1:] += picture.diff(dim=3).abs().amax(1, keepdim=True)
    bell = torch.exp(-((torch.arange(-15, 16) / 5.0) ** 2) / 2)
    window = torch.outer(bell, bell)[None, None] / bell.sum() ** 2
    edges = F.conv2d(F.pad(edges, (15, 15, 15, 15), mode="reflect"), window)
    faint = 0.1 / 255
    return ((edges + faint) / (0.6 * edges.mean() + faint)).clamp(max=1)


def test_a_dream_equals_a_plain_loop(network64: Network, cat: Tensor) -> None:
    cat = cat[..., :150, :226]
    settings: dict[str, Any] = {"step": 2.0, "keep_colours": 0.7, "quiet": 0.8}
    recipe = DreamRecipe(octaves=3, iterations=2, jitter=0, smoothing=0, **settings)
    *_, frame = render_recipes(network64, [recipe], cat)

    detail = torch.zeros(1, 3, 1, 1)
    for height, width in ((77, 115), (107, 161), (150, 226)):
        base = F.interpolate(cat, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
        detail = F.interpolate(detail, (height, width), mode="bicubic", antialias=True)
        picture = (base + detail).clamp(0, 1)
        for _ in range(2):
            leaf = picture.clone().requires_grad_()
            (seen,) = hook_activations(network64, leaf, "inception4c")
            (gradient,) = torch.autograd.grad(seen.square().sum() / 2, leaf)
            step = 2.0 / 255 * gradient / gradient.abs().mean()
            grey = (step * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
            step = (0.7 * grey + 0.3 * step) * (0.2 + 0.8 * plain_detail(base))
            picture = (picture + step).clamp(0, 1)
        detail = picture - base
    assert change(picture, cat) > 1
    assert change(frame.tensor, picture) < 0.01


def test_half_precision_dreams_alike(network: Network, cat: Tensor) -> None:
    # Few steps: later ones diverge, as with another seed.
    half = load_dreamlet(torch.bfloat16)
    recipe = DreamRecipe(max_side=128, iterations=3)
    small, whole, rounded, other = (
        list(render_recipes(each, [knobs], cat))[-1].tensor
        for each, knobs in (
            (network, recipe.with_changes(iterations=0)),
            (network, recipe),
            (half, recipe),
            (network, recipe.with_changes(seed=1)),
        )
    )
    assert not torch.equal(rounded, whole)
    assert correlation(rounded, whole, small) > 0.9 > correlation(other, whole, small)


def test_frames_tell_how_far_the_dream_has_come(engine: Engine, cat: Tensor) -> None:
    frames = list(engine.dream(cat, DreamRecipe(octaves=3, iterations=4, max_side=128)))
    assert [frame.step for frame in frames] == list(range(13))
    assert {(frame.total, frame.octaves) for frame in frames} == {(12, 3)}
    assert [frame.octave for frame in frames[1:]] == [1] * 4 + [2] * 4 + [3] * 4
    done = [frame.done for frame in frames]
    assert done == sorted(done) and (done[0], done[-1]) == (0, 1)
    # A step of a larger octave is a larger share of the work.
    assert done[12] - done[11] > 1.2 * (done[4] - done[3])
    assert frames[0].value != frames[0].value  # NaN: nothing was measured yet.
    assert all(frame.value > 0 for frame in frames[1:])
    assert frames[4].value > frames[1].value


def test_the_first_frame_is_the_photo_and_every_frame_has_its_full_size(
    engine: Engine, cat: Tensor, quick: DreamRecipe
) -> None:
    frames = list(engine.dream(cat, quick))
    small = F.interpolate(cat, (85, 128), mode="bicubic", antialias=True).clamp(0, 1)
    assert torch.equal(frames[0].tensor, small)
    assert {frame.picture().size for frame in frames} == {(128, 85)}
    assert frames[1].picture().mode == "RGB"


def test_a_frame_shows_its_image_in_a_notebook_and_prints_as_one_line(
    engine: Engine, cat: Tensor, quick: DreamRecipe
) -> None:
    *_, frame = engine.dream(cat, quick)
    with Image.open(io.BytesIO(frame._repr_png_())) as shown:
        assert shown.format == "PNG" and shown.tobytes() == frame.picture().tobytes()
        size = f"{shown.width} x {shown.height}"
    assert repr(frame) == f"Frame(step {frame.step} of {frame.total}, {size})"


def test_a_batch_shows_as_a_contact_sheet(engine: Engine) -> None:
    recipes = [ChannelRecipe(channel=channel, size=64, steps=1) for channel in (7, 80)]
    for frames in (engine.channels(recipes), engine.channels(recipes)):  # Then from the cache.
        *_, frame = frames
        assert repr(frame).endswith("2 images of 64 x 64)")
        with Image.open(io.BytesIO(frame._repr_png_())) as shown:
            assert shown.width > 2 * 64 and shown.height > 64


def test_a_frame_kept_stays_as_it_was(engine: Engine, cat: Tensor, quick: DreamRecipe) -> None:
    frames = engine.dream(cat, quick)
    kept = [next(frames), next(frames)]
    pictures = [frame.tensor.clone() for frame in kept]
    list(frames)
    assert all(map(torch.equal, pictures, (frame.tensor for frame in kept)))


def test_the_input_is_left_alone(engine: Engine, cat: Tensor, quick: DreamRecipe) -> None:
    before = cat.clone()
    dream_tensor(engine, cat, quick)
    assert torch.equal(cat, before)


def test_a_large_picture_is_shrunk_in_proportion(engine: Engine, cat: Tensor) -> None:
    shrunk = dream_tensor(engine, cat, DreamRecipe(iterations=0, max_side=200))
    assert shrunk.shape[2:] == (133, 200)
    assert engine.settle(DreamRecipe()).max_side == 640
    assert engine.settle(DreamRecipe(max_side=300)).max_side == 300


@pytest.mark.parametrize("wrong", ["inception4c", ["dreamlet"], ChannelRecipe()])
def test_what_is_no_recipe_of_a_dream_is_refused(wrong: Any, engine: Engine, cat: Tensor) -> None:
    for attempt in (engine.dream, lambda *given: engine.dreams(given[0], [given[1]])):
        with pytest.raises(RecipeError, match="expected a DreamRecipe, not "):
            attempt(cat, wrong)
    with pytest.raises(RecipeError, match=r"is not known|must be text"):
        engine.response(cat, wrong)
    with pytest.raises(RecipeError, match=r"is not in dreamlet|must be text"):
        engine.response(cat, "dreamlet", [wrong])  # type: ignore[arg-type]


def test_a_wrong_tensor_is_refused_before_the_first_frame(engine: Engine) -> None:
    with pytest.raises(PictureError, match=r"\[0, 1\]"):
        engine.dream(torch.full((1, 3, 64, 64), 255.0))


def traces(network: Network) -> list[object]:
    """Return everything that a dream could leave behind in a network."""
    modules = list(network.network.modules())
    hooks = [module._forward_hooks or module._backward_hooks for module in modules]
    weights = list(network.network.parameters())
    return [
        [bool(each) for each in hooks],
        [(weight.sum().item(), weight.requires_grad, weight.grad) for weight in weights],
    ]


@pytest.mark.parametrize("end", ["closed", "error"])
def test_a_dream_that_ends_early_leaves_the_network_as_it_was(
    end: str, engine: Engine, cat: Tensor, quick: DreamRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = engine.network("dreamlet")
    before, expected = traces(network), dream_tensor(engine, cat, quick)
    frames = engine.dream(cat, quick)
    next(frames), next(frames)

    def broken(*_: object) -> Tensor:
        raise RuntimeError("in mid-dream")

    if end == "closed":
        frames.close()  # type: ignore[attr-defined]
    else:
        with monkeypatch.context() as patch:
            patch.setattr("dream.render.objective._flatten_positions", broken)
            with pytest.raises(RuntimeError, match="in mid-dream"):
                next(frames)
    assert traces(network) == before and torch.is_grad_enabled()
    assert torch.equal(dream_tensor(engine, cat, quick), expected)


@pytest.mark.usefixtures("one_thread")
def test_two_dreams_in_two_threads_equal_the_two_alone(
    cat: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python threads may get other numbers of torch threads, and so other bits in bfloat16.
    monkeypatch.setenv("DREAM_PRECISION", "float32")
    engine = Engine("cpu")
    recipes = [
        DreamRecipe(octaves=3, iterations=4, max_side=128, seed=seed, layer=layer)
        for seed, layer in enumerate(("inception3b", "inception4c", "inception5a", "inception4a"))
    ]
    alone = [dream_tensor(engine, cat, recipe) for recipe in recipes]
    together: dict[int, Tensor] = {}

    def work(index: int) -> None:
        # Every other thread has its own engine, which loads and traces while others dream.
        own = engine if index % 2 else Engine("cpu")
        together[index] = dream_tensor(own, cat, recipes[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(recipes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(together) == [0, 1, 2, 3]
    assert all(torch.equal(together[index], alone[index]) for index in together)


def test_an_adam_dream_equals_that_of_torch(network64: Network, cat: Tensor) -> None:
    plain: dict[str, Any] = {"jitter": 0, "smoothing": 0, "keep_colours": 0, "quiet": 0}
    recipe = DreamRecipe(rule="adam", octaves=1, iterations=4, step=2.0, max_side=128, **plain)
    *_, frame = render_recipes(network64, [recipe], cat)
    picture = F.interpolate(cat, (85, 128), mode="bicubic", antialias=True).clamp(0, 1)
    parameter = torch.nn.Parameter(picture.clone())
    optimizer = torch.optim.Adam([parameter], lr=2 / 255, maximize=True)
    for _ in range(4):
        optimizer.zero_grad()
        (seen,) = hook_activations(network64, parameter, "inception4c")
        (seen.square().sum() / 2).backward()
        optimizer.step()
        parameter.data.clamp_(0, 1)
    assert change(frame.tensor, parameter.detach()) < 0.05
    assert change(frame.tensor, picture) > 2


def test_coarse_and_fine_octaves_have_layers_of_their_own(network: Network, cat: Tensor) -> None:
    mixed = DreamRecipe(
        layer="inception5a>inception3b", octaves=2, iterations=2, smoothing=0, max_side=128
    )
    frames = list(render_recipes(network, [mixed], cat))
    coarse = list(render_recipes(network, [mixed.with_changes(layer="inception5a")], cat))
    assert torch.equal(frames[2].tensor, coarse[2].tensor)
    assert not torch.equal(frames[3].tensor, coarse[3].tensor)
    # The second octave dreams at inception3b from where the first ended.
    assert frames[3].value != coarse[3].value


@pytest.mark.parametrize("objective", ["norm", "mean", "absolute"])
def test_every_objective_rises_on_its_way(objective: str, network: Network, cat: Tensor) -> None:
    recipe = DreamRecipe(objective=objective, octaves=1, jitter=0, max_side=128)
    values = [frame.value for frame in render_recipes(network, [recipe], cat)][1:]
    assert values[-1] > 1.2 * values[0]


def test_laplacian_normalisation_raises_low_frequencies(engine: Engine, cat: Tensor) -> None:
    def coarseness(laplacian: int) -> float:
        recipe = DreamRecipe(laplacian=laplacian, max_side=160, octaves=1)
        small = dream_tensor(engine, cat, recipe.with_changes(iterations=0))
        changed = dream_tensor(engine, cat, recipe) - small
        return (F.avg_pool2d(changed, 8).abs().mean() / changed.abs().mean()).item()

    assert coarseness(4) > 1.3 * coarseness(1)


def test_the_border_of_a_layer_counts_for_nothing(network: Network, cat: Tensor) -> None:
    recipe = DreamRecipe(octaves=1, iterations=1, jitter=0, smoothing=0, max_side=256, border=4)
    *_, frame = render_recipes(network, [recipe], cat)
    small = F.interpolate(cat, (170, 256), mode="bicubic", antialias=True).clamp(0, 1)
    changed = (frame.tensor - small).abs().sum(1)[0]
    *_, whole = render_recipes(network, [recipe.with_changes(border=0)], cat)
    without = (whole.tensor - small).abs().sum(1)[0]
    edge = torch.ones_like(changed, dtype=torch.bool)
    edge[12:-12, 12:-12] = False
    assert changed[edge].mean() / changed.mean() < 0.5 * without[edge].mean() / without.mean()


TINY = DreamRecipe(octaves=2, iterations=2, max_side=128)


def test_every_knob_that_is_no_picture_is_tried_below() -> None:
    others = {"model", "guide", "guide_colour", "mask", "feather"}  # These have their own tests.
    assert set(KNOB_VALUES) == set(knobs(DreamRecipe)) - others


@pytest.fixture(scope="module")
def tiny_dream(engine: Engine, cat: Tensor) -> Tensor:
    return dream_tensor(engine, cat, TINY)


@pytest.mark.parametrize("name", KNOB_VALUES)
def test_every_knob_changes_the_picture(
    name: str, engine: Engine, cat: Tensor, tiny_dream: Tensor
) -> None:
    recipe, without = TINY, tiny_dream
    if name == "tile":  # Small images have no tiles.
        recipe = TINY.with_changes(octaves=1, max_side=451)
        without = dream_tensor(engine, cat, recipe)
    changed = dream_tensor(engine, cat, recipe.with_changes(**{name: KNOB_VALUES[name]}))
    # Tiles with their surroundings change least.
    assert without.shape != changed.shape or change(without, changed) > 0.005
