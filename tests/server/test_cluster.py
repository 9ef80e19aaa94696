"""Batches on a Ray cluster give the same files as without one, even if a node dies midway."""

import importlib.util
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dream import Engine, load_image
from dream.__main__ import main
from dream.batch.manifest import Manifest
from dream.batch.ray_cluster import RayWorker, _cluster_start_lock
from dream.files.embedded_images import embed_guide
from dream.recipe.presets import sweep
from tests.conftest import EXAMPLES, is_frame
from tests.support.many import QUICK, RECIPE, add_unreadable_photos, make_photos, manifest

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed here"),
    pytest.mark.skipif(sys.platform != "linux", reason="Ray has several nodes on Linux alone"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own warnings.
]
# A lost node is detected within a second or two.
FAST_HEALTH_CHECK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start two nodes of one core each on this machine."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    about = {"num_cpus": 1, "object_store_memory": 80 * 10**6}
    head = about | {"include_dashboard": False, "_system_config": FAST_HEALTH_CHECK}
    made = Cluster(initialize_head=True, head_node_args=head)
    made.second = made.add_node(**about)
    yield made
    made.shutdown()


@pytest.mark.at_scale
def test_a_cluster_makes_the_same_pictures_although_a_node_dies(
    tmp_path: Path,
    engine: Engine,
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = make_photos(tmp_path / "in", 2), tmp_path / "out"
    add_unreadable_photos(photos)
    add, rows = Manifest.add, 0

    def counted(self: Manifest, row: Any) -> None:
        nonlocal rows
        rows += 1
        if rows == 4:
            cluster.remove_node(cluster.second, allow_graceful=False)
        add(self, row)

    monkeypatch.setattr(Manifest, "add", counted)
    seeds = "seed=" + ",".join(map(str, range(8)))
    given = ["batch", str(photos), str(out), *QUICK, "--sweep", seeds, "--ray", cluster.address]
    assert main(given) == 0
    made = manifest(out)
    assert len({row["output"] for row in made}) == len(made) == 5 * 8
    assert sum(bool(row["error"]) for row in made) == 3 * 8
    for recipe in sweep(RECIPE, {"seed": range(8)}):
        *_, frame = engine.dream(load_image(photos / "photo01.png"), recipe)
        name = f"dream-photo01-inception4c-i5-seed{recipe.seed}-octaves1-iterations2-max_side64.png"
        assert is_frame(out / name, frame)
    assert "16 made, 24 cannot be dreamed" in capsys.readouterr().out


@pytest.fixture
def started_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start a cluster by `ray start` on this machine."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:  # Sockets' paths are short.
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        monkeypatch.setenv("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += ["--num-cpus", "1", "--port", "0", "--include-dashboard", "false"]
        command += ["--object-store-memory", str(80 * 10**6)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        address = Path(folder, "ray", "ray_current_cluster")
        while not address.exists():
            assert process.poll() is None
            time.sleep(0.2)
        yield
        process.terminate()
        process.wait()


@pytest.mark.at_scale
def test_a_cluster_that_was_started_here_is_taken_and_is_sent_a_guide_once(
    tmp_path: Path, engine: Engine, started_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray.data

    sent: list[Any] = []
    from_items = ray.data.from_items

    def raced(items: list[Any], **about: Any) -> Any:
        sent.append(pickle.dumps(items))
        if len(sent) < 3:  # As when several shards start at once.
            raise ray.exceptions.ActorAlreadyExistsError("datasets_stats_actor already exists")
        return from_items(items, **about)

    monkeypatch.setattr(ray.data, "from_items", raced)
    photos, out = make_photos(tmp_path / "in", 1), tmp_path / "out"
    guide = str(EXAMPLES / "rocket.jpg")
    given = ["batch", str(photos), str(out), *QUICK, "--guide", guide, "--sweep", "seed=1,2"]
    assert main([*given, "--ray"]) == 0
    recipe = RECIPE.with_changes(guide=embed_guide(guide))
    assert len(sent) == 3 and len(sent[-1]) < len(recipe.guide) / 4
    for row in manifest(out):
        *_, frame = engine.dream(
            load_image(photos / "photo00.png"), recipe.with_changes(seed=row["recipe"]["seed"])
        )
        assert is_frame(out / row["output"], frame)


def test_clusters_of_one_machine_begin_one_after_the_other() -> None:
    """Of four at once none started within Ray's limit of 30 seconds, on two busy cores."""
    begun: list[str] = []

    def begin(_: int) -> None:
        with _cluster_start_lock():
            begun.append("begins")
            time.sleep(0.05)
            begun.append("is there")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, range(4)))
    assert begun == ["begins", "is there"] * 4


def test_workers_have_pictures_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[bool] = []
    monkeypatch.setattr(
        "dream.batch.ray_cluster.use_deterministic_cudnn", lambda: called.append(True)
    )
    RayWorker(str(tmp_path), "cpu", {}, ())
    assert called == [True]


def test_a_cluster_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    photos = make_photos(tmp_path / "in", 1)
    assert main(["batch", str(photos), str(tmp_path / "out"), *QUICK, "--ray", address]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"python -m dream: no Ray cluster at {address}: ")
    assert printed.count("\n") == 1
