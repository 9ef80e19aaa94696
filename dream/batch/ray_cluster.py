"""Pictures made on a cluster, by Ray Data: rows of paths and recipes go, rows of the manifest come.

Ray tries again what a node that died had not finished; a picture made twice is the same file.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dream.batch.destination import Destination
from dream.batch.manifest_row import ManifestRow
from dream.batch.tasks import Task
from dream.batch.worker import BatchWorker, RowBatches
from dream.engine import Engine
from dream.errors import DeviceError, DreamError, first_line
from dream.networks.device import use_deterministic_cudnn
from dream.recipe import DreamRecipe

RayBatch = dict[str, NDArray[Any]]
# What a cluster of this machine alone keeps for what goes to and fro, in bytes.
OBJECT_STORE_BYTES = 200 * 10**6
CONNECT_TIMEOUT = 10.0
TRIES = 5
# Nothing is told to others, and nothing to the user that Ray mends by itself.
RAY_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class RayWorker:
    """A painter of its own, on a share of a machine, which has all recipes: each may have pictures
    in it, and tasks name theirs by number.
    """

    def __init__(
        self, place: str, device: str, files: Mapping[str, str], recipes: Sequence[DreamRecipe]
    ) -> None:
        use_deterministic_cudnn()  # As the command does for itself.
        self.place, self.recipes = Destination(place), recipes
        self.painter = BatchWorker(device, files, threads=1 if device == "cpu" else None)

    def __call__(self, batch: RayBatch) -> RayBatch:
        """The rows of some tasks, or what went wrong with all of them."""
        (given,) = batch["tasks"]
        made: list[ManifestRow] | str
        try:
            tasks = [
                Task(source, output, self.recipes[number])
                for source, output, number in pickle.loads(given)
            ]
            rows = self.painter.run(tasks, self.place)
            made = [row for done in rows for row in done]
        except DreamError as error:
            made = str(error)
        return {"made": np.array([pickle.dumps(made)], object)}


class RayCluster:
    """A Ray cluster by its address; "" is the one that `RAY_ADDRESS` names, that `ray start` began
    on this machine, or one made here.

    `files` are weights of one's own, which all of it must reach.

    Raises:
        DeviceError: if Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str, files: Mapping[str, str]) -> None:
        for name, value in RAY_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise DeviceError('--ray needs Ray: pip install "ray[data]"') from error
        self.ray, self.files = ray, files
        self.engine = Engine("cpu", files)  # For plans; nothing is painted here.
        known = address or os.environ.get("RAY_ADDRESS")
        own = (
            {} if known else {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        )
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            _check_reachable(known or "")
            with _one_at_a_time():
                try:
                    ray.init(known, **quiet, **own)
                except ValueError:  # `ray start` has begun one on this machine, and it is as it is.
                    ray.init(known, **quiet)
        except Exception as error:
            raise DeviceError(
                f"no Ray cluster at {known or 'hand'}: {first_line(error)}"
            ) from error
        there = ray.cluster_resources()
        self.device = "cuda" if there.get("GPU", 0) >= 1 else "cpu"
        self.workers = max(1, int(there.get("GPU" if self.device == "cuda" else "CPU", 0)))

    def run_batches(self, batches: Iterable[Sequence[Task]], place: str) -> RowBatches:
        """Have batches made, one at a time by each GPU, or else each core, of the cluster.

        Close the iterator to stop. Raises as `Painter.rows`.
        """
        self.ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        numbers: dict[DreamRecipe, int] = {}
        given = [
            [
                (task.input, task.output, numbers.setdefault(task.recipe, len(numbers)))
                for task in each
            ]
            for each in batches
        ]
        try:
            for left in reversed(range(TRIES)):
                try:
                    yield from self._rows([*map(pickle.dumps, given)], tuple(numbers), place)
                    return
                except self.ray.exceptions.ActorAlreadyExistsError:
                    # Shards that begin at once each make what Ray Data has but one of.
                    if not left:
                        raise
        except self.ray.exceptions.RayError as error:
            raise DeviceError(f"the Ray cluster failed: {first_line(error)}") from error

    def _rows(
        self, given: Sequence[bytes], recipes: tuple[DreamRecipe, ...], place: str
    ) -> RowBatches:
        share = {"num_gpus": 1} if self.device == "cuda" else {"num_cpus": 1}
        items = [{"tasks": each} for each in given]
        made = self.ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            RayWorker,
            fn_constructor_args=(place, self.device, dict(self.files), recipes),
            batch_size=1,
            concurrency=min(self.workers, len(items)),
            **share,
        )
        for each in made.iter_rows():
            rows = pickle.loads(each["made"])
            if isinstance(rows, str):
                raise DreamError(rows)
            yield rows

    def close(self) -> None:
        """Leave the cluster; end it, if it was made here."""
        self.ray.shutdown()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Clusters begin one after the other on a machine: Ray gives each 30 seconds to be there."""
    try:
        import fcntl
    except ImportError:  # Windows has none.
        yield
        return
    with open(__file__, "rb") as file:  # Closing it gives way to the next.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_reachable(address: str) -> None:
    """Raise an `OSError` if nothing is there, which Ray would find out in minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
