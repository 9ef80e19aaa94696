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
from dream.errors import QUICKER, DreamError, OutOfTime, TimeIsUp
from dream.files.film import Film
from dream.paint.class_image import Verdict
from dream.paint.frames import Frame, to_tensors
from dream.paint.live import Mirror
from dream.paint.plan import AnyJob, Job
from dream.paint.reel import Reel, Shot, filmed
from dream.paint.response import Response
from dream.paint.tile import check_time
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.knob import from_environment
from dream.service.aside import Aside
from dream.service.lease import end_early, stream_until_lease_ends
from dream.service.line import Line, Place
from dream.tensors import Size, size_of, to_image, to_tensor

SECONDS_BETWEEN_PREVIEWS = 0.4
PREVIEW_SIDE = 1600
TIME_LIMIT = 120.0
# What is asked of ZeroGPU: a process and a network take a while to be ready, no machine is like the
# last, and a visitor without an account has two minutes a day, of which one and a half times what
# is asked for must be left.
READY_SECONDS = 5.0
ALLOWANCE = 2.0
LENT_SECONDS = 60.0
# What a video may take of those minutes: a visitor with an account has five a day.
VISITOR_SECONDS = 120.0
# Shorter work says nothing of how fast the machine is.
LEARNING_SECONDS = 0.3
# What busy hours may teach at most: a default dream must still be let in, and teach better.
SLOWEST = 32.0

Task = Callable[..., Generator[Any, None, None]]


class Work:
    """What an engine can do, each as a generator of what is worth showing.

    `lend` is what `spaces.GPU` is; with it, and on ZeroGPU, the engine of this process only checks
    and fetches. No bad recipe or picture costs a second of a GPU. Elsewhere work may take
    `DREAM_TIME_LIMIT` seconds, 120 by default. So many as `at_a_time` have their `turn` together:
    see `Line`.

    Raises:
        RecipeError: if that is no number from 1 to 86400.
    """

    def __init__(
        self, engine: Engine, lend: Callable[..., Any] | None = None, at_a_time: int = 1
    ) -> None:
        self.engine = engine
        self.line = Line(at_a_time)
        self.turn = self.line.turn
        self.time_limit = from_environment("DREAM_TIME_LIMIT", TIME_LIMIT, 1, 86400)
        self._process, self._own = os.getpid(), engine

        def run(seconds: float, task: Task, *given: Any) -> Generator[Any, None, None]:
            try:
                yield from task(self._here(), seconds, *given)
            except DreamError as error:
                yield error  # A process of ZeroGPU's would tell no more than its class.
            except torch.OutOfMemoryError:
                yield DreamError("this is too much for the memory of the GPU; a smaller picture")

        self._run: Task = lend(duration=_asked)(run) if lend else run
        self.lent = self._run is not run
        # By how much the work here takes longer than `Engine.seconds` says.
        self._slowness = 1.0
        # Where a lease would be needed for each frame, live dreams have a processor, and a line.
        self.live_line = Line(1) if self.lent else self.line

    def _here(self) -> Engine:
        """The engine of this process: a fork has copies of locks that nobody will ever open."""
        if os.getpid() != self._process:
            self._process, self._own = os.getpid(), self.engine.another()
        return self._own

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
        if self.lent:
            return
        recipe = recipe.but(octaves=1, iterations=10)
        frames = self.engine.dream(torch.full((1, 3, 320, 320), 0.5), recipe)
        times = [(frame.value, time.monotonic())[1] for frame in frames]
        # The first steps are slower, and others of this machine may get in between.
        step = min(after - before for before, after in pairwise(times))
        self._slowness = recipe.iterations * step / self.seconds([recipe], (320, 320))

    def seconds(self, recipes: Sequence[Recipe], size: Size | None = None) -> float:
        """About how long recipes take here, from noise or a picture of (height, width).

        Raises:
            PictureError, RecipeError: if one cannot be painted so.
        """
        return self._seconds(self.engine.plan(recipes, size))

    def _seconds(self, jobs: Sequence[AnyJob]) -> float:
        taken = (self.engine.seconds(stage) for job in jobs for stage in job.stages)
        return sum(taken) * self._slowness

    def _done(self, task: Task, expected: float, *given: Any, taught: bool = True) -> Iterator[Any]:
        """What a task yields, which is expected to take so many seconds; whether it did may teach
        how fast this machine is.

        Raises:
            OutOfTime: at once, if that is more than it may take, or a GPU is lent for.
        """
        seconds, most = self.time_limit, f"here, and at most {self.time_limit:g} are given"
        if self.lent:
            seconds, most = LENT_SECONDS, f"of the GPU, and at most {LENT_SECONDS:g} are lent"
        if expected > seconds:
            raise OutOfTime(f"this would take about {expected:.0f} seconds {most}; {QUICKER}")
        if self.lent:
            seconds = min(READY_SECONDS + ALLOWANCE * expected, LENT_SECONDS)
        run = self._run(seconds, task, *given)
        return stream_until_lease_ends(self._answers(expected if taught else 0.0, run))

    def _answers(
        self, expected: float, run: Generator[Any, None, None], left: float = 0.0
    ) -> Generator[Any, None, None]:
        """`left` is for how many seconds it will be at work, where this is only a part of that."""
        start = 0.0
        self.line.due = time.monotonic() + (left or expected)
        try:
            with closing(run) as answers:
                for answer in answers:
                    if isinstance(answer, DreamError):
                        raise answer
                    start = start or time.monotonic()
                    yield answer
        finally:
            _give_back_memory()
        if expected > LEARNING_SECONDS:
            took = (time.monotonic() - start) / expected
            slowness = self._slowness * min(max(took, 1 / 8), 8) ** 0.5
            self._slowness = min(slowness, SLOWEST)

    def paint(
        self,
        recipes: Sequence[Recipe],
        picture: Tensor | None = None,
        *,
        kept: bool = False,
        every: bool = False,
    ) -> Iterator[Frame]:
        """Recipes painted (see `Engine.plan` and `paint`); checked before this returns.

        What was all made before needs no GPU. `every` frame may be asked for, not some only.
        """
        jobs = self.engine.plan(recipes, _size(picture), kept=kept)
        if all(job.made for job in jobs):
            return self.engine.paint(jobs)
        return self._done(_paint, self._seconds(jobs), jobs, _images(picture), every)

    def film(self, reel: Reel, film: Film) -> Generator[Shot, None, None]:
        """A video made (see `filmed`); its price is checked before this returns.

        Where GPUs are lent, each part is what one can do in the time that it is lent for.
        """
        expected = self._seconds([reel.job])
        limit, most = self.time_limit, 0
        if self.lent:
            limit, most = VISITOR_SECONDS, math.ceil(reel.frames / self.leases(expected))
        if expected > limit:
            raise OutOfTime(
                f"this would take about {expected:.0f} seconds, and at most {limit:g} are given "
                f"here; a shorter video, or {QUICKER}"
            )
        begun = 0.0

        def paint(job: AnyJob, given: list[Image.Image]) -> Iterator[Frame]:
            nonlocal begun
            begun = begun or time.monotonic()
            gone, part = time.monotonic() - begun, self._seconds([job])
            seconds = limit - gone
            if self.lent:
                seconds = min(READY_SECONDS + ALLOWANCE * part, LENT_SECONDS)
            run = self._run(seconds, _paint, [job], given)
            return whole(self._answers(part, run, expected - gone))

        return filmed(reel, paint, film, most)

    def mirror(self) -> tuple[Mirror | Aside, Place]:
        """What one needs who looks into a live dream, and a place in the line."""
        place = Place(self.live_line)
        if self.lent:
            return Aside(), place
        return Mirror(lambda job, given: self.engine.paint([job], to_tensors(given))), place

    def leases(self, expected: float) -> int:
        """How often a GPU is asked for, for a film of so many seconds of work."""
        return math.ceil(expected / ((LENT_SECONDS - READY_SECONDS) / ALLOWANCE))

    def judged(
        self, recipe: ClassRecipe, picture: Tensor | None = None
    ) -> Iterator[tuple[Frame, Verdict]]:
        """A class image, with the verdict on each frame; checked before this returns."""
        jobs = self.engine.plan([recipe], _size(picture))
        return self._done(_judged, self._seconds(jobs), jobs, _images(picture))

    def answered(
        self,
        picture: Tensor,
        recipe: ChannelRecipe,
        count: int,
        spot: tuple[float, float] | None = None,
        *,
        raised: bool = False,
    ) -> tuple[Response, Iterator[Frame]]:
        """What the layer of a recipe answers to a picture (see `Engine.response`), and then the
        channels that answer most (see `Response.top`), from noise or `raised` in it.

        A GPU is lent once for both.
        """
        self.engine.plan([recipe.but(size=None)], size_of(picture))  # Checks; nothing runs.
        many = range(min(count, recipe.card.channel_count(recipe.layer)))
        priced = [recipe.but(channel=channel) for channel in many]
        expected = self._seconds(self.engine.plan(priced, size_of(picture) if raised else None))
        given = (to_image(picture), recipe, count, spot, raised)
        answers = self._done(_answered, expected, *given, taught=False)
        seen, activation = next(answers)
        return Response(torch.from_numpy(seen), torch.from_numpy(activation)), answers


def _give_back_memory() -> None:
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


def _size(picture: Tensor | None) -> Size | None:
    return None if picture is None else size_of(picture)


def _images(picture: Tensor | None) -> list[Image.Image]:
    return [] if picture is None else [to_image(picture)]


def _asked(seconds: float, *_: Any) -> int:
    """For how long a GPU is asked for."""
    return math.ceil(seconds)


def _paint(
    engine: Engine,
    seconds: float,
    jobs: Sequence[AnyJob],
    given: Sequence[Image.Image],
    every: bool = False,
) -> Generator[Frame, None, None]:
    until = time.monotonic() + seconds
    frames = engine.paint(jobs, to_tensors(given) if given else None, until)
    for frame in worth_showing(frames, until, every):
        yield _on_host(frame)


def _judged(
    engine: Engine, seconds: float, jobs: Sequence[Job[ClassRecipe]], given: Sequence[Image.Image]
) -> Generator[tuple[Frame, Verdict], None, None]:
    for frame in _paint(engine, seconds, jobs, given):
        yield frame, engine.verdict(frame.tensor, jobs[0].recipes[0])


def _answered(
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
    yield response.picture.numpy(), response.activation.numpy()
    recipes = [recipe.but(channel=each.channel) for each in response.top(count, spot)]
    jobs = engine.plan(recipes, size_of(picture) if raised else None, kept=True)
    yield from _paint(engine, seconds, jobs, [photo] if raised else [])


def worth_showing(frames: Iterator[Frame], until: float, every: bool = False) -> Iterator[Frame]:
    """The first frame, one now and then, and all that are finished; or `every` one.

    Those of large pictures, which take long to show, come more seldom. When it is later than
    `until`, by `time.monotonic`, it ends with the picture so far.

    Raises:
        OutOfTime: if there is none as yet.
        TimeIsUp: if the last one is finished, and others were to come.
    """
    shown = time.monotonic()
    pause = SECONDS_BETWEEN_PREVIEWS
    came = False
    try:
        for frame in frames:
            now, came = time.monotonic(), came or frame.finished or frame.step > 0
            if frame.finished:
                yield frame
                continue
            check_time(until)
            if every or frame.step == 0 or now - shown > pause:
                yield frame
                shown = time.monotonic()
                pause = max(SECONDS_BETWEEN_PREVIEWS, 4 * (shown - now))
    except OutOfTime:
        if not came:
            raise
        so_far = f"time was up after {frame.step} of {frame.total} steps, this is how far it came"
        yield end_early(frame, f"{so_far}; {QUICKER}")


def whole(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Those frames.

    Raises:
        TimeIsUp: where they end before the picture is done.
    """
    for frame in frames:
        if frame.ended:
            raise TimeIsUp(frame.ended)
        yield frame


def _on_host(frame: Frame) -> Frame:
    """The frame with its pictures as images, shrunk where they are only to be looked at, and no
    tensor of a device.
    """
    images = frame.pictures()
    if not (frame.finished or frame.ended):
        for image in images:
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    objective = None if frame.objective is None else np.array(frame.values)
    return replace(frame, objective=objective, paint=partial(to_tensors, images))
