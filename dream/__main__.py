"""The command line: `python -m dream image PHOTO -o OUT.png`, `channel`, `class`, …"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image

from dream.engine import Engine
from dream.errors import DreamError, RecipeError, printable
from dream.files.picture import check_destination, load_image, read_recipe, save_image
from dream.files.sheet import contact_sheet, sheet
from dream.networks import catalogue, weights
from dream.networks.device import repeat_exactly
from dream.networks.download import Download
from dream.paint.class_image import Verdict
from dream.paint.render import Frame, silence
from dream.paint.response import COUNT
from dream.recipe import classes
from dream.recipe.channel import ChannelRecipe, channel_numbers, spread_channels
from dream.recipe.class_image import ClassRecipe
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import Knob, knobs
from dream.recipe.presets import preset, presets
from dream.recipe.recipe import AnyRecipe, Recipe
from dream.recipe.variations import listed, numbers

BAR_WIDTH = 30


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 2 for bad input, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = given.command
    repeat_exactly()
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
    _recipe_options(image, DreamRecipe)
    image.set_defaults(command=_image)

    several = commands.add_parser("sheet", help="dream a photo in several ways, side by side")
    several.add_argument("photo", metavar="PHOTO", help="a picture file")
    several.add_argument("--layers", metavar="LIST", default="", help="as inception3b,inception4c")
    several.add_argument("--intensities", metavar="LIST", default="", help="as 3,5,8")
    _recipe_options(several, DreamRecipe, skip=("layer", "intensity"), out="sheet.png")
    several.set_defaults(command=_compare)

    channel = commands.add_parser("channel", help="show what the channels of a layer look for")
    channel.add_argument("--image", metavar="PHOTO", help="raise it in this photo, not from noise")
    channel.add_argument(
        "--grid", metavar="N", type=_number, help="so many channels of the layer, on one sheet"
    )
    channel.add_argument(
        "--channels", metavar="LIST", help="these channels, as 3,7,12 or 0-15, on one sheet"
    )
    _recipe_options(channel, ChannelRecipe)
    channel.set_defaults(command=_channel)

    top = commands.add_parser("top", help="list the channels that answer a photo most strongly")
    top.add_argument("photo", metavar="PHOTO", help="a picture file")
    top.add_argument("--model", default=ChannelRecipe().model, metavar="NAME")
    top.add_argument("--layer", metavar="NAME", help="Default: the network's own.")
    top.add_argument("--count", metavar="N", type=_number, default=8, help="Default: 8.")
    top.add_argument(
        "--spot",
        metavar="SHARE",
        nargs=2,
        type=float,
        help="where to look, in shares of the width and the height: 0.5 0.5 is the middle",
    )
    _weights_option(top)
    top.set_defaults(command=_top)

    image_of = commands.add_parser("class", help="show what a network takes for a class")
    image_of.add_argument(
        "target", metavar="CLASS", nargs="?", help="by name, part of it, or number; see classes"
    )
    image_of.add_argument("--image", metavar="PHOTO", help="start from this photo, not from noise")
    _recipe_options(image_of, ClassRecipe, skip=("target",))
    image_of.set_defaults(command=_class)

    names = commands.add_parser("classes", help="list the classes, all or those with a word")
    names.add_argument("word", metavar="WORD", nargs="?", default="")
    names.set_defaults(command=_classes)

    models = commands.add_parser("models", help="list the networks, and which are here already")
    models.set_defaults(command=_models)
    layers = commands.add_parser("layers", help="list the layers of a network")
    layers.add_argument("model", metavar="MODEL", nargs="?", default=DreamRecipe().model)
    layers.set_defaults(command=_layers)
    fetch = commands.add_parser("fetch", help="download the weights of a network ahead of time")
    fetch.add_argument("model", metavar="MODEL")
    fetch.set_defaults(command=_fetch)
    return parser


def _recipe_options(
    parser: argparse.ArgumentParser,
    kind: type[Recipe],
    skip: Sequence[str] = (),
    out: str | None = None,
) -> None:
    where = "where to write" + (f"; {out} by default" if out else "")
    parser.add_argument(
        "-o", dest="out", metavar="OUT.png", default=out, required=out is None, help=where
    )
    if kind is DreamRecipe:
        names = ", ".join(presets())
        parser.add_argument("--preset", metavar="NAME", help=f"start from a preset: {names}")
    parser.add_argument(
        "--recipe", metavar="FILE", help="start from the recipe in a PNG made here or a JSON file"
    )
    _weights_option(parser)
    for name, knob in knobs(kind).items():
        if name in skip:
            continue
        option = f"--{name.replace('_', '-')}"
        if knob.kind is bool:
            parser.add_argument(
                option, default=None, action=argparse.BooleanOptionalAction, help=knob.help
            )
            continue
        default = knob.automatic or knob.empty or getattr(kind(), name)
        parser.add_argument(
            option,
            default=argparse.SUPPRESS,
            type=str if knob.kind is str else _number,
            metavar=_metavar(knob),
            help=f"{knob.help} Default: {default}.",
        )


def _weights_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", metavar="FILE.safetensors", help="weights of your own that fit the network"
    )


def _number(text: str) -> float | str:
    """A number where it is one; what else was typed is left to the recipe to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _metavar(knob: Knob) -> str:
    if knob.kind is str:
        return "|".join(knob.choices) or ("FILE" if knob.file else "NAME")
    return f"{knob.low:g}..{knob.high:g}"


def _recipe(given: argparse.Namespace, kind: type[AnyRecipe]) -> AnyRecipe:
    """The recipe that the options describe."""
    changes: dict[str, Any] = {
        name: getattr(given, name) for name in knobs(kind) if getattr(given, name, None) is not None
    }
    name = getattr(given, "preset", None)
    if name and given.recipe:
        raise RecipeError("give one of --preset and --recipe")
    if name:
        chosen = preset(name)
        return chosen.but(**changes) if isinstance(chosen, kind) else kind(**changes)
    return read_recipe(given.recipe, kind).but(**changes) if given.recipe else kind(**changes)


def _engine(given: argparse.Namespace, model: str) -> Engine:
    return Engine(files={model: given.weights} if given.weights else None)


def _image(given: argparse.Namespace) -> None:
    recipe = _recipe(given, DreamRecipe)
    out = check_destination(given.out)
    photo = load_image(given.photo)
    engine = _engine(given, recipe.model)
    recipe = engine.settle(recipe)
    frames = engine.dream(photo, recipe)  # Checks the photo before anything is downloaded.
    _show(engine.fetch(recipe.model))
    start = time.perf_counter()
    frame = _watched(frames)
    save_image(frame.picture(), out, recipe)
    _told(out, frame.picture().size, f"{recipe.layer}, seed {recipe.seed}", start)


def _compare(given: argparse.Namespace) -> None:
    recipe = _recipe(given, DreamRecipe)
    layers, intensities = listed(given.layers), numbers(given.intensities)
    out = check_destination(given.out)
    engine = _engine(given, recipe.model)
    recipes = engine.variations(recipe, layers, intensities)
    photo = load_image(given.photo)
    frames = engine.dreams(photo, recipes)
    _show(engine.fetch(recipe.model))
    start = time.perf_counter()
    pictures: list[Image.Image] = []
    for frame in frames:
        _bar(frame.done, f"step {frame.step} of {frame.total}")
        if frame.finished:
            pictures.append(frame.picture())
    made = sheet(recipes, pictures)
    save_image(made, out)
    _told(out, made.size, f"{len(recipes)} dreams, seed {recipe.seed}", start)


def _channel(given: argparse.Namespace) -> None:
    recipe = _recipe(given, ChannelRecipe)
    out = check_destination(given.out)
    engine = _engine(given, recipe.model)
    if given.grid is not None or given.channels is not None:
        _sheet(given, recipe, engine, out)
        return
    photo = load_image(given.image) if given.image else None
    recipe = engine.settle(recipe, photo)
    frames = engine.channel(recipe, photo)
    _show(engine.fetch(recipe.model))
    start = time.perf_counter()
    frame = _watched(frames)
    save_image(frame.picture(), out, recipe)
    about = f"channel {recipe.channel} of {recipe.layer}, seed {recipe.seed}"
    _told(out, frame.picture().size, about, start)
    _warn_of_silence(recipe, frame.silent)


def _sheet(given: argparse.Namespace, recipe: ChannelRecipe, engine: Engine, out: Path) -> None:
    if given.image or (given.grid is not None and given.channels is not None):
        raise RecipeError("give one of --grid, --channels and --image")
    if given.channels is not None:
        channels = channel_numbers(given.channels, recipe.model, recipe.layer)
    else:
        channels = spread_channels(given.grid, recipe.model, recipe.layer)
    _show(engine.fetch(recipe.model))
    start = time.perf_counter()
    pictures: dict[int, Image.Image] = {}
    for frame in engine.channels([recipe.but(channel=channel) for channel in channels]):
        _bar(frame.done, f"step {frame.step} of {frame.total}")
        if frame.finished:
            pictures |= zip(frame.channels, frame.pictures(), strict=True)
            _warn_of_silence(recipe, frame.silent)
    sheet = contact_sheet([(str(channel), pictures[channel]) for channel in channels])
    save_image(sheet, out)
    about = f"{len(channels)} channels of {recipe.layer}, seed {recipe.seed}"
    _told(out, sheet.size, about, start)


def _top(given: argparse.Namespace) -> None:
    COUNT.check("count", given.count)
    engine = _engine(given, given.model)
    recipe = ChannelRecipe(model=given.model, layer=given.layer)
    photo = load_image(given.photo)
    _show(engine.fetch(recipe.model))
    response = engine.response(photo, recipe.model, recipe.layer)
    for answer in response.top(given.count, given.spot):
        print(f"channel {answer.channel:5}   {answer.strength:8.2f}")


def _class(given: argparse.Namespace) -> None:
    recipe = _recipe(given, ClassRecipe)
    if given.target is None and not given.recipe:
        raise RecipeError("name a class, as goldfish; python -m dream classes lists them")
    out = check_destination(given.out)
    photo = load_image(given.image) if given.image else None
    engine = _engine(given, recipe.model)
    recipe = engine.settle(recipe, photo)
    frames = engine.class_image(recipe, photo)
    _show(engine.fetch(recipe.model))
    start = time.perf_counter()
    first = next(frames)
    before = engine.verdict(first.tensor, recipe)
    frame = _watched(itertools.chain([first], frames))
    save_image(frame.picture(), out, recipe)
    _told(out, frame.picture().size, f"{recipe.target}, seed {recipe.seed}", start)
    after = engine.verdict(frame.tensor, recipe)
    print(f"{after.target}: {_score(before)} before, {_score(after)} now; {recipe.model} sees")
    for name, share in after.seen:
        print(f"  {share:6.1%}  {name}")


def _score(verdict: Verdict) -> str:
    rank = f"rank {verdict.rank}"
    return f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, {rank}"


def _classes(given: argparse.Namespace) -> None:
    for number, name in enumerate(classes.names()):
        if given.word.lower() in name.lower():
            print(f"{number:4}  {name}")


def _watched(frames: Iterator[Frame]) -> Frame:
    """The last frame; how far it is is shown meanwhile."""
    for frame in frames:
        where = f"octave {frame.octave} of {frame.octaves}, step {frame.step} of {frame.total}"
        _bar(frame.done, where)
    return frame


def _told(out: Path, size: tuple[int, int], about: str, start: float) -> None:
    width, height = size
    seconds = time.perf_counter() - start
    print(printable(f"{out}: {width} x {height}, {about}, {seconds:.1f} s"))


def _warn_of_silence(recipe: ChannelRecipe, silent: Sequence[int]) -> None:
    if silent:
        print(silence(recipe.layer, silent), file=sys.stderr)


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
    for card in catalogue.CARDS.values():
        path = weights.find(card)
        if path:
            here = f"{path.stat().st_size / 1e6:.0f} MB, here"
        else:
            here = f"{card.source.megabytes:.0f} MB, to fetch"
        print(f"{card.name:15}{here:18}{card.licence:14}{card.about}")


def _layers(given: argparse.Namespace) -> None:
    card = catalogue.card(given.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:22}{layer.alias:10}{layer.kind:12}{layer.brings}{default}")


def _fetch(given: argparse.Namespace) -> None:
    card = catalogue.card(given.model)
    _show(weights.fetch(card))
    print(printable(f"{card.name}: {weights.find(card)}"))


if __name__ == "__main__":
    sys.exit(main())
