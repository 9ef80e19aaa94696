"""A recipe is always valid and complete, and survives a round trip through JSON."""

import json
import math
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest

import dream
from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamError,
    DreamRecipe,
    LiveRecipe,
    RecipeError,
    ZoomRecipe,
)
from dream.errors import describe_value, to_printable_line
from dream.recipe.base import Recipe
from dream.recipe.channel import evenly_spaced_channels, parse_channels
from dream.recipe.dream import STEPS_BY_INTENSITY
from dream.recipe.knob import knobs, read_env_number


class Hostile:
    """A value whose every operation raises."""

    __hash__ = None  # type: ignore[assignment]

    def no(self, *_: object) -> Any:
        raise RuntimeError

    __repr__ = __str__ = __eq__ = __bool__ = __len__ = no


NESTED: list[Any] = []
for _ in range(990):
    NESTED = [NESTED]
ODD_VALUES: list[Any] = [
    *(None, True, b"x", [1], {"a": 1}, Hostile(), NESTED, object, 1j, 10**5000, -(10**5000)),
    *(math.nan, math.inf, np.int64(3), np.zeros((9, 9)), np.array("x"), np.str_("x"), Path("a")),
    *("x" * 1_000_000, "," * 1_000_000, "9" * 5000, "a\0b", "\ud800", "\n\x1b[31m", "data:image/"),
]
NUMBER_KNOBS = [
    name for name, knob in knobs(DreamRecipe).items() if knob.value_type in (int, float)
]


def test_every_intensity_brings_its_step_and_goes_further_than_the_one_before() -> None:
    for intensity, expected in enumerate(STEPS_BY_INTENSITY, start=1):
        recipe = DreamRecipe(intensity=intensity)
        assert (recipe.step, recipe.iterations) == expected
    reach = [step * iterations for step, iterations in STEPS_BY_INTENSITY]
    assert reach == sorted(set(reach))


@pytest.mark.parametrize("name", NUMBER_KNOBS)
def test_every_number_is_held_to_its_bounds(name: str) -> None:
    knob = knobs(DreamRecipe)[name]
    inside: Any
    outside: Any
    for inside in (knob.low, knob.high):
        assert getattr(DreamRecipe(**{name: inside}), name) == inside
    for outside in (knob.low - 1, knob.high + 1, math.nan, math.inf, 10**400):
        with pytest.raises(RecipeError, match=rf"^{name} must be a .*number from .* to "):
            DreamRecipe(**{name: outside})
    wrong: Any
    for wrong in ("5", [1], {}, *([] if knob.was_bool else [True])):
        with pytest.raises(RecipeError, match=f"^{name} must be"):
            DreamRecipe(**{name: wrong})


def test_whole_numbers_may_come_as_floats_but_not_broken_ones() -> None:
    recipe = DreamRecipe(octaves=3.0)  # type: ignore[arg-type]
    assert recipe.octaves == 3 and isinstance(recipe.octaves, int)


GUIDE = "data:image/png;base64,AAAA"


REFUSED: dict[type[Recipe], list[tuple[dict[str, Any], str]]] = {
    DreamRecipe: [
        ({"octaves": 2.5}, "octaves must be a whole number from 1 to 10, not 2.5"),
        ({"layer": "inception4"}, "^layer 'inception4' is not in dreamlet; did you mean in"),
        ({"layer": "foo"}, "'foo' is not in dreamlet; try inception4c, conv3, "),
        ({"model": "vgg61"}, "model 'vgg61' is not known; did you mean vgg19 or vgg16"),
        ({"model": "x"}, "model 'x' is not known; try dreamlet, vgg16, vgg19, "),
        ({"layer": "inception4c:heavy"}, "weight of layer inception4c must be a number from -10"),
        ({"layer": "inception4c:nan"}, "must be a number"),
        ({"layer": "inception4c:1e39"}, "must be a number from -1000 to 1000, not '1e39'"),
        ({"layer": "conv3>inception4c:-1001"}, "a number from -1000 to 1000, not '-1001'"),
        ({"layer": "inception4c,"}, "layer '' is not in dreamlet"),
        ({"layer": "inception4c,inception4c:2"}, "a layer is listed twice"),
        ({"layer": "inception4c," * 10_000}, "twice|is not in dreamlet"),
        ({"layer": "conv3>"}, "layer '' is not in dreamlet"),
        ({"layer": "conv3>foo"}, "layer 'foo' is not in dreamlet"),
        ({"layer": "conv3>conv3,conv3"}, "a layer is listed twice: 'conv3,conv3'"),
        ({"layer": ">".join(["conv3"] * 1000)}, "is not in dreamlet"),
        ({"channels": "320"}, "inception4c has channels 0 to 319, not '320'"),
        ({"channels": "-1"}, "has channels 0 to 319, not '-1'"),
        ({"channels": "seven"}, "has channels 0 to 319, not 'seven'"),
        ({"channels": "7:much"}, "weight of channel 7 must be a number from .*, not 'much'"),
        ({"channels": "7,"}, "has channels 0 to 319, not ''"),
        ({"channels": "7", "layer": "inception3b,inception4c"}, "channels need a single layer"),
        ({"channels": "7", "layer": "conv3>inception3b"}, "channels need a single layer"),
        ({"objective": "channels"}, "objective channels needs channels"),
        ({"objective": "match"}, "objective match needs guide"),
        ({"channels": "7", "objective": "mean"}, "set, objective must be channels, not mean"),
        ({"guide": GUIDE, "objective": "norm"}, "must be likeness or match or texture, not norm"),
        ({"guide": GUIDE, "channels": "7"}, "channels and a guide cannot be combined"),
        ({"objective": "beauty"}, "objective must be norm or mean or"),
        ({"keep_colours": 1.1}, "keep_colours must be a number from 0 to 1, not 1.1"),
        ({"keep_colours": "yes"}, "keep_colours must be a number from 0 to 1"),
        ({"quiet": True}, "quiet must be a number from 0 to 1, not True"),
        ({"mask": GUIDE, "seamless": "all"}, "remove the mask or set seamless to none"),
        ({"seamless": "round"}, "seamless must be none or across or all, not 'round'"),
    ],
    ChannelRecipe: [
        ({"channel": 320}, "inception4c has channels 0 to 319, not 320"),
        ({"channel": 99999}, "inception4c has channels 0 to 319, not 99999"),
        ({"layer": "fc", "channel": 1000}, "fc has channels 0 to 999, not 1000"),
        ({"channel": -1}, "channel must be a whole number from 0"),
        ({"layer": "inception4z"}, "layer 'inception4z' is not in dreamlet; did you mean"),
        ({"layer": "inception3b,inception4c"}, "is not in dreamlet"),
        ({"objective": "energy"}, "objective must be channel or neuron, not 'energy'"),
        ({"canvas": "oil"}, "canvas must be fourier or pixels, not 'oil'"),
        ({"size": 16}, "size must be a whole number from 32 to 1024, not 16"),
        ({"model": "alexnet", "size": 40}, "alexnet needs a size of 63 pixels or more"),
        ({"steps": 500}, "steps must be a whole number from 0 to 400"),
    ],
    ClassRecipe: [
        ({"target": "goldfish:much"}, "the weight of class goldfish must be a number from"),
        ({"target": "goldfish:1e39"}, "from -1000 to 1000, not '1e39'"),
        ({"target": "goldfish,1"}, "target lists a class twice"),
        ({"target": "goldfish,"}, "there is no class ''"),
        ({"mode": "magic"}, "single or growing or fourier or octaves or phase or classic, not"),
        ({"size": 8}, "size must be a whole number from 32"),
        ({"model": "inception_v3", "size": 64}, "inception_v3 needs a size of 75 pixels or more"),
        ({"penalty": -1}, "penalty must be a number from 0 to 1"),
        ({"tries": 0}, "tries must be a whole number from 1 to 8"),
        ({"target": 7}, "target must be text, not 7"),
    ],
    ZoomRecipe: [
        ({"seconds": 0}, "seconds must be a number from 0.1 to 3600, not 0"),
        ({"zoom": 0.5}, "zoom must be a number from 1 to 6, not 0.5"),
        ({"layer": "5 s: conv3; 3 s: inception3b"}, "3 s cannot follow 5 s"),
        ({"layer": "0 s: conv3; later: inception3b"}, "keyframes must look like 0 s: inception4c"),
        ({"layer": "0 s: conv3; 2 s: nowhere"}, "layer 'nowhere' is not in dreamlet"),
        ({"layer": "0 s: conv3; 2 s: conv3>inception3b"}, "remove the >"),
        ({"layer": "0 s: conv3 seed 9999999999"}, "the seed of a keyframe is at most"),
    ],
    LiveRecipe: [({"layer": "inception9"}, "inception9")],
}


@pytest.mark.parametrize(
    ("kind", "given", "message"), [(kind, *row) for kind, table in REFUSED.items() for row in table]
)
def test_a_recipe_that_cannot_be_is_refused_in_one_line(
    kind: type[Recipe], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        kind(**given)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_layers_and_channels_have_weights() -> None:
    recipe = DreamRecipe(layer=" inception3b : 0.5 ,inception4c:")
    assert recipe.layers == (("inception3b", 0.5), ("inception4c", 1.0))
    assert DreamRecipe(channels="7:0.5, 12:-1").channel_weights == ((7, 0.5), (12, -1.0))


def test_json_and_back_is_the_same_recipe() -> None:
    recipe = DreamRecipe(layer="inception3b:0.5,inception4c", intensity=7, seed=42, max_side=640)
    assert DreamRecipe.from_json(recipe.to_json()) == recipe
    assert json.loads(recipe.to_json())["deepdream"] == 1


@pytest.mark.parametrize("kind", Recipe.types_by_kind().values())
def test_a_recipe_prints_as_one_short_line_that_makes_it_again(kind: type[Recipe]) -> None:
    recipe = kind.from_dict({"seed": 3})
    assert eval(repr(recipe), vars(dream)) == recipe and "seed=3" in repr(recipe)
    assert "model" not in repr(recipe)  # The default.


def test_a_guide_prints_as_its_start() -> None:
    line = repr(DreamRecipe(guide=f"data:image/png;base64,{'A' * 100_000}"))
    assert "guide='data:image/png;base64,AAAA" in line and "…'" in line and len(line) < 300


def test_none_is_typed_where_it_may_stay() -> None:
    recipe = DreamRecipe(layer=None, step=None, max_side=None)
    assert_type(recipe.layer, str)
    assert_type(recipe.step, float)
    assert_type(recipe.max_side, int | None)
    assert_type(ChannelRecipe(layer=None, steps=None).steps, int | None)
    types = {name: knobs(DreamRecipe)[name].value_type for name in ("layer", "step", "max_side")}
    assert types == {"layer": str, "step": float, "max_side": int}


@pytest.mark.parametrize("kind", Recipe.types_by_kind().values())
def test_a_recipe_of_an_earlier_version_keeps_its_image(kind: type[Recipe]) -> None:
    written = kind.from_dict({}).to_dict()
    for name in kind.old_values:
        del written[name]
    recipe = kind.from_dict(written)
    assert {name: getattr(recipe, name) for name in kind.old_values} == kind.old_values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "a recipe must be JSON"),
        ("[1]", "a recipe must be a JSON object"),
        ("[" * 100_000, "a recipe must be JSON"),
        (b"\xff\xfe\x00", "a recipe must be JSON"),
        ('{"deepdream": 2}', "has version 2; this program reads version 1"),
        ('{"kind": "class"}', "has kind 'class'; kind 'dream' is needed"),
        ('{"kind": []}', "has kind a value of type list; kind 'dream' is needed"),
        ('{"kind": {"dream": 1}}', "has kind a value of type dict; kind"),
        ('{"deepdream": [1]}', "has version a value of type list; this program reads version 1"),
        ('{"seed": ' + "[" * 900 + "]" * 900 + "}", "not a value of type list"),
        ('{"octave": 3}', "a recipe has no knob 'octave'; did you mean octaves"),
        ('{"octaves": 99}', "octaves must be a whole number from 1 to 10, not 99"),
        ('{"octaves": null}', "octaves must be"),
        ('{"layer": 4}', "layer must be text, not 4"),
    ],
)
def test_json_that_is_no_recipe_is_refused_in_one_line(text: str | bytes, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        DreamRecipe.from_json(text)
    assert "\n" not in str(caught.value)


def test_a_new_intensity_brings_its_own_step() -> None:
    assert DreamRecipe(step=1.0).with_changes(intensity=9) == DreamRecipe(intensity=9)
    assert DreamRecipe().with_changes(intensity=9, step=1.0) == DreamRecipe(intensity=9, step=1.0)
    assert DreamRecipe(step=1.0).with_changes(seed=3) == DreamRecipe(step=1.0, seed=3)
    assert DreamRecipe(layer="conv3").with_changes(model="dreamlet").layer == "inception4c"


def test_methods_still_answer_to_their_old_names() -> None:
    with pytest.warns(DeprecationWarning, match="^but is now with_changes$"):
        assert DreamRecipe().but(seed=3) == DreamRecipe(seed=3)  # type: ignore[attr-defined]


def test_any_kind_of_recipe_is_read_by_its_kind() -> None:
    for recipe in (DreamRecipe(intensity=3), ChannelRecipe(channel=7, size=64)):
        assert Recipe.from_json(recipe.to_json()) == recipe
        assert type(recipe).from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_json("{}") == DreamRecipe()
    with pytest.raises(RecipeError, match="has kind 'channel'; kind 'dream' is needed"):
        DreamRecipe.from_json(ChannelRecipe().to_json())
    with pytest.raises(RecipeError, match="has kind 'film'; kind 'channel' or 'class' or"):
        Recipe.from_json('{"kind": "film"}')


def test_channels_belong_to_one_layer_and_go_with_it() -> None:
    recipe = DreamRecipe(layer="inception3b", channels="7")
    assert recipe.with_changes(seed=1).channels == "7"
    assert recipe.with_changes(layer="inception4c").channels == ""
    assert recipe.with_changes(model="dreamlet").channels == ""


def test_lists_of_channels_are_read_or_refused() -> None:
    place = ("dreamlet", "inception4c")
    assert parse_channels(" 3, 7 ,12", *place) == (3, 7, 12)
    assert parse_channels("0-2,1-3", *place) == (0, 1, 2, 3)
    for text, message in (
        ("0-99", "too many channels; give 64 or fewer"),
        ("0," * 1000, "too many channels|not ''"),
        ("5-", None),
        ("5-3", "a range of channels must ascend: 3-5, not '5-3'"),
        ("-5", "has channels 0 to 319, not ''"),
        ("3;7", "not '3;7'"),
        ("³", "not '³'"),
        ("9" * 5000, "has channels 0 to 319"),
    ):
        if message is None:
            assert parse_channels(text, *place) == (5,)
        else:
            with pytest.raises(RecipeError, match=message) as caught:
                parse_channels(text, *place)
            assert len(str(caught.value)) < 200
    assert evenly_spaced_channels(64, "dreamlet", "conv2") == tuple(range(40))
    with pytest.raises(RecipeError, match="a grid has 1 to 64 channels, not 0"):
        evenly_spaced_channels(0, *place)


def test_layers_by_octave_are_groups_from_coarse_to_fine() -> None:
    recipe = DreamRecipe(layer="inception5a > inception4c:2 > inception3b, conv3:0.5")
    names = [[name for name, _ in recipe.layers_at(octave, 4)] for octave in (1, 2, 3, 4)]
    fine = ["inception3b", "conv3"]
    assert names == [["inception5a"], ["inception4c"], fine, fine]
    assert [name for name, _ in recipe.layers_at(1, 1)] == ["inception3b", "conv3"]
    weights = {"inception5a": 1.0, "inception4c": 2.0, "inception3b": 1.0, "conv3": 0.5}
    assert dict(recipe.layers) == weights
    assert DreamRecipe(layer="conv3>conv3:2").layer_groups == ((("conv3", 1.0),), (("conv3", 2.0),))


def test_the_objective_follows_what_is_given() -> None:
    assert DreamRecipe().objective == "norm"
    assert DreamRecipe(channels="7").objective == "channels"
    assert DreamRecipe(objective="").objective == "norm"
    assert DreamRecipe(channels="7").with_changes(layer="inception3b").objective == "norm"
    assert DreamRecipe(objective="mean").with_changes(layer="inception3b").objective == "mean"
    assert DreamRecipe(objective="mean").with_changes(channels="7").objective == "channels"


def test_some_networks_bring_laplacian_normalisation() -> None:
    assert DreamRecipe().laplacian == 1
    assert DreamRecipe(model="googlenet").laplacian == 4
    assert DreamRecipe().with_changes(model="squeezenet1_1").laplacian == 4
    assert DreamRecipe(laplacian=2).with_changes(seed=1).laplacian == 2


@pytest.mark.parametrize("kind", [DreamRecipe, ChannelRecipe, ClassRecipe])
def test_whatever_a_knob_is_given_is_taken_or_refused_in_one_line(kind: type[Recipe]) -> None:
    for value in ODD_VALUES:
        for name in knobs(kind):
            for attempt in (kind, kind().with_changes, lambda **given: kind.from_dict(given)):
                message = ""
                try:
                    attempt(**{name: value})
                except DreamError as error:
                    message = str(error)
                assert message.isprintable() and len(message) < 400
        wrong: list[Any] = [value, *({key: value} for key in ("kind", "deepdream", "bogus", 3))]
        for given in wrong:
            with pytest.raises(RecipeError):
                Recipe.from_dict(given)
        with pytest.raises(RecipeError, match="a recipe must be"):
            Recipe.from_json(value)


def test_a_message_shows_any_value_shortly() -> None:
    for plain in (None, True, 3, -0.5, "a", "\n"):
        assert describe_value(plain) == repr(plain)
    assert describe_value("a" * 1_000_000) == f"'{'a' * 40}…'" and describe_value("ab", 1) == "'a…'"
    assert describe_value(10**5000) == "a number of 16610 bits"
    assert describe_value(NESTED) == "a value of type list"
    assert describe_value(Hostile()) == "a value of type Hostile"


def test_a_message_is_one_line_that_no_terminal_obeys() -> None:
    raw = "é \n \x1b[31m \u202e \ud800 \u2028"
    assert to_printable_line(raw) == r"é \n \x1b[31m \u202e \ud800 \u2028" == str(RecipeError(raw))
    assert len(str(DreamError("x" * 5000))) == 1000


@pytest.mark.parametrize("name", ["guide", "mask"])
def test_a_recipe_names_no_file(name: str) -> None:
    for path in (__file__, "nope.png", "DATA:image/png,", "file:///x"):
        message = f"{name} must be an image as a data URI, not .*--{name} FILE converts"
        with pytest.raises(RecipeError, match=message):
            DreamRecipe(**{name: path})  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match=message):
            Recipe.from_json(json.dumps({name: path}))
    with pytest.raises(RecipeError, match=f"{name} must be text, not a value of type PosixPath"):
        DreamRecipe(**{name: Path(__file__)})  # type: ignore[arg-type]
    given: dict[str, Any] = {name: "data:image/png;base64,AAAA"}
    assert DreamRecipe.from_dict(given) == DreamRecipe(**given)


@pytest.mark.parametrize("value", ["abc", "nan", "inf", "-1", "0", "1e400", "9" * 5000, " "])
def test_a_number_of_the_environment_is_in_bounds(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPU_CORES", value)
    with pytest.raises(DreamError, match=r"^CPU_CORES must be a number from 0.5 to 64, not "):
        read_env_number("CPU_CORES", 4.0, 0.5, 64)
    for good, number in (("2", 2), ("1e1", 10), ("", 4)):
        monkeypatch.setenv("CPU_CORES", good)
        assert read_env_number("CPU_CORES", 4, 1, 64) == number
    monkeypatch.setenv("CPU_CORES", "2.5")
    assert read_env_number("CPU_CORES", 4.0, 1, 64) == 2.5
    with pytest.raises(DreamError, match=r"must be a whole number from 1 to 64, not 2.5"):
        read_env_number("CPU_CORES", 4, 1, 64)


def test_each_kind_can_be_made_smaller_and_its_knobs_have_help_and_bounds() -> None:
    for kind in Recipe.types_by_kind().values():
        for name, knob in knobs(kind).items():
            assert knob.help.endswith("."), name
            assert knob.value_type in (str, bool) or knob.low < knob.high < math.inf, name
        smaller = kind().with_max_side(64)
        assert getattr(smaller, smaller.size_knob_name) == 64
