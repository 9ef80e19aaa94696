"""The command `batch`, which dreams many images."""

from __future__ import annotations

import argparse
import itertools
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
from dream.commands.progress import (
    CommandInterruptedError,
    download_with_progress,
    show_progress_bar,
)
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
from dream.recipe.presets import sweep
from dream.render.cost import format_duration
from dream.tensors import Size

# Larger runs need --yes.
MAX_UNCONFIRMED = 10_000
MAX_FRAME_SIDE = 8192
BOOLEANS = {"true": True, "false": False}

# Tasks with the (height, width) of the photo and the cost.
TaskEstimates = list[tuple[Task, Size | None, CostEstimate]]


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="IN", help="folder of images, video, or - for a list of files on stdin"
    )
    parser.add_argument("dest", metavar="OUT", help="folder, or URL such as s3://bucket/dreams")
    parser.add_argument("--recursive", action="store_true", help="include images in subfolders")
    parser.add_argument(
        "--sweep",
        metavar="KNOB=A,B",
        action="append",
        default=[],
        help="values to try for a knob, separated by commas or semicolons; may be repeated",
    )
    parser.add_argument(
        "--sheet", action="store_true", help="write a contact sheet of the sweep for each photo"
    )
    parser.add_argument("--shard", metavar="I/N", help="render only the I-th of N shards")
    parser.add_argument(
        "--ray", metavar="ADDRESS", nargs="?", const="", help="run on a Ray cluster, or start one"
    )
    parser.add_argument(
        "--yes", action="store_true", help=f"allow more than {MAX_UNCONFIRMED} images"
    )
    add_mlflow_option(parser)
    add_recipe_options(parser, DreamRecipe)


def _run_command(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, DreamRecipe)
    swept_values = dict(_parse_sweep(each) for each in args.sweep)
    combinations = math.prod(map(len, swept_values.values()))
    _check_count(args, combinations)
    recipes = sweep(recipe, swept_values, **knob_changes(args, DreamRecipe))
    files, source, skipped = _input_files(
        args, max(each.max_side or MAX_FRAME_SIDE for each in recipes)
    )
    _check_count(args, len(files) * combinations)
    with ExitStack() as stack:
        tracker = None
        if args.mlflow is not None:
            tracker = MlflowTracker(args.mlflow, Path(args.dest.rstrip("/")).name or "dreams")
        user_weights = {recipe.model: args.weights} if args.weights else {}
        workers = _make_workers(args, user_weights, max(each.max_side or 0 for each in recipes))
        stack.callback(workers.close)
        all_tasks = make_tasks(files, recipes, workers.device, source)
        tasks = select_shard(all_tasks, args.shard) if args.shard else all_tasks
        weights_ids = {}
        for model in {task.recipe.model for task in tasks}:
            download_with_progress(workers.engine.fetch(model))
            weights_ids[model] = workers.engine.networks.weights_id(model)
        manifest = stack.enter_context(closing(Manifest(Destination(args.dest), args.shard or "")))
        all_tasks = manifest.with_old_names(all_tasks)  # A shard stays the same under other names.
        tasks = select_shard(all_tasks, args.shard) if args.shard else all_tasks
        missing = []
        for number, task in enumerate(tasks, start=1):
            missing += [] if manifest.is_done(task, weights_ids[task.recipe.model]) else [task]
            if manifest.rows:
                show_progress_bar(number / len(tasks), "checking existing images")
        estimates = list(estimate_costs(workers.engine, workers.device, missing))
        _print_estimate(estimates, len(tasks) - len(missing), workers.worker_count, args.dest)
        if skipped:
            print(to_printable_line(f"skipped: {skipped}"), flush=True)
        rendered = _run_batch(workers, manifest, tracker, estimates) if estimates else 0
        if estimates and not rendered and len(estimates) == len(tasks):
            raise PictureError("no image could be dreamed; the manifest has the errors")
        if args.sheet:
            for name in write_sheets(manifest.destination, all_tasks, list(swept_values)):
                print(to_printable_line(f"{name}: contact sheet of the sweep"))


def _make_workers(
    args: argparse.Namespace, weights_files: dict[str, str], side: int
) -> LocalWorkers | RayCluster:
    """Return workers for images of this longest side; `files` are the user's weights."""
    if args.ray is None:
        return LocalWorkers(weights_files, local_devices(side))
    return RayCluster(args.ray, weights_files)


def _parse_sweep(text: str) -> tuple[str, list[Any]]:
    """Return the knob and the values in "layer=a,b" or "layer=a:0.5,b; c"."""
    name, _, listed = text.partition("=")
    name = name.strip().replace("-", "_")
    recipe_knobs = knobs(DreamRecipe)
    if name not in recipe_knobs:
        raise RecipeError(
            f"--sweep: there is no knob {describe_value(name)}; {suggest_names(name, recipe_knobs)}"
        )
    parts = [part.strip() for part in listed.split(";" if ";" in listed else ",")]
    if not any(parts):
        raise RecipeError(f"--sweep {name}= needs values, as {name}=A,B")
    value_type = recipe_knobs[name].value_type
    if value_type is bool:
        return name, [BOOLEANS.get(part, part) for part in parts]
    values = parts if value_type is str else [parse_number(part) for part in parts]
    return name, [embed_files(DreamRecipe, {name: value})[name] for value in values]


def _check_count(args: argparse.Namespace, count: int) -> None:
    if count > MAX_UNCONFIRMED and not args.yes:
        raise RecipeError(
            f"this would make {count} images, more than {MAX_UNCONFIRMED}; add --yes to allow it"
        )


def _input_files(args: argparse.Namespace, side: int) -> tuple[list[str], str, str]:
    """Return the images, their folder or "", and a description of skipped files.

    The frames of a video are extracted first, with at most `side` pixels a side.
    """
    source = args.source
    listed: Iterable[str] = ()
    if source == "-":
        if not sys.stdin:
            raise PictureError("the list is read from stdin, which is closed; give a folder for IN")
        listed = map(os.fsdecode, sys.stdin.buffer)
    if is_video_file(source):
        source = extract_frames(source, args.dest, side)
    files, skipped = list_images(source, listed, args.recursive, args.dest)
    folders = {os.path.dirname(path) for each in files for path in (each, os.path.realpath(each))}
    out = Path(os.path.realpath(args.dest))
    is_within = args.recursive and out.is_relative_to(os.path.realpath(source))
    if any(
        is_same_file(each, args.dest)
        or (is_within and Path(os.path.realpath(each)).is_relative_to(out))
        for each in folders
    ):
        raise PictureError(f"{args.dest} has the input images; give another folder for OUT")
    return files, source if os.path.isdir(source) else "", skipped


def _print_estimate(
    estimates: TaskEstimates, existing: int, workers: int, destination: str
) -> None:
    """Print how many images exist, and how many are to do, with their time and size."""
    line = f"{existing} exist already; " if existing else ""
    if estimates:
        seconds = sum(cost.seconds for *_, cost in estimates) / workers
        megabytes = sum(cost.file_bytes for *_, cost in estimates) / 1e6
        line += f"{len(estimates)} to do, {format_duration(seconds)}, about {megabytes:.1f} MB, "
        line += f"into {destination}"
    else:
        line += "nothing left to do"
    print(to_printable_line(line), flush=True)


def _run_batch(
    workers: LocalWorkers | RayCluster,
    manifest: Manifest,
    tracker: MlflowTracker | None,
    estimates: TaskEstimates,
) -> int:
    """Render the images, write a manifest row for each, and return how many succeeded."""
    costs = {task.output: cost.seconds for task, _, cost in estimates}
    start, done, failed, done_cost = time.perf_counter(), 0, 0, 0.0
    total_cost, printed_errors = sum(costs.values()), set[str]()
    batches = group_batches((task, size) for task, size, _ in estimates)
    try:
        with closing(workers.run_batches(batches, manifest.destination.url)) as row_batches:
            for row in itertools.chain.from_iterable(row_batches):
                if row.error and row.error not in printed_errors:
                    print(to_printable_line(row.error), file=sys.stderr)
                    printed_errors.add(row.error)
                if tracker:
                    tracker.log(row, b"" if row.error else manifest.destination.read(row.output))
                manifest.add(row)
                done, failed = done + 1, failed + bool(row.error)
                done_cost += costs[row.output]
                seconds = time.perf_counter() - start
                left = "some time"
                if done_cost:
                    left = format_duration(seconds * (total_cost - done_cost) / done_cost)
                show_progress_bar(done / len(estimates), f"{done} of {len(estimates)}, {left} left")
    except (KeyboardInterrupt, DreamError) as error:
        print(f"{done - failed} images were saved; run the same command again to resume")
        if isinstance(error, DreamError):
            raise
        raise CommandInterruptedError from error
    seconds = time.perf_counter() - start
    failures = f", {failed} cannot be dreamed" if failed else ""
    line = f"{manifest.destination.url}: {done - failed} made{failures}, {seconds:.1f} s"
    print(to_printable_line(line))
    return done - failed


COMMANDS: tuple[Command, ...] = (
    ("batch", "dream many images with one or several recipes", _add_options, _run_command),
)
