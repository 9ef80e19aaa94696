"""File names of a batch's images are unique for any photos and recipes."""

import random
import re
from itertools import product
from typing import Any

from dream import DreamRecipe
from dream.batch.tasks import make_tasks, unique_names
from dream.recipe.presets import sweep
from tests.support.many import RECIPE

RED = "data:image/png;base64,red"
# Mixes differ only in what file names lack: separators and weights.
MIX = ("conv3{0}inception3a", "conv3{0}inception3a:0.5", "conv3:-1{0}inception3a:1")
MIXES = [mix.format(separator) for mix in MIX for separator in (",", ", ", ">")]


def test_two_recipes_never_share_a_name() -> None:
    layers: list[dict[str, Any]] = [{"layer": each} for each in MIXES]
    for layer in ("conv3", "inception3b"):
        layers += [{"layer": layer, "channels": each} for each in ("", "7", "7,12", "7,12:-1")]
        layers.append({"layer": layer, "guide": RED})
    others: dict[str, list[Any]] = {
        "smoothing": [0.5, 0.0, 1e-05],
        "step": [None, 1.0, 10.0],
        "keep_colours": [False, True],
        "seed": [0, 1, 2],
        "max_side": [None, 64],
    }
    drawn = random.Random(0).sample([*product(layers, *others.values())], 320)
    recipes = [
        DreamRecipe(**chosen, **dict(zip(others, values, strict=True))) for chosen, *values in drawn
    ]
    made = make_tasks(["/in/cat.jpg"], recipes, "cpu")
    assert len({task.output.casefold() for task in made}) == len(made) == len(recipes)
    assert make_tasks(["/in/cat.jpg"], recipes[::-1], "cpu")[::-1] == made
    assert all(re.fullmatch(r"[\w.+-]{1,250}", task.output) for task in made)


def test_every_choice_of_a_sweep_is_made() -> None:
    made = make_tasks(["/in/cat.jpg"], sweep(RECIPE, {"layer": MIXES}), "cpu")
    assert len({task.output for task in made}) == len(made) >= 6
    assert all("conv3+" in task.output for task in made)


def test_two_photos_never_share_a_name() -> None:
    folders = ("100APPLE", "101APPLE", "a b", "a+b")
    names = ("IMG_1", "img_1", "a b", "a+b", f"{'x' * 70}1", f"{'x' * 70}2", "喵" * 70)
    files = [
        "/in/" + "".join(each) for each in product(folders, "/", names, (".jpg", ".JPG", ".png"))
    ]
    rng = random.Random(0)
    for count in (2, 3, 5, 9, 20, len(files)) * 5:
        some = rng.sample(files, count)
        found = unique_names(some)
        assert len({name.casefold() for name in found.values()}) == len(found) == len(some)
        assert found == unique_names(some[::-1])
        other = RECIPE.with_changes(layer="conv3, inception3a", jitter=7)
        made = make_tasks(some, [RECIPE, other], "cpu")
        assert len({task.output.casefold() for task in made}) == len(made) == 2 * len(some)
        assert max(len(task.output.encode()) for task in made) < 256


def test_photos_of_one_name_are_told_apart_by_what_differs() -> None:
    found = unique_names(
        ["/in/cat.jpg", "/in/cat.png", "/in/a/dog.jpg", "/in/b/dog.jpg", "/in/b/cow.jpg"]
    )
    assert list(found.values()) == ["cat.jpg", "cat.png", "a+dog.jpg", "b+dog.jpg", "cow"]
