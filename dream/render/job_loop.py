"""The render loop: runs the stages of jobs and yields a progress frame after each step."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dream.files.contact_sheet import draw_contact_sheet
from dream.recipe.base import Recipe
from dream.recipe.channel import ChannelRecipe
from dream.render.ascent import Ascent, gradient_ascent
from dream.render.plan import AnyJob, Stage
from dream.tensors import Size, to_pil_image, to_tensor

if TYPE_CHECKING:
    from dream.render.class_image import Verdict


@dataclass(frozen=True)
class Frame:
    """The state of a job after a step: progress counters and the current image or batch.

    A frame never changes. Nothing is computed or copied from the device until `values` or an image
    is read.

    Attributes:
        step: Steps done, of `total` in all jobs.
        total: Steps of all jobs.
        octave: Stage of this job, from 1 to `octaves`.
        octaves: Stages of this job.
        done: Share of the work done, weighted by expected time, from 0 to 1.
        finished: Whether these images are the result, or a frame of a video.
        objective: Values (N,) before this step; None in a job's first frame.
        render: Returns the images (N, 3, H, W) in [0, 1].
        recipes: The recipe of each image.
        octave_step: Steps done in this octave, of `octave_steps`.
        octave_steps: Steps of this octave.
        remark: How the recipes differ from what was requested, if they do.
        ended: Why no frame follows although this one is not finished.
        size: The (height, width) of each image.
        verdict: What the network sees in a class image, if the caller adds it, as the page does.
    """

    step: int
    total: int
    octave: int
    octaves: int
    done: float
    finished: bool
    objective: Tensor | NDArray[np.float64] | None
    render: Callable[[], Tensor]
    recipes: tuple[Recipe, ...] = ()
    octave_step: int = 0
    octave_steps: int = 0
    remark: str = ""
    ended: str = ""
    size: Size = (0, 0)
    verdict: Verdict | None = None

    def __repr__(self) -> str:
        height, width = self.size
        count = f"{len(self.recipes)} images of " if len(self.recipes) > 1 else ""
        return f"Frame(step {self.step} of {self.total}, {count}{width} x {height})"

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows: the image, or those of a batch on a contact sheet."""
        pictures = self.pictures()
        image = pictures[0]
        if len(pictures) > 1:
            labels = map(str, self.channels or range(1, len(pictures) + 1))
            image = draw_contact_sheet([*zip(labels, pictures, strict=True)])
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    @property
    def channels(self) -> tuple[int, ...]:
        """The channel of each image, if they visualize channels."""
        return tuple(each.channel for each in self.recipes if isinstance(each, ChannelRecipe))

    @property
    def values(self) -> list[float]:
        """The objective of each image before this step; empty in a job's first frame."""
        return [] if self.objective is None else list(self.objective.tolist())

    @property
    def value(self) -> float:
        """The summed objective before this step, comparable in an octave; NaN in a first frame."""
        return math.nan if self.objective is None else float(self.objective.sum())

    @property
    def silent(self) -> tuple[int, ...]:
        """The channels that nothing in their image has activated so far."""
        pairs = zip(self.channels, self.values, strict=False)
        return tuple(channel for channel, value in pairs if not value)

    @property
    def tensor(self) -> Tensor:
        """The images, (N, 3, H, W) in [0, 1], at full size whatever the octave."""
        return self.render()

    def pictures(self) -> list[Image.Image]:
        """Return new 8-bit RGB images of the batch."""
        return [to_pil_image(image) for image in torch.split(self.tensor, 1)]

    def picture(self) -> Image.Image:
        """Return a new 8-bit RGB image, the first of the batch."""
        return to_pil_image(self.tensor[:1])


def run_jobs(
    jobs: Sequence[AnyJob],
    ascents: Sequence[Iterable[Ascent]],
    seconds: Callable[[Stage], float],
) -> Iterator[Frame]:
    """Run jobs one after the other; yield a frame before each and after each of its steps.

    `ascents` are those of each job, one for each stage; they are made one by one. The last progress
    frame of a job is finished; so is the last one of each video frame. `seconds` estimates the
    duration of a stage. Close the iterator to stop.
    """
    total = sum(job.steps for job in jobs)
    durations = [[seconds(stage) for stage in job.stages] for job in jobs]
    total_duration = sum(map(sum, durations))
    step, last, elapsed = 0, 0, 0.0
    for number, (job, job_ascents) in enumerate(zip(jobs, ascents, strict=True), start=1):
        last += job.steps
        stages, frame_ends = job.stages, set(itertools.accumulate(map(len, job.frames)))
        for octave, octave_step, values, render in _run_job(job, job_ascents):
            octave_steps = stages[octave - 1].steps if stages else 0
            if values is not None:
                step += 1
                elapsed += durations[number - 1][octave - 1] / octave_steps
            share = elapsed / total_duration if step < total else 1.0
            yield Frame(
                step,
                total,
                octave,
                max(1, len(stages)),
                share if total else number / len(jobs),
                step == last or (octave in frame_ends and octave_step == octave_steps),
                values,
                render,
                job.recipes,
                octave_step,
                octave_steps,
                size=job.size,
            )


def _run_job(
    job: AnyJob, ascents: Iterable[Ascent]
) -> Iterator[tuple[int, int, Tensor | None, Callable[[], Tensor]]]:
    """Yield (octave, octave step, values, render) at the start, without values, and per step."""
    if job.cached_images:
        yield 1, 0, None, partial(to_batch, job.cached_images)
    for octave, (stage, ascent) in enumerate(zip(job.stages, ascents, strict=False), start=1):
        if octave == 1:
            yield octave, 0, None, partial(ascent.preview, ascent.variables[: stage.batch_size])
        for octave_step, values in enumerate(gradient_ascent(ascent, stage.steps), start=1):
            best, values = ascent.variables, values.view(stage.views, -1).mean(0)
            if stage.tries > 1:  # Show the best one.
                index = values.argmax(0, keepdim=True)
                best, values = best.index_select(0, index), values.index_select(0, index)
            yield octave, octave_step, values, partial(ascent.preview, best)


def to_batch(images: Sequence[Image.Image]) -> Tensor:
    """Return images of one size as a tensor (N, 3, H, W) in [0, 1]."""
    return torch.cat([to_tensor(image) for image in images])
