"""Measure small dreams per minute: one by one, in batches, and on a Ray cluster of this machine.

The photos are 240 x 160, made from the five examples, and dreamed as the command line does. The
time counts from the start of the first dream, so it includes no start of a program.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path

from dream import DreamRecipe, load_image, save_image
from dream.batch.inputs import list_images
from dream.batch.ray_cluster import RayCluster
from dream.batch.tasks import Task, estimate_costs, group_batches, make_tasks
from dream.batch.worker import LocalWorkers, local_devices
from dream.tensors import resize_clamped
from tests.conftest import EXAMPLES
from tools.report import Report

COPIES = 5
ROUNDS = 2


def measure(report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for photo in EXAMPLES.glob("*.jpg"):
            picture = resize_clamped(load_image(photo), (160, 240))
            for copy in range(COPIES):
                save_image(picture, Path(folder, f"{photo.stem}{copy}.png"))
        all_workers = LocalWorkers({}, local_devices())
        one_worker = LocalWorkers({}, local_devices()[:1])
        todo = make_tasks(list_images(folder)[0], [DreamRecipe()], all_workers.device)
        sized = [
            (task, size)
            for task, size, _ in estimate_costs(all_workers.engine, all_workers.device, todo)
        ]
        alone, together = [[task] for task in todo], list(group_batches(sized))
        rates: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, pool, batches in (
                ("one by one", one_worker, alone),
                ("together", one_worker, together),
                ("together, a core each", all_workers, together),
            ):
                rates.setdefault(name, []).append(_rate(pool, batches))
        for name, made in rates.items():
            report.add_row(
                "pictures a minute",
                made=name,
                best=max(made),
                ratio=max(made) / max(rates["one by one"]),
            )
        if importlib.util.find_spec("ray"):
            for workers in (1, 2):
                cluster = RayCluster("", {})
                cluster.worker_count = workers
                rate = _rate(cluster, together)
                cluster.close()
                report.add_row(
                    "pictures a minute",
                    made=f"by {workers} of Ray's",
                    best=rate,
                    ratio=rate / max(rates["one by one"]),
                )


def _rate(workers: LocalWorkers | RayCluster, batches: list[list[Task]]) -> float:
    """Return the images per minute."""
    done, start = 0, 0.0
    with tempfile.TemporaryDirectory() as out:
        for rows in workers.run_batches(batches, out):
            if rows and not start:  # All rows of a batch arrive at its end.
                start = time.perf_counter() - rows[0].seconds * len(batches[0])
            done += len(rows)
        return 60 * done / (time.perf_counter() - start)


if __name__ == "__main__":
    measure(Report())
