"""Folders of small photos for batches, and their manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from dream import DreamRecipe, save_image

# A very short dream, as options and as a recipe.
QUICK = ["--octaves", "1", "--iterations", "2", "--max-side", "64"]
RECIPE = DreamRecipe(octaves=1, iterations=2, max_side=64)


def make_photos(folder: Path, count: int) -> Path:
    """Make a folder of noise photos, photo00.png and so on, the first of another size."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(5)
    for place in range(count):
        size = (48, 64) if place else (45, 67)
        save_image(torch.rand(1, 3, *size, generator=generator), folder / f"photo{place:02}.png")
    return folder


def add_unreadable_photos(folder: Path) -> Path:
    """Add three files that cannot be read or dreamed; return the folder."""
    (folder / "garbage.png").write_bytes(b"garbage")
    (folder / "cut.png").write_bytes((folder / "photo00.png").read_bytes()[:900])
    save_image(torch.zeros(1, 3, 8, 40), folder / "tiny.png")
    return folder


def manifest(
    folder: Path, name: str = "manifest.jsonl", is_complete: bool = True
) -> list[dict[str, Any]]:
    """Return the rows of manifests by name; skip cut lines unless it `is_complete`."""
    lines = [line for path in folder.glob(name) for line in path.read_text().splitlines(True)]
    return [json.loads(line) for line in lines if is_complete or line.endswith("\n")]
