"""Pictures made on this machine: by its GPUs, or its cores, side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from queue import SimpleQueue

import torch

from dream.many.painter import Painter, Rows
from dream.many.place import Place
from dream.many.row import Row
from dream.many.tasks import Task
from dream.networks.device import pick_device

# So many of a CPU at once, and pictures of up to so many pixels a side.
MOST = 8
SIDE = 1024


def devices(side: int = 0) -> list[str]:
    """The devices of this machine that paint pictures of that longest side, each one at a time.

    All GPUs; or each core by itself, as two threads of one picture wait for one another; but large
    pictures one by one, as several would take much memory.
    """
    best = pick_device()
    if best.type == "cuda" and best.index is None:
        return [f"cuda:{place}" for place in range(torch.cuda.device_count())]
    cores = min(torch.get_num_threads(), MOST) if best.type == "cpu" and side <= SIDE else 1
    return [str(best)] * cores


class Here:
    """This machine: a painter for each of those devices. `files` are weights of one's own."""

    def __init__(self, files: Mapping[str, str], names: Sequence[str]) -> None:
        threads = 1 if len(names) > 1 else None
        self.painters = [Painter(name, files, threads) for name in names]
        self.engine = self.painters[0].engine
        self.device, self.workers = self.engine.device.type, len(self.painters)

    def rows(self, batches: Iterable[Sequence[Task]], place: str) -> Rows:
        """Have batches made, side by side. Close the iterator to stop. Raises as `Painter.rows`."""
        if self.workers > 1:
            yield from _side_by_side(batches, self.painters, place)
            return
        for batch in batches:
            yield from self.painters[0].rows(batch, Place(place))

    def close(self) -> None:
        """Nothing is left behind."""


def _side_by_side(
    batches: Iterable[Sequence[Task]], painters: Sequence[Painter], place: str
) -> Rows:
    waiting, lock, stopped = iter(batches), threading.Lock(), threading.Event()
    done: SimpleQueue[list[Row] | Exception | None] = SimpleQueue()

    def work(painter: Painter) -> None:
        try:
            while True:
                with lock:
                    batch = next(waiting, None)
                if batch is None:
                    return
                with closing(painter.rows(batch, Place(place))) as rows:
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
