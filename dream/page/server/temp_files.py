"""Keep uploads and results in a temporary folder of this process, and delete old files.

The folder is deleted when the process exits. If it was killed, a later process deletes the folder
after a day.
"""

from __future__ import annotations

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
from dream.page.blocks import MAX_FILE_AGE_SECONDS

FOLDER_PREFIX = "dream-visitors-"
SWEEP_INTERVAL_SECONDS = 120.0
# The latest files within this size are kept.
MAX_TOTAL_BYTES = 4e9


def create_temp_folder() -> Path:
    """Create a folder for all temporary files of this process, and return it.

    It lies in GRADIO_TEMP_DIR or in the system's temporary folder. SIGTERM and Ctrl-C delete it and
    end the process at once.

    Raises:
        PictureError: If the folder cannot be created.
    """
    try:
        base = os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()
        Path(base).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=base))
        # Two folders, so that Gradio copies the files that it keeps.
        temporary, files = str(folder / "work"), str(folder / "files")
        for each in (temporary, files):
            Path(each).mkdir()
    except OSError as error:
        raise PictureError(
            f"cannot write to {error.filename}: {first_line(error)}; set GRADIO_TEMP_DIR to a "
            "writable folder"
        ) from error
    tempfile.tempdir = temporary
    os.environ["GRADIO_TEMP_DIR"] = files
    gradio.mcp.DEFAULT_TEMP_DIR = files  # It read the environment when it was imported.
    process_id = os.getpid()

    def delete_and_exit(number: int, _: Any) -> None:
        # Running work fails when its folder disappears; discard its errors.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if os.getpid() == process_id:  # Not in a process forked for a GPU.
            for _ in range(20):  # Other threads may still write there.
                shutil.rmtree(folder, ignore_errors=True)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, delete_and_exit)
    return folder


def start_sweeper(folder: Path) -> None:
    """Start a thread that deletes old files every two minutes (see `remove_old_files`).

    It keeps the files that are in the folder now.
    """
    keep = set(folder.rglob("*"))

    def sweep_forever() -> None:
        while True:
            folder.touch()  # Marks the folder as used.
            remove_old_files(folder, keep)
            time.sleep(SWEEP_INTERVAL_SECONDS)

    threading.Thread(target=sweep_forever, daemon=True).start()


def remove_old_files(
    folder: Path, keep: Collection[Path] = (), max_bytes: float = MAX_TOTAL_BYTES
) -> None:
    """Delete files older than a day, and the oldest files above `max_bytes`.

    Also delete neighbouring folders that other processes left more than a day ago.
    """
    cutoff = time.time() - MAX_FILE_AGE_SECONDS
    for other in folder.parent.glob(f"{FOLDER_PREFIX}*"):
        if other != folder and _change_time(other) < cutoff:
            shutil.rmtree(other, ignore_errors=True)
    paths = [path for path in folder.rglob("*") if path not in keep]
    folders = [path for path in paths if path.is_dir() and not path.is_symlink()]
    for path in sorted(set(paths) - set(folders), key=_change_time, reverse=True):
        with suppress(OSError):  # In use, or already deleted.
            changed, max_bytes = _change_time(path), max_bytes - path.lstat().st_size
            if max_bytes < 0 or changed < cutoff:
                cutoff = max(cutoff, changed)  # All older files go too.
                path.unlink()
    for path in sorted(folders, reverse=True):  # The deepest first.
        with suppress(OSError):  # Not empty.
            if _change_time(path) < cutoff:
                path.rmdir()


def _change_time(path: Path) -> float:
    try:
        return path.lstat().st_ctime
    except OSError:
        return time.time()
