"""Run a batch on a Ray cluster with Ray Data: tasks go out, manifest rows come back.

Ray repeats the unfinished tasks of a node that died; an image rendered twice is the same file.
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
from dream.batch.manifest import ManifestRow
from dream.batch.tasks import Task
from dream.batch.worker import RowBatches, run_tasks
from dream.engine import Engine
from dream.errors import DeviceError, DreamError, first_line
from dream.networks.device import use_deterministic_cudnn
from dream.recipe import DreamRecipe

RayBatch = dict[str, NDArray[Any]]
# Object store of a cluster that is started on this machine.
OBJECT_STORE_BYTES = 200 * 10**6
CONNECT_SECONDS = 10.0
MAX_START_ATTEMPTS = 5
# Send no usage statistics, and log nothing that Ray repairs by itself.
RAY_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class RayWorker:
    """An engine in a Ray actor.

    It holds all recipes, and tasks refer to them by index, because a recipe may contain images.
    """

    def __init__(
        self, url: str, device: str, weights_files: dict[str, str], recipes: Sequence[DreamRecipe]
    ) -> None:
        use_deterministic_cudnn()  # As `dream batch` does in its own process.
        self.destination, self.recipes = Destination(url), recipes
        self.engine = Engine(device, weights_files, threads=1 if device == "cpu" else None)

    def __call__(self, batch: RayBatch) -> RayBatch:
        """Return the pickled manifest rows of a batch of tasks, or the error of all of them."""
        (pickled_tasks,) = batch["tasks"]
        result: list[ManifestRow] | str
        try:
            tasks = [
                Task(source, output, self.recipes[index], quality=quality)
                for source, output, index, quality in pickle.loads(pickled_tasks)
            ]
            batches = run_tasks(self.engine, tasks, self.destination)
            result = [row for rows in batches for row in rows]
        except DreamError as error:
            result = str(error)
        return {"result": np.array([pickle.dumps(result)], object)}


class RayCluster:
    """A Ray cluster; all nodes can read `weights_files`, the user's weights by model.

    Without an `address` it is that of `RAY_ADDRESS`, the one that `ray start` started on this
    machine, or a new one.

    Raises:
        DeviceError: if Ray is not installed or there is no such cluster.
    """

    def __init__(self, address: str, weights_files: Mapping[str, str]) -> None:
        for name, value in RAY_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise DeviceError('--ray needs Ray: pip install "ray[data]"') from error
        self.ray, self.weights_files = ray, weights_files
        self.engine = Engine("cpu", weights_files)  # Only plans; it renders nothing.
        known = address or os.environ.get("RAY_ADDRESS")
        new_cluster = (
            {} if known else {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        )
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            _check_reachable(known or "")
            with _cluster_start_lock():
                try:
                    ray.init(known, **quiet, **new_cluster)
                except ValueError:  # A cluster of `ray start` does not accept these options.
                    ray.init(known, **quiet)
        except Exception as error:
            problem = f"at {known}" if known else "can be started"
            raise DeviceError(f"no Ray cluster {problem}: {first_line(error)}") from error
        resources = ray.cluster_resources()
        self.device = "cuda" if resources.get("GPU", 0) >= 1 else "cpu"
        self.worker_count = max(1, int(resources.get("GPU" if self.device == "cuda" else "CPU", 0)))

    def run_batches(self, batches: Iterable[Sequence[Task]], url: str) -> RowBatches:
        """Run batches as `run_tasks` on each GPU, or else each core; close the iterator to stop."""
        self.ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        indices: dict[DreamRecipe, int] = {}

        def to_message(task: Task) -> tuple[Any, ...]:
            index = indices.setdefault(task.recipe, len(indices))
            return task.input, task.output, index, task.quality

        items = [{"tasks": pickle.dumps([*map(to_message, batch)])} for batch in batches]
        try:
            for attempts_left in reversed(range(MAX_START_ATTEMPTS)):
                try:
                    yield from self._run_tasks(items, tuple(indices), url)
                    return
                except self.ray.exceptions.ActorAlreadyExistsError:
                    # Shards that start together all create an actor that Ray Data allows once.
                    if not attempts_left:
                        raise
        except self.ray.exceptions.RayError as error:
            raise DeviceError(f"the Ray cluster failed: {first_line(error)}") from error

    def _run_tasks(
        self, items: list[dict[str, bytes]], recipes: tuple[DreamRecipe, ...], url: str
    ) -> RowBatches:
        resources = {"num_gpus": 1} if self.device == "cuda" else {"num_cpus": 1}
        results = self.ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            RayWorker,
            fn_constructor_args=(url, self.device, dict(self.weights_files), recipes),
            batch_size=1,
            concurrency=min(self.worker_count, len(items)),
            **resources,
        )
        for result in results.iter_rows():
            rows = pickle.loads(result["result"])
            if isinstance(rows, str):
                raise DreamError(rows)
            yield rows

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        self.ray.shutdown()


@contextmanager
def _cluster_start_lock() -> Iterator[None]:
    """Let one process at a time start a cluster: Ray gives each only 30 seconds to start."""
    try:
        import fcntl
    except ImportError:  # Windows.
        yield
        return
    with open(__file__, "rb") as file:  # Closing it releases the lock.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_reachable(address: str) -> None:
    """Raise an `OSError` if nothing listens at the address; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
