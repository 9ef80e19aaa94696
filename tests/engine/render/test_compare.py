"""Sheets compare layers and intensities; presets are recipes; batched dreams equal single ones."""

import json
from itertools import combinations
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from dream import DreamRecipe, Engine, RecipeError
from dream.files.contact_sheet import recipe_label, variations_sheet
from dream.recipe.presets import (
    DEFAULT_SIDE,
    PRESETS_FILE,
    parse_intensities,
    parse_names,
    preset,
    presets,
    variations,
)
from tests.conftest import change, dream_tensor


def test_variations_go_through_layers_and_intensities() -> None:
    made = variations(DreamRecipe(seed=4), ["inception3b", "inception4c"], [3, 5, 8])
    assert [(each.layer, each.intensity) for each in made] == [
        (layer, intensity) for layer in ("inception3b", "inception4c") for intensity in (3, 5, 8)
    ]
    assert {(each.seed, each.max_side) for each in made} == {(4, DEFAULT_SIDE)}
    assert made[2] == DreamRecipe(layer="inception3b", intensity=8, seed=4, max_side=DEFAULT_SIDE)
    assert recipe_label(made[2]) == "inception3b, intensity 8"


def test_variations_keep_what_is_not_compared() -> None:
    recipe = DreamRecipe(layer="conv3", step=3.0, max_side=100, guide="data:image/png,")
    only_layers = variations(recipe, ["inception3b", "inception4c"])
    assert {(each.step, each.max_side, each.guide) for each in only_layers} == {
        (3.0, 100, recipe.guide)
    }
    only_intensities = variations(recipe, [], [1, 2])
    assert {each.layer for each in only_intensities} == {"conv3"}


@pytest.mark.parametrize(
    ("layers", "intensities", "message"),
    [
        ([], [], "a contact sheet compares 2 to 36 dreams, not 1"),
        (["conv3"], [5], "not 1; give several layers, several intensities or both"),
        (["conv3", "conv3"], [5], "not 1"),
        (["conv3", "inception3a", "inception3b", "inception4a"], list(range(1, 11)), "not 40"),
        (["conv3", "foo"], [], "layer 'foo' is not in dreamlet"),
        ([], [5, 11], "intensity must be a whole number from 1 to 10, not 11"),
    ],
)
def test_sheets_that_cannot_be_are_refused(
    layers: list[str], intensities: list[int], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        variations(DreamRecipe(), layers, intensities)


def test_a_sheet_has_a_limit_in_pixels() -> None:
    wide = DreamRecipe(max_side=4096)
    assert len(variations(wide.with_changes(max_side=2000), [], [1, 2, 3, 4])) == 4
    with pytest.raises(RecipeError, match="sheet of 4 dreams needs a max_side of 4000 or less"):
        variations(wide, [], [1, 2, 3, 4])


def test_lists_are_read_or_refused() -> None:
    assert parse_names(" a, b ,,c ") == ["a", "b", "c"] and parse_names("") == []
    assert parse_intensities("3, 5,8") == [3, 5, 8] and parse_intensities("") == []
    with pytest.raises(RecipeError, match="whole numbers such as 3,5,8, not '3,five'"):
        parse_intensities("3,five")


def test_a_sheet_has_a_row_for_each_layer_however_often_one_is_named() -> None:
    recipes = variations(DreamRecipe(), ["conv3", "inception3a"], parse_intensities("3,3,5"))
    pictures, size = [Image.new("RGB", (40, 30)) for _ in recipes], (2 * 46 + 6, 2 * 54 + 6)
    assert len(recipes) == 4 and variations_sheet(recipes, pictures).size == size
    recipes = variations(DreamRecipe(), ["conv3", "inception3a", "inception3b", "inception4a"])
    assert variations_sheet(recipes, pictures).size == size


def test_several_dreams_are_each_as_alone(engine: Engine, cat: Tensor, quick: DreamRecipe) -> None:
    recipes = [quick, quick.with_changes(layer="inception3b", seed=5)]
    recipes.append(quick.with_changes(iterations=0))
    frames = list(engine.dreams(cat, recipes))
    done = [frame.done for frame in frames]
    assert done == sorted(done) and done[-1] == 1
    steps = [frame.step for frame in frames]
    assert steps == sorted(steps) and {frame.total for frame in frames} == {8} and steps[-1] == 8
    together = [frame.tensor for frame in frames if frame.finished]
    assert len(together) == 3
    for recipe, picture in zip(recipes, together, strict=True):
        *_, alone = engine.dream(cat, recipe)
        assert torch.equal(alone.tensor, picture)


def test_dreams_without_a_step_are_done_all_the_same(engine: Engine, cat: Tensor) -> None:
    still = DreamRecipe(iterations=0)
    frames = list(engine.dreams(cat, [still, still.with_changes(seed=1)]))
    assert [(frame.finished, frame.done) for frame in frames] == [(True, 0.5), (True, 1)]


def test_every_dream_is_checked_before_the_first(engine: Engine, cat: Tensor) -> None:
    with pytest.raises(RecipeError, match="the guide in the recipe is not an image"):
        engine.dreams(cat, [DreamRecipe(), DreamRecipe(guide="data:image/png")])


def test_the_presets_are_recipes_with_names() -> None:
    assert list(presets())[:4] == ["Subtle", "Standing animals", "Arches and faces", "Creatures"]
    assert list(presets())[4:] == ["Eyes", "Architecture", "Rings", "Painting", "Same colours"]
    knobs: dict[str, dict[str, Any]] = json.loads(PRESETS_FILE.read_text())
    assert presets() == {name: DreamRecipe.from_dict(each) for name, each in knobs.items()}
    assert preset(" standing ANIMALS ") is presets()["Standing animals"]
    with pytest.raises(RecipeError, match="there is no preset 'creature'; did you mean Creatures"):
        preset("creature")


def test_every_preset_dreams_of_something_else(engine: Engine, cat: Tensor) -> None:
    made = [recipe.with_changes(max_side=96) for recipe in presets().values()]
    start = dream_tensor(engine, cat, made[0].with_changes(iterations=0))
    pictures = [dream_tensor(engine, cat, recipe) for recipe in made]
    changes = [change(picture, start) for picture in pictures]
    assert 1 < changes[0] < changes[1] and all(each > 5 for each in changes[1:])
    assert all(change(one, other) > 2 for one, other in combinations(pictures, 2))
