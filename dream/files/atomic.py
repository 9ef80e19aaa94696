"""Files that appear whole or not at all."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from dream.errors import PictureError, first_line

# What a killed process left half written goes after an hour.
TEMP_NAME = re.compile(r"\.[0-9a-f]{32}\.part")
MAX_TEMP_AGE = 3600


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Where to write what shall be at that path, in the place of what is there, once this ends.

    Raises:
        PictureError: if it cannot be written.
    """
    _remove_stale_files(path.parent, time.time() // MAX_TEMP_AGE)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise PictureError(f"{path.name} cannot be written: {first_line(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


@lru_cache(maxsize=64)  # Once an hour: to list a folder of many files takes a while.
def _remove_stale_files(folder: Path, hour: float) -> None:
    for each in folder.glob(".*.part"):
        with suppress(OSError):  # Another process may sweep too, and not all may be ours.
            old = time.time() - each.lstat().st_mtime > MAX_TEMP_AGE
            if old and TEMP_NAME.fullmatch(each.name):
                each.unlink()
