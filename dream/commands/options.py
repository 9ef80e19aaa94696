"""What commands are told: a photo, a recipe, a file to write; and what follows from it."""

from __future__ import annotations

import argparse
import io
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

from dream.engine import Engine
from dream.errors import PictureError, RecipeError, to_printable_line
from dream.files.embedded_images import embed_files
from dream.files.image import check_destination, read_recipe
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.base import AnyRecipe
from dream.recipe.knob import Knob, knobs
from dream.recipe.presets import preset, preset_names

# A command: its name, what is said of it, what gives it its options, and what runs it.
Command = tuple[
    str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]
]

# The options that name a file to read.
INPUT_OPTIONS = ("photo", "image", "video", "guide", "mask", "recipe", "weights")


# The options that may have an address, and addresses that have no colon.
ADDRESS_OPTIONS = ("--mlflow", "--ray")
NAMED_ADDRESSES = ("auto", "local", "databricks")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and which takes no file for an address.

    A word after `--mlflow` or `--ray` that looks like no address is a positional argument where
    one would be missing otherwise; words that name a file or a folder are the first to be.
    """

    def __init__(self, **about: Any) -> None:
        super().__init__(**about, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As that of `argparse`."""
        words = list(sys.argv[1:] if args is None else args)
        places = [
            place
            for place, (word, after) in enumerate(itertools.pairwise(words))
            if word in self._option_string_actions and word in ADDRESS_OPTIONS and not is_address(after)
        ]
        for place in sorted(places, key=lambda place: not os.path.exists(words[place + 1])):
            if self._is_enough(words):
                break
            words[place] += "="
        return super().parse_known_args(words, namespace)

    def _is_enough(self, words: Sequence[str]) -> bool:
        """Whether all that is required is among these words."""
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            try:
                super().parse_known_args(words)
            except SystemExit as stop:  # With 0 after --help.
                return not stop.code
        return True

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {to_printable_line(message)}\n")


def add_photo_option(parser: argparse.ArgumentParser) -> None:
    """The photo."""
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")


def add_output_option(
    parser: argparse.ArgumentParser, out: str | None = None, endings: Sequence[str] = ()
) -> None:
    """The file to write, by default `out`; a PNG, or one with those endings."""
    where = "where to write" + (f"; {out} by default" if out else "")
    name = "OUT" + "|".join(endings or (".png",))
    parser.add_argument(
        "-o", dest="out", metavar=name, default=out, required=out is None, help=where
    )
    parser.set_defaults(endings=endings)


def check_out(given: argparse.Namespace) -> None:
    """Check that OUT can be written, and is no file that the command reads, by whatever name.

    Raises:
        PictureError: if it cannot, or is one.
    """
    out = check_destination(given.out, *given.endings)
    for source in filter(None, (getattr(given, name, None) for name in INPUT_OPTIONS)):
        if is_same_file(source, out):
            raise PictureError(f"{given.out} is read by this command; give another name for OUT")


def is_address(text: str) -> bool:
    """Whether that is the address of a server or a database, and no file of that name is there."""
    return text in NAMED_ADDRESSES or (":" in text and not os.path.exists(text))


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether both are one file, or folder, whatever they are called; not where one is missing."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def add_recipe_options(
    parser: argparse.ArgumentParser, kind: type[Recipe], skip: Sequence[str] = ()
) -> None:
    """The knobs of a recipe of that kind, and where to start from."""
    if kind is DreamRecipe:
        names = ", ".join(preset_names())
        parser.add_argument("--preset", metavar="NAME", help=f"start from a preset: {names}")
    parser.add_argument(
        "--recipe", metavar="FILE", help="start from the recipe in what was made here, or in JSON"
    )
    add_weights_option(parser)
    for name, knob in knobs(kind).items():
        if name in skip:
            continue
        option = f"--{name.replace('_', '-')}"
        if knob.value_type is bool:
            parser.add_argument(
                option, default=None, action=argparse.BooleanOptionalAction, help=knob.help
            )
            continue
        parser.add_argument(
            option,
            default=argparse.SUPPRESS,
            type=str if knob.value_type is str else parse_number,
            metavar=knob_metavar(knob),
            help=f"{knob.help} Default: {knob.default_text}.",
        )


def add_weights_option(parser: argparse.ArgumentParser) -> None:
    """Weights of one's own."""
    parser.add_argument(
        "--weights", metavar="FILE.safetensors", help="weights of your own that fit the network"
    )


def add_mlflow_option(parser: argparse.ArgumentParser) -> None:
    """Where a record is kept; none by default."""
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        nargs="?",
        const="",
        help="keep a record in MLflow, at that address or as MLFLOW_TRACKING_URI says",
    )


def parse_number(text: str) -> float | str:
    """A number where it is one; what else was typed is left to the recipe to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def knob_metavar(knob: Knob) -> str:
    """What may stand for a knob's value, in short."""
    if knob.value_type is str:
        return "|".join(knob.choices) or ("FILE" if knob.is_image else "NAME")
    return f"{knob.low:g}..{knob.high:g}"


def knob_changes(given: argparse.Namespace, kind: type[Recipe]) -> dict[str, Any]:
    """The knobs that the options name, with what is in the files of its pictures."""
    names = [name for name in knobs(kind) if getattr(given, name, None) is not None]
    return embed_files(kind, {name: getattr(given, name) for name in names})


def build_recipe(given: argparse.Namespace, kind: type[AnyRecipe]) -> AnyRecipe:
    """The recipe that the options describe."""
    changes = knob_changes(given, kind)
    name = getattr(given, "preset", None)
    if name and given.recipe:
        raise RecipeError("give one of --preset and --recipe")
    if name:
        chosen = preset(name)
        return chosen.with_changes(**changes) if isinstance(chosen, kind) else kind(**changes)
    return (
        read_recipe(given.recipe, kind).with_changes(**changes) if given.recipe else kind(**changes)
    )


def build_engine(given: argparse.Namespace, model: str) -> Engine:
    """An engine, with the weights that were given for that network."""
    return Engine(files={model: given.weights} if given.weights else None)
