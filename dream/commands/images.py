"""Commands that make images, and the command `top`."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dream  # Its members that need torch are imported on first use.
from dream.commands.options import (
    MLFLOW,
    PHOTO,
    WEIGHTS,
    build_engine,
    build_recipe,
    command,
    file_option,
    knob_option,
    option,
    output,
    parse_number,
    program_name,
    recipe_options,
)
from dream.commands.progress import download_with_progress, print_report, render_with_progress
from dream.errors import RecipeError
from dream.files.image_formats import check_image_options
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.channel import COUNT_KNOB, evenly_spaced_channels, parse_channels
from dream.recipe.knob import knobs
from dream.recipe.presets import parse_intensities, parse_names, variations

if TYPE_CHECKING:
    from PIL import Image

    from dream.render.class_image import Verdict
    from dream.render.job_loop import Frame

START_PHOTO = file_option(
    "--image", dest="photo", metavar="PHOTO", help="start from this photo instead of noise"
)


@command("image", "dream a photo", PHOTO, output(), MLFLOW, recipe_options(DreamRecipe))
def _dream_image(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, DreamRecipe)
    check_image_options(args.out, [recipe], args.quality)
    photo = dream.load_image(args.photo)
    tracker = None
    if args.mlflow is not None:
        from dream.batch.mlflow_tracker import MlflowTracker

        tracker = MlflowTracker(args.mlflow, "dreams")
    args.start = time.perf_counter()
    objectives = []  # They stay on the device: a copy to the CPU would wait for each step.
    for frame in render_with_progress(build_engine(args, recipe.model), [recipe], photo):
        objectives += [] if frame.objective is None else [frame.objective]
    (final,) = frame.recipes
    _save_and_report(args, frame.picture(), f"{recipe.layer}, seed {recipe.seed}", final)
    if tracker:
        from dream.batch.manifest import ManifestRow, input_file_sha256
        from dream.batch.tasks import recipe_summary

        row = ManifestRow(
            args.photo,
            input_file_sha256(args.photo),
            Path(args.out).name,
            recipe_summary(final),
            seconds=time.perf_counter() - args.start,
            trace=tuple(float(objective.sum()) for objective in objectives),
        )
        tracker.log(row, Path(args.out).read_bytes())


@command(
    "sheet",
    "compare layers and intensities on a contact sheet",
    PHOTO,
    option(
        "--layers", metavar="LIST", default="", help="layers to compare, as inception3b,inception4c"
    ),
    option("--intensities", metavar="LIST", default="", help="intensities to compare, as 3,5,8"),
    output("sheet.png"),
    recipe_options(DreamRecipe, skip=("layer", "intensity")),
)
def _draw_sheet(args: argparse.Namespace) -> None:
    from dream.files.contact_sheet import variations_sheet

    recipe = build_recipe(args, DreamRecipe)
    recipes = variations(recipe, parse_names(args.layers), parse_intensities(args.intensities))
    photo, engine = dream.load_image(args.photo), build_engine(args, recipe.model)
    dreams = _finished_images(render_with_progress(engine, recipes, photo))
    sheet = variations_sheet(recipes, [image for _, image, _ in dreams])
    _save_and_report(args, sheet, f"{len(recipes)} dreams, seed {recipe.seed}")


@command(
    "channel",
    "visualise channels of a layer",
    START_PHOTO,
    option(
        "--grid", metavar="N", type=parse_number, help="N channels of the layer on a contact sheet"
    ),
    option("--channels", metavar="LIST", help="channels for a contact sheet, as 3,7,12 or 0-15"),
    output(),
    recipe_options(ChannelRecipe),
)
def _draw_channel(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, ChannelRecipe)
    if args.grid is not None or args.channels is not None:
        _draw_channel_grid(args, recipe)
        return
    photo = dream.load_image(args.photo) if args.photo else None
    engine = build_engine(args, recipe.model)
    ((final, image, frame),) = _finished_images(render_with_progress(engine, [recipe], photo))
    label = f"channel {recipe.channel} of {recipe.layer}, seed {recipe.seed}"
    _save_and_report(args, image, label, final)
    _warn_silent_channels(recipe, frame.silent)


def _draw_channel_grid(args: argparse.Namespace, recipe: ChannelRecipe) -> None:
    from dream.files.contact_sheet import draw_contact_sheet

    if args.photo or (args.grid is not None and args.channels is not None):
        raise RecipeError("give only one of --grid, --channels and --image")
    if args.channels is not None:
        channels = parse_channels(args.channels, recipe.model, recipe.layer)
    else:
        channels = evenly_spaced_channels(args.grid, recipe.model, recipe.layer)
    recipes = [recipe.with_changes(channel=channel) for channel in channels]
    images: dict[int, Image.Image] = {}
    silent: dict[int, None] = {}
    engine = build_engine(args, recipe.model)
    for frame in render_with_progress(engine, recipes, use_cache=True):
        if frame.finished:
            images |= zip(frame.channels, frame.pictures(), strict=True)
            silent |= dict.fromkeys(frame.silent)
    _warn_silent_channels(recipe, tuple(silent))
    grid = draw_contact_sheet([(str(channel), images[channel]) for channel in channels])
    label = f"{len(channels)} channels of {recipe.layer}, seed {recipe.seed}"
    _save_and_report(args, grid, label)


@command(
    "top",
    "list the most active channels of a layer in a photo",
    PHOTO,
    *(
        knob_option(name, knobs(ChannelRecipe)[name], default=knobs(ChannelRecipe)[name].default)
        for name in ("model", "layer")
    ),
    option("--count", metavar="N", type=parse_number, default=8, help="Default: 8."),
    option(
        "--spot",
        metavar="SHARE",
        nargs=2,
        type=float,
        help="position in the photo as shares of width and height; 0.5 0.5 is the centre",
    ),
    WEIGHTS,
)
def _list_top_channels(args: argparse.Namespace) -> None:
    COUNT_KNOB.check("count", args.count)
    engine = build_engine(args, args.model)
    recipe = ChannelRecipe(model=args.model, layer=args.layer)
    photo = dream.load_image(args.photo)
    download_with_progress(engine.fetch(recipe.model))
    response = engine.response(photo, recipe.model, recipe.layer)
    for channel in response.top(args.count, args.spot):
        print(f"channel {channel.channel:5}   {channel.strength:8.2f}")


@command(
    "class",
    "make an image of an ImageNet class",
    option("target", metavar="CLASS", nargs="?", help="name, part of it, or number; see `classes`"),
    START_PHOTO,
    output(),
    recipe_options(ClassRecipe, skip=("target",)),
)
def _draw_class(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, ClassRecipe)
    if args.target is None and not args.recipe:
        raise RecipeError(f"give a class, as goldfish; {program_name()} classes lists them")
    photo = dream.load_image(args.photo) if args.photo else None
    from dream.tensors import to_tensor

    engine = build_engine(args, recipe.model)
    frames = render_with_progress(engine, [recipe], photo)
    first = next(frames)
    before = engine.verdict(first.tensor, recipe)
    ((final, image, _),) = _finished_images(itertools.chain([first], frames))
    _save_and_report(args, image, f"{recipe.target}, seed {recipe.seed}", final)
    after = engine.verdict(to_tensor(image), recipe)
    verdicts = f"{_format_verdict(before)} before, {_format_verdict(after)} after"
    print(f"{after.target}: {verdicts}; top classes of {recipe.model}:")
    for name, probability in after.seen:
        print(f"  {probability:6.1%}  {name}")


def _finished_images(frames: Iterator[Frame]) -> Iterator[tuple[Recipe, Image.Image, Frame]]:
    """Yield each finished image with its recipe and its progress frame."""
    for frame in frames:
        if frame.finished:
            for recipe, image in zip(frame.recipes, frame.pictures(), strict=True):
                yield recipe, image, frame


def _format_verdict(verdict: Verdict) -> str:
    rank = f"rank {verdict.rank}"
    return f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, {rank}"


def _save_and_report(
    args: argparse.Namespace, image: Image.Image, label: str, recipe: Recipe | None = None
) -> None:
    """Write an image, from a photo or not, and print its size and the seconds that it took."""
    from dream.files.image import save_image

    save_image(image, args.out, recipe, photo=bool(args.photo), quality=args.quality)
    print_report(args, f"{image.width} x {image.height}, {label}")


def _warn_silent_channels(recipe: ChannelRecipe, silent: Sequence[int]) -> None:
    if silent:
        from dream.render.channel import silent_channels_message

        print(silent_channels_message(recipe.layer, silent), file=sys.stderr)
