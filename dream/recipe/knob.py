"""Knobs: the fields of a recipe with default, bounds, unit and help.

Sliders, command-line options, checks and the tables in `docs/` are built from them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args, get_type_hints

from dream.errors import RecipeError, describe_value

DATA_URI_PREFIX = "data:image/"

Number = TypeVar("Number", int, float)
Value = TypeVar("Value")


class Derived(Generic[Value]):
    """The type of a field that takes None, for a value derived at once, and that is never None.

    Type checkers read it as a descriptor; at run time it has no methods, and the field holds the
    value itself.
    """

    if TYPE_CHECKING:

        def __get__(self, recipe: Any, kind: Any = None) -> Value: ...
        def __set__(self, recipe: Any, value: Value | None) -> None: ...


@dataclass(frozen=True)
class Knob:
    """Metadata of one knob: bounds, unit, default and help text.

    `low` and `high` are inclusive; empty `choices` allow any text. `derived_default` describes the
    value that replaces None, and allows None; `empty_meaning` describes what "" means. `is_image`
    marks an image as a data URI; `was_bool` a share that still takes true (1) and false (0).
    `default` is None if it depends on other knobs or the device; in the latter case `late_default`
    returns it for a recipe, a device type and whether there is a photo.
    """

    help: str
    low: float = -math.inf
    high: float = math.inf
    slider_step: float = 1
    unit: str = ""
    derived_default: str = ""
    empty_meaning: str = ""
    is_image: bool = False
    was_bool: bool = False
    choices: tuple[str, ...] = ()
    value_type: type = str
    default: Any = None
    late_default: Callable[[Any, str, bool], Any] | None = None

    @property
    def default_text(self) -> str:
        """The default in words."""
        return self.derived_default or self.empty_meaning or str(self.default).lower()

    def check(self, name: str, value: Any) -> Any:
        """Return the value, converted to the type of the knob.

        Raises:
            RecipeError: for a wrong type or bound; the message calls the knob `name`.
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
            raise RecipeError(f"{name} must be text, not {describe_value(value)}")
        text = value.strip()
        if self.choices and text not in self.choices:
            raise RecipeError(
                f"{name} must be {' or '.join(self.choices)}, not {describe_value(value)}"
            )
        if self.is_image and text and not text.startswith(DATA_URI_PREFIX):
            raise RecipeError(
                f"{name} must be an image as a data URI, not {describe_value(value)}; "
                f"dream.embed_{name} or --{name} FILE converts a file"
            )
        return text

    def _check_number(self, name: str, value: Any) -> float:
        number: type[int | float] = self.value_type
        wrong = (
            f"{name} must be a {'whole ' if number is int else ''}number "
            f"from {self.low:.10g} to {self.high:.10g}, not {describe_value(value)}"
        )
        if isinstance(value, bool) and self.was_bool:
            return number(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecipeError(wrong)
        # JSON and sliders sometimes send whole numbers as floats.
        if not self.low <= value <= self.high or (number is int and value != int(value)):
            raise RecipeError(wrong)
        return number(value)


def knob(
    default: Any,
    bounds: tuple[float, ...] = (-math.inf, math.inf),
    help: str = "",
    **options: Any,
) -> Any:
    """Return a dataclass field with a `Knob`, whose type is the annotation of the field.

    `bounds` are the lowest and the highest value and, optionally, the step of a slider (1).
    """
    low, high, slider_step = (*bounds, 1)[:3]
    metadata = {"knob": Knob(help, low, high, slider_step, default=default, **options)}
    return field(default=default, metadata=metadata)


def copy_knob(recipe: Any, name: str, default: Any = None) -> Any:
    """Return a copy of another recipe's field, with another default if one is given."""
    source = next(each for each in fields(recipe) if each.name == name)
    copied: Knob = source.metadata["knob"]
    if default is not None:
        copied = replace(copied, default=default, derived_default="")
    return field(default=copied.default, metadata={"knob": copied})


def knobs(recipe: Any) -> dict[str, Knob]:
    """Return the knobs of a recipe or recipe class by name, in display order."""
    return _knobs_of_class(recipe if isinstance(recipe, type) else type(recipe))


@lru_cache
def _knobs_of_class(recipe: Any) -> dict[str, Knob]:
    hints = get_type_hints(recipe)
    return {
        each.name: replace(each.metadata["knob"], value_type=_value_type(hints[each.name]))
        for each in fields(recipe)
    }


def _value_type(hint: Any) -> type:
    """Return the type of a field's values other than None."""
    found: type = next((each for each in get_args(hint) if each is not NoneType), hint)
    return found


def read_env_number(name: str, default: Number, low: float, high: float) -> Number:
    """Return the number in an environment variable, in the type of the default.

    Raises:
        RecipeError: if it is not a number from `low` to `high`.
    """
    value: Any = os.environ.get(name) or default
    with suppress(ValueError):
        value = float(value)
    number: Number = Knob("", low, high, value_type=type(default)).check(name, value)
    return number
