"""Pictures made on this machine: by its one device, or by all of its GPUs side by side."""

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


def devices() -> list[str]:
    """The devices of this machine: all of its GPUs, or the one that is to be had."""
    best = pick_device()
    if best.type == "cuda" and best.index is None:
        return [f"cuda:{place}" for place in range(torch.cuda.device_count())]
    return [str(best)]


class Here:
    """This machine: a painter for each of its devices. `files` are weights of one's own."""

    def __init__(self, files: Mapping[str, str], names: Sequence[str] = ()) -> None:
        self.painters = [Painter(name, files) for name in names or devices()]
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
