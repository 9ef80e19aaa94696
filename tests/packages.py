"""Packages from PyPI, for tests that need an environment of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def install(*arguments: str, python: str | Path = sys.executable) -> None:
    """`pip install` those; skip the test where PyPI cannot be reached."""
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    if done.returncode and "connection" in done.stderr.lower():
        pytest.skip(f"PyPI cannot be reached: {done.stderr.splitlines()[-1]}")
    assert not done.returncode, done.stderr
