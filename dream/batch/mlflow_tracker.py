"""A record of pictures in MLflow: of each its recipe, how its objective rose, and itself."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from dream.batch.manifest_row import ManifestRow
from dream.errors import DreamError, first_line

# What a server takes at once.
MAX_METRICS_PER_CALL = 1000
# A server that is not there is found out in seconds, not minutes; others are told nothing, and the
# terminal no address for each picture.
MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class MlflowTracker:
    """An experiment of an MLflow server or a database, as `uri` says; "" asks MLflow's settings.

    Raises:
        DreamError: if MLflow is not installed, or not to be reached.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        for name, value in MLFLOW_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import mlflow
        except ImportError as error:
            raise DreamError("--mlflow needs MLflow: pip install mlflow-skinny") from error
        self._errors = (mlflow.MlflowException, OSError)  # Those of requests are the latter, too.
        self.uri = uri or mlflow.get_tracking_uri()
        try:
            self._client: Any = mlflow.MlflowClient(tracking_uri=self.uri)
            there = self._client.get_experiment_by_name(experiment)
            self._experiment: str = (
                there.experiment_id if there else self._client.create_experiment(experiment)
            )
        except self._errors as error:
            raise self._unreachable_error(error) from error

    def _unreachable_error(self, error: Exception) -> DreamError:
        if self.uri.startswith(("http:", "https:", "databricks")):
            return DreamError(f"MLflow at {self.uri} does not answer: {first_line(error)}")
        # Since 3.17 no folder is taken, and without SQL, as in mlflow-skinny, no database.
        return DreamError(
            f"MLflow keeps no record at {self.uri}: give a server, as http://127.0.0.1:5000, or a "
            "database, as sqlite:///dreams.db, for which mlflow-skinny is not enough: pip install "
            f"mlflow ({first_line(error).partition('. ')[0]})"
        )

    def log(self, row: ManifestRow, picture: bytes = b"") -> None:
        """A run for a picture: its recipe, the objective by step, its seconds, and its PNG.

        One that could not be made has failed.

        Raises:
            DreamError: if MLflow is not to be reached.
        """
        try:
            run = self._client.create_run(self._experiment, run_name=row.output).info.run_id
            try:
                self._log_run(run, row, picture)
            except BaseException:
                with suppress(*self._errors):
                    self._client.set_terminated(run, "KILLED")
                raise
        except self._errors as error:
            raise self._unreachable_error(error) from error

    def _log_run(self, run: str, row: ManifestRow, picture: bytes) -> None:
        from mlflow.entities import Metric, Param, RunTag

        params = [Param(name, str(value)) for name, value in row.recipe.items() if value != ""]
        told = {"input": row.input, "sha256": row.sha256, "error": row.error, "remark": row.remark}
        tags = [RunTag(name, value) for name, value in told.items() if value]
        steps = [Metric("objective", value, 0, step) for step, value in enumerate(row.trace)]
        metrics = [Metric("seconds", row.seconds, 0, 0), *steps]
        self._client.log_batch(run, metrics[:MAX_METRICS_PER_CALL], params, tags)
        for start in range(MAX_METRICS_PER_CALL, len(metrics), MAX_METRICS_PER_CALL):
            self._client.log_batch(run, metrics[start : start + MAX_METRICS_PER_CALL])
        if picture:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, row.output)
                file.write_bytes(picture)
                self._client.log_artifact(run, str(file))
        self._client.set_terminated(run, "FAILED" if row.error else "FINISHED")
