"""ZIP archives of several dreams and their recipes."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from dream.errors import PictureError
from dream.files.image import atomic_write, read_recipe

RECIPES_FILE = "recipes.jsonl"
MAX_ZIP_BYTES = 1e9


def write_zip(pictures: Sequence[Path], path: Path) -> None:
    """Write a ZIP of images and their recipes atomically.

    `recipes.jsonl` has one line for each image: {"file": …, "recipe": {…}}. PNGs are compressed, so
    the ZIP is not.

    Raises:
        PictureError: if the images exceed a gigabyte, or half of the free disk space, or the file
            cannot be written.
        RecipeError: if an image has no recipe.
    """
    size = sum(picture.stat().st_size for picture in pictures)
    limit = min(MAX_ZIP_BYTES, shutil.disk_usage(path.parent).free / 2)
    if size > limit:
        raise PictureError(
            f"these dreams have {size / 1e6:.0f} MB; the limit of a ZIP here is "
            f"{limit / 1e6:.0f} MB. Download them one by one."
        )
    lines = []
    with atomic_write(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, picture in zip(_unique_names(pictures), pictures, strict=True):
            archive.write(picture, name)
            lines.append({"file": name, "recipe": json.loads(read_recipe(picture).to_json())})
        archive.writestr(RECIPES_FILE, "".join(f"{json.dumps(line)}\n" for line in lines))


def _unique_names(pictures: Sequence[Path]) -> Iterator[str]:
    """Yield a unique name for each image: the second `dream.png` becomes `dream (2).png`."""
    seen: Counter[str] = Counter()
    for picture in pictures:
        seen[picture.name.casefold()] += 1
        count = seen[picture.name.casefold()]
        yield f"{picture.stem} ({count}){picture.suffix}" if count > 1 else picture.name
