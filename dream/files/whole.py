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
PARTIAL = re.compile(r"\.[0-9a-f]{32}\.part")
PARTIAL_SECONDS = 3600


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what shall be at that path, in the place of what is there, once this ends.

    Raises:
        PictureError: if it cannot be written.
    """
    _sweep(path.parent, time.time() // PARTIAL_SECONDS)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise PictureError(f"{path.name} cannot be written: {first_line(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


@lru_cache(maxsize=64)  # Once an hour: to list a folder of many files takes a while.
def _sweep(folder: Path, hour: float) -> None:
    for each in folder.glob(".*.part"):
        with suppress(OSError):  # Another process may sweep too, and not all may be ours.
            old = time.time() - each.lstat().st_mtime > PARTIAL_SECONDS
            if old and PARTIAL.fullmatch(each.name):
                each.unlink()
