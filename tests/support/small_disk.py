"""A small disk, to see what happens when it is full."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mount_small_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a disk of that size, such as "40k"; skip the test where that is not possible."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        is_mounted = not subprocess.run(mount, capture_output=True).returncode
    except OSError:
        is_mounted = False
    if not is_mounted:
        pytest.skip("no small disk can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
