"""The worker of a batch run: an engine on one device that renders tasks to files."""

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

# Rows of finished tasks; an empty list after each step.
RowBatches = Generator[list[ManifestRow], None, None]


class BatchWorker:
    """An engine that renders tasks to files; `weights_files` are the user's, by model."""

    def __init__(
        self, device: str | None, weights_files: Mapping[str, str], threads: int | None = None
    ) -> None:
        self.engine = Engine(device, weights_files, threads=threads)

    def run(self, tasks: Sequence[Task], destination: Destination) -> RowBatches:
        """Render tasks to the destination, those with equal recipe and size as one batch.

        An error of a single image goes into its row.

        Raises:
            DreamError: if it concerns all images, such as missing weights or a full disk.
        """
        groups: dict[tuple[DreamRecipe, Size], list[tuple[ManifestRow, Tensor]]] = {}
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
                image = load_image(task.input)
                self.engine.plan([task.recipe], size_of(image))
            except PictureError as error:
                yield [replace(row, error=str(error))]
            else:
                groups.setdefault((task.recipe, size_of(image)), []).append((row, image))
        for (recipe, _), group in groups.items():
            yield from self._dream_group(recipe, group, destination)

    def _dream_group(
        self,
        recipe: DreamRecipe,
        group: Sequence[tuple[ManifestRow, Tensor]],
        destination: Destination,
    ) -> RowBatches:
        start = time.perf_counter()
        images = torch.cat([image for _, image in group])
        (job,) = self.engine.plan([recipe], size_of(images))
        objectives = []  # They stay on the device: a copy to the CPU would wait for each step.
        try:
            for frame in self.engine.render([job.for_batch(len(group))], images):
                if frame.remark and len(group) > 1:
                    raise DeviceError(frame.remark)
                objectives += [] if frame.objective is None else [frame.objective]
                yield []
            results = [_to_image_or_error(image) for image in torch.split(frame.tensor, 1)]
        except DeviceError as error:
            if len(group) > 1:  # The batch is too large for the memory; single images may fit.
                for member in group:
                    yield from self._dream_group(recipe, [member], destination)
                return
            results = [error]
        seconds = (time.perf_counter() - start) / len(group)
        values_by_step = [objective.tolist() for objective in objectives]
        for index, ((row, _), result) in enumerate(zip(group, results, strict=True)):
            if isinstance(result, DreamError):
                yield [replace(row, error=str(result))]
                continue
            destination.save_image(row.output, result, frame.recipes[index])
            trace = tuple(values[index] for values in values_by_step)
            last = trace[-1] if trace else None
            row = replace(row, seconds=seconds, objective=last, trace=trace)
            yield [replace(row, remark=frame.remark)]


def _to_image_or_error(image: Tensor) -> Image.Image | DreamError:
    try:
        return to_pil_image(image)
    except PictureError as error:
        return error
