"""The engine's work as the page needs it, done here or in a process to which a GPU is lent.

On ZeroGPU a process is forked for the work, has a GPU for so many seconds, and is asked again while
it lives. All that goes there and comes back is pickled: images and recipes go, frames with images
come. Everywhere else the same functions run in this process.
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
from dream.errors import TIME_LIMIT_ADVICE, DreamError, OutOfTime, TimeLimitReached
from dream.files.video_writer import VideoWriter
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.knob import read_env_number
from dream.render.class_image import Verdict
from dream.render.live import LiveDreamer
from dream.render.loop import Frame, to_batch
from dream.render.plan import AnyJob, Job
from dream.render.response import LayerResponse
from dream.render.tiling import check_deadline
from dream.render.video_job import VideoJob, VideoProgress, render_video
from dream.service.device_queue import DeviceQueue, StreamTurn
from dream.service.lease import end_early, stream_until_lease_ends
from dream.service.live_process import LiveProcess
from dream.tensors import Size, size_of, to_pil_image, to_tensor

PREVIEW_INTERVAL = 0.4
PREVIEW_SIDE = 1600
DEFAULT_TIME_LIMIT = 120.0
# What is asked of ZeroGPU: a process and a network take a while to be ready, no machine is like the
# last, and a visitor without an account has two minutes a day, of which one and a half times what
# is asked for must be left.
LEASE_STARTUP_SECONDS = 5.0
LEASE_SAFETY_FACTOR = 2.0
MAX_LEASE_SECONDS = 60.0
# What a video may take of those minutes: a visitor with an account has five a day.
MAX_LEASED_VIDEO_SECONDS = 120.0
# Shorter work says nothing of how fast the machine is.
MIN_CALIBRATION_SECONDS = 0.3
# What busy hours may teach at most: a default dream must still be let in, and teach better.
MAX_SLOWDOWN = 32.0

Task = Callable[..., Generator[Any, None, None]]


class JobRunner:
    """What an engine can do, each as a generator of what is worth showing.

    `lend` is what `spaces.GPU` is; with it, and on ZeroGPU, the engine of this process only checks
    and fetches. No bad recipe or picture costs a second of a GPU. Elsewhere work may take
    `DREAM_TIME_LIMIT` seconds, 120 by default. So many as `at_a_time` have their `turn` together:
    see `Line`.

    Raises:
        RecipeError: if that is no number from 1 to 86400.
    """

    def __init__(
        self, engine: Engine, gpu_decorator: Callable[..., Any] | None = None, at_a_time: int = 1
    ) -> None:
        self.engine = engine
        self.queue = DeviceQueue(at_a_time)
        self.turn = self.queue.turn
        self.time_limit = read_env_number("DREAM_TIME_LIMIT", DEFAULT_TIME_LIMIT, 1, 86400)
        self._process, self._process_engine = os.getpid(), engine

        def run(seconds: float, task: Task, *given: Any) -> Generator[Any, None, None]:
            try:
                yield from task(self._local_engine(), seconds, *given)
            except DreamError as error:
                yield error  # A process of ZeroGPU's would tell no more than its class.
            except torch.OutOfMemoryError:
                yield DreamError("this is too much for the memory of the GPU; a smaller picture")

        self._run: Task = gpu_decorator(duration=_lease_seconds)(run) if gpu_decorator else run
        self.uses_leased_gpu = self._run is not run
        # By how much the work here takes longer than `Engine.seconds` says.
        self._slowdown = 1.0
        # Where a lease would be needed for each frame, live dreams have a processor, and a line.
        self.live_queue = DeviceQueue(1) if self.uses_leased_gpu else self.queue

    def _local_engine(self) -> Engine:
        """The engine of this process: a fork has copies of locks that nobody will ever open."""
        if os.getpid() != self._process:
            self._process, self._process_engine = os.getpid(), self.engine.new_for_fork()
        return self._process_engine

    def warm_up(self, recipe: DreamRecipe) -> None:
        """Have the first visitor wait for nothing, and know how fast this machine is with such
        dreams.

        On ZeroGPU weights are fetched and nothing is run: what has computed gradients cannot be
        forked to do so.

        Raises:
            WeightsError: if the weights cannot be had, or do not fit.
        """
        for _ in self.engine.fetch(recipe.model):
            pass
        if self.uses_leased_gpu:
            return
        recipe = recipe.with_changes(octaves=1, iterations=10)
        frames = self.engine.dream(torch.full((1, 3, 320, 320), 0.5), recipe)
        times = [(frame.value, time.monotonic())[1] for frame in frames]
        # The first steps are slower, and others of this machine may get in between.
        step = min(after - before for before, after in pairwise(times))
        self._slowdown = recipe.iterations * step / self.estimate_seconds([recipe], (320, 320))

    def estimate_seconds(self, recipes: Sequence[Recipe], size: Size | None = None) -> float:
        """About how long recipes take here, from noise or a picture of (height, width).

        Raises:
            PictureError, RecipeError: if one cannot be painted so.
        """
        return self._estimate_jobs(self.engine.plan(recipes, size))

    def _estimate_jobs(self, jobs: Sequence[AnyJob]) -> float:
        taken = (self.engine.seconds(stage) for job in jobs for stage in job.stages)
        return sum(taken) * self._slowdown

    def _start_task(
        self, task: Task, expected: float, *given: Any, calibrates: bool = True
    ) -> Iterator[Any]:
        """What a task yields, which is expected to take so many seconds; whether it did may teach
        how fast this machine is.

        Raises:
            OutOfTime: at once, if that is more than it may take, or a GPU is lent for.
        """
        seconds, most = self.time_limit, f"here, and at most {self.time_limit:g} are given"
        if self.uses_leased_gpu:
            seconds, most = (
                MAX_LEASE_SECONDS,
                f"of the GPU, and at most {MAX_LEASE_SECONDS:g} are lent",
            )
        if expected > seconds:
            raise OutOfTime(
                f"this would take about {expected:.0f} seconds {most}; {TIME_LIMIT_ADVICE}"
            )
        if self.uses_leased_gpu:
            seconds = min(LEASE_STARTUP_SECONDS + LEASE_SAFETY_FACTOR * expected, MAX_LEASE_SECONDS)
        run = self._run(seconds, task, *given)
        return stream_until_lease_ends(self._task_results(expected if calibrates else 0.0, run))

    def _task_results(
        self, expected: float, run: Generator[Any, None, None], seconds_left: float = 0.0
    ) -> Generator[Any, None, None]:
        """`left` is for how many seconds it will be at work, where this is only a part of that."""
        start = 0.0
        self.queue.expected_free_at = time.monotonic() + (seconds_left or expected)
        try:
            with closing(run) as answers:
                for answer in answers:
                    if isinstance(answer, DreamError):
                        raise answer
                    start = start or time.monotonic()
                    yield answer
        finally:
            _trim_memory()
        if expected > MIN_CALIBRATION_SECONDS:
            took = (time.monotonic() - start) / expected
            slowness = self._slowdown * min(max(took, 1 / 8), 8) ** 0.5
            self._slowdown = min(slowness, MAX_SLOWDOWN)

    def render(
        self,
        recipes: Sequence[Recipe],
        image: Tensor | None = None,
        *,
        use_cache: bool = False,
        every_frame: bool = False,
    ) -> Iterator[Frame]:
        """Recipes painted (see `Engine.plan` and `paint`); checked before this returns.

        What was all made before needs no GPU. `every` frame may be asked for, not some only.
        """
        jobs = self.engine.plan(recipes, _size_or_none(image), use_cache=use_cache)
        if all(job.cached_images for job in jobs):
            return self.engine.render(jobs)
        return self._start_task(
            _render_task, self._estimate_jobs(jobs), jobs, _to_images(image), every_frame
        )

    def render_video(
        self, job: VideoJob, writer: VideoWriter
    ) -> Generator[VideoProgress, None, None]:
        """A video made (see `filmed`); its price is checked before this returns.

        Where GPUs are lent, each part is what one can do in the time that it is lent for.
        """
        expected = self._estimate_jobs([job.job])
        limit, most = self.time_limit, 0
        if self.uses_leased_gpu:
            limit, most = (
                MAX_LEASED_VIDEO_SECONDS,
                math.ceil(job.frame_count / self.lease_count(expected)),
            )
        if expected > limit:
            raise OutOfTime(
                f"this would take about {expected:.0f} seconds, and at most {limit:g} are given "
                f"here; a shorter video, or {TIME_LIMIT_ADVICE}"
            )
        begun = 0.0

        def paint(job: AnyJob, given: list[Image.Image]) -> Iterator[Frame]:
            nonlocal begun
            begun = begun or time.monotonic()
            gone, part = time.monotonic() - begun, self._estimate_jobs([job])
            seconds = limit - gone
            if self.uses_leased_gpu:
                seconds = min(LEASE_STARTUP_SECONDS + LEASE_SAFETY_FACTOR * part, MAX_LEASE_SECONDS)
            run = self._run(seconds, _render_task, [job], given)
            return require_complete(self._task_results(part, run, expected - gone))

        return render_video(job, paint, writer, most)

    def open_live_session(self) -> tuple[LiveDreamer | LiveProcess, StreamTurn]:
        """What one needs who looks into a live dream, and a place in the line."""
        place = StreamTurn(self.live_queue)
        if self.uses_leased_gpu:
            return LiveProcess(), place
        return LiveDreamer(lambda job, given: self.engine.render([job], to_batch(given))), place

    def lease_count(self, expected: float) -> int:
        """How often a GPU is asked for, for a film of so many seconds of work."""
        return math.ceil(
            expected / ((MAX_LEASE_SECONDS - LEASE_STARTUP_SECONDS) / LEASE_SAFETY_FACTOR)
        )

    def render_class_image(
        self, recipe: ClassRecipe, image: Tensor | None = None
    ) -> Iterator[tuple[Frame, Verdict]]:
        """A class image, with the verdict on each frame; checked before this returns."""
        jobs = self.engine.plan([recipe], _size_or_none(image))
        return self._start_task(
            _class_image_task, self._estimate_jobs(jobs), jobs, _to_images(image)
        )

    def respond_and_render(
        self,
        image: Tensor,
        recipe: ChannelRecipe,
        count: int,
        spot: tuple[float, float] | None = None,
        *,
        in_photo: bool = False,
    ) -> tuple[LayerResponse, Iterator[Frame]]:
        """What the layer of a recipe answers to a picture (see `Engine.response`), and then the
        channels that answer most (see `Response.top`), from noise or `raised` in it.

        A GPU is lent once for both.
        """
        self.engine.plan([recipe.with_changes(size=None)], size_of(image))  # Checks; nothing runs.
        many = range(min(count, recipe.card.channel_count(recipe.layer)))
        priced = [recipe.with_changes(channel=channel) for channel in many]
        expected = self._estimate_jobs(
            self.engine.plan(priced, size_of(image) if in_photo else None)
        )
        given = (to_pil_image(image), recipe, count, spot, in_photo)
        answers = self._start_task(_top_channels_task, expected, *given, calibrates=False)
        seen, activation = next(answers)
        return LayerResponse(torch.from_numpy(seen), torch.from_numpy(activation)), answers


def _trim_memory() -> None:
    """What is free goes back to the system: glibc keeps ever more of it, in pieces between others,
    150 MB after some hundred dreams of all sizes.
    """
    with suppress(AttributeError, OSError, TypeError):  # Another library, or system.
        ctypes.CDLL(None).malloc_trim(0)


def use_few_malloc_arenas() -> None:
    """Have all threads that begin from now on share two of glibc's arenas.

    With up to one for each of the forty threads that answer calls, what a crowd leaves in them is
    not given back: 56 MB after twenty seconds of 100 clients, where it is 25 with two.
    """
    arena_max = -8  # M_ARENA_MAX of malloc.h.
    with suppress(AttributeError, OSError, TypeError):  # Another library, or system.
        ctypes.CDLL(None).mallopt(arena_max, 2)


def _size_or_none(image: Tensor | None) -> Size | None:
    return None if image is None else size_of(image)


def _to_images(image: Tensor | None) -> list[Image.Image]:
    return [] if image is None else [to_pil_image(image)]


def _lease_seconds(seconds: float, *_: Any) -> int:
    """For how long a GPU is asked for."""
    return math.ceil(seconds)


def _render_task(
    engine: Engine,
    seconds: float,
    jobs: Sequence[AnyJob],
    given: Sequence[Image.Image],
    every: bool = False,
) -> Generator[Frame, None, None]:
    until = time.monotonic() + seconds
    frames = engine.render(jobs, to_batch(given) if given else None, until)
    for frame in throttle_previews(frames, until, every):
        yield _to_host(frame)


def _class_image_task(
    engine: Engine, seconds: float, jobs: Sequence[Job[ClassRecipe]], given: Sequence[Image.Image]
) -> Generator[tuple[Frame, Verdict], None, None]:
    for frame in _render_task(engine, seconds, jobs, given):
        yield frame, engine.verdict(frame.tensor, jobs[0].recipes[0])


def _top_channels_task(
    engine: Engine,
    seconds: float,
    photo: Image.Image,
    recipe: ChannelRecipe,
    count: int,
    spot: tuple[float, float] | None,
    raised: bool,
) -> Generator[Any, None, None]:
    picture = to_tensor(photo)
    response = engine.response(picture, recipe.model, recipe.layer)
    yield response.image.numpy(), response.activation.numpy()
    recipes = [recipe.with_changes(channel=each.channel) for each in response.top(count, spot)]
    jobs = engine.plan(recipes, size_of(picture) if raised else None, use_cache=True)
    yield from _render_task(engine, seconds, jobs, [photo] if raised else [])


def throttle_previews(
    frames: Iterator[Frame], deadline: float, every: bool = False
) -> Iterator[Frame]:
    """The first frame, one now and then, and all that are finished; or `every` one.

    Those of large pictures, which take long to show, come more seldom. When it is later than
    `until`, by `time.monotonic`, it ends with the picture so far.

    Raises:
        OutOfTime: if there is none as yet.
        TimeIsUp: if the last one is finished, and others were to come.
    """
    shown = time.monotonic()
    pause = PREVIEW_INTERVAL
    came = False
    try:
        for frame in frames:
            now, came = time.monotonic(), came or frame.finished or frame.step > 0
            if frame.finished:
                yield frame
                continue
            check_deadline(deadline)
            if every or frame.step == 0 or now - shown > pause:
                yield frame
                shown = time.monotonic()
                pause = max(PREVIEW_INTERVAL, 4 * (shown - now))
    except OutOfTime:
        if not came:
            raise
        so_far = f"time was up after {frame.step} of {frame.total} steps, this is how far it came"
        yield end_early(frame, f"{so_far}; {TIME_LIMIT_ADVICE}")


def require_complete(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Those frames.

    Raises:
        TimeIsUp: where they end before the picture is done.
    """
    for frame in frames:
        if frame.ended:
            raise TimeLimitReached(frame.ended)
        yield frame


def _to_host(frame: Frame) -> Frame:
    """The frame with its pictures as images, shrunk where they are only to be looked at, and no
    tensor of a device.
    """
    images = frame.pictures()
    if not (frame.finished or frame.ended):
        for image in images:
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    objective = None if frame.objective is None else np.array(frame.values)
    return replace(frame, objective=objective, render=partial(to_batch, images))
