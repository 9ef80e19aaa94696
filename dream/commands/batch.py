"""The command `batch`, which dreams many images."""

from __future__ import annotations

import argparse
import io
import itertools
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dream.commands.options import (
    MLFLOW,
    build_recipe,
    command,
    file_option,
    is_same_file,
    knob_changes,
    knob_option,
    option,
    parse_number,
    recipe_options,
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
from dream.files.image_formats import (
    FORMAT_KNOB,
    IMAGE_FORMATS,
    QUALITY_KNOB,
    check_image_options,
)
from dream.recipe import DreamRecipe
from dream.recipe.knob import knobs
from dream.recipe.presets import sweep

if TYPE_CHECKING:
    from PIL import Image

    from dream.batch.destination import Destination
    from dream.batch.manifest import Manifest
    from dream.batch.mlflow_tracker import MlflowTracker
    from dream.batch.ray_cluster import RayCluster
    from dream.batch.tasks import CostEstimate, Task
    from dream.batch.worker import LocalWorkers
    from dream.tensors import Size

    # Tasks with the (height, width) of the photo and the cost.
    TaskEstimates = list[tuple[Task, Size | None, CostEstimate]]

# Larger runs need --yes.
MAX_UNCONFIRMED = 10_000
MAX_FRAME_SIDE = 8192
# Longest side, in pixels, of an image on a contact sheet.
THUMBNAIL_SIDE = 320
BOOLEANS = {"true": True, "false": False}


@command(
    "batch",
    "dream many images with one or several recipes",
    file_option(
        "source", metavar="IN", help="folder of images, video, or - for a list of files on stdin"
    ),
    file_option("dest", metavar="OUT", help="folder, or URL such as s3://bucket/dreams"),
    knob_option("format", FORMAT_KNOB, default=FORMAT_KNOB.default),
    knob_option("quality", QUALITY_KNOB, default=None),
    option("--recursive", action="store_true", help="include images in subfolders"),
    option(
        "--sweep",
        metavar="KNOB=A,B",
        action="append",
        default=[],
        help="values to try for a knob, separated by commas or semicolons; may be repeated",
    ),
    option(
        "--sheet", action="store_true", help="write a contact sheet of the sweep for each photo"
    ),
    option("--shard", metavar="I/N", default="", help="render only the I-th of N shards"),
    option(
        "--ray", metavar="ADDRESS", nargs="?", const="", help="run on a Ray cluster, or start one"
    ),
    option("--yes", action="store_true", help=f"allow more than {MAX_UNCONFIRMED} images"),
    MLFLOW,
    recipe_options(DreamRecipe),
)
def _dream_batch(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, DreamRecipe)
    swept_values = dict(_parse_sweep(each) for each in args.sweep)
    combinations = math.prod(map(len, swept_values.values()))
    _check_count(args, combinations)
    recipes = sweep(recipe, swept_values, **knob_changes(args, DreamRecipe))
    from dream.batch.destination import Destination
    from dream.batch.manifest import Manifest
    from dream.batch.tasks import estimate_costs, make_tasks, select_shard

    ending = _image_ending(args, recipes)
    files, source, skipped = _input_files(
        args, max(each.max_side or MAX_FRAME_SIDE for each in recipes)
    )
    _check_count(args, len(files) * combinations)
    with ExitStack() as stack:
        tracker = None
        if args.mlflow is not None:
            from dream.batch.mlflow_tracker import MlflowTracker

            tracker = MlflowTracker(args.mlflow, Path(args.dest.rstrip("/")).name or "dreams")
        side = max(each.max_side or 0 for each in recipes)
        workers = _start_workers(args, recipe.model, side, stack)
        all_tasks = make_tasks(files, recipes, workers.device, source, ending, args.quality)
        weights_ids = _fetch_weights(workers, select_shard(all_tasks, args.shard))
        manifest = stack.enter_context(closing(Manifest(Destination(args.dest), args.shard)))
        all_tasks = manifest.with_old_names(all_tasks)  # A shard stays the same under other names.
        tasks = select_shard(all_tasks, args.shard)
        missing = _missing_tasks(manifest, tasks, weights_ids)
        estimates = list(estimate_costs(workers.engine, workers.device, missing))
        _print_estimate(estimates, len(tasks) - len(missing), workers.worker_count, args.dest)
        if skipped:
            print(to_printable_line(f"skipped: {skipped}"), flush=True)
        rendered = _run_batch(workers, manifest, tracker, estimates) if estimates else 0
        if estimates and not rendered and len(estimates) == len(tasks):
            raise PictureError("no image could be dreamed; the manifest has the errors")
        if args.sheet:
            _write_sheets(manifest.destination, all_tasks, list(swept_values))


def _start_workers(
    args: argparse.Namespace, model: str, side: int, stack: ExitStack
) -> LocalWorkers | RayCluster:
    """Return workers for images of this longest side, here or on the cluster of --ray."""
    user_weights = {model: args.weights} if args.weights else {}
    if args.ray is not None:
        from dream.batch.ray_cluster import RayCluster

        cluster = RayCluster(args.ray, user_weights)
        stack.callback(cluster.close)
        return cluster
    from dream.batch.worker import LocalWorkers, local_devices
    from dream.networks.device import use_deterministic_cudnn

    use_deterministic_cudnn()
    return LocalWorkers(user_weights, local_devices(side))


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
    knob = recipe_knobs[name]
    values = parts if knob.value_type is str else [parse_number(part) for part in parts]
    if knob.was_bool:
        values = [BOOLEANS.get(part, value) for part, value in zip(parts, values, strict=True)]
    if not knob.is_image:
        return name, values
    from dream.files.embedded_images import embed_files

    return name, [embed_files(DreamRecipe, {name: value})[name] for value in values]


def _image_ending(args: argparse.Namespace, recipes: Sequence[DreamRecipe]) -> str:
    """Return the ending of image names by --format; check that it fits --quality and recipes."""
    ending = f".{FORMAT_KNOB.check('format', args.format)}"
    check_image_options(f"dream{ending}", recipes, args.quality)
    return ending


def _check_count(args: argparse.Namespace, count: int) -> None:
    if count > MAX_UNCONFIRMED and not args.yes:
        raise RecipeError(
            f"this would make {count} images, more than {MAX_UNCONFIRMED}; add --yes to allow it"
        )


def _input_files(args: argparse.Namespace, side: int) -> tuple[list[str], str, str]:
    """Return the images, their folder or "", and a description of skipped files.

    The frames of a video are extracted first, with at most `side` pixels a side.
    """
    from dream.batch.inputs import extract_frames, is_video_file, list_images

    source = args.source
    if os.path.isfile(args.dest):
        raise PictureError(f"{args.dest} is a file; give a folder for OUT")
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


def _fetch_weights(workers: LocalWorkers | RayCluster, tasks: Sequence[Task]) -> dict[str, str]:
    """Download the weights that tasks need, and return their identifiers by model."""
    weights_ids = {}
    for model in {task.recipe.model for task in tasks}:
        download_with_progress(workers.engine.fetch(model))
        weights_ids[model] = workers.engine.networks.weights_id(model)
    return weights_ids


def _missing_tasks(
    manifest: Manifest, tasks: Sequence[Task], weights_ids: dict[str, str]
) -> list[Task]:
    """Return the tasks whose images do not exist."""
    missing = []
    for number, task in enumerate(tasks, start=1):
        missing += [] if manifest.is_done(task, weights_ids[task.recipe.model]) else [task]
        if manifest.rows:
            show_progress_bar(number / len(tasks), "checking existing images")
    return missing


def _print_estimate(
    estimates: TaskEstimates, existing: int, workers: int, destination: str
) -> None:
    """Print how many images exist, and how many are to do, with their time and size."""
    from dream.render.cost import format_duration

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
    from dream.batch.tasks import group_batches
    from dream.render.cost import format_duration

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


def _write_sheets(
    destination: Destination, tasks: Sequence[Task], swept_knobs: Sequence[str]
) -> None:
    """Write a labelled contact sheet for each photo with two or more images; print its name."""
    from dream.batch.tasks import unique_names
    from dream.files.contact_sheet import draw_contact_sheet

    existing = destination.list_files()
    tasks_by_photo: dict[str, list[Task]] = {}
    for task in tasks:
        tasks_by_photo.setdefault(task.input, []).extend([task] if task.output in existing else [])
    for photo, stem in unique_names(tasks_by_photo).items():
        if len(tasks_by_photo[photo]) < 2:
            continue
        labelled = []
        for task in tasks_by_photo[photo]:
            label = ", ".join(f"{name} {getattr(task.recipe, name)}"[:40] for name in swept_knobs)
            labelled.append((label, _load_thumbnail(destination, task.output)))
        destination.save_image(f"sheet-{stem}.png", draw_contact_sheet(labelled))
        print(to_printable_line(f"sheet-{stem}.png: contact sheet of the sweep"))


def _load_thumbnail(destination: Destination, name: str) -> Image.Image:
    from PIL import Image

    formats = [*IMAGE_FORMATS.values()]
    with Image.open(io.BytesIO(destination.read(name)), formats=formats) as image:
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return image.convert("RGB")
