"""What commands are told: a photo, a recipe, a file to write; and what follows from it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from dream.engine import Engine
from dream.errors import RecipeError, printable
from dream.files.embedded import with_pictures
from dream.files.picture import read_recipe
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.knob import Knob, knobs
from dream.recipe.presets import preset, preset_names
from dream.recipe.recipe import AnyRecipe

# A command: its name, what is said of it, what gives it its options, and what runs it.
Command = tuple[
    str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]
]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}\n")


def photo_option(parser: argparse.ArgumentParser) -> None:
    """The photo."""
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")


def recipe_options(
    parser: argparse.ArgumentParser,
    kind: type[Recipe],
    skip: Sequence[str] = (),
    out: str | None = None,
    endings: Sequence[str] = (),
) -> None:
    """The file to write, by default `out`, and the knobs of a recipe of that kind."""
    where = "where to write" + (f"; {out} by default" if out else "")
    name = "OUT" + "|".join(endings or (".png",))
    parser.add_argument(
        "-o", dest="out", metavar=name, default=out, required=out is None, help=where
    )
    parser.set_defaults(endings=endings)
    if kind is DreamRecipe:
        names = ", ".join(preset_names())
        parser.add_argument("--preset", metavar="NAME", help=f"start from a preset: {names}")
    knob_options(parser, kind, skip)


def knob_options(
    parser: argparse.ArgumentParser, kind: type[Recipe], skip: Sequence[str] = ()
) -> None:
    """The knobs of a recipe of that kind, and the weights."""
    parser.add_argument(
        "--recipe", metavar="FILE", help="start from the recipe in what was made here, or in JSON"
    )
    weights_option(parser)
    for name, knob in knobs(kind).items():
        if name in skip:
            continue
        option = f"--{name.replace('_', '-')}"
        if knob.kind is bool:
            parser.add_argument(
                option, default=None, action=argparse.BooleanOptionalAction, help=knob.help
            )
            continue
        parser.add_argument(
            option,
            default=argparse.SUPPRESS,
            type=str if knob.kind is str else number,
            metavar=metavar(knob),
            help=f"{knob.help} Default: {knob.usual}.",
        )


def weights_option(parser: argparse.ArgumentParser) -> None:
    """Weights of one's own."""
    parser.add_argument(
        "--weights", metavar="FILE.safetensors", help="weights of your own that fit the network"
    )


def number(text: str) -> float | str:
    """A number where it is one; what else was typed is left to the recipe to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def metavar(knob: Knob) -> str:
    """What may stand for a knob's value, in short."""
    if knob.kind is str:
        return "|".join(knob.choices) or ("FILE" if knob.picture else "NAME")
    return f"{knob.low:g}..{knob.high:g}"


def recipe_of(given: argparse.Namespace, kind: type[AnyRecipe]) -> AnyRecipe:
    """The recipe that the options describe."""
    names = [name for name in knobs(kind) if getattr(given, name, None) is not None]
    changes = with_pictures(kind, {name: getattr(given, name) for name in names})
    name = getattr(given, "preset", None)
    if name and given.recipe:
        raise RecipeError("give one of --preset and --recipe")
    if name:
        chosen = preset(name)
        return chosen.but(**changes) if isinstance(chosen, kind) else kind(**changes)
    return read_recipe(given.recipe, kind).but(**changes) if given.recipe else kind(**changes)


def engine_of(given: argparse.Namespace, model: str) -> Engine:
    """An engine, with the weights that were given for that network."""
    return Engine(files={model: given.weights} if given.weights else None)
