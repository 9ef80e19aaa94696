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

from dream.errors import PictureError
from dream.many.place import Place
from dream.many.row import Row, sha256
from dream.many.tasks import Task, brief

# To a URL, where lines cannot be added, they go so many seconds together, a file each time.
TOGETHER_SECONDS = 30.0


# How each of its lines begins.
OURS = b'{"input": '


class Manifest:
    """What a place has, by all its `manifest*.jsonl`, and the one that is written now.

    Raises:
        PictureError: if it cannot be read or written.
    """

    def __init__(self, place: Place, shard: str = "") -> None:
        self.place = place
        self.name = f"manifest{f'-{shard}' if shard else ''}".replace("/", "of")
        self.there = place.names()
        self.rows: dict[str, dict[str, Any]] = {}
        self._sums: dict[str, str] = {}
        for name in sorted(name for name in self.there if fnmatch(name, "manifest*.jsonl")):
            for line in place.read(name).splitlines():
                self._know(line)
        self._waiting: list[bytes] = []
        self._flushed = time.monotonic()
        self._file = self._open() if place.folder else -1

    def _know(self, line: bytes) -> None:
        row = _json(line)
        if isinstance(row, dict) and isinstance(row.get("output"), str):
            self.rows[row["output"]] = row

    def _open(self) -> int:
        """The file to add lines to; what was killed in the middle of one is cut off. Any other end
        of it stays: the file may be a link to what is not ours.
        """
        assert self.place.folder
        path = self.place.folder / f"{self.name}.jsonl"
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
            if output in self.there and output not in new
        }
        return [
            task
            if task.output in self.there
            else replace(
                task, output=old.pop(json.dumps([task.input, brief(task.recipe)]), task.output)
            )
            for task in tasks
        ]

    def has(self, task: Task, weights: str) -> bool:
        """Whether that picture is there already, of the same content by the same recipe."""
        row = self.rows.get(task.output, {})
        return (
            not row.get("error", True)
            and task.output in self.there
            and (row.get("recipe"), row.get("weights")) == (brief(task.recipe), weights)
            and row.get("sha256") == self._sum(task.input)
        )

    def _sum(self, file: str) -> str:
        if file not in self._sums:
            self._sums[file] = sha256(file)
        return self._sums[file]

    def add(self, row: Row) -> None:
        """Write a row down; one that says again what is wrong with a picture, no more than once."""
        before = self.rows.get(row.output, {})
        if row.error and all(
            before.get(name) == getattr(row, name) for name in ("sha256", "recipe", "error")
        ):
            return
        line = row.line()
        self._know(line)
        if self.place.folder:
            self._append(line)
        else:
            self._waiting.append(line)
            if time.monotonic() - self._flushed > TOGETHER_SECONDS:
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
        if self._waiting:
            name = f"{self.name}-{time.time_ns()}.jsonl"
            self.place.write(name, b"".join(self._waiting))
        self._waiting, self._flushed = [], time.monotonic()

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
