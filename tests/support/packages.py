"""Install packages from PyPI, for tests that need their own environment.

uv caches what it unpacked and links it, so gigabytes of torch install in seconds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def install(*arguments: str, python: str | Path = sys.executable) -> None:
    """Install packages; skip the test where PyPI is unreachable, except on GitHub."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    unreached = re.search("error sending request|dns error|timed out", done.stderr)
    if done.returncode and unreached and "CI" not in os.environ:
        pytest.skip(f"PyPI cannot be reached: {done.stderr.splitlines()[-1]}")
    assert not done.returncode, done.stderr
