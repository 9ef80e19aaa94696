"""Commands that make videos."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import dream  # Its members that need torch are imported on first use.
from dream.commands.options import (
    PHOTO,
    build_engine,
    build_recipe,
    command,
    file_option,
    knob_option,
    option,
    output,
    recipe_options,
)
from dream.commands.progress import (
    CommandInterruptedError,
    download_with_progress,
    print_report,
    render_with_progress,
    show_progress_bar,
)
from dream.errors import DreamError, PictureError, to_printable_line
from dream.files.video_info import OUTPUT_FORMATS
from dream.recipe import DreamRecipe, VideoRecipe, ZoomRecipe
from dream.recipe.motion import FPS_KNOB, SECONDS_KNOB

if TYPE_CHECKING:
    from dream.engine import Engine
    from dream.files.video_writer import VideoWriter
    from dream.render.video_job import VideoJob

OUTPUT = output(endings=OUTPUT_FORMATS)


@command("zoom", "make an endless zoom into a photo", PHOTO, OUTPUT, recipe_options(ZoomRecipe))
def _zoom_into_photo(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, ZoomRecipe)
    photo = dream.load_image(args.photo)
    from dream.render.video_job import zoom_video_job
    from dream.tensors import size_of

    engine = build_engine(args, recipe.model)
    (job,) = engine.plan([recipe], size_of(photo))
    _render_video(args, engine, zoom_video_job(job, photo), args.photo)


@command(
    "video",
    "dream a video",
    file_option("video", metavar="IN", help="MP4, MOV, WebM or GIF"),
    OUTPUT,
    recipe_options(VideoRecipe),
)
def _dream_video(args: argparse.Namespace) -> None:
    from dream.files.video_reader import read_video_info

    recipe = build_recipe(args, VideoRecipe)
    video = read_video_info(args.video)
    from dream.render.video_job import dream_video_job

    engine = build_engine(args, recipe.model)
    (job,) = engine.plan([recipe], video.size)
    _render_video(args, engine, dream_video_job(job, video), args.video)


def _render_video(args: argparse.Namespace, engine: Engine, job: VideoJob, source: str) -> None:
    """Render or resume a video; after an interruption or error, write the finished part."""
    from dream.files.video_writer import VideoWriter, file_sha256
    from dream.render.video_job import render_video

    (recipe,) = job.render_job.recipes
    download_with_progress(engine.fetch(recipe.model))
    args.start = time.perf_counter()
    origin = {"source": file_sha256(source), "weights": engine.networks.weights_id(recipe.model)}
    writer = VideoWriter(args.out, recipe, job.size, job.frame_rate, job.time_base, origin)
    updates = render_video(job, engine.render_images, writer)
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
    _report(args, writer, job.frame_count)


@command(
    "making-of",
    "make a video of a dream as it forms",
    PHOTO,
    knob_option("seconds", SECONDS_KNOB, default=SECONDS_KNOB.default),
    knob_option("fps", FPS_KNOB, default=FPS_KNOB.default),
    option("--loop", action="store_true", help="then play backwards, for a loop"),
    OUTPUT,
    recipe_options(DreamRecipe),
)
def _make_making_of(args: argparse.Namespace) -> None:
    recipe = build_recipe(args, DreamRecipe)
    from dream.files.video_writer import VideoWriter
    from dream.render.making_of import MakingOf, making_of_size, record_making_of
    from dream.tensors import size_of

    making = MakingOf(args.seconds, args.fps, args.loop)
    photo = dream.load_image(args.photo)
    engine = build_engine(args, recipe.model)
    (job,) = engine.plan([recipe], size_of(photo))
    size = making_of_size(job.size)
    writer = VideoWriter(args.out, job.recipes[0], size, making.frame_rate, 1 / making.frame_rate)
    try:
        for _ in record_making_of(render_with_progress(engine, [recipe], photo), making, writer):
            pass
        writer.finish()
    finally:
        writer.discard_parts()
    _report(args, writer, len(making.frame_order))


def _report(args: argparse.Namespace, writer: VideoWriter, frames: int) -> None:
    _print_remark(writer)
    height, width = writer.size
    print_report(args, f"{width} x {height}, {frames} frames")


def _print_remark(writer: VideoWriter) -> None:
    if writer.remark:
        print(to_printable_line(writer.remark), file=sys.stderr)
