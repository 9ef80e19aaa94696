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

RED = "data:image/png;base64,red"
# Mixes differ only in what file names lack: separators and weights.
MIX = ("conv3{0}inception3a", "conv3{0}inception3a:0.5", "conv3:-1{0}inception3a:1")
MIXES = [mix.format(separator) for mix in MIX for separator in (",", ", ", ">")]
ONE_LAYER = {"channels": ["", "7", "7,12", "7,12:-1"], "guide": ["", RED]}


@st.composite
def recipes(draw: st.DrawFn) -> DreamRecipe:
    """Draw a recipe with a few knobs off their defaults."""
    layer = draw(st.sampled_from(["conv3", "inception3b", *MIXES]))
    values: dict[str, Any] = {
        "smoothing": [0.5, 0.0, 1e-05, 1.0],
        "step": [None, 1.0, 10.0],
        "keep_colours": [False, True],
        "seed": [0, 1, 2],
        "max_side": [None, 64],
    }
    if layer not in MIXES:
        name = draw(st.sampled_from(sorted(ONE_LAYER)))
        values |= {name: ONE_LAYER[name]}
    chosen = {name: draw(st.sampled_from(each)) for name, each in values.items()}
    return DreamRecipe(layer=layer, **chosen)


@limit_cases(8)
@given(st.lists(recipes(), min_size=40, max_size=40))
def test_two_recipes_never_share_a_name(drawn: list[DreamRecipe]) -> None:
    drawn = list(dict.fromkeys(drawn))
    made = make_tasks(["/in/cat.jpg"], drawn, "cpu")
    assert len({task.output.casefold() for task in made}) == len(made) == len(drawn)
    assert make_tasks(["/in/cat.jpg"], drawn[::-1], "cpu")[::-1] == made
    assert all(re.fullmatch(r"[\w.+-]{1,250}", task.output) for task in made)


def test_every_choice_of_a_sweep_is_made() -> None:
    made = make_tasks(["/in/cat.jpg"], sweep(RECIPE, {"layer": MIXES}), "cpu")
    assert len({task.output for task in made}) == len(made) >= 6
    assert all("conv3+" in task.output for task in made)


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
