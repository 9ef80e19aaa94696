"""Pictures made on a cluster, by Ray Data: rows of paths and recipes go, rows of the manifest come.

Ray tries again what a node that died had not finished; a picture made twice is the same file.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dream.engine import Engine
from dream.errors import DeviceError, DreamError, first_line
from dream.many.painter import Painter, Rows
from dream.many.place import Place
from dream.many.row import Row
from dream.many.tasks import Task

Rowed = dict[str, NDArray[Any]]
# What a cluster of this machine alone keeps for what goes to and fro, in bytes.
STORE = 200 * 10**6
REACHED_SECONDS = 10.0
# Nothing is told to others, and nothing to the user that Ray mends by itself.
QUIETLY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class Worker:
    """A painter of its own, on a share of a machine."""

    def __init__(self, place: str, device: str, files: Mapping[str, str]) -> None:
        self.place = Place(place)
        self.painter = Painter(device, files, threads=1 if device == "cpu" else None)

    def __call__(self, batch: Rowed) -> Rowed:
        """The rows of some tasks, or what went wrong with all of them."""
        (tasks,) = batch["tasks"]
        made: list[Row] | str
        try:
            rows = self.painter.rows(pickle.loads(tasks), self.place)
            made = [row for done in rows for row in done]
        except DreamError as error:
            made = str(error)
        return {"made": np.array([pickle.dumps(made)], object)}


class Cluster:
    """A Ray cluster by its address; "" is the one that `RAY_ADDRESS` names, or one made here.

    `files` are weights of one's own, which all of it must reach.

    Raises:
        DeviceError: if Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str, files: Mapping[str, str]) -> None:
        for name, value in QUIETLY.items():
            os.environ.setdefault(name, value)
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise DeviceError('--ray needs Ray: pip install "ray[data]"') from error
        self.ray, self.files = ray, files
        self.engine = Engine("cpu", files)  # For plans; nothing is painted here.
        known = address or os.environ.get("RAY_ADDRESS")
        own = {} if known else {"include_dashboard": False, "object_store_memory": STORE}
        try:
            _reach(known or "")
            ray.init(known, logging_level=logging.ERROR, log_to_driver=False, **own)
        except Exception as error:
            raise DeviceError(
                f"no Ray cluster at {known or 'hand'}: {first_line(error)}"
            ) from error
        there = ray.cluster_resources()
        self.device = "cuda" if there.get("GPU", 0) >= 1 else "cpu"
        self.workers = max(1, int(there.get("GPU" if self.device == "cuda" else "CPU", 0)))

    def rows(self, batches: Iterable[Sequence[Task]], place: str) -> Rows:
        """Have batches made, one at a time by each GPU, or else each core, of the cluster.

        Close the iterator to stop. Raises as `Painter.rows`.
        """
        data = self.ray.data
        data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        given = [{"tasks": pickle.dumps(list(each))} for each in batches]
        share = {"num_gpus": 1} if self.device == "cuda" else {"num_cpus": 1}
        made = data.from_items(given, override_num_blocks=len(given)).map_batches(
            Worker,
            fn_constructor_args=(place, self.device, dict(self.files)),
            batch_size=1,
            concurrency=min(self.workers, len(given)),
            **share,
        )
        try:
            for each in made.iter_rows():
                rows = pickle.loads(each["made"])
                if isinstance(rows, str):
                    raise DreamError(rows)
                yield rows
        except self.ray.exceptions.RayError as error:
            raise DeviceError(f"the Ray cluster failed: {first_line(error)}") from error

    def close(self) -> None:
        """Leave the cluster; end it, if it was made here."""
        self.ray.shutdown()


def _reach(address: str) -> None:
    """Raise an `OSError` if nothing is there, which Ray would find out in minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), REACHED_SECONDS).close()
