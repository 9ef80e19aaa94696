"""Images are recorded in MLflow, checked by the API of a real server."""

import importlib.util
import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dream import DreamRecipe, Engine, load_image
from dream.__main__ import main
from dream.batch.mlflow_tracker import MlflowTracker
from tests.support.many import QUICK, RECIPE, add_unreadable_photos, make_photos, manifest
from tests.support.server import free_port, run_server

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("flask"), reason="MLflow's server is not here"),
    pytest.mark.filterwarnings("ignore"),  # MLflow's own warnings.
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an MLflow server that stores everything in a folder."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    without = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    log, environment = folder / "log", os.environ | without
    with run_server(command, log, port, cwd=folder, env=environment) as address:
        yield address


def query(address: str, what: str, **given: Any) -> Any:
    """Send the server a query; return its answer."""
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/{what}",
        json.dumps(given).encode() if given else None,
        {"Content-Type": "application/json"},
    )
    return json.load(urllib.request.urlopen(request, timeout=60))


def runs_by_name(address: str, experiment: str) -> dict[str, Any]:
    """Return the runs of an experiment by name."""
    found = query(address, f"experiments/get-by-name?experiment_name={experiment}")
    number = found["experiment"]["experiment_id"]
    made = query(address, "runs/search", experiment_ids=[number])["runs"]
    return {run["info"]["run_name"]: run for run in made}


@pytest.mark.at_scale
def test_a_batch_is_an_experiment_and_each_picture_a_run(
    server: str, tmp_path: Path, engine: Engine
) -> None:
    photos, out = make_photos(tmp_path / "in", 2), tmp_path / "night"
    add_unreadable_photos(photos)
    assert main(["batch", str(photos), str(out), *QUICK, "--mlflow", server]) == 0
    made = runs_by_name(server, "night")
    rows = {row["output"]: row for row in manifest(out)}
    assert made.keys() == rows.keys() and len(made) == 5
    for name, run in made.items():
        row, data = rows[name], run["data"]
        params = {each["key"]: each["value"] for each in data["params"]}
        tags = {each["key"]: each["value"] for each in data["tags"]}
        assert params == {key: str(value) for key, value in row["recipe"].items() if value != ""}
        assert tags["sha256"] == row["sha256"] and tags.get("error", "") == row["error"]
        assert run["info"]["status"] == ("FAILED" if row["error"] else "FINISHED")
    (name,) = (name for name in rows if name.startswith("dream-photo01"))
    number = made[name]["info"]["run_id"]
    told = query(server, f"metrics/get-history?run_id={number}&metric_key=objective")["metrics"]
    frames = list(engine.dream(load_image(photos / "photo01.png"), RECIPE))
    assert [each["step"] for each in told] == [0, 1]
    assert [each["value"] for each in told] == pytest.approx([each.value for each in frames[1:]])
    place = f"{server}/get-artifact?run_uuid={number}&path={name}"
    assert urllib.request.urlopen(place, timeout=60).read() == (out / name).read_bytes()


@pytest.mark.at_scale
def test_a_single_dream_is_a_run_too(server: str, tmp_path: Path) -> None:
    photo, out = make_photos(tmp_path / "in", 1) / "photo00.png", tmp_path / "dream.png"
    assert main(["image", str(photo), "-o", str(out), *QUICK, "--mlflow", server]) == 0
    (run,) = runs_by_name(server, "dreams").values()
    metrics = {each["key"]: each["step"] for each in run["data"]["metrics"]}
    assert metrics == {"seconds": 0, "objective": 1}
    params = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert DreamRecipe(max_side=int(params["max_side"]), layer=params["layer"]).max_side == 64


@pytest.mark.parametrize("command", ["batch", "image"])
def test_a_server_that_does_not_answer_is_one_line_before_anything_is_made(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    photos, out, uri = make_photos(tmp_path / "in", 1), tmp_path / "out", "http://127.0.0.1:9"
    given = [photos, out] if command == "batch" else [photos / "photo00.png", "-o", f"{out}.png"]
    assert main([command, *map(str, given), *QUICK, "--mlflow", uri]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"python -m dream: MLflow at {uri} does not answer: ")
    assert printed.count("\n") == 1 and [each.name for each in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("has_sql", [True, False])
def test_a_database_is_enough_and_what_is_none_says_what_to_give(
    has_sql: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    photo, uri = make_photos(tmp_path / "in", 1) / "photo00.png", f"sqlite:///{has_sql}.db"
    if not has_sql:
        remove_databases(monkeypatch)
    for given in (["--mlflow", uri], ["--mlflow", "runs"], ["--mlflow=nosuch://x"]):
        expected = 0 if has_sql and uri in given else 2
        assert main(["image", *given, str(photo), "-o", "out.png", *QUICK]) == expected
        printed = [each for each in capsys.readouterr().err.splitlines() if "INFO" not in each]
        if expected:
            (line,) = printed
            place = given[-1].removeprefix("--mlflow=")
            assert f"MLflow cannot write to {place}: give a server" in line
            assert "or a database, such as sqlite:///dreams.db" in line and line.endswith(")")
    assert (tmp_path / f"{has_sql}.db").exists() == (tmp_path / "out.png").exists() == has_sql


def remove_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave MLflow without databases, as mlflow-skinny is."""
    from mlflow.tracking._tracking_service import utils

    stores = dict(utils._tracking_store_registry._registry)
    stores = {scheme: store for scheme, store in stores.items() if scheme != "sqlite"}
    monkeypatch.setattr(utils._tracking_store_registry, "_registry", stores)


def test_what_was_not_logged_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow import MlflowClient

    photos, out, logged = make_photos(tmp_path / "in", 3), tmp_path / "away", 0
    uri = "sqlite:///runs.db"
    monkeypatch.chdir(tmp_path)
    MlflowClient(uri).create_experiment("away")  # It prints how it makes the database.
    capsys.readouterr()
    log = MlflowTracker.log

    def lost(self: MlflowTracker, *given: Any) -> None:
        nonlocal logged
        logged += 1
        if logged == 2:
            self.uri = "http://127.0.0.1:9"  # The server went away.
            self._client = MlflowClient(self.uri)
        log(self, *given)

    monkeypatch.setattr(MlflowTracker, "log", lost)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    given = ["batch", str(photos), str(out), *QUICK, "--mlflow", uri]
    assert main(given) == 2
    printed = capsys.readouterr()
    assert "does not answer" in printed.err and printed.err.count("\n") == 1
    assert "1 images were saved" in printed.out and len(manifest(out)) == 1
    assert main(given) == 0
    experiment = (client := MlflowClient(uri)).get_experiment_by_name("away")
    assert len(manifest(out)) == len(client.search_runs([experiment.experiment_id])) == 3
