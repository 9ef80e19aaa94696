"""Where what visitors send, and what they are sent, lies: a folder of this process's own.

It goes with the process; where that was killed, within a day and an hour of another's running.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import gradio.mcp

PREFIX = "dream-visitors-"
DAY, HOUR = 86_400.0, 3_600.0


def own_folder() -> Path:
    """Have all temporary files of this process in a folder of its own, in GRADIO_TEMP_DIR or where
    temporary files lie here. SIGTERM and Ctrl-C end the process at once, and the folder.
    """
    base = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
    Path(base).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    # Apart, so that Gradio copies what it shall keep.
    tempfile.tempdir, files = str(folder / "work"), str(folder / "files")
    for each in (tempfile.tempdir, files):
        Path(each).mkdir()
    os.environ["GRADIO_TEMP_DIR"] = files
    gradio.mcp.DEFAULT_TEMP_DIR = files  # Which asked the environment as it was imported.
    process = os.getpid()

    def leave(number: int, _: Any) -> None:
        # What is at work sees its folder go; nobody need hear of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if os.getpid() == process:  # Not one that was forked for a GPU.
            for _ in range(20):  # While others still write there.
                shutil.rmtree(folder, ignore_errors=True)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    return folder


def sweep_hourly(folder: Path) -> None:
    """Now and every hour remove what is older than a day from the folder, but for what lies there
    now, and what other processes left beside it.
    """
    keep = set(folder.rglob("*"))

    def go_on() -> None:
        while True:
            folder.touch()  # It is in use.
            sweep(folder, keep)
            time.sleep(HOUR)

    threading.Thread(target=go_on, daemon=True).start()


def sweep(folder: Path, keep: Collection[Path] = ()) -> None:
    """Remove what is older than a day: files in the folder, and whole folders of its kind."""
    old = time.time() - DAY
    for other in folder.parent.glob(f"{PREFIX}*"):
        if other != folder and _changed(other) < old:
            shutil.rmtree(other, ignore_errors=True)
    # What is deepest comes first, so that folders are empty when their turn comes.
    for path in sorted(folder.rglob("*"), reverse=True):
        try:
            if path not in keep and _changed(path) < old:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError:
            pass  # In use, or gone.


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_ctime
    except OSError:
        return time.time()
