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
from dream.render.job_loop import to_batch
from dream.render.making_of import (
    FPS_KNOB,
    SECONDS_KNOB,
    MakingOf,
    making_of_size,
    record_making_of,
)
from dream.render.video_job import VideoJob, dream_video_job, render_video, zoom_video_job
from dream.tensors import size_of


def _add_zoom_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    add_output_option(parser, endings=[*OUTPUT_FORMATS])
    add_recipe_options(parser, ZoomRecipe)


def _run_zoom(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, ZoomRecipe)
    photo = load_image(args.photo)
    engine = build_engine(args, recipe.model)
    (job,) = engine.plan([recipe], size_of(photo))
    _render_video(args, engine, zoom_video_job(job, photo), args.photo)


def _add_video_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="IN", help="MP4, MOV, WebM or GIF")
    add_output_option(parser, endings=[*OUTPUT_FORMATS])
    add_recipe_options(parser, VideoRecipe)


def _run_video(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, VideoRecipe)
    video = read_video_info(args.video)
    engine = build_engine(args, recipe.model)
    (job,) = engine.plan([recipe], video.size)
    _render_video(args, engine, dream_video_job(job, video), args.video)


def _render_video(args: argparse.Namespace, engine: Engine, job: VideoJob, source: str) -> None:
    """Render or resume a video; after an interruption or error, write the finished part."""
    (recipe,) = job.render_job.recipes
    download_with_progress(engine.fetch(recipe.model))
    origin = {"source": file_sha256(source), "weights": engine.networks.weights_id(recipe.model)}
    writer = VideoWriter(args.out, recipe, job.size, job.frame_rate, job.time_base, origin)
    start = time.perf_counter()
    updates = render_video(
        job, lambda part, images: engine.render([part], to_batch(images)), writer
    )
    frames_done = writer.frames_done
    try:
        for update in updates:
            frames_done = update.frames_done
            show_progress_bar(
                frames_done / update.frames_total, f"frame {frames_done} of {update.frames_total}"
            )
    except (KeyboardInterrupt, DreamError) as error:
        updates.close()
        path = Path(args.out)
        try:
            is_written = writer.finish(job.video)
        except PictureError:  # The disk is full, but the parts are on it.
            path, frames_done = writer.folder, writer.frames_done
            is_written = frames_done > 0
        if is_written:
            _print_remark(writer)
            seconds = float(job.times[frames_done])
            print(f"{path} has the first {seconds:.1f} seconds; run the same command to resume")
        if isinstance(error, DreamError):
            raise
        raise CommandInterruptedError from error
    writer.finish(job.video)
    writer.discard_parts()
    _report(args, writer, job.frame_count, start)


def _add_making_of_options(parser: argparse.ArgumentParser) -> None:
    add_photo_option(parser)
    for name, knob in (("--seconds", SECONDS_KNOB), ("--fps", FPS_KNOB)):
        parser.add_argument(
            name,
            type=parse_number,
            default=knob.default,
            metavar=knob_metavar(knob),
            help=f"{knob.help} Default: {knob.default_text}.",
        )
    parser.add_argument("--loop", action="store_true", help="then play backwards, for a loop")
    add_output_option(parser, endings=[*OUTPUT_FORMATS])
    add_recipe_options(parser, DreamRecipe)


def _run_making_of(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, DreamRecipe)
    making = MakingOf(args.seconds, args.fps, args.loop)
    photo = load_image(args.photo)
    engine = build_engine(args, recipe.model)
    start = time.perf_counter()
    (job,) = engine.plan([recipe], size_of(photo))
    size = making_of_size(job.stages[-1].size)
    writer = VideoWriter(args.out, job.recipes[0], size, making.frame_rate, 1 / making.frame_rate)
    try:
        for _ in record_making_of(render_with_progress(engine, [recipe], photo), making, writer):
            pass
        writer.finish()
    finally:
        writer.discard_parts()
    _report(args, writer, len(making.frame_order), start)


def _report(args: argparse.Namespace, writer: VideoWriter, frames: int, start: float) -> None:
    """Print the size, the frames and the seconds since `start`."""
    _print_remark(writer)
    height, width = writer.size
    seconds = time.perf_counter() - start
    print(to_printable_line(f"{args.out}: {width} x {height}, {frames} frames, {seconds:.1f} s"))


def _print_remark(writer: VideoWriter) -> None:
    if writer.remark:
        print(to_printable_line(writer.remark), file=sys.stderr)


COMMANDS: tuple[Command, ...] = (
    ("zoom", "make an endless zoom into a photo", _add_zoom_options, _run_zoom),
    ("video", "dream a video", _add_video_options, _run_video),
    ("making-of", "make a video of a dream as it forms", _add_making_of_options, _run_making_of),
)
