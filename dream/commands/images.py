"""Commands that make images, and the command `top`."""

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
from dream.recipe.channel import evenly_spaced_channels, parse_channels
from dream.recipe.knob import knobs
from dream.recipe.presets import parse_intensities, parse_names, variations
from dream.render.channel import silent_channels_message
from dream.render.class_image import Verdict
from dream.render.job_loop import Frame
from dream.render.layer_response import COUNT_KNOB
from dream.tensors import to_tensor

START_PHOTO_HELP = "start from this photo instead of noise"


def _finished_images(frames: Iterator[Frame]) -> Iterator[tuple[Recipe, Image.Image, Frame]]:
    """Yield each finished image with its recipe and its progress frame."""
    for frame in frames:
        if frame.finished:
            for recipe, image in zip(frame.recipes, frame.pictures(), strict=True):
                yield recipe, image, frame


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    add_output_option(parser)
    add_mlflow_option(parser)
    add_recipe_options(parser, DreamRecipe)


def _run_image(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, DreamRecipe)
    photo = load_image(args.photo)
    tracker = None if args.mlflow is None else MlflowTracker(args.mlflow, "dreams")
    start = time.perf_counter()
    objectives = []  # They stay on the device: a copy to the CPU would wait for each step.
    for frame in render_with_progress(build_engine(args, recipe.model), [recipe], photo):
        objectives += [] if frame.objective is None else [frame.objective]
    (final,) = frame.recipes
    _save_and_report(args, frame.picture(), f"{recipe.layer}, seed {recipe.seed}", start, final)
    if tracker:
        row = ManifestRow(
            args.photo, input_file_sha256(args.photo), Path(args.out).name, recipe_summary(final)
        )
        trace = tuple(float(objective.sum()) for objective in objectives)
        row = replace(row, seconds=time.perf_counter() - start, trace=trace)
        tracker.log(row, Path(args.out).read_bytes())


def _add_sheet_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    parser.add_argument(
        "--layers", metavar="LIST", default="", help="layers to compare, as inception3b,inception4c"
    )
    parser.add_argument(
        "--intensities", metavar="LIST", default="", help="intensities to compare, as 3,5,8"
    )
    add_output_option(parser, "sheet.png")
    add_recipe_options(parser, DreamRecipe, skip=("layer", "intensity"))


def _run_sheet(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, DreamRecipe)
    recipes = variations(recipe, parse_names(args.layers), parse_intensities(args.intensities))
    photo = load_image(args.photo)
    start = time.perf_counter()
    dreams = _finished_images(
        render_with_progress(build_engine(args, recipe.model), recipes, photo)
    )
    sheet = variations_sheet(recipes, [image for _, image, _ in dreams])
    _save_and_report(args, sheet, f"{len(recipes)} dreams, seed {recipe.seed}", start)


def _add_channel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="PHOTO", help=START_PHOTO_HELP)
    parser.add_argument(
        "--grid", metavar="N", type=parse_number, help="N channels of the layer on a contact sheet"
    )
    parser.add_argument(
        "--channels", metavar="LIST", help="channels for a contact sheet, as 3,7,12 or 0-15"
    )
    add_output_option(parser)
    add_recipe_options(parser, ChannelRecipe)


def _run_channel(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, ChannelRecipe)
    if args.grid is not None or args.channels is not None:
        _make_channel_grid(args, recipe)
        return
    photo = load_image(args.image) if args.image else None
    start = time.perf_counter()
    for final, image, frame in _finished_images(
        render_with_progress(build_engine(args, recipe.model), [recipe], photo)
    ):
        label = f"channel {recipe.channel} of {recipe.layer}, seed {recipe.seed}"
        _save_and_report(args, image, label, start, final)
        _warn_silent_channels(recipe, frame.silent)


def _make_channel_grid(args: argparse.Namespace, recipe: ChannelRecipe) -> None:
    if args.image or (args.grid is not None and args.channels is not None):
        raise RecipeError("give only one of --grid, --channels and --image")
    if args.channels is not None:
        channels = parse_channels(args.channels, recipe.model, recipe.layer)
    else:
        channels = evenly_spaced_channels(args.grid, recipe.model, recipe.layer)
    recipes = [recipe.with_changes(channel=channel) for channel in channels]
    start = time.perf_counter()
    images: dict[int, Image.Image] = {}
    silent: dict[int, None] = {}
    frames = render_with_progress(build_engine(args, recipe.model), recipes, use_cache=True)
    for final, image, frame in _finished_images(frames):
        assert isinstance(final, ChannelRecipe)
        images[final.channel] = image
        silent |= dict.fromkeys(frame.silent)
    _warn_silent_channels(recipe, tuple(silent))
    grid = draw_contact_sheet([(str(channel), images[channel]) for channel in channels])
    _save_and_report(
        args, grid, f"{len(channels)} channels of {recipe.layer}, seed {recipe.seed}", start
    )


def _add_top_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    for name in ("model", "layer"):
        knob = knobs(ChannelRecipe)[name]
        text = f"{knob.help} Default: {knob.default_text}."
        parser.add_argument(f"--{name}", default=knob.default, metavar="NAME", help=text)
    parser.add_argument("--count", metavar="N", type=parse_number, default=8, help="Default: 8.")
    parser.add_argument(
        "--spot",
        metavar="SHARE",
        nargs=2,
        type=float,
        help="position in the photo as shares of width and height; 0.5 0.5 is the centre",
    )
    add_weights_option(parser)


def _run_top(args: argparse.Namespace) -> None:
    COUNT_KNOB.check("count", args.count)
    engine = build_engine(args, args.model)
    recipe = ChannelRecipe(model=args.model, layer=args.layer)
    photo = load_image(args.photo)
    download_with_progress(engine.fetch(recipe.model))
    response = engine.response(photo, recipe.model, recipe.layer)
    for channel in response.top(args.count, args.spot):
        print(f"channel {channel.channel:5}   {channel.strength:8.2f}")


def _add_class_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="CLASS", nargs="?", help="name, part of it, or number; see `classes`"
    )
    parser.add_argument("--image", metavar="PHOTO", help=START_PHOTO_HELP)
    add_output_option(parser)
    add_recipe_options(parser, ClassRecipe, skip=("target",))


def _run_class(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, ClassRecipe)
    if args.target is None and not args.recipe:
        raise RecipeError("give a class, as goldfish; python -m dream classes lists them")
    photo = load_image(args.image) if args.image else None
    engine = build_engine(args, recipe.model)
    start = time.perf_counter()
    frames = render_with_progress(engine, [recipe], photo)
    first = next(frames)
    before = engine.verdict(first.tensor, recipe)
    for final, image, _ in _finished_images(itertools.chain([first], frames)):
        _save_and_report(args, image, f"{recipe.target}, seed {recipe.seed}", start, final)
        after = engine.verdict(to_tensor(image), recipe)
    verdicts = f"{_format_verdict(before)} before, {_format_verdict(after)} after"
    print(f"{after.target}: {verdicts}; top classes of {recipe.model}:")
    for name, probability in after.seen:
        print(f"  {probability:6.1%}  {name}")


def _format_verdict(verdict: Verdict) -> str:
    rank = f"rank {verdict.rank}"
    return f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, {rank}"


def _save_and_report(
    args: argparse.Namespace,
    image: Image.Image,
    label: str,
    start: float,
    recipe: Recipe | None = None,
) -> None:
    """Write an image, from a photo or not, and print its size and the seconds since `start`."""
    photo = bool(getattr(args, "photo", None) or getattr(args, "image", None))
    save_image(image, args.out, recipe, photo=photo)
    seconds = time.perf_counter() - start
    line = f"{args.out}: {image.width} x {image.height}, {label}, {seconds:.1f} s"
    print(to_printable_line(line))


def _warn_silent_channels(recipe: ChannelRecipe, silent: Sequence[int]) -> None:
    if silent:
        print(silent_channels_message(recipe.layer, silent), file=sys.stderr)


COMMANDS: tuple[Command, ...] = (
    ("image", "dream a photo", _add_image_options, _run_image),
    ("sheet", "compare layers and intensities on a contact sheet", _add_sheet_options, _run_sheet),
    ("channel", "visualise channels of a layer", _add_channel_options, _run_channel),
    ("top", "list the most active channels of a layer in a photo", _add_top_options, _run_top),
    ("class", "make an image of an ImageNet class", _add_class_options, _run_class),
)
