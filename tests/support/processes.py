"""Processes as /proc has them (Linux only)."""

from __future__ import annotations

from pathlib import Path


def children_of(process: int) -> dict[int, str]:
    """The processes that one has started and that are there, or are to be waited for (Z), with the
    letter of their state.
    """
    found = {}
    for path in Path("/proc").iterdir():
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == process:
            found[int(path.name)] = state
    return found


def is_decoder(process: int) -> bool:
    """Whether a process is there and decodes for another one."""
    try:
        return b"decoder_process" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
