"""Run this Python; processes by /proc (Linux only): their memory, children and ports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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


def run_python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this Python with those arguments; return what it printed and its return code."""
    given = {"cwd": ROOT, "timeout": 120, **options}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **given)


def measure_large_dream(folder: Path, side: int, *options: str) -> tuple[int, float]:
    """Dream a square photo of that side; return the peak in MiB (Linux only) and the seconds."""
    save_image(F.interpolate(load_image(EXAMPLES / "cat.jpg"), (side, side)), folder / "large.png")
    paths = ["image", "large.png", "-o", "dream.png", "--max-side", str(side)]
    start = time.perf_counter()
    env = {"PYTHONPATH": str(ROOT), "PATH": "", "DREAM_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    command = ["-c", MEASURING_SCRIPT, *paths, *options]
    done = run_python(*command, cwd=folder, env=env, timeout=900)
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


def children_of(process: int) -> dict[int, str]:
    """Return the child processes, zombies (Z) included, each with the letter of its state."""
    found = {}
    for path in Path("/proc").iterdir():
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == process:
            found[int(path.name)] = state
    return found


def state_of(process: int) -> str:
    """Return the letter of a process's state, Z for a zombie; "" if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return ""


def is_decoder(process: int) -> bool:
    """Return whether a process exists and is a decoder."""
    try:
        return b"decoder_process" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def find_server(address: str) -> int | None:
    """Return the process that serves at an address, None where /proc does not tell."""
    port = urlsplit(address).port or 80
    try:
        lines = [
            line.split()
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        ]
    except OSError:
        return None
    sockets = {line[9] for line in lines if line[3] == "0A" and line[1].endswith(f":{port:04X}")}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            for number in os.listdir(f"/proc/{process}/fd"):
                if os.readlink(f"/proc/{process}/fd/{number}")[8:-1] in sockets:
                    return int(process)
        except OSError:
            continue
    return None
