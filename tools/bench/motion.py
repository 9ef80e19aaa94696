"""Measure zooms and videos part by part, and their flicker against frames dreamed one by one.

The zoom goes into coffee.jpg at 512 pixels, 4 steps per frame; the video is a slow pan over cat.jpg
at the same settings. Flicker is the mean change between neighbouring frames along the optical flow,
in grey levels and as a share of the change that the dream made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from dream import DreamRecipe, Engine, VideoRecipe, ZoomRecipe, load_image
from dream.files.video_info import VideoInfo
from dream.files.video_reader import read_frames, read_video_info
from dream.files.video_writer import VideoPart, VideoWriter
from dream.render import video, video_job
from dream.render.job_loop import to_batch
from dream.render.video import backward_flow, in_bounds_mask, warp
from dream.tensors import size_of
from tests.conftest import EXAMPLES
from tools.measure import Stopwatch
from tools.report import Report

FRAMES = 20


def measure(engine: Engine, report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = load_image(EXAMPLES / "coffee.jpg")
        zoom = ZoomRecipe(seconds=FRAMES / 24, max_side=512)
        (job,) = engine.plan([zoom], size_of(photo))
        _row(engine, report, "zoom", video_job.zoom_video_job(job, photo), Path(folder, "zoom.mp4"))
        clip = panned(engine, Path(folder, "clip.mp4"))
        (job,) = engine.plan([VideoRecipe(max_side=512)], clip.size)
        dreamed = Path(folder, "video.mp4")
        _row(engine, report, "video", video_job.dream_video_job(job, clip), dreamed)
        flicker(engine, report, clip, read_video_info(dreamed))


def panned(engine: Engine, path: Path) -> VideoInfo:
    """Write a pan over a photo: a zoom without dreaming."""
    photo = load_image(EXAMPLES / "cat.jpg")
    pan = ZoomRecipe(seconds=FRAMES / 24, max_side=512, step=0, iterations=1, zoom=1.15, right=0.06)
    (job,) = engine.plan([pan], size_of(photo))
    _write_video(engine, video_job.zoom_video_job(job, photo), path)
    return read_video_info(path)


def _write_video(engine: Engine, clip_job: video_job.VideoJob, path: Path) -> None:
    (recipe,) = clip_job.render_job.recipes
    writer = VideoWriter(path, recipe, clip_job.size, clip_job.frame_rate, clip_job.time_base)
    for _ in video_job.render_video(clip_job, engine.render_images, writer):
        pass
    writer.finish(clip_job.video)
    writer.discard_parts()


def _row(
    engine: Engine, report: Report, name: str, clip_job: video_job.VideoJob, path: Path
) -> None:
    """Report frames per second, and the shares of decoding, optical flow and encoding."""
    watch = Stopwatch()

    def decoded(*given: Any) -> Iterator[Any]:
        frames = read_frames(*given)
        step = watch.timed("decoding", lambda: next(frames, None))
        while (frame := step()) is not None:
            yield frame

    with (
        watch.time_calls(
            (VideoPart, "add", "encoding"),
            (VideoPart, "close", "encoding"),
            (VideoWriter, "finish", "encoding"),
            (video, "backward_flow", "flow"),
        ),
        patch.object(video_job, "read_frames", decoded),
    ):
        watch.timed("whole", _write_video)(engine, clip_job, path)
    (whole,) = watch.seconds.pop("whole")
    shares = {part: sum(watch.seconds[part]) / whole for part in ("decoding", "flow", "encoding")}
    report.add_row(
        "motion",
        of=name,
        **{"frames a second": clip_job.frame_count / whole, **shares},
        together=sum(shares.values()),
    )


def flicker(engine: Engine, report: Report, clip: VideoInfo, dreamed: VideoInfo) -> None:
    """Report the flicker of a dreamed video, and of its frames dreamed one by one."""
    seen, together = (to_batch(list(read_frames(each, clip.size))) for each in (clip, dreamed))
    recipe = DreamRecipe(octaves=2, intensity=4, max_side=512)
    alone = []
    for frame in torch.split(seen, 1)[:8]:
        *_, last = engine.dream(frame, recipe)
        alone.append(last.tensor)
    for name, frames in (("together", together[8:16]), ("one by one", torch.cat(alone))):
        own = seen[8:16] if name == "together" else seen[:8]
        apart, changed = _flicker(own, frames), float((frames - own).abs().mean()) * 255
        report.add_row("flicker", dreamed=name, levels=apart, change=changed, share=apart / changed)


def _flicker(seen: Tensor, frames: Tensor) -> float:
    changes = []
    for at in range(1, len(frames)):
        flow = backward_flow(seen[at - 1 : at], seen[at : at + 1])
        apart = (warp(frames[at - 1 : at], flow) - frames[at : at + 1]).abs() * in_bounds_mask(flow)
        changes.append(float(apart.mean() / in_bounds_mask(flow).mean()) * 255)
    return sum(changes) / len(changes)


if __name__ == "__main__":
    measure(Engine("cpu"), Report())
