"""Commands that make videos."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from dream.commands.options import (
    Command,
    add_output_option,
    add_photo_option,
    add_recipe_options,
    build_engine,
    build_recipe,
    knob_metavar,
    parse_number,
)
from dream.commands.progress import (
    CommandInterruptedError,
    download_with_progress,
    render_with_progress,
    show_progress_bar,
)
from dream.engine import Engine
from dream.errors import DreamError, PictureError, to_printable_line
from dream.files.image import load_image
from dream.files.video_reader import read_video_info
from dream.files.video_writer import OUTPUT_FORMATS, VideoWriter, file_sha256
from dream.recipe import DreamRecipe, VideoRecipe, ZoomRecipe
from dream.render.loop import to_batch
from dream.render.making_of import (
    FPS_KNOB,
    SECONDS_KNOB,
    MakingOf,
    making_of_size,
    record_making_of,
)
from dream.render.video_job import VideoJob, dream_video_job, render_video, zoom_video_job
from dream.tensors import size_of


def _zoom_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    add_output_option(parser, endings=[*OUTPUT_FORMATS])
    add_recipe_options(parser, ZoomRecipe)


def _zoom(given: argparse.Namespace) -> None:
    recipe = build_recipe(given, ZoomRecipe)
    photo = load_image(given.photo)
    engine = build_engine(given, recipe.model)
    (job,) = engine.plan([recipe], size_of(photo))
    _render_video(given, engine, zoom_video_job(job, photo), given.photo)


def _video_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="IN", help="a video: MP4, MOV, WebM or GIF")
    add_output_option(parser, endings=[*OUTPUT_FORMATS])
    add_recipe_options(parser, VideoRecipe)


def _video(given: argparse.Namespace) -> None:
    recipe = build_recipe(given, VideoRecipe)
    video = read_video_info(given.video)
    engine = build_engine(given, recipe.model)
    (job,) = engine.plan([recipe], video.size)
    _render_video(given, engine, dream_video_job(job, video), given.video)


def _render_video(given: argparse.Namespace, engine: Engine, reel: VideoJob, source: str) -> None:
    """Make a video, or go on with one that was broken off; what is there is kept in any case."""
    (recipe,) = reel.job.recipes
    download_with_progress(engine.fetch(recipe.model))
    about = {"source": file_sha256(source), "weights": engine.networks.weights_id(recipe.model)}
    film = VideoWriter(given.out, recipe, reel.size, reel.frame_rate, reel.time_base, about)
    start = time.perf_counter()
    shots = render_video(reel, lambda job, given: engine.render([job], to_batch(given)), film)
    done = film.frames_done
    try:
        for shot in shots:
            done = shot.frames_done
            show_progress_bar(
                shot.frames_done / shot.frames_total,
                f"frame {shot.frames_done} of {shot.frames_total}",
            )
    except (KeyboardInterrupt, DreamError) as error:
        shots.close()
        there, frames = Path(given.out), done
        try:
            is_there = film.finish(reel.video)
        except PictureError:  # A full disk, which the parts are on all the same.
            there, frames, is_there = film.folder, film.frames_done, film.frames_done > 0
        if is_there:
            _say_remark(film)
            lasts = float(reel.times[frames])
            print(f"{there} has what there is, {lasts:.1f} seconds; the same again goes on")
        if isinstance(error, DreamError):
            raise
        raise CommandInterruptedError from error
    film.finish(reel.video)
    film.discard_parts()
    _report(given, film, reel.frame_count, start)


def _making_of_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    for name, knob in (("--seconds", SECONDS_KNOB), ("--fps", FPS_KNOB)):
        parser.add_argument(
            name,
            type=parse_number,
            default=knob.default,
            metavar=knob_metavar(knob),
            help=f"{knob.help} Default: {knob.default_text}.",
        )
    parser.add_argument("--loop", action="store_true", help="and back to the photo, to be repeated")
    add_output_option(parser, endings=[*OUTPUT_FORMATS])
    add_recipe_options(parser, DreamRecipe)


def _making_of(given: argparse.Namespace) -> None:
    recipe, making = (
        build_recipe(given, DreamRecipe),
        MakingOf(given.seconds, given.fps, given.loop),
    )
    photo = load_image(given.photo)
    engine = build_engine(given, recipe.model)
    start = time.perf_counter()
    (job,) = engine.plan([recipe], size_of(photo))
    size = making_of_size(job.stages[-1].size)
    film = VideoWriter(given.out, job.recipes[0], size, making.frame_rate, 1 / making.frame_rate)
    try:
        for _ in record_making_of(render_with_progress(engine, [recipe], photo), making, film):
            pass
        film.finish()
    finally:
        film.discard_parts()
    _report(given, film, len(making.frame_order), start)


def _report(given: argparse.Namespace, film: VideoWriter, frames: int, start: float) -> None:
    _say_remark(film)
    height, width = film.size
    seconds = time.perf_counter() - start
    print(to_printable_line(f"{given.out}: {width} x {height}, {frames} frames, {seconds:.1f} s"))


def _say_remark(film: VideoWriter) -> None:
    if film.remark:
        print(to_printable_line(film.remark), file=sys.stderr)


COMMANDS: tuple[Command, ...] = (
    ("zoom", "zoom into a photo that dreams, without end", _zoom_options, _zoom),
    ("video", "dream a video", _video_options, _video),
    ("making-of", "show how a dream comes about, as a video", _making_of_options, _making_of),
)
