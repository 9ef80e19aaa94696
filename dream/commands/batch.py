"""The command that makes many pictures."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from dream.batch.destination import Destination
from dream.batch.estimate import CostEstimate, estimate_costs, group_batches
from dream.batch.local_workers import LocalWorkers, local_devices
from dream.batch.manifest import Manifest
from dream.batch.mlflow_tracker import MlflowTracker
from dream.batch.ray_cluster import RayCluster
from dream.batch.sweep_sheets import write_sheets
from dream.batch.tasks import Task, list_images, make_tasks, select_shard
from dream.batch.video_frames import extract_frames, is_video_file
from dream.commands.options import (
    Command,
    add_mlflow_option,
    add_recipe_options,
    build_recipe,
    is_same_file,
    knob_changes,
    parse_number,
)
from dream.commands.progress import CommandInterruptedError, download_with_progress, show_progress_bar
from dream.errors import (
    DreamError,
    PictureError,
    RecipeError,
    describe_value,
    suggest_names,
    to_printable_line,
)
from dream.files.embedded_images import embed_files
from dream.recipe import DreamRecipe
from dream.recipe.knob import knobs
from dream.recipe.variations import sweep
from dream.render.cost import format_duration
from dream.tensors import Size

# More than that is made only if one insists.
MAX_UNCONFIRMED = 10_000
MAX_FRAME_SIDE = 8192
BOOLEANS = {"true": True, "false": False}

# Each picture to make, the (height, width) of its photo, and what it takes.
TaskEstimates = list[tuple[Task, Size | None, CostEstimate]]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="IN", help="a folder of pictures, a video, or - for a list on stdin"
    )
    parser.add_argument("place", metavar="OUT", help="a folder, or a URL as s3://bucket/dreams")
    parser.add_argument(
        "--recursive", action="store_true", help="and the pictures in the folders of the folder"
    )
    parser.add_argument(
        "--sweep",
        metavar="KNOB=A,B",
        action="append",
        default=[],
        help="each of these values of a knob, parted by commas or by semicolons; once or more",
    )
    parser.add_argument(
        "--sheet", action="store_true", help="and what the sweep made of each, side by side"
    )
    parser.add_argument("--shard", metavar="I/N", help="the share of the I-th of N machines")
    parser.add_argument(
        "--ray", metavar="ADDRESS", nargs="?", const="", help="on a Ray cluster, or one made here"
    )
    parser.add_argument(
        "--yes", action="store_true", help=f"make more than {MAX_UNCONFIRMED} pictures, too"
    )
    add_mlflow_option(parser)
    add_recipe_options(parser, DreamRecipe)


def _batch(given: argparse.Namespace) -> None:
    recipe = build_recipe(given, DreamRecipe)
    swept = dict(_parse_sweep(each) for each in given.sweep)
    ways = math.prod(map(len, swept.values()))
    _check_count(given, ways)
    recipes = sweep(recipe, swept, **knob_changes(given, DreamRecipe))
    files, source, passed_over = _input_files(
        given, max(each.max_side or MAX_FRAME_SIDE for each in recipes)
    )
    _check_count(given, len(files) * ways)
    with ExitStack() as left:
        tracker = None
        if given.mlflow is not None:
            tracker = MlflowTracker(given.mlflow, Path(given.place.rstrip("/")).name or "dreams")
        own = {recipe.model: given.weights} if given.weights else {}
        crew = _make_workers(given, own, max(each.max_side or 0 for each in recipes))
        left.callback(crew.close)
        of_all = make_tasks(files, recipes, crew.device, source)
        wanted = select_shard(of_all, given.shard) if given.shard else of_all
        weights = {}
        for model in {each.recipe.model for each in wanted}:
            download_with_progress(crew.engine.fetch(model))
            weights[model] = crew.engine.networks.weights_id(model)
        manifest = left.enter_context(
            closing(Manifest(Destination(given.place), given.shard or ""))
        )
        of_all = manifest.with_old_names(of_all)
        wanted = select_shard(of_all, given.shard) if given.shard else of_all
        missing = []
        for place, each in enumerate(wanted, start=1):
            missing += [] if manifest.is_done(each, weights[each.recipe.model]) else [each]
            if manifest.rows:
                show_progress_bar(place / len(wanted), "looking at what is there")
        sized = list(estimate_costs(crew.engine, crew.device, missing))
        _print_estimate(sized, len(wanted) - len(missing), crew.workers, given.place)
        if passed_over:
            print(to_printable_line(f"passed over: {passed_over}"), flush=True)
        if sized and not _run_batch(crew, manifest, tracker, sized) and len(sized) == len(wanted):
            raise PictureError("no picture could be dreamed; the manifest says why")
        for name in write_sheets(manifest.destination, of_all, list(swept)) if given.sheet else []:
            print(to_printable_line(f"{name}: what the sweep made, side by side"))


def _make_workers(
    given: argparse.Namespace, files: dict[str, str], side: int
) -> LocalWorkers | RayCluster:
    """Who paints pictures of that longest side."""
    return (
        LocalWorkers(files, local_devices(side))
        if given.ray is None
        else RayCluster(given.ray, files)
    )


def _parse_sweep(text: str) -> tuple[str, list[Any]]:
    """A knob and the values it shall have, of "layer=a,b" or "layer=a:0.5,b; c"."""
    name, _, listed = text.partition("=")
    name = name.strip().replace("-", "_")
    about = knobs(DreamRecipe)
    if name not in about:
        raise RecipeError(
            f"--sweep: {describe_value(name)} is no knob; {suggest_names(name, about)}"
        )
    parts = [each.strip() for each in listed.split(";" if ";" in listed else ",")]
    if not any(parts):
        raise RecipeError(f"--sweep {name}= needs values, as {name}=A,B")
    kind = about[name].value_type
    if kind is bool:
        return name, [BOOLEANS.get(each, each) for each in parts]
    values = parts if kind is str else [parse_number(each) for each in parts]
    return name, [embed_files(DreamRecipe, {name: each})[name] for each in values]


def _check_count(given: argparse.Namespace, count: int) -> None:
    if count > MAX_UNCONFIRMED and not given.yes:
        raise RecipeError(
            f"these are {count} pictures, more than {MAX_UNCONFIRMED}; --yes makes them all"
        )


def _input_files(given: argparse.Namespace, side: int) -> tuple[list[str], str, str]:
    """The pictures to be dreamed, the folder they are from, and what was passed over; frames of a
    video have at most so many pixels a side.
    """
    source = given.source
    listed: Iterable[str] = ()
    if source == "-":
        if not sys.stdin:
            raise PictureError("the list is read from stdin, which is closed; give a folder for IN")
        listed = map(os.fsdecode, sys.stdin.buffer)
    if is_video_file(source):
        source = extract_frames(source, given.place, side)
    files, passed_over = list_images(source, listed, given.recursive, given.place)
    folders = {os.path.dirname(path) for each in files for path in (each, os.path.realpath(each))}
    out = Path(os.path.realpath(given.place))
    is_within = given.recursive and out.is_relative_to(os.path.realpath(source))
    if any(
        is_same_file(each, given.place)
        or (is_within and Path(os.path.realpath(each)).is_relative_to(out))
        for each in folders
    ):
        raise PictureError(f"{given.place} is where the pictures are; give another folder for OUT")
    return files, source if os.path.isdir(source) else "", passed_over


def _print_estimate(sized: TaskEstimates, there: int, workers: int, place: str) -> None:
    """The price: how many pictures, how long, how large."""
    about = f"{there} are there; " if there else ""
    if sized:
        seconds = sum(price.seconds for *_, price in sized) / workers
        megabytes = sum(price.bytes for *_, price in sized) / 1e6
        about += f"{len(sized)} to make, {format_duration(seconds)}, about {megabytes:.1f} MB, into {place}"
    else:
        about += "nothing is left to make"
    print(to_printable_line(about), flush=True)


def _run_batch(
    crew: LocalWorkers | RayCluster,
    manifest: Manifest,
    tracker: MlflowTracker | None,
    sized: TaskEstimates,
) -> int:
    """Have the pictures made, each written down as it is done; how many were."""
    prices = {task.output: price.seconds for task, _, price in sized}
    start, done, failed, paid = time.perf_counter(), 0, 0, 0.0
    whole, told = sum(prices.values()), set[str]()
    given = group_batches((task, size) for task, size, _ in sized)
    try:
        with closing(crew.run_batches(given, manifest.destination.url)) as made:
            for rows in made:
                for row in rows:
                    if row.error and row.error not in told:
                        print(to_printable_line(row.error), file=sys.stderr)
                        told.add(row.error)
                    if tracker:
                        picture = b"" if row.error else manifest.destination.read(row.output)
                        tracker.log(row, picture)
                    manifest.add(row)
                    done, failed = done + 1, failed + bool(row.error)
                    paid += prices[row.output]
                    seconds = time.perf_counter() - start
                    left = format_duration(seconds * (whole - paid) / paid) if paid else "some time"
                    show_progress_bar(done / len(sized), f"{done} of {len(sized)}, {left} left")
    except (KeyboardInterrupt, DreamError) as error:
        print(f"{done - failed} were made and are kept; the same again goes on")
        if isinstance(error, DreamError):
            raise
        raise CommandInterruptedError from error
    seconds = time.perf_counter() - start
    said = f", {failed} cannot be dreamed" if failed else ""
    print(
        to_printable_line(
            f"{manifest.destination.url}: {done - failed} made{said}, {seconds:.1f} s"
        )
    )
    return done - failed


COMMANDS: tuple[Command, ...] = (
    ("batch", "dream many pictures, in one way or several", _options, _batch),
)
