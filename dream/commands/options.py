"""Options that commands share, and the recipe and engine that follow from them."""

from __future__ import annotations

import argparse
import io
import itertools
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import dream  # Its members that need torch are imported on first use.
from dream.errors import (
    PictureError,
    RecipeError,
    ask_meaning,
    close_matches,
    describe_value,
    suggest_names,
    to_printable_line,
)
from dream.files.image_formats import (
    IMAGE_FORMATS,
    QUALITY_KNOB,
    check_image_options,
    check_output_path,
)
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.base import AnyRecipe
from dream.recipe.knob import Knob, knobs
from dream.recipe.presets import preset, preset_names

# Adds an option, or several, to the parser of a command.
Option = Callable[[argparse.ArgumentParser], Any]


class Command(NamedTuple):
    """A command of the command line; `run` is called with its parsed options."""

    name: str
    help: str
    options: Sequence[Option]
    run: Callable[[argparse.Namespace], None]


def command(
    name: str, help: str, *options: Option
) -> Callable[[Callable[[argparse.Namespace], None]], Command]:
    """Return a decorator that makes a command of a function."""
    return partial(Command, name, help, options)


# Options that name an input file.
INPUT_OPTIONS = ("photo", "video", "guide", "mask", "recipe", "weights")
# Options with an optional address, and addresses without a colon.
ADDRESS_OPTIONS = ("--mlflow", "--ray")
NAMED_ADDRESSES = ("auto", "local", "databricks")
# An option that takes a number and was once a flag; as a flag it still means 1, or with "no" 0.
SHARE_OPTION, NO_SHARE_OPTION = "--keep-colours", "--no-keep-colours"
# What `argparse` takes for the name of an option, not for a file or a negative number.
OPTION_NAME = re.compile(r"--?[^\W\d][^ ]*")


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors that does not mistake a file for an address.

    An unknown option or command is the first error, and suggests a known one. After `--mlflow` or
    `--ray`, a word that does not look like an address becomes a positional argument if one is
    missing; words that name existing files are tried first.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as `argparse` does, with an empty address before each word that is a file."""
        words = _complete_shares(sys.argv[1:] if args is None else args)
        self._check_option_names(words)
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
        namespace, unused = super().parse_known_args(words, namespace)
        if unused:
            photos = any(action.dest == "photo" for action in self._positionals._group_actions)
            advice = "; for several photos, use batch" if photos else ""
            self.error(
                f"{describe_value(unused[0])} is one word too many{advice}; "
                "a name with spaces needs quotes"
            )
        return namespace, unused

    def _check_option_names(self, words: Sequence[str]) -> None:
        """Exit with a suggestion if a word is an option that does not exist."""
        if self._subparsers:  # What follows a command is left to its own parser.
            words = list(itertools.takewhile(lambda word: word.startswith("-"), words))
        known = self._option_string_actions
        for word in itertools.takewhile(lambda word: word != "--", words):
            name = word.partition("=")[0]
            if OPTION_NAME.fullmatch(name) and name not in known and word[:2] not in known:
                close = close_matches(name, known)
                advice = ask_meaning(close) if close else f"{self.prog} --help lists all"
                self.error(f"there is no option {describe_value(name)}; {advice}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse an unknown command: no other argument has choices."""
        if action.choices is not None and value not in action.choices:
            text = f"there is no command {describe_value(value)}"
            raise argparse.ArgumentError(None, f"{text}; {suggest_names(value, [*action.choices])}")

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


def _complete_shares(words: Sequence[str]) -> list[str]:
    """Return the words with a number after an option for a share that is used as a flag."""
    values = {SHARE_OPTION: f"{SHARE_OPTION}=1", NO_SHARE_OPTION: f"{SHARE_OPTION}=0"}
    pairs = itertools.zip_longest(words, words[1:], fillvalue="")
    return [
        word
        if word == SHARE_OPTION and not isinstance(parse_number(following), str)
        else values.get(word, word)
        for word, following in pairs
    ]


def program_name() -> str:
    """Return the name by which the command line was called, which its messages give."""
    return "dream" if Path(sys.argv[0]).stem == "dream" else "python -m dream"


def option(*names: str, **settings: Any) -> Option:
    """Return an option as `ArgumentParser.add_argument` describes it."""
    return methodcaller("add_argument", *names, **settings)


def knob_option(name: str, knob: Knob, **settings: Any) -> Option:
    """Return an option for a knob, whose value the recipe checks."""
    value_type: Callable[[str], Any] = parse_number
    metavar = f"{knob.low:g}..{knob.high:.10g}"
    if knob.value_type is str:
        value_type = os.path.expanduser if knob.is_image else str
        metavar = "|".join(knob.choices) or ("FILE" if knob.is_image else "NAME")
    return option(
        f"--{name.replace('_', '-')}",
        type=value_type,
        metavar=metavar,
        help=f"{knob.help} Default: {knob.default_text}.",
        **settings,
    )


def file_option(*names: str, **settings: Any) -> Option:
    """Return an option for a file; Windows' shells, and others after `=`, leave ~ to programs."""
    return option(*names, type=os.path.expanduser, **settings)


def output(out: str | None = None, endings: Collection[str] = ()) -> Option:
    """Return the option -o for a file: `out` by default, with these endings or those of images.

    An image also has --quality.
    """

    def add(parser: argparse.ArgumentParser) -> None:
        text = "output file; its ending selects the format" + (f". Default: {out}." if out else "")
        name = "OUT" + "|".join(endings or IMAGE_FORMATS)
        file_option("-o", dest="out", metavar=name, default=out, required=not out, help=text)(
            parser
        )
        parser.set_defaults(endings=endings or IMAGE_FORMATS)
        if not endings:
            knob_option("quality", QUALITY_KNOB, default=None)(parser)

    return add


PHOTO = file_option("photo", metavar="PHOTO", help="image file")
WEIGHTS = file_option(
    "--weights", metavar="FILE.safetensors", help="your own weights for the network"
)
MLFLOW = option(
    "--mlflow",
    metavar="URI",
    nargs="?",
    const="",
    help="log to MLflow at this URI, or at MLFLOW_TRACKING_URI without one",
)


def check_file_options(args: argparse.Namespace) -> None:
    """Check that input files exist, and that OUT can be written and is none of them.

    Raises:
        PictureError: if a check fails, also for an input by another name or link.
    """
    sources = [source for name in INPUT_OPTIONS if (source := getattr(args, name, None))]
    for source in sources:
        if os.path.isdir(source):
            raise PictureError(
                f"{source} is a folder; give a file, or use batch for all its images"
            )
        if not os.path.exists(source):
            raise PictureError(f"there is no file {source}{_suggest_file(source)}")
    if not hasattr(args, "out"):
        return
    out = check_output_path(args.out, args.endings)
    if args.endings is IMAGE_FORMATS:
        check_image_options(out, quality=args.quality)
    if any(is_same_file(source, out) for source in sources):
        raise PictureError(f"{args.out} is an input of this command; give another name for OUT")


def _suggest_file(path: str) -> str:
    """Return "; did you mean photos/cat.jpg?" for a missing file with a similar name, or ""."""
    folder, name = os.path.split(path)
    with suppress(OSError, ValueError):
        if close := close_matches(name, os.listdir(folder or "."), 1):
            return f"; {ask_meaning([os.path.join(folder, close[0])])}"
    return ""


def is_address(text: str) -> bool:
    """Return whether a text looks like the address of a server or database, not like a file.

    A file of Windows may start with a drive: `C:`.
    """
    return text in NAMED_ADDRESSES or (":" in text[2:] and not os.path.exists(text))


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Return whether both paths are the same existing file or folder."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def recipe_options(kind: type[Recipe], skip: Sequence[str] = ()) -> Option:
    """Return the knobs of a kind of recipe, --preset, --recipe and --weights."""

    def add(parser: argparse.ArgumentParser) -> None:
        if kind is DreamRecipe:
            names = ", ".join(preset_names())
            parser.add_argument("--preset", metavar="NAME", help=f"start from a preset: {names}")
        file_option(
            "--recipe", metavar="FILE", help="start from the recipe in an image, video or JSON file"
        )(parser)
        WEIGHTS(parser)
        for name, knob in knobs(kind).items():
            if name not in skip:
                knob_option(name, knob, default=argparse.SUPPRESS)(parser)

    return add


def parse_number(text: str) -> float | str:
    """Return a number, or the text if it is none, which the recipe then refuses."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def knob_changes(args: argparse.Namespace, kind: type[Recipe]) -> dict[str, Any]:
    """Return the knobs that were set as options, with image files embedded."""
    names = [name for name in knobs(kind) if getattr(args, name, None) is not None]
    changes = {name: getattr(args, name) for name in names}
    if not any(knobs(kind)[name].is_image for name in names):
        return changes
    from dream.files.embedded_images import embed_files

    return embed_files(kind, changes)


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
        return dream.read_recipe(args.recipe, kind).with_changes(**changes)
    return kind(**changes)


def build_engine(args: argparse.Namespace, model: str) -> dream.Engine:
    """Return an engine that uses the file of --weights, if given, for the model."""
    from dream.networks.device import use_deterministic_cudnn

    use_deterministic_cudnn()
    return dream.Engine(files={model: args.weights} if args.weights else None)
