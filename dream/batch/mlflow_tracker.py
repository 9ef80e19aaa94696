"""Log images to MLflow: recipe, objective by step, and the file."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from dream.batch.manifest import ManifestRow
from dream.errors import DreamError, first_line

# The limit of MLflow servers.
MAX_METRICS_PER_CALL = 1000
# Fail on an unreachable server within seconds, send no telemetry, and print no URL for each run.
MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


class MlflowTracker:
    """An MLflow experiment on the server or database `uri`; "" uses MLflow's own settings.

    Raises:
        DreamError: if MLflow is not installed or cannot be reached.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        for name, value in MLFLOW_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            import mlflow
        except ImportError as error:
            raise DreamError("--mlflow needs MLflow: pip install mlflow-skinny") from error
        self._errors = (mlflow.MlflowException, OSError)  # Errors of requests are OSErrors.
        self.uri = uri or mlflow.get_tracking_uri()
        try:
            self._client: Any = mlflow.MlflowClient(tracking_uri=self.uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment: str = (
                found.experiment_id if found else self._client.create_experiment(experiment)
            )
        except self._errors as error:
            raise self._unreachable_error(error) from error

    def _unreachable_error(self, error: Exception) -> DreamError:
        if self.uri.startswith(("http:", "https:", "databricks")):
            return DreamError(f"MLflow at {self.uri} does not answer: {first_line(error)}")
        # MLflow 3.17 refuses folders, and mlflow-skinny lacks SQL for databases.
        return DreamError(
            f"MLflow cannot write to {self.uri}: give a server, such as http://127.0.0.1:5000, or "
            "a database, such as sqlite:///dreams.db, which needs all of MLflow: pip install "
            f"mlflow ({first_line(error).partition('. ')[0]})"
        )

    def log(self, row: ManifestRow, image: bytes = b"") -> None:
        """Log a run: recipe, objectives, seconds and image; a row with an error as FAILED."""
        try:
            run = self._client.create_run(self._experiment, run_name=row.output).info.run_id
            try:
                self._log_run(run, row, image)
            except BaseException:
                with suppress(*self._errors):
                    self._client.set_terminated(run, "KILLED")
                raise
        except self._errors as error:
            raise self._unreachable_error(error) from error

    def _log_run(self, run: str, row: ManifestRow, image: bytes) -> None:
        from mlflow.entities import Metric, Param, RunTag

        params = [Param(name, str(value)) for name, value in row.recipe.items() if value != ""]
        texts = {"input": row.input, "sha256": row.sha256, "error": row.error, "remark": row.remark}
        tags = [RunTag(name, value) for name, value in texts.items() if value]
        steps = [Metric("objective", value, 0, step) for step, value in enumerate(row.trace)]
        metrics = [Metric("seconds", row.seconds, 0, 0), *steps]
        self._client.log_batch(run, metrics[:MAX_METRICS_PER_CALL], params, tags)
        for start in range(MAX_METRICS_PER_CALL, len(metrics), MAX_METRICS_PER_CALL):
            self._client.log_batch(run, metrics[start : start + MAX_METRICS_PER_CALL])
        if image:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, row.output)
                file.write_bytes(image)
                self._client.log_artifact(run, str(file))
        self._client.set_terminated(run, "FAILED" if row.error else "FINISHED")
