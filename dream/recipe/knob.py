"""A knob: one number or name of a recipe, with its default, bounds, unit and help.

Sliders, options, checks and README's tables follow from it.
"""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from dream.errors import RecipeError, shown

URI = "data:image/"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Knob:
    """What there is to know of one number or name in a recipe.

    `low` and `high` are included; `grain` is the step of its slider. `choices` are the names it may
    have, any if empty. `automatic` says in words what takes the place of a default of None, `empty`
    what no name at all means. `file` says that the name is that of a picture file, or the picture
    itself as a data URI.
    """

    kind: type
    help: str
    low: float = -math.inf
    high: float = math.inf
    grain: float = 1
    unit: str = ""
    automatic: str = ""
    empty: str = ""
    file: bool = False
    choices: tuple[str, ...] = ()

    def check(self, name: str, value: Any) -> Any:
        """The value in its own type.

        Raises:
            RecipeError: if it is of another type or out of bounds.
        """
        if self.automatic and (value is None or (isinstance(value, str) and not value)):
            return None
        if self.kind is bool:
            if not isinstance(value, bool):
                raise RecipeError(f"{name} must be true or false, not {shown(value)}")
            return value
        if self.kind is str:
            if self.file and isinstance(value, os.PathLike):
                with suppress(TypeError):  # One that has no path after all.
                    value = os.fspath(value)
            if not isinstance(value, str):
                raise RecipeError(f"{name} must be a name, not {shown(value)}")
            if self.choices and value.strip() not in self.choices:
                raise RecipeError(f"{name} must be {' or '.join(self.choices)}, not {shown(value)}")
            return value.strip()
        number = "whole number" if self.kind is int else "number"
        bounds = f"from {self.low:.10g} to {self.high:.10g}"
        wrong = f"{name} must be a {number} {bounds}, not {shown(value)}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecipeError(wrong)
        # JSON and sliders send whole numbers as floats now and then.
        if not self.low <= value <= self.high or (self.kind is int and value != int(value)):
            raise RecipeError(wrong)
        return self.kind(value)


def knob(default: Any, **about: Any) -> Any:
    """A dataclass field that carries its `Knob`."""
    return field(default=default, metadata={"knob": Knob(**about)})


def knobs(recipe: Any) -> dict[str, Knob]:
    """The knobs of a recipe (or of its class) by name, in the order they are shown."""
    return {each.name: each.metadata["knob"] for each in fields(recipe)}


def is_embedded(text: str) -> bool:
    """Whether that is a picture itself, as a data URI, not the name of a file."""
    return text.startswith(URI)


def from_environment(name: str, default: Number, low: float, high: float) -> Number:
    """The number in that variable of the environment, of the type of the default.

    Raises:
        RecipeError: if it is no number from `low` to `high`.
    """
    value: Any = os.environ.get(name) or default
    with suppress(ValueError):
        value = float(value)
    number: Number = Knob(type(default), help="", low=low, high=high).check(name, value)
    return number
