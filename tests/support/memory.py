"""Measure the memory of processes, and the peak of a command in a subprocess."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch.nn.functional as F

from dream import load_image, save_image
from tests.conftest import EXAMPLES, ROOT

# Not getrusage: its peak may be that of the parent process.
MEASURING_SCRIPT = """
import re, sys
from dream.__main__ import main
code = main(sys.argv[1:])
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
sys.exit(code)
"""


def measure_large_dream(folder: Path, side: int, *options: str) -> tuple[int, float]:
    """Dream a square photo of that side; return the peak in MiB (Linux only) and the seconds."""
    save_image(F.interpolate(load_image(EXAMPLES / "cat.jpg"), (side, side)), folder / "large.png")
    paths = ["image", "large.png", "-o", "dream.png", "--max-side", str(side)]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURING_SCRIPT, *paths, *options],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "DREAM_DEVICE": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]), time.perf_counter() - start


def resident_mb(process: int | str = "self") -> float:
    """Return the MB that a process uses now (Linux only)."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(process: int | str = "self") -> float:
    """Return the most MB that a process used since `reset_peak`, 0 where unknown."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e6  # type: ignore[index]


def reset_peak(process: int | str = "self") -> None:
    """Reset the peak; where that fails, it stays the one since the process began."""
    with suppress(OSError):
        Path(f"/proc/{process}/clear_refs").write_text("5")
