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

from dream.commands.options import (
    Command,
    changes_of,
    is_same_file,
    mlflow_option,
    number,
    recipe_of,
    recipe_options,
)
from dream.commands.told import Stopped, bar, fetching
from dream.errors import DreamError, PictureError, RecipeError, instead, printable, shown
from dream.files.embedded import with_pictures
from dream.many.cluster import Cluster
from dream.many.frames import frames_in, is_video
from dream.many.here import Here, devices
from dream.many.manifest import Manifest
from dream.many.place import Place
from dream.many.price import Price, batches, priced
from dream.many.sheets import write_sheets
from dream.many.tasks import Task, pictures, share, tasks
from dream.many.tracking import Tracker
from dream.paint.cost import in_words
from dream.recipe import DreamRecipe
from dream.recipe.knob import knobs
from dream.recipe.variations import sweep
from dream.tensors import Size

# More than that is made only if one insists.
MOST = 10_000
SIDE = 8192
ON_OFF = {"true": True, "false": False}

# Each picture to make, the (height, width) of its photo, and what it takes.
Sized = list[tuple[Task, Size | None, Price]]


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
    parser.add_argument("--yes", action="store_true", help=f"make more than {MOST} pictures, too")
    mlflow_option(parser)
    recipe_options(parser, DreamRecipe)


def _batch(given: argparse.Namespace) -> None:
    recipe = recipe_of(given, DreamRecipe)
    swept = dict(_swept(each) for each in given.sweep)
    ways = math.prod(map(len, swept.values()))
    _check_count(given, ways)
    recipes = sweep(recipe, swept, **changes_of(given, DreamRecipe))
    files, source, passed_over = _files(given, max(each.max_side or SIDE for each in recipes))
    _check_count(given, len(files) * ways)
    with ExitStack() as left:
        tracker = None
        if given.mlflow is not None:
            tracker = Tracker(given.mlflow, Path(given.place.rstrip("/")).name or "dreams")
        own = {recipe.model: given.weights} if given.weights else {}
        crew = _crew(given, own, max(each.max_side or 0 for each in recipes))
        left.callback(crew.close)
        of_all = tasks(files, recipes, crew.device, source)
        wanted = share(of_all, given.shard) if given.shard else of_all
        weights = {}
        for model in {each.recipe.model for each in wanted}:
            fetching(crew.engine.fetch(model))
            weights[model] = crew.engine.networks.weights_id(model)
        manifest = left.enter_context(closing(Manifest(Place(given.place), given.shard or "")))
        of_all = manifest.with_old_names(of_all)
        wanted = share(of_all, given.shard) if given.shard else of_all
        missing = []
        for place, each in enumerate(wanted, start=1):
            missing += [] if manifest.has(each, weights[each.recipe.model]) else [each]
            if manifest.rows:
                bar(place / len(wanted), "looking at what is there")
        sized = list(priced(crew.engine, crew.device, missing))
        _tell(sized, len(wanted) - len(missing), crew.workers, given.place)
        if passed_over:
            print(printable(f"passed over: {passed_over}"), flush=True)
        if sized and not _run(crew, manifest, tracker, sized) and len(sized) == len(wanted):
            raise PictureError("no picture could be dreamed; the manifest says why")
        for name in write_sheets(manifest.place, of_all, list(swept)) if given.sheet else []:
            print(printable(f"{name}: what the sweep made, side by side"))


def _crew(given: argparse.Namespace, files: dict[str, str], side: int) -> Here | Cluster:
    """Who paints pictures of that longest side."""
    return Here(files, devices(side)) if given.ray is None else Cluster(given.ray, files)


def _swept(text: str) -> tuple[str, list[Any]]:
    """A knob and the values it shall have, of "layer=a,b" or "layer=a:0.5,b; c"."""
    name, _, listed = text.partition("=")
    name = name.strip().replace("-", "_")
    about = knobs(DreamRecipe)
    if name not in about:
        raise RecipeError(f"--sweep: {shown(name)} is no knob; {instead(name, about)}")
    parts = [each.strip() for each in listed.split(";" if ";" in listed else ",")]
    if not any(parts):
        raise RecipeError(f"--sweep {name}= needs values, as {name}=A,B")
    kind = about[name].kind
    if kind is bool:
        return name, [ON_OFF.get(each, each) for each in parts]
    values = parts if kind is str else [number(each) for each in parts]
    return name, [with_pictures(DreamRecipe, {name: each})[name] for each in values]


def _check_count(given: argparse.Namespace, count: int) -> None:
    if count > MOST and not given.yes:
        raise RecipeError(f"these are {count} pictures, more than {MOST}; --yes makes them all")


def _files(given: argparse.Namespace, side: int) -> tuple[list[str], str, str]:
    """The pictures to be dreamed, the folder they are from, and what was passed over; frames of a
    video have at most so many pixels a side.
    """
    source = given.source
    listed: Iterable[str] = ()
    if source == "-":
        if not sys.stdin:
            raise PictureError("the list is read from stdin, which is closed; give a folder for IN")
        listed = map(os.fsdecode, sys.stdin.buffer)
    if is_video(source):
        source = frames_in(source, given.place, side)
    files, passed_over = pictures(source, listed, given.recursive, given.place)
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


def _tell(sized: Sized, there: int, workers: int, place: str) -> None:
    """The price: how many pictures, how long, how large."""
    about = f"{there} are there; " if there else ""
    if sized:
        seconds = sum(price.seconds for *_, price in sized) / workers
        megabytes = sum(price.bytes for *_, price in sized) / 1e6
        about += (
            f"{len(sized)} to make, {in_words(seconds)}, about {megabytes:.1f} MB, into {place}"
        )
    else:
        about += "nothing is left to make"
    print(printable(about), flush=True)


def _run(crew: Here | Cluster, manifest: Manifest, tracker: Tracker | None, sized: Sized) -> int:
    """Have the pictures made, each written down as it is done; how many were."""
    prices = {task.output: price.seconds for task, _, price in sized}
    start, done, failed, paid = time.perf_counter(), 0, 0, 0.0
    whole, told = sum(prices.values()), set[str]()
    given = batches((task, size) for task, size, _ in sized)
    try:
        with closing(crew.rows(given, manifest.place.where)) as made:
            for rows in made:
                for row in rows:
                    if row.error and row.error not in told:
                        print(printable(row.error), file=sys.stderr)
                        told.add(row.error)
                    if tracker:
                        picture = b"" if row.error else manifest.place.read(row.output)
                        tracker.log(row, picture)
                    manifest.add(row)
                    done, failed = done + 1, failed + bool(row.error)
                    paid += prices[row.output]
                    seconds = time.perf_counter() - start
                    left = in_words(seconds * (whole - paid) / paid) if paid else "some time"
                    bar(done / len(sized), f"{done} of {len(sized)}, {left} left")
    except (KeyboardInterrupt, DreamError) as error:
        print(f"{done - failed} were made and are kept; the same again goes on")
        if isinstance(error, DreamError):
            raise
        raise Stopped from error
    seconds = time.perf_counter() - start
    said = f", {failed} cannot be dreamed" if failed else ""
    print(printable(f"{manifest.place.where}: {done - failed} made{said}, {seconds:.1f} s"))
    return done - failed


COMMANDS: tuple[Command, ...] = (
    ("batch", "dream many pictures, in one way or several", _options, _batch),
)
