"""Atomic file writes."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from dream.errors import PictureError, first_line

# A killed process leaves its temporary file behind; later writes to the folder delete it.
TEMP_NAME = re.compile(r"\.[0-9a-f]{32}\.part")
MAX_TEMP_AGE_SECONDS = 3600


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` atomically on success.

    Raises:
        PictureError: if the file cannot be written.
    """
    _remove_stale_files(path.parent, time.time() // MAX_TEMP_AGE_SECONDS)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise PictureError(f"{path.name} cannot be written: {first_line(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


@lru_cache(maxsize=64)  # Runs once per folder and hour, because listing a large folder is slow.
def _remove_stale_files(folder: Path, hour: float) -> None:
    for path in folder.glob(".*.part"):
        with suppress(OSError):  # Another process may delete it first, or own it.
            is_stale = time.time() - path.lstat().st_mtime > MAX_TEMP_AGE_SECONDS
            if is_stale and TEMP_NAME.fullmatch(path.name):
                path.unlink()
