"""Processes by /proc (Linux only)."""

from __future__ import annotations

from pathlib import Path


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
