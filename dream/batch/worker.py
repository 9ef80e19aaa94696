"""The workers of a batch run, which render tasks to files on the devices of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue

import torch
from torch import Tensor

from dream.batch.destination import Destination
from dream.batch.manifest import ManifestRow, input_file_sha256
from dream.batch.tasks import Task, recipe_summary
from dream.engine import Engine
from dream.errors import DeviceError, PictureError
from dream.files.image import load_image
from dream.networks.device import pick_device
from dream.recipe import DreamRecipe
from dream.tensors import Size, size_of, to_pil_image

MAX_CPU_WORKERS = 8
# Longest side, in pixels, of images that several CPU workers render at the same time.
MAX_PARALLEL_SIDE = 1024

# Rows of finished tasks; an empty list after each step.
RowBatches = Generator[list[ManifestRow], None, None]


def run_tasks(engine: Engine, tasks: Sequence[Task], destination: Destination) -> RowBatches:
    """Render tasks to the destination, those with equal recipe and size as one batch.

    An error of a single image goes into its row.

    Raises:
        DreamError: if it concerns all images, such as missing weights or a full disk.
    """
    groups: dict[tuple[DreamRecipe, Size, int | None], list[tuple[ManifestRow, Tensor]]] = {}
    for task in tasks:
        weights = engine.networks.weights_id(task.recipe.model)
        row = ManifestRow(
            task.input,
            input_file_sha256(task.input),
            task.output,
            recipe_summary(task.recipe),
            weights,
        )
        try:
            image = load_image(task.input)
            engine.plan([task.recipe], size_of(image))
        except PictureError as error:
            yield [replace(row, error=str(error))]
        else:
            key = task.recipe, size_of(image), task.quality
            groups.setdefault(key, []).append((row, image))
    for (recipe, _, quality), group in groups.items():
        yield from _dream_group(engine, recipe, group, destination, quality)


def _dream_group(
    engine: Engine,
    recipe: DreamRecipe,
    group: Sequence[tuple[ManifestRow, Tensor]],
    destination: Destination,
    quality: int | None,
) -> RowBatches:
    start = time.perf_counter()
    images = torch.cat([image for _, image in group])
    (job,) = engine.plan([recipe], size_of(images))
    objectives = []  # They stay on the device: a copy to the CPU would wait for each step.
    try:
        for frame in engine.render([job.for_batch(len(group))], images):
            if frame.remark and len(group) > 1:
                raise DeviceError(frame.remark)
            objectives += [] if frame.objective is None else [frame.objective]
            yield []
        results = torch.split(frame.tensor, 1)
    except DeviceError as error:
        if len(group) == 1:
            yield [replace(group[0][0], error=str(error))]
            return
        for member in group:  # The batch is too large for the memory; single images may fit.
            yield from _dream_group(engine, recipe, [member], destination, quality)
        return
    values_by_step = [objective.tolist() for objective in objectives]
    seconds = (time.perf_counter() - start) / len(group)
    for index, ((row, _), result) in enumerate(zip(group, results, strict=True)):
        try:
            pil_image = to_pil_image(result)
        except PictureError as error:
            yield [replace(row, error=str(error))]
            continue
        destination.save_image(row.output, pil_image, frame.recipes[index], quality)
        trace = tuple(values[index] for values in values_by_step)
        last = trace[-1] if trace else None
        row = replace(row, seconds=seconds, objective=last, trace=trace)
        yield [replace(row, remark=frame.remark)]


def local_devices(side: int = 0) -> list[str]:
    """Return one device name per worker for images of this longest side.

    Each GPU is a worker. On a CPU each core is one, because threads that share an image wait for
    each other; large images get a single worker, because several would need too much memory.
    """
    best = pick_device()
    if best.type == "cuda" and best.index is None:
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    cores = (
        min(torch.get_num_threads(), MAX_CPU_WORKERS)
        if best.type == "cpu" and side <= MAX_PARALLEL_SIDE
        else 1
    )
    return [str(best)] * cores


class LocalWorkers:
    """Workers on this machine, one per device; `weights_files` are the user's weights by model."""

    def __init__(self, weights_files: Mapping[str, str], devices: Sequence[str]) -> None:
        threads = 1 if len(devices) > 1 else None
        self.engines = [Engine(name, weights_files, threads=threads) for name in devices]
        self.engine = self.engines[0]
        self.device, self.worker_count = self.engine.device.type, len(self.engines)

    def run_batches(self, batches: Iterable[Sequence[Task]], url: str) -> RowBatches:
        """Run batches in parallel as `run_tasks`; close the iterator to stop."""
        if self.worker_count > 1:
            yield from _run_parallel(batches, self.engines, url)
            return
        for batch in batches:
            yield from run_tasks(self.engine, batch, Destination(url))


def _run_parallel(
    batches: Iterable[Sequence[Task]], engines: Sequence[Engine], url: str
) -> RowBatches:
    pending, stopped = iter([*batches]), threading.Event()  # Threads may share a list's iterator.
    # Rows; at a worker's end its error, or None.
    results: SimpleQueue[list[ManifestRow] | Exception | None] = SimpleQueue()

    def work(engine: Engine) -> None:
        error = None
        try:
            for batch in pending:
                for rows in run_tasks(engine, batch, Destination(url)):
                    if stopped.is_set():
                        return
                    results.put(rows)
        except Exception as failure:
            error = failure
        finally:
            results.put(error)

    # Not of a pool, whose threads end before Python does: a second Ctrl-C would wait for a step.
    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in engines]
    previous_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Applies to new threads: each worker has one core.
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            while isinstance(result := results.get(), list):
                yield result
            if result:
                raise result
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        torch.set_num_threads(previous_threads)
