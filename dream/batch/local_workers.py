"""Run a batch on the GPUs or the CPU cores of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from queue import SimpleQueue

import torch

from dream.batch.destination import Destination
from dream.batch.manifest_row import ManifestRow
from dream.batch.tasks import Task
from dream.batch.worker import BatchWorker, RowBatches
from dream.networks.device import pick_device

MAX_CPU_WORKERS = 8
# Longest side, in pixels, of images that several CPU workers render at the same time.
MAX_PARALLEL_SIDE = 1024


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
        self.workers = [BatchWorker(name, weights_files, threads) for name in devices]
        self.engine = self.workers[0].engine
        self.device, self.worker_count = self.engine.device.type, len(self.workers)

    def run_batches(self, batches: Iterable[Sequence[Task]], url: str) -> RowBatches:
        """Run batches in parallel as `BatchWorker.run`; close the iterator to stop."""
        if self.worker_count > 1:
            yield from _run_parallel(batches, self.workers, url)
            return
        for batch in batches:
            yield from self.workers[0].run(batch, Destination(url))

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _run_parallel(
    batches: Iterable[Sequence[Task]], workers: Sequence[BatchWorker], url: str
) -> RowBatches:
    pending, lock, stopped = iter(batches), threading.Lock(), threading.Event()
    # Rows, the error that ended a worker, or None once a worker is finished.
    results: SimpleQueue[list[ManifestRow] | Exception | None] = SimpleQueue()

    def work(worker: BatchWorker) -> None:
        try:
            while True:
                with lock:
                    batch = next(pending, None)
                if batch is None:
                    return
                with closing(worker.run(batch, Destination(url))) as row_batches:
                    for rows in row_batches:
                        if stopped.is_set():
                            return
                        results.put(rows)
        except Exception as error:
            results.put(error)
        finally:
            results.put(None)

    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in workers]
    previous_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Applies to new threads: each worker has one core.
    for thread in threads:
        thread.start()
    running = len(threads)
    try:
        while running:
            result = results.get()
            if result is None:
                running -= 1
            elif isinstance(result, Exception):
                raise result
            else:
                yield result
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        torch.set_num_threads(previous_threads)
