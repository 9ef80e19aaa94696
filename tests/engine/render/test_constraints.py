"""Constraints work: kept colours, total variation, the pull to the photo."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import DreamRecipe, Engine, load_image
from dream.render.ascent import OctaveBase
from dream.render.transform import total_variation_gradient
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


def test_what_is_held_stays_in_range_and_in_hue(noise: Tensor) -> None:
    base = OctaveBase(noise, keep_colours=True)
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
