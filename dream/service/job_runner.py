"""Run jobs for the page within time limits, in this process or on a leased GPU.

On ZeroGPU a forked process runs the jobs and has the GPU for a limited time. Arguments and results
are pickled: images and recipes go there, frames with images come back. Elsewhere the same functions
run in this process.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dream.engine import Engine
from dream.errors import TIME_LIMIT_ADVICE, DreamError, LeaseError, OutOfTime, TimeLimitReached
from dream.files.video_writer import VideoWriter
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.knob import read_env_number
from dream.render.job_loop import Frame, to_batch
from dream.render.layer_response import LayerResponse
from dream.render.live import LiveDreamer
from dream.render.plan import AnyJob
from dream.render.tiling import check_deadline
from dream.render.video_job import VideoJob, VideoProgress, render_video
from dream.service.device_queue import DeviceQueue, StreamTurn
from dream.service.live_process import LiveProcess
from dream.tensors import Size, size_of, to_pil_image, to_tensor

PREVIEW_SECONDS = 0.4
PREVIEW_SIDE = 1600
DEFAULT_TIME_LIMIT_SECONDS = 120.0
# A lease on ZeroGPU covers the start of the process and the network, and machines that are slower
# than expected. A visitor without an account has two minutes a day, and ZeroGPU grants a lease only
# if 1.5 times its length is left.
LEASE_STARTUP_SECONDS = 5.0
LEASE_SAFETY_FACTOR = 2.0
MAX_LEASE_SECONDS = 60.0
# A visitor with an account has five minutes a day.
MAX_LEASED_VIDEO_SECONDS = 120.0
# Shorter jobs do not show how fast the machine is.
MIN_CALIBRATION_SECONDS = 0.3
# A default dream must still be accepted after busy hours, so that it can correct the slowdown.
MAX_SLOWDOWN = 32.0

Task = Callable[..., Generator[Any, None, None]]


class JobRunner:
    """Runs the jobs of an engine as generators of frames for display.

    `gpu_decorator` is `spaces.GPU`; where that leases GPUs, this engine only checks jobs and
    downloads weights, so that a bad recipe or image costs no GPU time. Elsewhere a job is limited
    to `DREAM_TIME_LIMIT` seconds. `concurrency` jobs may have a `turn` at once.

    Raises:
        RecipeError: if `DREAM_TIME_LIMIT` is not a number from 1 to 86400.
    """

    def __init__(
        self, engine: Engine, gpu_decorator: Callable[..., Any] | None = None, concurrency: int = 1
    ) -> None:
        self.engine = engine
        self.queue = DeviceQueue(concurrency)
        self.turn = self.queue.turn
        self.time_limit = read_env_number("DREAM_TIME_LIMIT", DEFAULT_TIME_LIMIT_SECONDS, 1, 86400)
        self._process_id, self._process_engine = os.getpid(), engine

        def run(seconds: float, task: Task, *task_args: Any) -> Generator[Any, None, None]:
            try:
                yield from task(self._local_engine(), seconds, *task_args)
            except DreamError as error:
                yield error  # ZeroGPU passes on only the class of an exception.
            except torch.OutOfMemoryError:
                yield DreamError("this is too much for the memory of the GPU; give a smaller image")

        self._run: Task = run
        if gpu_decorator:  # It passes all arguments of `run` to `duration`.
            self._run = gpu_decorator(duration=lambda seconds, *_: math.ceil(seconds))(run)
        self.uses_leased_gpu = self._run is not run
        # Measured time divided by `Engine.seconds`.
        self._slowdown = 1.0
        # On ZeroGPU every frame would need a lease, so live dreams run on the CPU, with a queue.
        self.live_queue = DeviceQueue(1) if self.uses_leased_gpu else self.queue

    def _local_engine(self) -> Engine:
        """Return this process's engine; a fork gets a new one, as inherited locks may be held."""
        if os.getpid() != self._process_id:
            self._process_id, self._process_engine = os.getpid(), self.engine.new_for_fork()
        return self._process_engine

    def warm_up(self, recipe: DreamRecipe) -> None:
        """Download the weights, and measure the speed of this machine with a small dream.

        On ZeroGPU it only downloads, because a process that has computed gradients cannot compute
        any after a fork. Raises as `Engine.network`.
        """
        for _ in self.engine.fetch(recipe.model):
            pass
        if self.uses_leased_gpu:
            return
        recipe = recipe.with_changes(octaves=1, iterations=10)
        frames = self.engine.dream(torch.full((1, 3, 320, 320), 0.5), recipe)
        times = [(frame.value, time.monotonic())[1] for frame in frames]
        # The first steps are slower, and other programs may slow down some: take the fastest.
        step = min(after - before for before, after in pairwise(times))
        self._slowdown = recipe.iterations * step / self.estimate_seconds([recipe], (320, 320))

    def estimate_seconds(
        self, recipes: Sequence[Recipe], size: Size | None = None, frames: int = 0
    ) -> float:
        """Return the expected seconds of recipes, from noise or on a photo of (height, width).

        Give the number of `frames` of a dreamed video. Raises as `Engine.plan`.
        """
        jobs = self.engine.plan(recipes, size)
        return self._estimate_jobs([job.for_frames(frames) if frames else job for job in jobs])

    def _estimate_jobs(self, jobs: Sequence[AnyJob]) -> float:
        seconds = sum(self.engine.seconds(stage) for job in jobs for stage in job.stages)
        return seconds * self._slowdown

    def _start_task(
        self, task: Task, expected: float, *task_args: Any, is_calibration: bool = True
    ) -> Iterator[Any]:
        """Start a task that should take `expected` seconds, and return its results."""
        self._check_time(expected, MAX_LEASE_SECONDS if self.uses_leased_gpu else self.time_limit)
        seconds = self._lease_seconds(expected) if self.uses_leased_gpu else self.time_limit
        run = self._run(seconds, task, *task_args)
        results = self._task_results(expected if is_calibration else 0.0, run)
        return _stream_until_lease_ends(results)

    def _check_time(self, expected: float, limit: float, more_advice: str = "") -> None:
        """Raise OutOfTime if a job that should take `expected` seconds is above the limit."""
        if expected > limit:
            where = "of GPU time" if self.uses_leased_gpu else "here"
            raise OutOfTime(
                f"this would take about {expected:.0f} seconds {where}, and the limit is "
                f"{limit:g}; {more_advice}{TIME_LIMIT_ADVICE}"
            )

    def _lease_seconds(self, expected: float) -> float:
        return min(LEASE_STARTUP_SECONDS + LEASE_SAFETY_FACTOR * expected, MAX_LEASE_SECONDS)

    def _task_results(
        self, expected: float, run: Generator[Any, None, None], seconds_left: float = 0.0
    ) -> Generator[Any, None, None]:
        """Yield the results of a run and learn the slowdown from its time.

        `seconds_left` is that of the whole job, if the run is only a part of it.
        """
        start = 0.0
        self.queue.expected_free_at = time.monotonic() + (seconds_left or expected)
        try:
            with closing(run) as results:
                for result in results:
                    if isinstance(result, DreamError):
                        raise result
                    start = start or time.monotonic()
                    yield result
        finally:
            # Otherwise glibc keeps fragments: 150 MB after some hundred dreams of all sizes.
            _call_glibc("malloc_trim", 0)
        if expected > MIN_CALIBRATION_SECONDS:
            ratio = (time.monotonic() - start) / expected
            slowdown = self._slowdown * min(max(ratio, 1 / 8), 8) ** 0.5
            self._slowdown = min(slowdown, MAX_SLOWDOWN)

    def render(
        self,
        recipes: Sequence[Recipe],
        image: Tensor | None = None,
        *,
        use_cache: bool = False,
        with_every_frame: bool = False,
    ) -> Iterator[Frame]:
        """Check recipes, then return their frames: `with_every_frame`, or some for previews.

        Images that are all cached need no GPU. Frames of class images have verdicts.
        """
        size = None if image is None else size_of(image)
        jobs = self.engine.plan(recipes, size, use_cache=use_cache)
        if all(job.cached_images for job in jobs):
            return self.engine.render(jobs)
        images = [] if image is None else [to_pil_image(image)]
        task_args = (jobs, images, with_every_frame)
        return self._start_task(_render_task, self._estimate_jobs(jobs), *task_args)

    def render_video(
        self, job: VideoJob, writer: VideoWriter
    ) -> Generator[VideoProgress, None, None]:
        """Check the time of a video, then return its progress (see `video_job.render_video`).

        On ZeroGPU the video is rendered in parts of one lease each.
        """
        expected = self._estimate_jobs([job.render_job])
        limit, frames_per_part = self.time_limit, 0
        if self.uses_leased_gpu:
            limit = MAX_LEASED_VIDEO_SECONDS
            frames_per_part = math.ceil(job.frame_count / self.lease_count(expected))
        self._check_time(expected, limit, "a shorter video, ")
        start = 0.0

        def render(part: AnyJob, images: list[Image.Image]) -> Iterator[Frame]:
            nonlocal start
            start = start or time.monotonic()
            elapsed, part_seconds = time.monotonic() - start, self._estimate_jobs([part])
            leased = self.uses_leased_gpu
            seconds = self._lease_seconds(part_seconds) if leased else limit - elapsed
            run = self._run(seconds, _render_task, [part], images)
            for frame in self._task_results(part_seconds, run, expected - elapsed):
                if frame.ended:
                    raise TimeLimitReached(frame.ended)
                yield frame

        return render_video(job, render, writer, frames_per_part)

    def open_live_session(self) -> tuple[LiveDreamer | LiveProcess, StreamTurn]:
        """Return a dreamer for one live stream, and its turn in the queue."""
        turn = StreamTurn(self.live_queue)
        if self.uses_leased_gpu:
            return LiveProcess(), turn
        return LiveDreamer(self.engine.render_images), turn

    def lease_count(self, expected_seconds: float) -> int:
        """Return how many leases a video needs that takes so many seconds."""
        seconds_per_lease = (MAX_LEASE_SECONDS - LEASE_STARTUP_SECONDS) / LEASE_SAFETY_FACTOR
        return math.ceil(expected_seconds / seconds_per_lease)

    def render_top_channels(
        self,
        image: Tensor,
        recipe: ChannelRecipe,
        count: int,
        spot: tuple[float, float] | None = None,
        *,
        in_photo: bool = False,
    ) -> tuple[LayerResponse, Iterator[Frame]]:
        """Return the response of a layer to an image, and the frames of its top channels.

        The channels (see `LayerResponse.top`) are rendered from noise, or `in_photo` in the image.
        Both need only one lease.
        """
        self.engine.plan([recipe.with_changes(size=None)], size_of(image))  # Checks the image.
        # Only the network knows which channels are the top ones, but all cost the same.
        channels = range(min(count, recipe.card.channel_count(recipe.layer)))
        recipes = [recipe.with_changes(channel=channel) for channel in channels]
        size = size_of(image) if in_photo else None
        expected = self._estimate_jobs(self.engine.plan(recipes, size))
        task_args = (to_pil_image(image), recipe, count, spot, in_photo)
        results = self._start_task(_top_channels_task, expected, *task_args, is_calibration=False)
        pixels, activation = next(results)
        return LayerResponse(torch.from_numpy(pixels), torch.from_numpy(activation)), results


def use_few_malloc_arenas() -> None:
    """Let all threads that start from now on share two malloc arenas of glibc.

    With one for each of the forty threads that answer calls, glibc keeps 56 MB after twenty seconds
    of 100 clients; with two arenas it keeps 25 MB.
    """
    _call_glibc("mallopt", -8, 2)  # -8 is M_ARENA_MAX of malloc.h.


def _call_glibc(function: str, *arguments: int) -> None:
    with suppress(AttributeError, OSError, TypeError):  # Not glibc.
        getattr(ctypes.CDLL(None), function)(*arguments)


def _render_task(
    engine: Engine,
    seconds: float,
    jobs: Sequence[AnyJob],
    images: Sequence[Image.Image],
    with_every_frame: bool = False,
) -> Generator[Frame, None, None]:
    deadline = time.monotonic() + seconds
    frames = engine.render(jobs, to_batch(images) if images else None, deadline)
    for frame in map(_to_host, throttle_previews(frames, deadline, with_every_frame)):
        recipe = frame.recipes[0]
        if isinstance(recipe, ClassRecipe):
            frame = replace(frame, verdict=engine.verdict(frame.tensor, recipe))
        yield frame


def _top_channels_task(
    engine: Engine,
    seconds: float,
    photo: Image.Image,
    recipe: ChannelRecipe,
    count: int,
    spot: tuple[float, float] | None,
    in_photo: bool,
) -> Generator[Any, None, None]:
    image = to_tensor(photo)
    response = engine.response(image, recipe.model, recipe.layer)
    yield response.image.numpy(), response.activation.numpy()
    recipes = [recipe.with_changes(channel=top.channel) for top in response.top(count, spot)]
    jobs = engine.plan(recipes, size_of(image) if in_photo else None, use_cache=True)
    yield from _render_task(engine, seconds, jobs, [photo] if in_photo else [])


def throttle_previews(
    frames: Iterator[Frame], deadline: float, with_every_frame: bool = False
) -> Iterator[Frame]:
    """Yield the first frame, one per interval, and all finished ones; or `with_every_frame`.

    The interval grows with the time that a preview takes. After `deadline` (`time.monotonic`) the
    last frame is the image so far.

    Raises:
        OutOfTime: if there is no image yet.
        TimeLimitReached: if the last frame is finished but others are missing.
    """
    last_shown = time.monotonic()
    interval = PREVIEW_SECONDS
    has_image = False
    try:
        for frame in frames:
            now, has_image = time.monotonic(), has_image or frame.finished or frame.step > 0
            if frame.finished:
                yield frame
                continue
            check_deadline(deadline)
            if with_every_frame or frame.step == 0 or now - last_shown > interval:
                yield frame
                last_shown = time.monotonic()
                interval = max(PREVIEW_SECONDS, 4 * (last_shown - now))
    except OutOfTime:
        if not has_image:
            raise
        text = f"time was up after {frame.step} of {frame.total} steps; this is the image so far"
        yield _end_early(frame, f"{text}; {TIME_LIMIT_ADVICE}")


def _stream_until_lease_ends(results: Generator[Any, None, None]) -> Iterator[Any]:
    """Yield the results of a lease; if it ends early, yield the image so far at the end.

    Raises:
        LeaseError: if there is no image yet.
        TimeLimitReached: if the last image is finished but others are missing.
    """
    last = None
    try:
        with closing(results):
            for last in results:
                yield last
    except LeaseError as error:
        if not (isinstance(last, Frame) and (last.finished or last.step)):
            raise
        if not (last.finished and last.done == 1):  # Not all was done.
            yield _end_early(last, f"after {last.step} of {last.total} steps: {error}")


def _end_early(frame: Frame, reason: str) -> Frame:
    """Return a frame as the last one; raise if it is finished, because then it was yielded."""
    if frame.finished:
        raise TimeLimitReached(reason)
    return replace(frame, ended=reason)


def _to_host(frame: Frame) -> Frame:
    """Return a frame that holds no tensor of a device, with previews of reduced size."""
    images = frame.pictures()
    if not (frame.finished or frame.ended):
        for image in images:
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    objective = None if frame.objective is None else np.array(frame.values)
    return replace(frame, objective=objective, render=partial(to_batch, images))
