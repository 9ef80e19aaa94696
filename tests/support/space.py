"""The files of a Space, the script that uploads them, and environments of their own for tests."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT


def load_sync_script() -> ModuleType:
    """Load `.github/sync.py` as a module."""
    spec = importlib.util.spec_from_file_location("sync", ROOT / ".github" / "sync.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tracked_files(*patterns: str) -> list[str]:
    """Return the files of this repository that git tracks, all or those of some patterns."""
    command = ["git", "ls-files", "-z", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return listed.rstrip("\0").split("\0")


def space_files() -> list[str]:
    """Return the files of this repository that are uploaded to a Space."""
    patterns = load_sync_script().FILES
    return [name for name in tracked_files() if any(fnmatch(name, each) for each in patterns)]


def install(*arguments: str, python: str | Path = sys.executable) -> None:
    """Install packages by uv, which links gigabytes of torch from its cache in seconds.

    Skips the test where PyPI is unreachable, except on GitHub.
    """
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    unreached = re.search("error sending request|dns error|timed out", done.stderr)
    if done.returncode and unreached and "CI" not in os.environ:
        pytest.skip(f"PyPI cannot be reached: {done.stderr.splitlines()[-1]}")
    assert not done.returncode, done.stderr
