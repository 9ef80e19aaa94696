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

from dream.batch.manifest_row import ManifestRow, input_file_sha256
from dream.batch.mlflow_tracker import MlflowTracker
from dream.batch.tasks import recipe_summary
from dream.commands.options import (
    Command,
    add_mlflow_option,
    add_output_option,
    add_photo_option,
    add_recipe_options,
    add_weights_option,
    build_engine,
    build_recipe,
    parse_number,
)
from dream.commands.progress import download_with_progress, render_with_progress
from dream.errors import RecipeError, to_printable_line
from dream.files.contact_sheet import draw_contact_sheet, variations_sheet
from dream.files.image import load_image, save_image
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.base import DEFAULT_MODEL
from dream.recipe.channel import evenly_spaced_channels, parse_channels
from dream.recipe.variations import parse_integers, parse_names, variations
from dream.render.channel import silent_channels_message
from dream.render.class_image import Verdict
from dream.render.loop import Frame
from dream.render.response import COUNT_KNOB
from dream.tensors import to_tensor


def _finished_images(frames: Iterator[Frame]) -> Iterator[tuple[Recipe, Image.Image, Frame]]:
    """The finished pictures, each with its recipe and the frame that it is of."""
    for frame in frames:
        if frame.finished:
            for recipe, picture in zip(frame.recipes, frame.pictures(), strict=True):
                yield recipe, picture, frame


def _image_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    add_output_option(parser)
    add_mlflow_option(parser)
    add_recipe_options(parser, DreamRecipe)


def _image(given: argparse.Namespace) -> None:
    recipe = build_recipe(given, DreamRecipe)
    photo = load_image(given.photo)
    tracker = None if given.mlflow is None else MlflowTracker(given.mlflow, "dreams")
    start = time.perf_counter()
    objectives = []  # On the device: to fetch one would wait for each step.
    for frame in render_with_progress(build_engine(given, recipe.model), [recipe], photo):
        objectives += [] if frame.objective is None else [frame.objective]
    (made,) = frame.recipes
    _save_and_report(given, frame.picture(), f"{recipe.layer}, seed {recipe.seed}", start, made)
    if tracker:
        row = ManifestRow(
            given.photo, input_file_sha256(given.photo), Path(given.out).name, recipe_summary(made)
        )
        trace = tuple(float(each.sum()) for each in objectives)
        row = replace(row, seconds=time.perf_counter() - start, trace=trace)
        tracker.log(row, Path(given.out).read_bytes())


def _sheet_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    parser.add_argument("--layers", metavar="LIST", default="", help="as inception3b,inception4c")
    parser.add_argument("--intensities", metavar="LIST", default="", help="as 3,5,8")
    add_output_option(parser, "sheet.png")
    add_recipe_options(parser, DreamRecipe, skip=("layer", "intensity"))


def _sheet(given: argparse.Namespace) -> None:
    recipe = build_recipe(given, DreamRecipe)
    recipes = variations(recipe, parse_names(given.layers), parse_integers(given.intensities))
    photo = load_image(given.photo)
    start = time.perf_counter()
    dreams = _finished_images(
        render_with_progress(build_engine(given, recipe.model), recipes, photo)
    )
    made = variations_sheet(recipes, [picture for _, picture, _ in dreams])
    _save_and_report(given, made, f"{len(recipes)} dreams, seed {recipe.seed}", start)


def _channel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="PHOTO", help="raise it in this photo, not from noise")
    parser.add_argument(
        "--grid", metavar="N", type=parse_number, help="so many channels of the layer, on one sheet"
    )
    parser.add_argument(
        "--channels", metavar="LIST", help="these channels, as 3,7,12 or 0-15, on one sheet"
    )
    add_output_option(parser)
    add_recipe_options(parser, ChannelRecipe)


def _channel(given: argparse.Namespace) -> None:
    recipe = build_recipe(given, ChannelRecipe)
    if given.grid is not None or given.channels is not None:
        _channel_grid(given, recipe)
        return
    photo = load_image(given.image) if given.image else None
    start = time.perf_counter()
    for made, picture, frame in _finished_images(
        render_with_progress(build_engine(given, recipe.model), [recipe], photo)
    ):
        about = f"channel {recipe.channel} of {recipe.layer}, seed {recipe.seed}"
        _save_and_report(given, picture, about, start, made)
        _warn_silent_channels(recipe, frame.silent)


def _channel_grid(given: argparse.Namespace, recipe: ChannelRecipe) -> None:
    if given.image or (given.grid is not None and given.channels is not None):
        raise RecipeError("give one of --grid, --channels and --image")
    if given.channels is not None:
        channels = parse_channels(given.channels, recipe.model, recipe.layer)
    else:
        channels = evenly_spaced_channels(given.grid, recipe.model, recipe.layer)
    recipes = [recipe.with_changes(channel=channel) for channel in channels]
    start = time.perf_counter()
    pictures: dict[int, Image.Image] = {}
    silent: dict[int, None] = {}
    frames = render_with_progress(build_engine(given, recipe.model), recipes, use_cache=True)
    for made, picture, frame in _finished_images(frames):
        assert isinstance(made, ChannelRecipe)
        pictures[made.channel] = picture
        silent |= dict.fromkeys(frame.silent)
    _warn_silent_channels(recipe, tuple(silent))
    grid = draw_contact_sheet([(str(channel), pictures[channel]) for channel in channels])
    _save_and_report(
        given, grid, f"{len(channels)} channels of {recipe.layer}, seed {recipe.seed}", start
    )


def _top_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME")
    parser.add_argument("--layer", metavar="NAME", help="Default: the network's own.")
    parser.add_argument("--count", metavar="N", type=parse_number, default=8, help="Default: 8.")
    parser.add_argument(
        "--spot",
        metavar="SHARE",
        nargs=2,
        type=float,
        help="where to look, in shares of the width and the height: 0.5 0.5 is the middle",
    )
    add_weights_option(parser)


def _top(given: argparse.Namespace) -> None:
    COUNT_KNOB.check("count", given.count)
    engine = build_engine(given, given.model)
    recipe = ChannelRecipe(model=given.model, layer=given.layer)
    photo = load_image(given.photo)
    download_with_progress(engine.fetch(recipe.model))
    response = engine.response(photo, recipe.model, recipe.layer)
    for answer in response.top(given.count, given.spot):
        print(f"channel {answer.channel:5}   {answer.strength:8.2f}")


def _class_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="CLASS", nargs="?", help="by name, part of it, or number; see classes"
    )
    parser.add_argument("--image", metavar="PHOTO", help="start from this photo, not from noise")
    add_output_option(parser)
    add_recipe_options(parser, ClassRecipe, skip=("target",))


def _class(given: argparse.Namespace) -> None:
    recipe = build_recipe(given, ClassRecipe)
    if given.target is None and not given.recipe:
        raise RecipeError("name a class, as goldfish; python -m dream classes lists them")
    photo = load_image(given.image) if given.image else None
    engine = build_engine(given, recipe.model)
    start = time.perf_counter()
    frames = render_with_progress(engine, [recipe], photo)
    first = next(frames)
    before = engine.verdict(first.tensor, recipe)
    for made, picture, _ in _finished_images(itertools.chain([first], frames)):
        _save_and_report(given, picture, f"{recipe.target}, seed {recipe.seed}", start, made)
        after = engine.verdict(to_tensor(picture), recipe)
    print(
        f"{after.target}: {_format_verdict(before)} before, {_format_verdict(after)} now; {recipe.model} sees"
    )
    for name, share in after.seen:
        print(f"  {share:6.1%}  {name}")


def _format_verdict(verdict: Verdict) -> str:
    rank = f"rank {verdict.rank}"
    return f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, {rank}"


def _save_and_report(
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
    print(
        to_printable_line(
            f"{given.out}: {picture.width} x {picture.height}, {about}, {seconds:.1f} s"
        )
    )


def _warn_silent_channels(recipe: ChannelRecipe, silent: Sequence[int]) -> None:
    if silent:
        print(silent_channels_message(recipe.layer, silent), file=sys.stderr)


COMMANDS: tuple[Command, ...] = (
    ("image", "dream a photo", _image_options, _image),
    ("sheet", "dream a photo in several ways, side by side", _sheet_options, _sheet),
    ("channel", "show what the channels of a layer look for", _channel_options, _channel),
    ("top", "list the channels that answer a photo most strongly", _top_options, _top),
    ("class", "show what a network takes for a class", _class_options, _class),
)
