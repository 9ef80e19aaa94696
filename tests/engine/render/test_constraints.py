"""Constraints work: kept colours, total variation, the pull to the photo."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import DreamRecipe, Engine, load_image
from dream.files.embedded_images import encode_mask
from dream.render.ascent import OctaveBase
from dream.render.transform import detail_map, total_variation_gradient
from dream.tensors import luminance
from tests.conftest import EXAMPLES


def dream_image(engine: Engine, picture: Tensor, recipe: DreamRecipe) -> Image.Image:
    *_, frame = engine.dream(picture, recipe)
    return frame.picture()


def chroma(image: Image.Image) -> np.ndarray:
    """Return unrounded chroma, blue and red minus luma, of 255 (ITU-R BT.601)."""
    red, green, blue = np.moveaxis(np.asarray(image, dtype=float), 2, 0)
    brightness = 0.299 * red + 0.587 * green + 0.114 * blue
    return np.stack([0.564 * (blue - brightness), 0.713 * (red - brightness)])


@pytest.mark.parametrize("name", ["cat", "rocket"])
def test_colours_kept_are_unchanged_to_a_level(name: str, engine: Engine) -> None:
    photo = load_image(EXAMPLES / f"{name}.jpg")
    recipe = DreamRecipe(intensity=8, octaves=3, max_side=96)
    before = dream_image(engine, photo, recipe.with_changes(iterations=0))
    kept = dream_image(engine, photo, recipe.with_changes(keep_colours=True))
    assert np.abs(chroma(kept) - chroma(before)).max() <= 1
    change = np.abs(np.asarray(kept, dtype=float) - np.asarray(before)).mean()
    assert change > 5
    free = dream_image(engine, photo, recipe)
    assert np.abs(chroma(free) - chroma(before)).max() > 20


QUICK = DreamRecipe(max_side=160, octaves=2, iterations=5, keep_colours=0, quiet=0)


def change_by(engine: Engine, photo: Tensor, recipe: DreamRecipe) -> np.ndarray:
    """Return by how many grey levels each value of a photo changes, (H, W, 3)."""
    before = dream_image(engine, photo, recipe.with_changes(iterations=0))
    return np.asarray(dream_image(engine, photo, recipe), dtype=float) - np.asarray(before)


def test_a_share_of_the_colours_is_kept(engine: Engine, cat: Tensor) -> None:
    before = dream_image(engine, cat, QUICK.with_changes(iterations=0))
    free, half, little, none = (
        np.abs(chroma(dream_image(engine, cat, recipe)) - chroma(before)).mean()
        for recipe in (QUICK.with_changes(keep_colours=share) for share in (0, 0.5, 0.9, 1))
    )
    assert 0.35 * free < half < 0.7 * free and 0.05 * free < little < 0.3 * free and none < 0.5


def test_true_and_false_are_shares_of_colour() -> None:
    for flag in (True, False):
        recipe = DreamRecipe(keep_colours=flag)
        assert type(recipe.keep_colours) is float and recipe.keep_colours == flag
        assert recipe == DreamRecipe().with_changes(keep_colours=flag)


def test_a_quiet_dream_is_weaker_only_where_the_photo_is_smooth(engine: Engine) -> None:
    photo = load_image(EXAMPLES / "rocket.jpg")
    still = np.asarray(dream_image(engine, photo, QUICK.with_changes(iterations=0)), dtype=float)
    tiles = still[:96, :160].reshape(6, 16, 10, 16, 3).std((1, 3)).max(-1)
    smooth, detailed = (np.kron(where, np.ones((16, 16))) > 0 for where in (tiles < 4, tiles > 30))
    loud, quiet = (
        np.abs(change_by(engine, photo, QUICK.with_changes(quiet=share)))[:96, :160]
        for share in (0, 0.8)
    )
    assert quiet[smooth].mean() < 0.6 * loud[smooth].mean()
    assert quiet[detailed].mean() > 0.9 * loud[detailed].mean()


def test_a_photo_that_is_smooth_all_over_still_dreams_when_quiet(engine: Engine) -> None:
    for photo in (load_image(EXAMPLES / "clouds.jpg"), torch.full((1, 3, 96, 128), 0.4)):
        loud, quiet = (
            np.abs(change_by(engine, photo, QUICK.with_changes(quiet=share))).mean()
            for share in (0, 0.8)
        )
        assert quiet > 0.75 * loud


def test_a_mask_over_a_smooth_area_dreams_there_though_it_is_quiet(engine: Engine) -> None:
    photo = torch.full((1, 3, 96, 128), 0.4)
    photo[..., 64:] = torch.rand(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros_like(photo)
    mask[..., :40] = 1
    recipe = QUICK.with_changes(mask=encode_mask(mask))
    loud, quiet = (
        np.abs(change_by(engine, photo, recipe.with_changes(quiet=share)))[:, :36].mean()
        for share in (0, 0.9)
    )
    assert quiet > 0.75 * loud


def test_detail_wraps_where_the_image_does() -> None:
    image = torch.full((1, 3, 64, 96), 0.2)
    image[..., 48:] = 0.8  # Its edges are in the middle, and between the last column and the first.
    assert detail_map(image)[..., 0].max() < 0.1 and detail_map(image)[..., 48].min() == 1
    assert detail_map(image, (3,))[..., 0].min() == 1


def test_detail_is_where_edges_are_and_ignores_their_strength(noise: Tensor) -> None:
    half = torch.full((1, 3, 64, 96), 0.5)
    half[..., 48:] += 0.4 * (torch.rand(1, 3, 64, 48) - 0.5)
    detail = detail_map(half)
    assert detail.shape == (1, 1, 64, 96)
    assert detail[..., :24].max() < 0.1 and detail[..., 60:].min() == 1
    assert torch.allclose(detail_map(0.5 + (half - 0.5) / 4), detail, atol=0.02)
    assert torch.equal(detail_map(torch.full((2, 3, 5, 1), 0.3)), torch.ones(2, 1, 5, 1))


def test_what_is_held_stays_in_range_and_in_hue(noise: Tensor) -> None:
    base = OctaveBase(noise, keep_colours=1)
    wild = noise + torch.randn(noise.shape, generator=torch.Generator().manual_seed(1))
    held = base.constrain(wild.clone())
    assert held.min() >= 0 and held.max() <= 1
    differences = held - noise
    assert torch.allclose(differences[:, 0], differences[:, 1], atol=1e-6)
    wanted, got = luminance(wild - noise), luminance(differences)
    assert (got * wanted >= -1e-9).all() and (got.abs() <= wanted.abs() + 1e-6).all()


def total_variation(image: Image.Image) -> float:
    pixels = np.asarray(image, dtype=float)
    return float(np.abs(np.diff(pixels, axis=0)).mean() + np.abs(np.diff(pixels, axis=1)).mean())


def test_total_variation_falls_with_its_knob(engine: Engine, cat: Tensor) -> None:
    recipe = DreamRecipe(octaves=3, max_side=96)
    none, some, much = (
        total_variation(dream_image(engine, cat, recipe.with_changes(total_variation=knob)))
        for knob in (0.0, 0.5, 2.0)
    )
    assert much < 0.9 * some and some < 0.95 * none


def test_the_gradient_of_total_variation_is_that_of_autograd(noise: Tensor) -> None:
    leaf = noise.clone().requires_grad_()
    soft = 1 / 255
    total = sum(
        (leaf.diff(dim=dim).abs() - soft * torch.log1p(leaf.diff(dim=dim).abs() / soft)).sum()
        for dim in (2, 3)
    )
    (expected,) = torch.autograd.grad(total, leaf)  # type: ignore[arg-type]
    assert torch.allclose(total_variation_gradient(noise), expected, atol=1e-5)
    assert total_variation_gradient(torch.full((1, 3, 5, 4), 0.3)).abs().max() == 0


def test_the_pull_brings_a_dream_back_to_the_photo(engine: Engine, cat: Tensor) -> None:
    recipe, changes = DreamRecipe(octaves=3, iterations=6, max_side=96), []
    for pull in (0.0, 0.02, 0.2, 1.0):
        first, *_, frame = engine.dream(cat, recipe.with_changes(pull=pull))
        changes.append((frame.tensor - first.tensor).abs().mean().item() * 255)
    assert changes[0] > 1.1 * changes[1] and changes[1] > 1.5 * changes[2]
    assert changes[3] < 1e-4
