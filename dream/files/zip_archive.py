"""Several dreams in one ZIP, with their recipes in a file beside them."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from dream.errors import PictureError
from dream.files.atomic import atomic_write
from dream.files.image import read_recipe

RECIPES_FILE = "recipes.jsonl"
MAX_ZIP_BYTES = 1e9


def write_zip(pictures: Sequence[Path], path: Path) -> None:
    """Write a ZIP of pictures as they are, and of `recipes.jsonl`, which has a line for each:
    {"file": …, "recipe": {…}}. PNGs are compressed as they are. The file appears whole or not at
    all.

    Raises:
        PictureError: if they have more than a gigabyte together, or than half of what is free on
            the disk, or the file cannot be written.
        RecipeError: if one has no recipe.
    """
    size = sum(picture.stat().st_size for picture in pictures)
    most = min(MAX_ZIP_BYTES, shutil.disk_usage(path.parent).free / 2)
    if size > most:
        raise PictureError(
            f"these dreams have {size / 1e6:.0f} MB, and {most / 1e6:.0f} MB are packed here at "
            "most; download them one by one"
        )
    lines = []
    with atomic_write(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, picture in zip(_unique_names(pictures), pictures, strict=True):
            archive.write(picture, name)
            lines.append({"file": name, "recipe": json.loads(read_recipe(picture).to_json())})
        archive.writestr(RECIPES_FILE, "".join(f"{json.dumps(line)}\n" for line in lines))


def _unique_names(pictures: Sequence[Path]) -> Iterator[str]:
    """What each is called, no two alike: the second `dream.png` is `dream (2).png`."""
    seen: Counter[str] = Counter()
    for picture in pictures:
        seen[picture.name.casefold()] += 1
        count = seen[picture.name.casefold()]
        yield f"{picture.stem} ({count}){picture.suffix}" if count > 1 else picture.name
