"""Upload this checkout to a Space, wait until it runs, and test one dream.

    python .github/sync.py OWNER/NAME

The Space then has the files that match `FILES` and no others. Its README also gets the thumbnail
for link previews, whose address depends on the Space.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from huggingface_hub import HfApi

ROOT = Path(__file__).parent.parent
FILES = (
    *("LICENSE", "requirements.txt", "app.py", "dream/*", "examples/*"),
    *("README.md", "SECURITY.md", "CONTRIBUTING.md", "docs/*"),  # README, and what it leads to.
)
NOT = ("*__pycache__*", "*.part")
CARD = "examples/site/card.jpg"
MINUTES = 30


def stage(space: str, folder: str) -> None:
    """Copy this checkout into that folder, with the thumbnail of that Space in its README."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", *NOT), dirs_exist_ok=True)
    readme = Path(folder) / "README.md"
    line = f"thumbnail: https://huggingface.co/spaces/{space}/resolve/main/{CARD}\n"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(text.replace("---\n", f"---\n{line}", 1), encoding="utf-8")


def sync(space: str, hub: Any, client: Any, message: str, pause: float = 15.0) -> str:
    """Upload, wait until this commit runs, and dream; return the path of the dream.

    `hub` is an `HfApi`; `client` makes a `gradio_client.Client` from a Space's name.

    Raises:
        RuntimeError: if the Space does not run, or what it dreams is no picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        stage(space, folder)
        commit = hub.upload_folder(
            repo_id=space,
            repo_type="space",
            folder_path=folder,
            allow_patterns=list(FILES),
            ignore_patterns=list(NOT),
            delete_patterns=["*"],
            commit_message=message,
        )
    end = time.monotonic() + MINUTES * 60
    while True:
        time.sleep(pause)  # The Space before this one may still be running.
        runtime = hub.wait_for_space(space, timeout=MINUTES * 60, poll_interval=10)
        if runtime.stage != "RUNNING":
            raise RuntimeError(f"{space} is not running but at {runtime.stage}; see its logs")
        if runtime.raw.get("sha", commit.oid) == commit.oid:
            break
        if time.monotonic() > end:
            raise RuntimeError(f"{space} still runs an older commit after {MINUTES} minutes")
    photo = handle_file(str(ROOT / "examples" / "cat.jpg"))
    path, recipe = client(space).predict(photo, intensity=1, octaves=1, api_name="/deep_dream")
    if not Path(path).read_bytes().startswith(b"\x89PNG") or recipe["intensity"] != 1:
        raise RuntimeError(f"{space} runs, but what it dreamed is no dream: {path}")
    return str(path)


def main() -> None:
    """Upload this checkout to the Space named on the command line."""
    commit = os.environ.get("GITHUB_SHA", "")[:7]
    print(sync(sys.argv[1], HfApi(), Client, f"Sync {commit}".strip()))


if __name__ == "__main__":
    main()
