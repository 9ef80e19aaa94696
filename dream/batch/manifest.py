"""The manifest: a line of JSON for each picture, written as it goes, by which a batch goes on."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

from dream.batch.destination import Destination
from dream.batch.manifest_row import ManifestRow, input_file_sha256
from dream.batch.tasks import Task, recipe_summary
from dream.errors import PictureError

# To a URL, where lines cannot be added, they go so many seconds together, a file each time.
FLUSH_SECONDS = 30.0


# How each of its lines begins.
OURS = b'{"input": '


class Manifest:
    """What a place has, by all its `manifest*.jsonl`, and the one that is written now.

    Raises:
        PictureError: if it cannot be read or written.
    """

    def __init__(self, place: Destination, shard: str = "") -> None:
        self.destination = place
        self.name = f"manifest{f'-{shard}' if shard else ''}".replace("/", "of")
        self.existing_files = place.list_files()
        self.rows: dict[str, dict[str, Any]] = {}
        self._sha256_by_file: dict[str, str] = {}
        for name in sorted(
            name for name in self.existing_files if fnmatch(name, "manifest*.jsonl")
        ):
            for line in place.read(name).splitlines():
                self._add_line(line)
        self._pending_lines: list[bytes] = []
        self._flushed = time.monotonic()
        self._file = self._open_for_append() if place.folder else -1

    def _add_line(self, line: bytes) -> None:
        row = _json(line)
        if isinstance(row, dict) and isinstance(row.get("output"), str):
            self.rows[row["output"]] = row

    def _open_for_append(self) -> int:
        """The file to add lines to; what was killed in the middle of one is cut off. Any other end
        of it stays: the file may be a link to what is not ours.
        """
        assert self.destination.folder
        path = self.destination.folder / f"{self.name}.jsonl"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            content = path.read_bytes()
            last = content[content.rfind(b"\n") + 1 :]
            if last and last.startswith(OURS[: len(last)]) and _json(last) is None:
                os.ftruncate(file, len(content) - len(last))
            elif last:
                os.write(file, b"\n")
        except OSError as error:
            raise PictureError(f"{path} cannot be written: {error.strerror}") from error
        return file

    def with_old_names(self, tasks: Sequence[Task]) -> list[Task]:
        """Those tasks, each under the name that its picture had before, where no other has it now.

        The name that a task comes with depends on the other photos that are there.
        """
        new = {task.output for task in tasks}
        old = {
            json.dumps([row.get("input"), row.get("recipe")]): output
            for output, row in self.rows.items()
            if output in self.existing_files and output not in new
        }
        return [
            task
            if task.output in self.existing_files
            else replace(
                task,
                output=old.pop(json.dumps([task.input, recipe_summary(task.recipe)]), task.output),
            )
            for task in tasks
        ]

    def is_done(self, task: Task, weights: str) -> bool:
        """Whether that picture is there already, of the same content by the same recipe."""
        row = self.rows.get(task.output, {})
        return (
            not row.get("error", True)
            and task.output in self.existing_files
            and (row.get("recipe"), row.get("weights")) == (recipe_summary(task.recipe), weights)
            and row.get("sha256") == self._file_sha256(task.input)
        )

    def _file_sha256(self, file: str) -> str:
        if file not in self._sha256_by_file:
            self._sha256_by_file[file] = input_file_sha256(file)
        return self._sha256_by_file[file]

    def add(self, row: ManifestRow) -> None:
        """Write a row down; one that says again what is wrong with a picture, no more than once."""
        before = self.rows.get(row.output, {})
        if row.error and all(
            before.get(name) == getattr(row, name) for name in ("sha256", "recipe", "error")
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
        """Put the lines that wait into a file of their own."""
        if self._pending_lines:
            name = f"{self.name}-{time.time_ns()}.jsonl"
            self.destination.write(name, b"".join(self._pending_lines))
        self._pending_lines, self._flushed = [], time.monotonic()

    def close(self) -> None:
        """Write down what waits."""
        self.flush()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _json(line: bytes) -> Any:
    """What a line says; None of one that was killed in the middle, or is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
