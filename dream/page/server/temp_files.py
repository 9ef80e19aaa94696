"""Where what visitors send, and what they are sent, lies: a folder of this process's own.

It goes with the process; where that was killed, within a day of another's running and minutes.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio.mcp

from dream.errors import PictureError, first_line

FOLDER_PREFIX = "dream-visitors-"
MAX_AGE_SECONDS, SWEEP_INTERVAL = 86_400.0, 120.0
# So many bytes are kept at most, the latest.
MAX_TOTAL_BYTES = 4e9


def create_temp_folder() -> Path:
    """Have all temporary files of this process in a folder of its own, in GRADIO_TEMP_DIR or where
    temporary files lie here. SIGTERM and Ctrl-C end the process at once, and the folder.

    Raises:
        PictureError: if it cannot be written there.
    """
    try:
        base = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
        Path(base).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=base))
        # Apart, so that Gradio copies what it shall keep.
        temporary, files = str(folder / "work"), str(folder / "files")
        for each in (temporary, files):
            Path(each).mkdir()
    except OSError as error:
        raise PictureError(
            f"no files can be kept in {error.filename}: {first_line(error)}; let GRADIO_TEMP_DIR "
            "name a folder that can be written"
        ) from error
    tempfile.tempdir = temporary
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


def start_sweeper(folder: Path) -> None:
    """From now on remove what is older than a day, or too much, from the folder, but for what lies
    there now, and what other processes left beside it.
    """
    keep = set(folder.rglob("*"))

    def go_on() -> None:
        while True:
            folder.touch()  # It is in use.
            remove_old_files(folder, keep)
            time.sleep(SWEEP_INTERVAL)

    threading.Thread(target=go_on, daemon=True).start()


def remove_old_files(
    folder: Path, keep: Collection[Path] = (), most: float = MAX_TOTAL_BYTES
) -> None:
    """Remove what is older than a day: files in the folder, and whole folders of its kind; and the
    oldest files, where all take more than so many bytes.
    """
    old = max(time.time() - MAX_AGE_SECONDS, _size_cutoff_time(folder, keep, most))
    for other in folder.parent.glob(f"{FOLDER_PREFIX}*"):
        if other != folder and _change_time(other) < time.time() - MAX_AGE_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    # What is deepest comes first, so that folders are empty when their turn comes.
    for path in sorted(folder.rglob("*"), reverse=True):
        try:
            if path not in keep and _change_time(path) < old:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError:
            pass  # In use, or gone.


def _size_cutoff_time(folder: Path, keep: Collection[Path], most: float) -> float:
    """When that was made which all that is younger leaves no room for."""
    files = [(_change_time(path), path) for path in folder.rglob("*") if path not in keep]
    for changed, path in sorted(files, reverse=True):
        with suppress(OSError):
            most -= path.lstat().st_size if path.is_file() else 0
        if most < 0:
            return math.nextafter(changed, math.inf)
    return 0.0


def _change_time(path: Path) -> float:
    try:
        return path.lstat().st_ctime
    except OSError:
        return time.time()
