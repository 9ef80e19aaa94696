"""Who makes pictures of tasks: a device with its networks."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

import torch
from PIL import Image
from torch import Tensor

from dream.batch.destination import Destination
from dream.batch.manifest_row import ManifestRow, input_file_sha256
from dream.batch.tasks import Task, recipe_summary
from dream.engine import Engine
from dream.errors import DeviceError, DreamError, PictureError
from dream.files.image import load_image
from dream.recipe import DreamRecipe
from dream.tensors import Size, size_of, to_pil_image

# Rows that are done; none after a step.
RowBatches = Generator[list[ManifestRow], None, None]


class BatchWorker:
    """An engine that makes tasks into files; workers of a cluster have one each."""

    def __init__(
        self, device: str | None, files: Mapping[str, str], threads: int | None = None
    ) -> None:
        self.engine = Engine(device, files, threads=threads)

    def run(self, tasks: Sequence[Task], place: Destination) -> RowBatches:
        """Make those pictures in a place; of one size, and by one recipe, together.

        What is wrong with one is said in its row.

        Raises:
            DreamError: if it is wrong with all: weights that cannot be had, a place that is full.
        """
        alike: dict[tuple[DreamRecipe, Size], list[tuple[ManifestRow, Tensor]]] = {}
        for task in tasks:
            weights = self.engine.networks.weights_id(task.recipe.model)
            row = ManifestRow(
                task.input,
                input_file_sha256(task.input),
                task.output,
                recipe_summary(task.recipe),
                weights,
            )
            try:
                picture = load_image(task.input)
                self.engine.plan([task.recipe], size_of(picture))
            except PictureError as error:
                yield [replace(row, error=str(error))]
            else:
                alike.setdefault((task.recipe, size_of(picture)), []).append((row, picture))
        for (recipe, _), given in alike.items():
            yield from self._dream_group(recipe, given, place)

    def _dream_group(
        self, recipe: DreamRecipe, given: Sequence[tuple[ManifestRow, Tensor]], place: Destination
    ) -> RowBatches:
        start = time.perf_counter()
        pictures = torch.cat([picture for _, picture in given])
        (job,) = self.engine.plan([recipe], size_of(pictures))
        objectives = []  # On the device: to fetch one would wait for each step.
        try:
            for frame in self.engine.render([job.for_batch(len(given))], pictures):
                if frame.remark and len(given) > 1:
                    raise DeviceError(frame.remark)
                objectives += [] if frame.objective is None else [frame.objective]
                yield []
            made = [_to_image_or_error(each) for each in torch.split(frame.tensor, 1)]
        except DeviceError as error:
            if len(given) > 1:  # Too much together; each by itself may fit.
                for each in given:
                    yield from self._dream_group(recipe, [each], place)
                return
            made = [error]
        seconds = (time.perf_counter() - start) / len(given)
        trace = [each.tolist() for each in objectives]
        for at, ((row, _), picture) in enumerate(zip(given, made, strict=True)):
            if isinstance(picture, DreamError):
                yield [replace(row, error=str(picture))]
                continue
            place.save_image(row.output, picture, frame.recipes[at])
            climbed = tuple(values[at] for values in trace)
            last = climbed[-1] if climbed else None
            made_so = replace(row, seconds=seconds, objective=last, trace=climbed)
            yield [replace(made_so, remark=frame.remark)]


def _to_image_or_error(image: Tensor) -> Image.Image | DreamError:
    try:
        return to_pil_image(image)
    except PictureError as error:
        return error
