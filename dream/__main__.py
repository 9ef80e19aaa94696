"""The command line: `python -m dream image PHOTO -o OUT.png`, `models`, `layers`, `fetch`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from dream import weights, zoo
from dream.engine import Engine
from dream.errors import DreamError
from dream.picture import check_destination, load_image, read_recipe, save_image
from dream.recipe import DreamRecipe, Knob, knobs
from dream.weights import Download

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
    image.add_argument(
        "--weights", metavar="FILE.safetensors", help="weights of your own that fit the network"
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

    models = commands.add_parser("models", help="list the networks, and which are here already")
    models.set_defaults(command=_models)
    layers = commands.add_parser("layers", help="list the layers of a network")
    layers.add_argument("model", metavar="MODEL", nargs="?", default=DreamRecipe().model)
    layers.set_defaults(command=_layers)
    fetch = commands.add_parser("fetch", help="download the weights of a network ahead of time")
    fetch.add_argument("model", metavar="MODEL")
    fetch.set_defaults(command=_fetch)
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
    engine = Engine(files={recipe.model: given.weights} if given.weights else None)
    recipe = engine.settle(recipe)
    frames = engine.dream(photo, recipe)  # Checks the photo before anything is downloaded.
    _show(engine.prepare(recipe))
    start = time.perf_counter()
    for frame in frames:
        where = f"octave {frame.octave} of {frame.octaves}, step {frame.step} of {frame.total}"
        _bar(frame.done, where)
    save_image(frame.picture(), out, recipe)
    width, height = frame.picture().size
    seconds = time.perf_counter() - start
    print(f"{out}: {width} x {height}, {recipe.layer}, seed {recipe.seed}, {seconds:.1f} s")


def _show(downloads: Iterator[Download]) -> None:
    for each in downloads:
        share = each.done / each.total if each.total else 0
        _bar(share, f"{each.model} from {each.source}, {each.megabytes}")


def _bar(done: float, where: str) -> None:
    """How far the work is, on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        bar = ("#" * round(done * BAR_WIDTH)).ljust(BAR_WIDTH, "-")
        print(f"\r[{bar}] {where} ", end="\n" if done == 1 else "", file=sys.stderr, flush=True)


def _models(given: argparse.Namespace) -> None:
    for card in zoo.CARDS.values():
        path = weights.find(card)
        if card.source is None:
            here = "comes with it"
        elif path:
            here = f"{path.stat().st_size / 1e6:.0f} MB, here"
        else:
            here = f"{card.source.megabytes:.0f} MB, to fetch"
        print(f"{card.name:15}{here:18}{card.licence:14}{card.about}")


def _layers(given: argparse.Namespace) -> None:
    card = zoo.card(given.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:22}{layer.alias:10}{layer.kind:12}{layer.brings}{default}")


def _fetch(given: argparse.Namespace) -> None:
    card = zoo.card(given.model)
    if card.source is None:
        print(f"{card.name} comes with the program; there is nothing to fetch")
        return
    _show(weights.fetch(card))
    print(f"{card.name}: {weights.find(card)}")


if __name__ == "__main__":
    sys.exit(main())
