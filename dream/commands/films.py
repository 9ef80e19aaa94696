"""Commands that make videos."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from dream.commands.options import (
    Command,
    engine_of,
    metavar,
    number,
    out_option,
    photo_option,
    recipe_of,
    recipe_options,
)
from dream.commands.told import Stopped, bar, fetching, painted
from dream.engine import Engine
from dream.errors import DreamError, PictureError, printable
from dream.files.film import FORMATS, Film, digest
from dream.files.picture import load_image
from dream.files.video import load_video
from dream.paint.frames import to_tensors
from dream.paint.making import FPS, SECONDS, Making, formed, making_size
from dream.paint.reel import Reel, filmed, video_reel, zoom_reel
from dream.recipe import DreamRecipe, VideoRecipe, ZoomRecipe
from dream.tensors import size_of


def _zoom_options(parser: argparse.ArgumentParser) -> None:
    photo_option(parser)
    out_option(parser, endings=[*FORMATS])
    recipe_options(parser, ZoomRecipe)


def _zoom(given: argparse.Namespace) -> None:
    recipe = recipe_of(given, ZoomRecipe)
    photo = load_image(given.photo)
    engine = engine_of(given, recipe.model)
    (job,) = engine.plan([recipe], size_of(photo))
    _film(given, engine, zoom_reel(job, photo), given.photo)


def _video_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="IN", help="a video: MP4, MOV, WebM or GIF")
    out_option(parser, endings=[*FORMATS])
    recipe_options(parser, VideoRecipe)


def _video(given: argparse.Namespace) -> None:
    recipe = recipe_of(given, VideoRecipe)
    video = load_video(given.video)
    engine = engine_of(given, recipe.model)
    (job,) = engine.plan([recipe], video.size)
    _film(given, engine, video_reel(job, video), given.video)


def _film(given: argparse.Namespace, engine: Engine, reel: Reel, source: str) -> None:
    """Make a video, or go on with one that was broken off; what is there is kept in any case."""
    (recipe,) = reel.job.recipes
    fetching(engine.fetch(recipe.model))
    about = {"source": digest(source), "weights": engine.networks.weights_id(recipe.model)}
    film = Film(given.out, recipe, reel.size, reel.rate, reel.time_base, about)
    start = time.perf_counter()
    shots = filmed(reel, lambda job, given: engine.paint([job], to_tensors(given)), film)
    done = film.done
    try:
        for shot in shots:
            done = shot.done
            bar(shot.done / shot.total, f"frame {shot.done} of {shot.total}")
    except (KeyboardInterrupt, DreamError) as error:
        shots.close()
        there, frames = Path(given.out), done
        try:
            is_there = film.finish(reel.video)
        except PictureError:  # A full disk, which the parts are on all the same.
            there, frames, is_there = film.folder, film.done, film.done > 0
        if is_there:
            _say_remark(film)
            lasts = float(reel.times[frames])
            print(f"{there} has what there is, {lasts:.1f} seconds; the same again goes on")
        if isinstance(error, DreamError):
            raise
        raise Stopped from error
    film.finish(reel.video)
    film.drop()
    _say(given, film, reel.frames, start)


def _making_options(parser: argparse.ArgumentParser) -> None:
    photo_option(parser)
    for name, knob in (("--seconds", SECONDS), ("--fps", FPS)):
        parser.add_argument(
            name,
            type=number,
            default=knob.default,
            metavar=metavar(knob),
            help=f"{knob.help} Default: {knob.usual}.",
        )
    parser.add_argument("--loop", action="store_true", help="and back to the photo, to be repeated")
    out_option(parser, endings=[*FORMATS])
    recipe_options(parser, DreamRecipe)


def _making(given: argparse.Namespace) -> None:
    recipe, making = recipe_of(given, DreamRecipe), Making(given.seconds, given.fps, given.loop)
    photo = load_image(given.photo)
    engine = engine_of(given, recipe.model)
    start = time.perf_counter()
    (job,) = engine.plan([recipe], size_of(photo))
    size = making_size(job.stages[-1].size)
    film = Film(given.out, job.recipes[0], size, making.rate, 1 / making.rate)
    try:
        for _ in formed(painted(engine, [recipe], photo), making, film):
            pass
        film.finish()
    finally:
        film.drop()
    _say(given, film, len(making.order), start)


def _say(given: argparse.Namespace, film: Film, frames: int, start: float) -> None:
    _say_remark(film)
    height, width = film.size
    seconds = time.perf_counter() - start
    print(printable(f"{given.out}: {width} x {height}, {frames} frames, {seconds:.1f} s"))


def _say_remark(film: Film) -> None:
    if film.remark:
        print(printable(film.remark), file=sys.stderr)


COMMANDS: tuple[Command, ...] = (
    ("zoom", "zoom into a photo that dreams, without end", _zoom_options, _zoom),
    ("video", "dream a video", _video_options, _video),
    ("making-of", "show how a dream comes about, as a video", _making_options, _making),
)
