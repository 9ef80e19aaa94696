"""File names of a batch's images are unique for any photos and recipes."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dream import DreamRecipe
from dream.batch.tasks import make_tasks, unique_names
from dream.recipe.presets import sweep
from tests.support.fuzz import limit_cases
from tests.support.many import RECIPE

LAYERS = ["conv3", "inception3a", "inception3b", "inception4c"]
RED = "data:image/png;base64,red"


def mix(draw: st.DrawFn, names: list[str], most: int) -> str:
    """Draw a mix of names, weighted or not, with the separators of a recipe."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=most, unique=True))
    weights = draw(st.lists(st.sampled_from(["", ":1", ":-1", ":0.5"]), min_size=most))
    parts = draw(st.lists(st.sampled_from([",", ", ", ">"]), min_size=most))
    if len(chosen) > 1 or most > 2:
        return "".join(
            each
            for three in zip(chosen, weights, [*parts[: len(chosen) - 1], ""], strict=False)
            for each in three
        )
    return chosen[0]


@st.composite
def recipes(draw: st.DrawFn) -> DreamRecipe:
    """Draw a recipe with a few knobs off their defaults."""
    several = draw(st.booleans())
    chosen: dict[str, Any] = {
        "layer": mix(draw, LAYERS, 4) if several else draw(st.sampled_from(LAYERS)),
        "channels": "" if several else mix(draw, ["7", "12", "80"], 3).replace(">", ","),
        "guide": "" if several else draw(st.sampled_from(["", RED])),
        "smoothing": draw(st.sampled_from([0.5, 0.0, 1e-05, 1.0])),
        "step": draw(st.sampled_from([None, 1.0, 10.0])),
        "keep_colours": draw(st.booleans()),
        "seed": draw(st.integers(0, 2)),
        "max_side": draw(st.sampled_from([None, 64])),
    }
    if chosen["guide"]:
        chosen["channels"] = ""
    return DreamRecipe(**chosen)


@limit_cases(8)
@given(st.lists(recipes(), min_size=40, max_size=40))
def test_two_recipes_never_share_a_name(drawn: list[DreamRecipe]) -> None:
    drawn = list(dict.fromkeys(drawn))
    made = make_tasks(["/in/cat.jpg"], drawn, "cpu")
    assert len({task.output.casefold() for task in made}) == len(made) == len(drawn)
    assert [task.output for task in make_tasks(["/in/cat.jpg"], drawn[::-1], "cpu")][::-1] == [
        task.output for task in made
    ]
    assert all(re.fullmatch(r"[\w.+-]{1,250}", task.output) for task in made)


def test_every_choice_of_a_sweep_is_made() -> None:
    layers = ["inception3b>inception4c", "inception3b,inception4c"]
    layers += ["inception3b:-1,inception4c", "inception3b:1,inception4c"]
    made = make_tasks(["/in/cat.jpg"], sweep(RECIPE, {"layer": layers}), "cpu")
    assert len({task.output for task in made}) == 4
    assert all("inception3b+" in task.output for task in made)


FILES = st.lists(
    st.tuples(
        st.sampled_from(["100APPLE", "101APPLE", "a b", "a+b"]),
        st.sampled_from(
            ["IMG_1", "img_1", "a b", "a+b", f"{'x' * 70}1", f"{'x' * 70}2", "喵" * 70]
        ),
        st.sampled_from([".jpg", ".JPG", ".png"]),
    ).map(lambda three: f"/in/{three[0]}/{three[1]}{three[2]}"),
    min_size=2,
    unique=True,
)


@limit_cases(200)
@given(FILES)
def test_two_photos_never_share_a_name(files: list[str]) -> None:
    found = unique_names(files)
    assert len({name.casefold() for name in found.values()}) == len(found) == len(files)
    assert found == unique_names(files[::-1])
    made = make_tasks(
        files, [RECIPE, RECIPE.with_changes(layer="conv3, inception3a", jitter=7)], "cpu"
    )
    assert len({task.output.casefold() for task in made}) == len(made) == 2 * len(files)
    assert max(len(task.output.encode()) for task in made) < 256


def test_photos_of_one_name_are_told_apart_by_what_differs() -> None:
    found = unique_names(
        ["/in/cat.jpg", "/in/cat.png", "/in/a/dog.jpg", "/in/b/dog.jpg", "/in/b/cow.jpg"]
    )
    assert list(found.values()) == ["cat.jpg", "cat.png", "a+dog.jpg", "b+dog.jpg", "cow"]
