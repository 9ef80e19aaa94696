"""A guided dream becomes similar to its guide, whatever the guide's size."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from dream import DreamRecipe, Engine, load_image, read_recipe, save_image
from dream.files import embedded_images
from dream.files.embedded_images import embed_guide, embed_mask
from dream.networks import catalogue
from dream.networks.network import Network
from dream.render import guide as guides
from dream.render import objective
from dream.render.objective import match, texture
from dream.tensors import luminance, size_of
from tests.conftest import EXAMPLES, ROOT, dream_tensor, render_recipes
from tools import means

LAYER = "inception5a"
GOLDFISH = str(EXAMPLES / "class-goldfish-seed0.png")
ROCKET = str(EXAMPLES / "rocket.jpg")
HOW = ("likeness", "match", "texture")
SMALL = {"max_side": 180, "intensity": 6}


def guide_similarity(network: Network, picture: Tensor, guide: str) -> float:
    """Return the mean over positions of the largest cosine to any position of the guide."""
    mean = guides.mean_activation(network, LAYER)
    seen, wanted = (
        F.normalize(network.activations(each, (LAYER,))[LAYER][0].flatten(1).T - mean)
        for each in (picture, load_image(guide))
    )
    return (seen @ wanted.T).amax(1).mean().item()


Dreams = dict[tuple[str, str], Tensor]


@pytest.fixture(scope="module")
def dreams(network: Network) -> Dreams:
    """Dream the clouds with each guide and objective, and without; return these and the start.

    In float32, since the noise of bfloat16 hides the small difference.
    """
    clouds = load_image(EXAMPLES / "clouds.jpg")
    guided = [(guide, how) for guide in (GOLDFISH, ROCKET) for how in HOW]
    recipes = [
        DreamRecipe(guide=embed_guide(guide), objective=how, guide_colour=0.0, **SMALL)  # type: ignore[arg-type]
        for guide, how in guided
    ]
    free = DreamRecipe(layer=LAYER, **SMALL)  # type: ignore[arg-type]
    frames = [each for each in render_recipes(network, [*recipes, free], clouds) if each.finished]
    pictures = [frame.tensor for frame in frames]
    size = pictures[0].shape[2:]
    before = F.interpolate(clouds, size, mode="bicubic", antialias=True).clamp(0, 1)
    return dict(zip([*guided, ("", "free"), ("", "before")], [*pictures, before], strict=True))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("guide", [GOLDFISH, ROCKET])
def test_a_guide_is_approached_more_than_without(
    guide: str, how: str, network: Network, dreams: Dreams
) -> None:
    before, guided, free = (
        guide_similarity(network, dreams[each], guide)
        for each in (("", "before"), (guide, how), ("", "free"))
    )
    assert guided - before > 0.05 and guided > free + 0.03


def test_each_guide_leads_to_its_own_things(network: Network, dreams: Dreams) -> None:
    for guide, other in ((GOLDFISH, ROCKET), (ROCKET, GOLDFISH)):
        for how in ("likeness", "match"):
            own, others = (
                guide_similarity(network, dreams[each, how], guide) for each in (guide, other)
            )
            assert own > others + 0.2


def best_match(seen: np.ndarray, guide: np.ndarray, mean: np.ndarray) -> float:
    """Compute the best match, position by position: seen (P, C), guide (M, C) centred."""
    total = 0.0
    for position in seen:
        cosines = [(position - mean) @ each / np.linalg.norm(each) for each in guide]
        total += position @ guide[int(np.argmax(cosines))]
    return total


@pytest.mark.parametrize("chunk", [1, 100, 2**24])
def test_the_best_match_equals_a_plain_loop_however_it_is_cut(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objective, "MAX_SIMILARITIES", chunk)
    generator = torch.Generator().manual_seed(1)
    seen = torch.randn(1, 6, 5, 7, generator=generator).requires_grad_()
    guide, mean = torch.randn(11, 6, generator=generator), torch.randn(6, generator=generator)
    value = match("layer", guide, mean)({"layer": seen})
    positions = seen.detach()[0].flatten(1).T.numpy()
    assert value.item() == pytest.approx(best_match(positions, guide.numpy(), mean.numpy()), 1e-4)
    # The match is constant: the gradient at a position is the guide's vector.
    (gradient,) = torch.autograd.grad(value.sum(), seen)
    for vector in gradient[0].flatten(1).T:
        assert (guide - vector).abs().sum(1).min() < 1e-6


def test_likeness_is_the_best_match_times_its_cosine() -> None:
    generator = torch.Generator().manual_seed(3)
    seen = torch.randn(1, 6, 5, 7, generator=generator).requires_grad_()
    guide, mean = torch.randn(11, 6, generator=generator), torch.randn(6, generator=generator)
    value = match("layer", guide, mean, use_cosine=True)({"layer": seen})
    total = torch.zeros(())
    for position in seen[0].flatten(1).T - mean:
        cosines = F.cosine_similarity(position, guide)
        best = cosines.argmax()
        total = total + position @ guide[best] * cosines[best].clamp(min=0.1)
    assert value.item() == pytest.approx(total.item(), rel=1e-4)
    (gradient,), (expected,) = (torch.autograd.grad(each.sum(), seen) for each in (value, total))
    assert torch.allclose(gradient, expected, atol=1e-5)
    nothing = match("layer", guide, mean, use_cosine=True)(
        {"layer": torch.zeros(1, 6, 5, 7) + mean.view(6, 1, 1)}
    )
    assert nothing.item() == 0


def test_likeness_leaves_out_the_positions_of_a_guide_that_are_like_any_image() -> None:
    lengths = torch.tensor([3.0, 0.1, 2.0, 0.2, 1.0])
    guide = lengths[:, None] * F.normalize(torch.rand(5, 4), dim=1)
    assert torch.equal(guides.salient_positions(guide), guide[[0, 2, 4]])
    assert torch.equal(guides.salient_positions(guide[:1]), guide[:1])


def test_the_texture_of_a_guide_is_its_mean_direction() -> None:
    generator = torch.Generator().manual_seed(2)
    seen, guide = torch.randn(1, 6, 4, 4, generator=generator), torch.randn(9, 6)
    value = texture("layer", guide)({"layer": seen})
    assert value.item() == pytest.approx(float(seen.mean((2, 3))[0] @ guide.mean(0)), rel=1e-4)


@pytest.mark.parametrize("size", [(7, 5), (33, 517), (20_000, 5)])
def test_a_guide_may_have_any_size(
    size: tuple[int, int], engine: Engine, cat: Tensor, tmp_path: Path
) -> None:
    save_image(torch.rand(1, 3, *size), tmp_path / "guide.png")
    guide = embed_guide(tmp_path / "guide.png")
    recipe = DreamRecipe(guide=guide, iterations=1, octaves=1, max_side=96)
    assert not torch.equal(
        dream_tensor(engine, cat, recipe),
        dream_tensor(engine, cat, recipe.with_changes(iterations=0)),
    )


def chroma(image: Tensor) -> Tensor:
    """Return red and blue minus luminance at each pixel, (2, P)."""
    return (image - luminance(image))[0, ::2].flatten(1)


def test_a_photo_takes_the_colours_of_a_guide_and_keeps_its_brightness() -> None:
    photo = 0.25 + 0.5 * torch.rand(1, 3, 80, 90, generator=torch.Generator().manual_seed(4))
    guide = 0.4 + 0.2 * load_image(GOLDFISH)  # In gamut at every brightness of the photo.
    colours = guides.guide_colours(guide)
    whole, half = (guides.recolour(photo, colours, share) for share in (1.0, 0.5))
    assert torch.allclose(luminance(whole), luminance(photo), atol=1e-5)
    assert torch.allclose(chroma(whole).mean(1), chroma(guide).mean(1), atol=1e-3)
    spread, wanted = torch.cov(chroma(whole)), torch.cov(chroma(guide))
    assert torch.allclose(spread, wanted, atol=0.2 * wanted.max().item())
    assert torch.allclose(half, (photo + whole) / 2, atol=1e-3)


def test_a_grey_photo_is_tinted_without_coloured_noise(cat: Tensor) -> None:
    grey = luminance(cat).expand(-1, 3, -1, -1) + 0.002 * torch.randn(cat.shape)
    colours = guides.guide_colours(load_image(GOLDFISH))
    tinted = guides.recolour(grey.clamp(0, 1), colours, 1.0)
    assert chroma(tinted).std(1).max() < 0.1 and tinted.min() >= 0 and tinted.max() <= 1


def test_the_colours_of_a_photo_are_counted_only_where_its_mask_is_white() -> None:
    generator = torch.Generator().manual_seed(6)
    photo = 0.3 + 0.4 * torch.rand(1, 3, 40, 60, generator=generator)
    colours, mask = guides.guide_colours(load_image(GOLDFISH)), torch.zeros(1, 1, 40, 60)
    mask[..., :30] = 1
    photo[:, 2, :, 30:] = 1  # Much bluer than the rest.
    masked = guides.recolour(photo, colours, 1.0, mask)
    cut = guides.recolour(photo[..., :30], colours, 1.0)
    assert torch.allclose(masked[..., :30], cut, atol=1e-5)
    for dark in (mask, torch.zeros_like(mask)):
        assert torch.equal(guides.recolour(photo, colours, 1.0, dark)[..., 30:], photo[..., 30:])


def test_images_are_recoloured_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = torch.rand(2, 3, 50, 30, generator=torch.Generator().manual_seed(7))
    mask, colours = photos[:1, :1], guides.guide_colours(load_image(GOLDFISH))
    read = Mock(wraps=luminance)
    for given in (None, mask):
        whole = guides.recolour(photos, colours, 0.7, given)
        with monkeypatch.context() as patch:
            patch.setattr(guides, "ROWS_PER_CHUNK", 16)
            patch.setattr(guides, "luminance", read)
            assert torch.allclose(guides.recolour(photos, colours, 0.7, given), whole, atol=1e-6)
    assert max(call.args[0].shape[2] for call in read.call_args_list) == 16


def test_the_closed_forms_of_matrices_are_those_of_linear_algebra() -> None:
    roots = torch.randn(2, 5, 2, 2, generator=torch.Generator().manual_seed(8)).double()
    first, second = roots @ roots.mT + 0.1 * torch.eye(2)
    assert torch.allclose(guides._inverse(first), torch.linalg.inv(first))
    mean = guides._geometric_mean(first, second)
    # The geometric mean G of A and B is the positive solution of G inv(A) G = B.
    assert torch.allclose(mean @ guides._inverse(first) @ mean, second)


def test_a_dream_takes_the_colours_of_its_guide_where_its_mask_is_white(
    engine: Engine, cat: Tensor, tmp_path: Path
) -> None:
    cat = cat[:, :, ::2, ::2]
    half = torch.zeros(1, 3, *size_of(cat))
    half[..., : cat.shape[3] // 2] = 1
    save_image(half, tmp_path / "mask.png")
    recipe = DreamRecipe(guide=embed_guide(GOLDFISH), guide_colour=1.0, iterations=1, octaves=2)
    plain = dream_tensor(engine, cat, recipe.with_changes(guide_colour=0.0))
    coloured, kept, masked = (
        dream_tensor(engine, cat, recipe.with_changes(**changes))
        for changes in ({}, {"keep_colours": True}, {"mask": embed_mask(tmp_path / "mask.png")})
    )
    wanted = chroma(load_image(GOLDFISH)).mean(1)
    off, near, unchanged = (
        (chroma(each).mean(1) - wanted).norm().item() for each in (plain, coloured, kept)
    )
    assert near < off / 2 and unchanged > 0.9 * off
    assert torch.equal(masked[half == 0], cat[half == 0])
    assert not torch.equal(masked[half == 1], plain[half == 1])
    free = recipe.with_changes(guide="")
    same = (dream_tensor(engine, cat, free.with_changes(guide_colour=each)) for each in (0.0, 1.0))
    assert torch.equal(*same)


def test_the_guided_objective_reads_centred_activations(network: Network) -> None:
    guide, mean = guides.centred_guide(network, LAYER, load_image(ROCKET))
    seen = network.activations(load_image(ROCKET), (LAYER,))[LAYER][0].flatten(1).T
    assert torch.allclose(guide + mean, seen, atol=1e-4)
    assert match(LAYER, guide, mean).layers == (LAYER,)


def test_the_means_that_come_with_dreamlet_are_those_of_its_layers(network: Network) -> None:
    shipped = load_file(ROOT / "dream" / "networks" / network.card.means_file)
    assert list(shipped) and set(shipped) == {layer.name for layer in network.card.layers}
    photos = [
        each for path in sorted(EXAMPLES.glob("*.jpg")) for each in means.crops(load_image(path))
    ]
    made = guides.average_activation(network, "inception4c", photos)
    assert torch.allclose(made, shipped["inception4c"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("layer", ["inception3b", "inception4c", "inception5a"])
def test_blurred_noise_stands_in_where_no_means_come(
    layer: str, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = guides.mean_activation(network, layer)
    monkeypatch.setattr(network, "mean_activations", {})
    measured = guides.mean_activation(network, layer)
    assert torch.corrcoef(torch.stack([shipped, measured]))[0, 1] > 0.65
    inner = guides.mean_activation(network, f"{layer}.branch1")
    assert inner.shape == (catalogue.get_card("dreamlet").channel_count(f"{layer}.branch1"),)


def test_a_mean_is_measured_once(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "mean_activations", {})
    monkeypatch.setattr(network, "activations", read := Mock(wraps=network.activations))
    first, again = (guides.mean_activation(network, "conv2") for _ in range(2))
    assert torch.equal(first, again) and read.call_count == guides.NOISE_COUNT


def test_a_guide_in_a_recipe_is_small_and_stays_the_same(engine: Engine, tmp_path: Path) -> None:
    recipe = engine.settle(DreamRecipe(guide=embed_guide(ROCKET)))
    assert recipe.guide.startswith("data:image/webp;base64,") and len(recipe.guide) < 200_000
    assert recipe.with_changes(seed=1).guide == recipe.guide and engine.settle(recipe) == recipe
    save_image(torch.rand(1, 3, 32, 32), tmp_path / "dream.png", recipe)
    assert read_recipe(tmp_path / "dream.png") == recipe
    # Shown on the page and read back it is bit-identical.
    save_image(embedded_images.decode_guide(recipe.guide), tmp_path / "guide.png")
    assert embed_guide(tmp_path / "guide.png") == recipe.guide
    assert max(load_image(tmp_path / "guide.png").shape) == embedded_images.GUIDE_SIDE


GUIDE = "data:image/png;base64,AAAA"


def test_a_guide_brings_its_layer_and_objective() -> None:
    recipe = DreamRecipe(guide=GUIDE)
    assert (recipe.layer, recipe.objective) == ("inception5a", "likeness")
    assert DreamRecipe().with_changes(guide=GUIDE) == recipe
    assert recipe.with_changes(guide="") == DreamRecipe()
    kept = DreamRecipe(layer="inception3b").with_changes(guide=GUIDE, objective="texture")
    assert (kept.layer, kept.objective) == ("inception3b", "texture")
    assert kept.with_changes(guide=GUIDE + "A").objective == "texture"


def test_a_guide_is_decoded_to_check_it_and_once_more_for_all_layers(
    engine: Engine, cat: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = DreamRecipe(
        guide=embed_guide(ROCKET), layer="inception5a>inception4b,conv3", iterations=1, max_side=64
    )
    monkeypatch.setattr(embedded_images, "load_image", read := Mock(wraps=load_image))
    dream_tensor(engine, cat, recipe)
    assert read.call_count == 2
