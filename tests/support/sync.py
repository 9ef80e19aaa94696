"""The script that uploads the app to a Space, and the files it uploads."""

from __future__ import annotations

import importlib.util
import subprocess
from fnmatch import fnmatch
from types import ModuleType

from tests.conftest import ROOT


def load_sync_script() -> ModuleType:
    """Load `.github/sync.py` as a module."""
    spec = importlib.util.spec_from_file_location("sync", ROOT / ".github" / "sync.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def space_files() -> list[str]:
    """Return the files of this repository that are uploaded to a Space."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [
        name for name in listed if any(fnmatch(name, each) for each in load_sync_script().FILES)
    ]
