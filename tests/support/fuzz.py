"""Random hostile files and recipes, a fixed number, the same each time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dream import load_image
from dream.files.image import image_size, load_thumbnail
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.knob import knobs
from dream.tensors import check_image
from tests.support.corpus import corpus
from tests.support.trial import Trial

RECIPE_TYPES = (DreamRecipe, ChannelRecipe, ClassRecipe)
KNOB_NAMES = sorted({name for kind in RECIPE_TYPES for name in knobs(kind)} | {"kind", "deepdream"})
# Small files: their content matters, not their size.
SEED_FILES = st.deferred(
    lambda: st.sampled_from([each.content for each in corpus() if 0 < len(each.content) < 20_000])
)
WORDS = ["inception3b", "dreamlet", "goldfish", "channels", "nan", "1e39", ":", ",", ">", "-", "\0"]


def limit_cases(cases: int) -> Callable[[Any], Any]:
    """Make hypothesis run so many cases, the same each time, without a deadline."""
    return settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a file of the corpus with bytes changed, removed, doubled or inserted."""
    content = bytearray(draw(SEED_FILES))
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        at = draw(st.integers(0, len(content) - 1))
        to = min(len(content), at + draw(st.sampled_from([1, 2, 4, 16, 300])))
        content[at:to] = draw(
            st.one_of(
                st.binary(min_size=to - at, max_size=to - at),
                st.sampled_from([b"", b"\xff" * (to - at), bytes(to - at), content[at:to] * 2]),
            )
        )
    return bytes(content)


TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS), max_size=9).map("".join))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.integers(10**300, 10**310),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
NUMBER_KNOBS = ["octaves", "intensity", "iterations", "seed", "step", "jitter", "feather", "pull"]
LIKELY_KNOBS = st.dictionaries(
    st.sampled_from(NUMBER_KNOBS), st.integers(-1, 3) | st.floats(0, 2), max_size=3
)
OBJECTS = st.dictionaries(st.one_of(st.sampled_from(KNOB_NAMES), TEXTS), VALUES, max_size=6)


@st.composite
def recipes(draw: st.DrawFn) -> str | bytes:
    """Draw a recipe's text: bytes, any JSON, knobs with any values, or a recipe cut apart."""
    strategy = draw(st.sampled_from([st.binary(max_size=60), VALUES, OBJECTS, LIKELY_KNOBS, None]))
    if strategy is not None:
        drawn = draw(strategy)
        return drawn if isinstance(drawn, bytes) else json.dumps(drawn)
    text = draw(st.sampled_from(RECIPE_TYPES))().to_json()
    at, to = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:at] + draw(st.one_of(TEXTS, st.just(""))) + text[max(at, min(to, at + 30)) :]


def fuzz_files(cases: int) -> Trial:
    """Read random files through every loader."""
    trial = Trial()

    @limit_cases(cases)
    @given(files())
    def read(content: bytes) -> None:
        trial.count(lambda: check_image(load_image(io.BytesIO(content))))
        Trial().count(lambda: image_size(io.BytesIO(content)))
        Trial().count(lambda: load_thumbnail(io.BytesIO(content), 16))

    read()
    return trial


def fuzz_recipes(cases: int) -> Trial:
    """Read random recipes; an accepted one must survive writing and reading again."""
    trial = Trial()

    @limit_cases(cases)
    @given(recipes())
    def read(text: str | bytes) -> None:
        def again() -> None:
            recipe = Recipe.from_json(text)
            assert Recipe.from_json(recipe.to_json()) == recipe

        trial.count(again)

    read()
    return trial
