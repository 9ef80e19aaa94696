"""Options that commands share, and the recipe and engine that follow from them."""

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
from dream.files.image import check_output_path
from dream.files.metadata import read_recipe
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.base import AnyRecipe
from dream.recipe.knob import Knob, knobs
from dream.recipe.presets import preset, presets

# Name, help text, function that adds the options, function that runs the command.
Command = tuple[
    str, str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], None]
]

# Options that name an input file.
INPUT_OPTIONS = ("photo", "image", "video", "guide", "mask", "recipe", "weights")
# Options with an optional address, and addresses without a colon.
ADDRESS_OPTIONS = ("--mlflow", "--ray")
NAMED_ADDRESSES = ("auto", "local", "databricks")


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors that does not mistake a file for an address.

    After `--mlflow` or `--ray`, a word that does not look like an address becomes a positional
    argument if one is missing; words that name existing files are tried first.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as `argparse` does, with an empty address before each word that is a file."""
        words = list(sys.argv[1:] if args is None else args)
        candidates = [
            index
            for index, (word, following) in enumerate(itertools.pairwise(words))
            if word in self._option_string_actions
            and word in ADDRESS_OPTIONS
            and not is_address(following)
        ]
        for index in sorted(candidates, key=lambda index: not os.path.exists(words[index + 1])):
            if self._is_complete(words):
                break
            words[index] += "="
        return super().parse_known_args(words, namespace)

    def _is_complete(self, words: Sequence[str]) -> bool:
        """Return whether these words contain all required arguments."""
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            try:
                super().parse_known_args(words)
            except SystemExit as stop:  # --help exits with 0.
                return not stop.code
        return True

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and a one-line message."""
        self.exit(2, f"{self.prog}: {to_printable_line(message)}\n")


def add_photo_option(parser: argparse.ArgumentParser) -> None:
    """Add the positional argument PHOTO."""
    parser.add_argument("photo", metavar="PHOTO", help="image file")


def add_output_option(
    parser: argparse.ArgumentParser, out: str | None = None, endings: Sequence[str] = ()
) -> None:
    """Add the option -o for the output file, with the default `out` and these endings or .png."""
    text = "output file" + (f"; {out} by default" if out else "")
    name = "OUT" + "|".join(endings or (".png",))
    parser.add_argument(
        "-o", dest="out", metavar=name, default=out, required=out is None, help=text
    )
    parser.set_defaults(endings=endings)


def check_output_option(args: argparse.Namespace) -> None:
    """Check that OUT can be written and is not an input file, even by another name or link.

    Raises:
        PictureError: if the check fails.
    """
    out = check_output_path(args.out, *args.endings)
    for source in filter(None, (getattr(args, name, None) for name in INPUT_OPTIONS)):
        if is_same_file(source, out):
            raise PictureError(f"{args.out} is an input of this command; give another name for OUT")


def is_address(text: str) -> bool:
    """Return whether a text looks like the address of a server or database, not like a file."""
    return text in NAMED_ADDRESSES or (":" in text and not os.path.exists(text))


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether both paths are the same existing file or folder."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def add_recipe_options(
    parser: argparse.ArgumentParser, kind: type[Recipe], skip: Sequence[str] = ()
) -> None:
    """Add the knobs of a kind of recipe, --preset, --recipe and --weights."""
    if kind is DreamRecipe:
        names = ", ".join(presets())
        parser.add_argument("--preset", metavar="NAME", help=f"start from a preset: {names}")
    parser.add_argument(
        "--recipe", metavar="FILE", help="start from the recipe in an image, video or JSON file"
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
    """Add the option --weights for the user's weights."""
    parser.add_argument(
        "--weights", metavar="FILE.safetensors", help="your own weights for the network"
    )


def add_mlflow_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --mlflow."""
    parser.add_argument(
        "--mlflow",
        metavar="URI",
        nargs="?",
        const="",
        help="log to MLflow at this URI, or at MLFLOW_TRACKING_URI without one",
    )


def parse_number(text: str) -> float | str:
    """Return a number, or the text if it is none, which the recipe then refuses."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def knob_metavar(knob: Knob) -> str:
    """Return a short placeholder for the value of a knob: choices, FILE, NAME or bounds."""
    if knob.value_type is str:
        return "|".join(knob.choices) or ("FILE" if knob.is_image else "NAME")
    return f"{knob.low:g}..{knob.high:g}"


def knob_changes(args: argparse.Namespace, kind: type[Recipe]) -> dict[str, Any]:
    """Return the knobs that were set as options, with image files embedded."""
    names = [name for name in knobs(kind) if getattr(args, name, None) is not None]
    return embed_files(kind, {name: getattr(args, name) for name in names})


def build_recipe(args: argparse.Namespace, kind: type[AnyRecipe]) -> AnyRecipe:
    """Return the recipe of the options, which override --preset or --recipe."""
    changes = knob_changes(args, kind)
    name = getattr(args, "preset", None)
    if name and args.recipe:
        raise RecipeError("give only one of --preset and --recipe")
    if name:
        chosen = preset(name)
        return chosen.with_changes(**changes) if isinstance(chosen, kind) else kind(**changes)
    if args.recipe:
        return read_recipe(args.recipe, kind).with_changes(**changes)
    return kind(**changes)


def build_engine(args: argparse.Namespace, model: str) -> Engine:
    """Return an engine that uses the file of --weights, if given, for the model."""
    return Engine(files={model: args.weights} if args.weights else None)
