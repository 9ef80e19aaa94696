"""The manifest of a batch run: a line of JSON per image, from which an interrupted run resumes."""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dream.batch.destination import Destination
from dream.batch.tasks import Task, recipe_summary
from dream.errors import PictureError
from dream.files.video_writer import file_sha256
from dream.recipe import DreamRecipe

# Files behind a URL cannot be appended to, so rows go into a new file at this interval.
FLUSH_SECONDS = 30.0
# The start of every row, which tells an incomplete row from foreign text.
ROW_PREFIX = b'{"input": '


@dataclass(frozen=True)
class ManifestRow:
    """The result of one task: duration in seconds and final objective, or the error.

    `sha256` is that of the photo file, `recipe` is `tasks.recipe_summary`, `weights` identify the
    weights file, and `remark` says how the image differs from the request. `trace`, the objective
    before each step, is not written to the manifest.
    """

    input: str
    sha256: str
    output: str
    recipe: dict[str, Any]
    weights: str = ""
    seconds: float = 0.0
    objective: float | None = None
    error: str = ""
    remark: str = ""
    trace: tuple[float, ...] = ()

    def to_json_line(self) -> bytes:
        """Return the row as a line of JSON."""
        fields = asdict(replace(self, seconds=round(self.seconds, 3)))
        del fields["trace"]
        return json.dumps(fields).encode() + b"\n"


def input_file_sha256(file: str) -> str:
    """Return the SHA-256 of a file, or "" if it cannot be read or is a pipe or device."""
    try:
        return file_sha256(file)
    except (OSError, PictureError):
        return ""


class Manifest:
    """The rows of all `manifest*.jsonl` files of a destination, and the file of this run.

    Raises:
        PictureError: if it cannot be read or written.
    """

    def __init__(self, destination: Destination, shard: str = "") -> None:
        self.destination = destination
        self.name = f"manifest{f'-{shard}' if shard else ''}".replace("/", "of")
        self.existing_files = destination.list_files()
        self.rows: dict[str, dict[str, Any]] = {}
        self._input_sha256 = cache(input_file_sha256)
        for name in sorted(fnmatch.filter(self.existing_files, "manifest*.jsonl")):
            for line in destination.read(name).splitlines():
                self._add_line(line)
        self._pending_lines: list[bytes] = []
        self._flushed = time.monotonic()
        self._file = self._open_for_append() if destination.folder else -1

    def _add_line(self, line: bytes) -> None:
        row = _parse_json(line)
        if isinstance(row, dict) and isinstance(row.get("output"), str):
            if isinstance(row.get("recipe"), dict):
                row["recipe"] = _complete_recipe(row["recipe"])
            self.rows[row["output"]] = row

    def _open_for_append(self) -> int:
        """Open the file for new rows and cut off an incomplete row that a killed run left.

        Any other last line stays, because the file may be a link to a foreign file.
        """
        assert self.destination.folder
        path = self.destination.folder / f"{self.name}.jsonl"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            content = path.read_bytes()
            last = content[content.rfind(b"\n") + 1 :]
            if last and last.startswith(ROW_PREFIX[: len(last)]) and _parse_json(last) is None:
                os.ftruncate(file, len(content) - len(last))
            elif last:
                os.write(file, b"\n")
        except OSError as error:
            raise PictureError(f"{path} cannot be written: {error.strerror}") from error
        return file

    def with_old_names(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks with the output names of an earlier run where those are free.

        A name depends on the other photos in the source, so it may have changed since.
        """
        new_names = {task.output for task in tasks}
        old_names = {
            _task_key(row.get("input"), row.get("recipe"), output): output
            for output, row in self.rows.items()
            if output in self.existing_files and output not in new_names
        }

        def rename(task: Task) -> Task:
            if task.output in self.existing_files:
                return task
            key = _task_key(task.input, recipe_summary(task.recipe), task.output)
            return replace(task, output=old_names.pop(key, task.output))

        return [rename(task) for task in tasks]

    def is_done(self, task: Task, weights_id: str) -> bool:
        """Return whether the image exists, made from the same photo, recipe and weights."""
        row = self.rows.get(task.output, {})
        return (
            not row.get("error", True)
            and task.output in self.existing_files
            and (row.get("recipe"), row.get("weights")) == (recipe_summary(task.recipe), weights_id)
            and row.get("sha256") == self._input_sha256(task.input)
        )

    def add(self, row: ManifestRow) -> None:
        """Write a row, unless it repeats the error of an earlier run."""
        previous = self.rows.get(row.output, {})
        if row.error and all(
            previous.get(name) == getattr(row, name) for name in ("sha256", "recipe", "error")
        ):
            return
        line = row.to_json_line()
        self._add_line(line)
        if self.destination.folder:
            self._append(line)
        else:
            self._pending_lines.append(line)
            if time.monotonic() - self._flushed > FLUSH_SECONDS:
                self.flush()

    def _append(self, line: bytes) -> None:
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            raise PictureError(f"{self.name}.jsonl cannot be written: {error.strerror}") from error

    def flush(self) -> None:
        """Write pending rows to a URL as a new file."""
        if self._pending_lines:
            name = f"{self.name}-{time.time_ns()}.jsonl"
            self.destination.write(name, b"".join(self._pending_lines))
        self._pending_lines, self._flushed = [], time.monotonic()

    def close(self) -> None:
        """Write pending rows and close the file."""
        self.flush()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _task_key(file: Any, recipe: Any, output: str) -> str:
    """Return a text that tasks share if they differ only in the stem of their output."""
    return json.dumps([file, recipe, Path(output).suffix], sort_keys=True)


def _complete_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a row's recipe as this version would write it, if an earlier version wrote it."""
    recipe = {**DreamRecipe.old_values, **recipe}
    if isinstance(recipe.get("keep_colours"), bool):
        recipe["keep_colours"] = float(recipe["keep_colours"])
    return recipe


def _parse_json(line: bytes) -> Any:
    """Return the value of a line, or None if it is incomplete or not JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
