"""Commands that make pictures, or tell what is seen in one."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from dream.commands.options import (
    Command,
    engine_of,
    mlflow_option,
    number,
    out_option,
    photo_option,
    recipe_of,
    recipe_options,
    weights_option,
)
from dream.commands.told import fetching, painted
from dream.errors import RecipeError, printable
from dream.files.picture import load_image, save_image
from dream.files.sheet import contact_sheet, sheet
from dream.many.row import Row, sha256
from dream.many.tasks import brief
from dream.many.tracking import Tracker
from dream.paint.channel import silence
from dream.paint.class_image import Verdict
from dream.paint.frames import Frame
from dream.paint.response import COUNT
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.channel import channel_numbers, spread_channels
from dream.recipe.recipe import MODEL
from dream.recipe.variations import listed, numbers, variations
from dream.tensors import to_tensor


def _finished(frames: Iterator[Frame]) -> Iterator[tuple[Recipe, Image.Image, Frame]]:
    """The finished pictures, each with its recipe and the frame that it is of."""
    for frame in frames:
        if frame.finished:
            for recipe, picture in zip(frame.recipes, frame.pictures(), strict=True):
                yield recipe, picture, frame


def _image_options(parser: argparse.ArgumentParser) -> None:
    photo_option(parser)
    out_option(parser)
    mlflow_option(parser)
    recipe_options(parser, DreamRecipe)


def _image(given: argparse.Namespace) -> None:
    recipe = recipe_of(given, DreamRecipe)
    photo = load_image(given.photo)
    tracker = None if given.mlflow is None else Tracker(given.mlflow, "dreams")
    start = time.perf_counter()
    objectives = []  # On the device: to fetch one would wait for each step.
    for frame in painted(engine_of(given, recipe.model), [recipe], photo):
        objectives += [] if frame.objective is None else [frame.objective]
    (made,) = frame.recipes
    _write(given, frame.picture(), f"{recipe.layer}, seed {recipe.seed}", start, made)
    if tracker:
        row = Row(given.photo, sha256(given.photo), Path(given.out).name, brief(made))
        trace = tuple(float(each.sum()) for each in objectives)
        row = replace(row, seconds=time.perf_counter() - start, trace=trace)
        tracker.log(row, Path(given.out).read_bytes())


def _sheet_options(parser: argparse.ArgumentParser) -> None:
    photo_option(parser)
    parser.add_argument("--layers", metavar="LIST", default="", help="as inception3b,inception4c")
    parser.add_argument("--intensities", metavar="LIST", default="", help="as 3,5,8")
    out_option(parser, "sheet.png")
    recipe_options(parser, DreamRecipe, skip=("layer", "intensity"))


def _sheet(given: argparse.Namespace) -> None:
    recipe = recipe_of(given, DreamRecipe)
    recipes = variations(recipe, listed(given.layers), numbers(given.intensities))
    photo = load_image(given.photo)
    start = time.perf_counter()
    dreams = _finished(painted(engine_of(given, recipe.model), recipes, photo))
    made = sheet(recipes, [picture for _, picture, _ in dreams])
    _write(given, made, f"{len(recipes)} dreams, seed {recipe.seed}", start)


def _channel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="PHOTO", help="raise it in this photo, not from noise")
    parser.add_argument(
        "--grid", metavar="N", type=number, help="so many channels of the layer, on one sheet"
    )
    parser.add_argument(
        "--channels", metavar="LIST", help="these channels, as 3,7,12 or 0-15, on one sheet"
    )
    out_option(parser)
    recipe_options(parser, ChannelRecipe)


def _channel(given: argparse.Namespace) -> None:
    recipe = recipe_of(given, ChannelRecipe)
    if given.grid is not None or given.channels is not None:
        _grid(given, recipe)
        return
    photo = load_image(given.image) if given.image else None
    start = time.perf_counter()
    for made, picture, frame in _finished(painted(engine_of(given, recipe.model), [recipe], photo)):
        about = f"channel {recipe.channel} of {recipe.layer}, seed {recipe.seed}"
        _write(given, picture, about, start, made)
        _warn_of_silence(recipe, frame.silent)


def _grid(given: argparse.Namespace, recipe: ChannelRecipe) -> None:
    if given.image or (given.grid is not None and given.channels is not None):
        raise RecipeError("give one of --grid, --channels and --image")
    if given.channels is not None:
        channels = channel_numbers(given.channels, recipe.model, recipe.layer)
    else:
        channels = spread_channels(given.grid, recipe.model, recipe.layer)
    recipes = [recipe.but(channel=channel) for channel in channels]
    start = time.perf_counter()
    pictures: dict[int, Image.Image] = {}
    silent: dict[int, None] = {}
    frames = painted(engine_of(given, recipe.model), recipes, kept=True)
    for made, picture, frame in _finished(frames):
        assert isinstance(made, ChannelRecipe)
        pictures[made.channel] = picture
        silent |= dict.fromkeys(frame.silent)
    _warn_of_silence(recipe, tuple(silent))
    grid = contact_sheet([(str(channel), pictures[channel]) for channel in channels])
    _write(given, grid, f"{len(channels)} channels of {recipe.layer}, seed {recipe.seed}", start)


def _top_options(parser: argparse.ArgumentParser) -> None:
    photo_option(parser)
    parser.add_argument("--model", default=MODEL, metavar="NAME")
    parser.add_argument("--layer", metavar="NAME", help="Default: the network's own.")
    parser.add_argument("--count", metavar="N", type=number, default=8, help="Default: 8.")
    parser.add_argument(
        "--spot",
        metavar="SHARE",
        nargs=2,
        type=float,
        help="where to look, in shares of the width and the height: 0.5 0.5 is the middle",
    )
    weights_option(parser)


def _top(given: argparse.Namespace) -> None:
    COUNT.check("count", given.count)
    engine = engine_of(given, given.model)
    recipe = ChannelRecipe(model=given.model, layer=given.layer)
    photo = load_image(given.photo)
    fetching(engine.fetch(recipe.model))
    response = engine.response(photo, recipe.model, recipe.layer)
    for answer in response.top(given.count, given.spot):
        print(f"channel {answer.channel:5}   {answer.strength:8.2f}")


def _class_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="CLASS", nargs="?", help="by name, part of it, or number; see classes"
    )
    parser.add_argument("--image", metavar="PHOTO", help="start from this photo, not from noise")
    out_option(parser)
    recipe_options(parser, ClassRecipe, skip=("target",))


def _class(given: argparse.Namespace) -> None:
    recipe = recipe_of(given, ClassRecipe)
    if given.target is None and not given.recipe:
        raise RecipeError("name a class, as goldfish; python -m dream classes lists them")
    photo = load_image(given.image) if given.image else None
    engine = engine_of(given, recipe.model)
    start = time.perf_counter()
    frames = painted(engine, [recipe], photo)
    first = next(frames)
    before = engine.verdict(first.tensor, recipe)
    for made, picture, _ in _finished(itertools.chain([first], frames)):
        _write(given, picture, f"{recipe.target}, seed {recipe.seed}", start, made)
        after = engine.verdict(to_tensor(picture), recipe)
    print(f"{after.target}: {_score(before)} before, {_score(after)} now; {recipe.model} sees")
    for name, share in after.seen:
        print(f"  {share:6.1%}  {name}")


def _score(verdict: Verdict) -> str:
    rank = f"rank {verdict.rank}"
    return f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, {rank}"


def _write(
    given: argparse.Namespace,
    picture: Image.Image,
    about: str,
    start: float,
    recipe: Recipe | None = None,
) -> None:
    # Of a sheet, or a channel or a class raised in it.
    photo = bool(getattr(given, "photo", None) or getattr(given, "image", None))
    save_image(picture, given.out, recipe, photo=photo)
    seconds = time.perf_counter() - start
    print(printable(f"{given.out}: {picture.width} x {picture.height}, {about}, {seconds:.1f} s"))


def _warn_of_silence(recipe: ChannelRecipe, silent: Sequence[int]) -> None:
    if silent:
        print(silence(recipe.layer, silent), file=sys.stderr)


COMMANDS: tuple[Command, ...] = (
    ("image", "dream a photo", _image_options, _image),
    ("sheet", "dream a photo in several ways, side by side", _sheet_options, _sheet),
    ("channel", "show what the channels of a layer look for", _channel_options, _channel),
    ("top", "list the channels that answer a photo most strongly", _top_options, _top),
    ("class", "show what a network takes for a class", _class_options, _class),
)
