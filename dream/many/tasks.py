"""What there is to do: pictures by recipes, each with the name that it will have."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from dream.errors import PictureError, RecipeError, shown
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.knob import knobs
from dream.recipe.recipe import plain

ENDINGS = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".webp", ".bmp", ".gif", ".tif", ".tiff"),
}
# The knobs that `DreamRecipe.called` tells.
TOLD = ("model", "layer", "channels", "intensity", "seed")
LONGEST_TOLD = 60


@dataclass(frozen=True)
class Task:
    """A picture to make: of the file `input`, by a settled recipe, as the file `output`."""

    input: str
    output: str
    recipe: DreamRecipe


def pictures(source: str, listed: Iterable[str] = ()) -> list[str]:
    """The picture files that are meant, in full: those of a folder, one, or of "-" the listed ones.

    A folder's own are taken, by their endings, not those of folders in it.

    Raises:
        PictureError: if there are none.
    """
    if source == "-":
        found = [line.strip() for line in listed if line.strip()]
    elif os.path.isdir(source):
        found = [
            str(each)
            for each in sorted(Path(source).iterdir())
            if each.suffix.lower() in ENDINGS and not each.name.startswith(".") and each.is_file()
        ]
    elif os.path.isfile(source):
        found = [source]
    else:
        raise PictureError(f"there is no folder {source}")
    if not found:
        endings = ", ".join(sorted(ENDINGS))
        where = "the list names no picture" if source == "-" else f"no picture is in {source}"
        raise PictureError(f"{where}; give files that end in {endings}")
    return [os.path.abspath(each) for each in found]


def tasks(files: Sequence[str], recipes: Sequence[DreamRecipe], device: str) -> list[Task]:
    """Each of the files by each of the recipes, as they are settled on that type of device.

    Raises:
        PictureError: if two would have one name.
    """
    made: dict[str, Task] = {}
    for recipe in recipes:
        settled, rest = recipe.settled(device, True), _rest(recipe)
        for file in files:
            output = f"{recipe.called(plain(Path(file).stem))}{rest}.png"
            other = made.setdefault(output, Task(file, output, settled)).input
            if other != file:
                raise PictureError(
                    f"{Path(other).name} and {Path(file).name} would both become {output}; "
                    "rename one, or give them apart"
                )
    return list(made.values())


def _rest(recipe: DreamRecipe) -> str:
    """What the name of a dream does not tell of its recipe yet: all that is not as usual."""
    usual = type(recipe)(**{name: getattr(recipe, name) for name in TOLD})
    others = [
        (name, value) for name, value in brief(recipe).items() if value != getattr(usual, name)
    ]
    told = "".join(f"-{name}{plain(str(value))}" for name, value in others)
    mixed = recipe.layer + recipe.channels  # Of a long mix `called` has the beginning alone.
    if len(mixed) <= LONGEST_TOLD / 2 and len(told) <= LONGEST_TOLD:
        return told
    return f"-{hashlib.sha256(f'{mixed}{told}'.encode()).hexdigest()[:12]}"


def brief(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data, of the pictures in it their sha256 alone."""
    return {
        name: hashlib.sha256(value.encode()).hexdigest()[:12]
        if knobs(recipe)[name].picture and value
        else value
        for name, value in asdict(recipe).items()
    }


def share(tasks: Iterable[Task], shard: str) -> list[Task]:
    """The tasks of one of several machines, as "2/8", by their names: whatever else there is.

    Raises:
        RecipeError: if it is no such share.
    """
    place, _, count = shard.partition("/")
    if not (place.isdecimal() and count.isdecimal() and 1 <= int(place) <= int(count)):
        raise RecipeError(f"--shard is one of several, as 1/8 to 8/8, not {shown(shard)}")
    return [task for task in tasks if crc32(task.output.encode()) % int(count) == int(place) - 1]
