"""Classes are found by name, part of a name or number; ambiguous names list their matches."""

import pytest

from dream import ClassRecipe, RecipeError
from dream.recipe.imagenet_classes import class_names, find_class


@pytest.mark.parametrize("number", range(0, 1000, 37))
def test_every_class_is_found_by_its_name_and_number(number: int) -> None:
    name = class_names()[number]
    for text in (name, f"  {name.upper()} ", str(number)):
        assert find_class(text) == number


def test_the_dog_is_not_the_garment() -> None:
    assert (find_class("Cardigan"), find_class("cardigan")) == (264, 474)
    assert ClassRecipe(target="264").targets == ((264, 1.0),)


def test_a_part_that_no_other_has_is_enough() -> None:
    assert find_class("loggerh") == 33
    assert find_class("school") == 779


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gold", r"'gold' may be goldfish \(1\), goldfinch \(11\).*; name one of them"),
        ("CARDIGAN", r"'CARDIGAN' may be Cardigan \(264\), cardigan \(474\); name one"),
        ("snake", "may be .*green snake.* and [0-9]+ more; name one of them"),
        ("goldfsh", "there is no class 'goldfsh'; did you mean goldfish .1."),
        ("1000", "there is no class '1000'"),
        ("-1", "there is no class '-1'; try .* or a number from 0 to 999"),
        ("", "there is no class ''"),
        ("²", "there is no class"),
        ("x" * 10_000, "there is no class"),
    ],
)
def test_what_is_unknown_or_unclear_is_answered_with_what_is_near(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        find_class(text)
    assert len(str(caught.value)) < 300


def test_classes_are_mixed_with_weights_and_written_down_by_name() -> None:
    recipe = ClassRecipe(target=" 1 , jelly:0.5")
    assert recipe.target == "goldfish,jellyfish:0.5"
    assert recipe.targets == ((1, 1.0), (107, 0.5))
    assert ClassRecipe.from_json(recipe.to_json()) == recipe


def test_the_names_are_those_of_torchvision() -> None:
    from torchvision.models import AlexNet_Weights

    assert list(class_names()) == AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
