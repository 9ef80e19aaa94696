"""A knob: one number or name of a recipe, with its default, bounds, unit and help.

Sliders, options, checks and the tables in `docs/` follow from it.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

from dream.errors import RecipeError, describe_value

DATA_URI_PREFIX = "data:image/"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Knob:
    """What there is to know of one number or name in a recipe.

    `low` and `high` are included; `grain` is the step of its slider. `choices` are the names it may
    have, any if empty. `automatic` says in words what takes the place of a default of None, `empty`
    what no name at all means. `picture` says that it is a picture itself, as a data URI. `kind` is
    the type of its field, `default` what it is when nothing is said, None if that depends.
    """

    help: str
    low: float = -math.inf
    high: float = math.inf
    slider_step: float = 1
    unit: str = ""
    derived_default: str = ""
    empty_meaning: str = ""
    is_image: bool = False
    choices: tuple[str, ...] = ()
    value_type: type = str
    default: Any = None

    @property
    def default_text(self) -> str:
        """What it is when nothing is said, in words."""
        return self.derived_default or self.empty_meaning or str(self.default).lower()

    def check(self, name: str, value: Any) -> Any:
        """The value in its own type.

        Raises:
            RecipeError: if it is of another type or out of bounds.
        """
        if self.derived_default and (value is None or (isinstance(value, str) and not value)):
            return None
        if self.value_type is bool:
            if not isinstance(value, bool):
                raise RecipeError(f"{name} must be true or false, not {describe_value(value)}")
            return value
        return (
            self._check_text(name, value)
            if self.value_type is str
            else self._check_number(name, value)
        )

    def _check_text(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise RecipeError(f"{name} must be a name, not {describe_value(value)}")
        text = value.strip()
        if self.choices and text not in self.choices:
            raise RecipeError(
                f"{name} must be {' or '.join(self.choices)}, not {describe_value(value)}"
            )
        if self.is_image and text and not text.startswith(DATA_URI_PREFIX):
            raise RecipeError(
                f"{name} must be a picture itself, as a data URI, not {describe_value(value)}: a recipe "
                f"names no files; dream.embed_{name} and --{name} FILE make one of a file"
            )
        return text

    def _check_number(self, name: str, value: Any) -> float:
        number: type[int | float] = self.value_type
        wrong = (
            f"{name} must be a {'whole ' if number is int else ''}number "
            f"from {self.low:.10g} to {self.high:.10g}, not {describe_value(value)}"
        )
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecipeError(wrong)
        # JSON and sliders send whole numbers as floats now and then.
        if not self.low <= value <= self.high or (number is int and value != int(value)):
            raise RecipeError(wrong)
        return number(value)


def knob(
    default: Any, low: float = -math.inf, high: float = math.inf, help: str = "", **about: Any
) -> Any:
    """A dataclass field that carries its `Knob`; the type is that of the field's annotation."""
    about = {"knob": Knob(help, low, high, default=default, **about)}
    return field(default=default, metadata=about)


def copy_knob(recipe: Any, name: str, default: Any = None) -> Any:
    """A field as that recipe has it; with a default of its own, where one is given."""
    own = next(each for each in fields(recipe) if each.name == name)
    about: Knob = own.metadata["knob"]
    if default is not None:
        about = replace(about, default=default, derived_default="")
    return field(default=about.default, metadata={"knob": about})


def knobs(recipe: Any) -> dict[str, Knob]:
    """The knobs of a recipe (or of its class) by name, in the order they are shown."""
    return _knobs(recipe if isinstance(recipe, type) else type(recipe))


@lru_cache
def _knobs(recipe: Any) -> dict[str, Knob]:
    kinds = get_type_hints(recipe)
    return {
        each.name: replace(each.metadata["knob"], value_type=kinds[each.name])
        for each in fields(recipe)
    }


def read_env_number(name: str, default: Number, low: float, high: float) -> Number:
    """The number in that variable of the environment, of the type of the default.

    Raises:
        RecipeError: if it is no number from `low` to `high`.
    """
    value: Any = os.environ.get(name) or default
    with suppress(ValueError):
        value = float(value)
    number: Number = Knob("", low, high, value_type=type(default)).check(name, value)
    return number
