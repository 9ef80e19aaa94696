"""Frames: the one loop that paints plans, and what it yields."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dream.networks.network import ValueAndGrad
from dream.recipe.base import Recipe
from dream.recipe.channel import ChannelRecipe
from dream.render.ascent import ImageFunction, Optimizer, gradient_ascent
from dream.render.plan import AnyJob, Stage
from dream.tensors import to_pil_image, to_tensor


def identity(image: Tensor) -> Tensor:
    """The picture: a view of all of it."""
    return image


@dataclass(frozen=True)
class Ascent:
    """How a stage is climbed: from which variables, painted and seen how, by which rule.

    `show` makes pictures in [0, 1], at full size whatever the stage, of the variables.
    """

    variables: Tensor
    value_and_grad: ValueAndGrad
    optimizer: Optimizer
    render: ImageFunction = identity
    transform: ImageFunction = identity
    preview: ImageFunction = identity


# A climb for each stage of a plan; each is sent the variables that the one before it reached.
Ascents = Generator[Ascent, Tensor, None]


@dataclass(frozen=True)
class Frame:
    """A moment of the work: how far it has come, and the picture, or batch of them, as it is now.

    `step` of `total` counts over everything, `octave` of `octaves` from 1, in this picture, and
    `octave_step` of `octave_steps` in this octave; `done` is the share of the work, from 0 to 1,
    that lies behind, by the time that it is expected to take; `finished` says that these pictures
    are the result, or a frame of a video. `recipes` are what each picture is made by; `remark` says
    in words if they became others than was asked for, `ended` why there are no more frames though
    this one is not finished. Frames stay as they are; nothing is worked out, nor copied from the
    device, until `values` or a picture is asked for.
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

    @property
    def channels(self) -> tuple[int, ...]:
        """What each picture of a visualization shows; none in others."""
        return tuple(each.channel for each in self.recipes if isinstance(each, ChannelRecipe))

    @property
    def values(self) -> list[float]:
        """The objective of each picture before this step; none in a first frame."""
        return [] if self.objective is None else list(self.objective.tolist())

    @property
    def value(self) -> float:
        """The objective before this step, summed over pictures; NaN in a first frame.

        Comparable within one octave.
        """
        return math.nan if self.objective is None else float(self.objective.sum())

    @property
    def silent(self) -> tuple[int, ...]:
        """The channels that nothing in their picture excites, as yet."""
        return tuple(
            each for each, value in zip(self.channels, self.values, strict=False) if not value
        )

    @property
    def tensor(self) -> Tensor:
        """The pictures, (N, 3, H, W) in [0, 1], at full size whatever the octave."""
        return self.render()

    def pictures(self) -> list[Image.Image]:
        """The pictures as 8-bit RGB images of their own."""
        return [to_pil_image(picture) for picture in torch.split(self.tensor, 1)]

    def picture(self) -> Image.Image:
        """The picture, or the first of several, as an 8-bit RGB image of its own."""
        return to_pil_image(self.tensor[:1])


def run_jobs(
    jobs: Sequence[AnyJob], ascents: Sequence[Ascents], seconds: Callable[[Stage], float]
) -> Iterator[Frame]:
    """Paint one job after the other; yields a frame before each, and after each of its steps.

    The last frame of each job is finished, as is each that ends one of a video. `seconds` says
    about how long a stage takes. Close the iterator to stop.
    """
    total = sum(job.steps for job in jobs)
    costs = [[seconds(stage) for stage in job.stages] for job in jobs]
    work = sum(map(sum, costs))
    step, worked = 0, 0.0
    for place, (job, climbing) in enumerate(zip(jobs, ascents, strict=True), start=1):
        octaves, last = max(1, len(job.stages)), step + job.steps
        for octave, octave_step, values, paint in _run_job(job, climbing):
            stage = job.stages[octave - 1] if job.stages else None
            if stage and values is not None:
                step += 1
                worked += costs[place - 1][octave - 1] / stage.steps
            yield Frame(
                step,
                total,
                octave,
                octaves,
                (worked / work if step < total else 1.0) if total else place / len(jobs),
                step == last or bool(stage and stage.ends_frame and octave_step == stage.steps),
                values,
                paint,
                job.recipes,
                octave_step,
                stage.steps if stage else 0,
            )


def _run_job(
    job: AnyJob, ascents: Ascents
) -> Iterator[tuple[int, int, Tensor | None, Callable[[], Tensor]]]:
    """The octave, the step in it, its values and what paints the pictures: at the start, without
    values, and after each step.
    """
    if job.cached_images:
        yield 1, 0, None, partial(to_batch, job.cached_images)
    left = job.steps
    reached: Tensor | None = None
    for octave, stage in enumerate(job.stages, start=1):
        if octave > 1 and not left:
            break  # Only stages without steps are to come.
        climb = next(ascents) if reached is None else ascents.send(reached)
        reached = climb.variables
        if octave == 1:
            yield octave, 0, None, partial(climb.preview, reached[: stage.batch_size])
        steps = gradient_ascent(
            reached,
            climb.render,
            climb.transform,
            climb.value_and_grad,
            climb.optimizer,
            steps=stage.steps,
        )
        for octave_step, (reached, values) in enumerate(steps, start=1):
            left -= 1
            shown, values = reached, values.view(stage.views, -1).mean(0)
            if stage.tries > 1:
                best = values.argmax(0, keepdim=True)
                shown, values = reached.index_select(0, best), values.index_select(0, best)
            yield octave, octave_step, values, partial(climb.preview, shown)


def to_batch(images: Sequence[Image.Image]) -> Tensor:
    """Images of one size as pictures (N, 3, H, W)."""
    return torch.cat([to_tensor(image) for image in images])
