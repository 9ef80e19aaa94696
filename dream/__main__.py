"""The command line: `python -m dream image PHOTO -o OUT.png`, `python -m dream layers`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dream import zoo
from dream.engine import Engine
from dream.errors import DreamError
from dream.picture import check_destination, load_image, read_recipe, save_image
from dream.recipe import DreamRecipe, Knob, knobs
from dream.render import Frame

BAR_WIDTH = 30


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 2 for bad input, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = given.command
    try:
        command(given)
    except DreamError as error:
        print(f"python -m dream: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m dream", description="Deep dreams of your photos.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    image = commands.add_parser("image", help="dream a photo")
    image.add_argument("photo", metavar="PHOTO", help="a picture file")
    image.add_argument("-o", dest="out", metavar="OUT.png", required=True, help="where to write")
    image.add_argument(
        "--recipe", metavar="FILE", help="start from the recipe in a dreamed PNG or a JSON file"
    )
    for name, knob in knobs(DreamRecipe).items():
        default = knob.automatic or getattr(DreamRecipe(), name)
        image.add_argument(
            f"--{name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            type=str if knob.kind is str else _number,
            metavar=_metavar(knob),
            help=f"{knob.help} Default: {default}.",
        )
    image.set_defaults(command=_image)

    layers = commands.add_parser("layers", help="list the layers of a network")
    layers.add_argument("model", metavar="MODEL", nargs="?", default=DreamRecipe().model)
    layers.set_defaults(command=_layers)
    return parser


def _number(text: str) -> float | str:
    """A number where it is one; what else was typed is left to the recipe to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _metavar(knob: Knob) -> str:
    return "NAME" if knob.kind is str else f"{knob.low:g}..{knob.high:g}"


def _image(given: argparse.Namespace) -> None:
    changes: dict[str, Any] = {
        name: getattr(given, name) for name in knobs(DreamRecipe) if hasattr(given, name)
    }
    recipe = read_recipe(given.recipe).but(**changes) if given.recipe else DreamRecipe(**changes)
    out = check_destination(given.out)
    photo = load_image(given.photo)
    engine = Engine()
    recipe = engine.settle(recipe)
    start = time.perf_counter()
    for frame in engine.dream(photo, recipe):
        if sys.stderr.isatty():
            print(_bar(frame), end="", file=sys.stderr, flush=True)
    save_image(frame.picture(), out, recipe)
    width, height = frame.picture().size
    seconds = time.perf_counter() - start
    print(f"{out}: {width} x {height}, {recipe.layer}, seed {recipe.seed}, {seconds:.1f} s")


def _bar(frame: Frame) -> str:
    filled = round(frame.done * BAR_WIDTH)
    bar = "#" * filled + "-" * (BAR_WIDTH - filled)
    where = f"octave {frame.octave} of {frame.octaves}, step {frame.step} of {frame.total}"
    return f"\r[{bar}] {where} " + ("\n" if frame.step == frame.total else "")


def _layers(given: argparse.Namespace) -> None:
    card = zoo.card(given.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:14}{layer.kind:12}{layer.brings}{default}")


if __name__ == "__main__":
    sys.exit(main())
