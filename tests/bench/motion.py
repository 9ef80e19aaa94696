"""What moving pictures cost, part by part, and how much less they flicker than single frames.

A zoom is into coffee.jpg at 512 pixels, 4 steps a frame; the video a slow pan over cat.jpg, so too.
Flicker is the mean change between neighbouring frames along the flow, in grey levels and as a share
of what was changed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from dream import DreamRecipe, Engine, VideoRecipe, ZoomRecipe, load_image
from dream.files.film import Film, Part
from dream.files.video import Video, frames_of, load_video
from dream.paint import reel as reels
from dream.paint import video
from dream.paint.frames import to_tensors
from dream.paint.video import along, backward_flow, inside
from dream.tensors import size_of
from tests.conftest import EXAMPLES
from tools.report import Report

FRAMES = 20


def measure(engine: Engine, report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = load_image(EXAMPLES / "coffee.jpg")
        zoom = ZoomRecipe(seconds=FRAMES / 24, max_side=512)
        (job,) = engine.plan([zoom], size_of(photo))
        _row(engine, report, "zoom", reels.zoom_reel(job, photo), Path(folder, "zoom.mp4"))
        clip = panned(engine, Path(folder, "clip.mp4"))
        (job,) = engine.plan([VideoRecipe(max_side=512)], clip.size)
        dreamed = Path(folder, "video.mp4")
        _row(engine, report, "video", reels.video_reel(job, clip), dreamed)
        flicker(engine, report, clip, load_video(dreamed))


def panned(engine: Engine, path: Path) -> Video:
    """A pan over a photo: a zoom that dreams nothing."""
    photo = load_image(EXAMPLES / "cat.jpg")
    pan = ZoomRecipe(seconds=FRAMES / 24, max_side=512, step=0, iterations=1, zoom=1.15, right=0.06)
    (job,) = engine.plan([pan], size_of(photo))
    _filmed(engine, reels.zoom_reel(job, photo), path)
    return load_video(path)


def _filmed(engine: Engine, reel: reels.Reel, path: Path) -> None:
    (recipe,) = reel.job.recipes
    film = Film(path, recipe, reel.size, reel.rate, reel.time_base)
    for _ in reels.filmed(reel, lambda job, given: engine.paint([job], to_tensors(given)), film):
        pass
    film.finish(reel.video)
    film.drop()


def _row(engine: Engine, report: Report, name: str, reel: reels.Reel, path: Path) -> None:
    """Frames a second, and which shares of the time decoding, the flow and encoding take."""
    took = dict.fromkeys(("decoding", "flow", "encoding"), 0.0)

    def timed(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **how: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*given, **how)
            finally:
                took[part] += time.perf_counter() - start

        return run

    def decoded(*given: Any) -> Iterator[Any]:
        frames = frames_of(*given)
        step = timed("decoding", lambda: next(frames, None))
        while (frame := step()) is not None:
            yield frame

    with ExitStack() as patched:
        for where, what, how in (
            (Part, "add", timed("encoding", Part.add)),
            (Part, "close", timed("encoding", Part.close)),
            (Film, "finish", timed("encoding", Film.finish)),
            (video, "backward_flow", timed("flow", backward_flow)),
            (reels, "frames_of", decoded),
        ):
            patched.enter_context(patch.object(where, what, how))
        start = time.perf_counter()
        _filmed(engine, reel, path)
        whole = time.perf_counter() - start
    shares = {part: seconds / whole for part, seconds in took.items()}
    report.row(
        "motion",
        of=name,
        **{"frames a second": reel.frames / whole},
        **shares,
        together=sum(shares.values()),
    )


def flicker(engine: Engine, report: Report, clip: Video, dreamed: Video) -> None:
    """That of a dreamed video, and of its frames dreamed one by one."""
    seen, together = (to_tensors(list(frames_of(each, clip.size))) for each in (clip, dreamed))
    recipe = DreamRecipe(octaves=2, intensity=4, max_side=512)
    alone = []
    for frame in torch.split(seen, 1)[:8]:
        *_, last = engine.dream(frame, recipe)
        alone.append(last.tensor)
    for name, frames in (("together", together[8:16]), ("one by one", torch.cat(alone))):
        own = seen[8:16] if name == "together" else seen[:8]
        apart, changed = _flicker(own, frames), float((frames - own).abs().mean()) * 255
        report.row("flicker", dreamed=name, levels=apart, change=changed, share=apart / changed)


def _flicker(seen: Tensor, frames: Tensor) -> float:
    changes = []
    for at in range(1, len(frames)):
        flow = backward_flow(seen[at - 1 : at], seen[at : at + 1])
        apart = (along(frames[at - 1 : at], flow) - frames[at : at + 1]).abs() * inside(flow)
        changes.append(float(apart.mean() / inside(flow).mean()) * 255)
    return sum(changes) / len(changes)


if __name__ == "__main__":
    measure(Engine("cpu"), Report())
