"""Pictures made on this machine: by its GPUs, or its cores, side by side."""

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

# So many of a CPU at once, and pictures of up to so many pixels a side.
MAX_CPU_WORKERS = 8
MAX_PARALLEL_SIDE = 1024


def local_devices(side: int = 0) -> list[str]:
    """The devices of this machine that paint pictures of that longest side, each one at a time.

    All GPUs; or each core by itself, as two threads of one picture wait for one another; but large
    pictures one by one, as several would take much memory.
    """
    best = pick_device()
    if best.type == "cuda" and best.index is None:
        return [f"cuda:{place}" for place in range(torch.cuda.device_count())]
    cores = (
        min(torch.get_num_threads(), MAX_CPU_WORKERS)
        if best.type == "cpu" and side <= MAX_PARALLEL_SIDE
        else 1
    )
    return [str(best)] * cores


class LocalWorkers:
    """This machine: a painter for each of those devices. `files` are weights of one's own."""

    def __init__(self, files: Mapping[str, str], names: Sequence[str]) -> None:
        threads = 1 if len(names) > 1 else None
        self.batch_workers = [BatchWorker(name, files, threads) for name in names]
        self.engine = self.batch_workers[0].engine
        self.device, self.workers = self.engine.device.type, len(self.batch_workers)

    def run_batches(self, batches: Iterable[Sequence[Task]], place: str) -> RowBatches:
        """Have batches made, side by side. Close the iterator to stop. Raises as `Painter.rows`."""
        if self.workers > 1:
            yield from _run_parallel(batches, self.batch_workers, place)
            return
        for batch in batches:
            yield from self.batch_workers[0].run(batch, Destination(place))

    def close(self) -> None:
        """Nothing is left behind."""


def _run_parallel(
    batches: Iterable[Sequence[Task]], painters: Sequence[BatchWorker], place: str
) -> RowBatches:
    waiting, lock, stopped = iter(batches), threading.Lock(), threading.Event()
    done: SimpleQueue[list[ManifestRow] | Exception | None] = SimpleQueue()

    def work(painter: BatchWorker) -> None:
        try:
            while True:
                with lock:
                    batch = next(waiting, None)
                if batch is None:
                    return
                with closing(painter.run(batch, Destination(place))) as rows:
                    for each in rows:
                        if stopped.is_set():
                            return
                        done.put(each)
        except Exception as error:
            done.put(error)
        finally:
            done.put(None)

    threads = [threading.Thread(target=work, args=(each,), daemon=True) for each in painters]
    own = torch.get_num_threads()
    torch.set_num_threads(1)  # For all threads to come: each has a core to itself.
    for thread in threads:
        thread.start()
    left = len(threads)
    try:
        while left:
            each = done.get()
            if each is None:
                left -= 1
            elif isinstance(each, Exception):
                raise each
            else:
                yield each
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
        torch.set_num_threads(own)
