"""What there is to do: pictures by recipes, each with the name that it will have."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from dream.errors import PictureError, RecipeError, describe_value
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.base import safe_name
from dream.recipe.knob import knobs

IMAGE_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".webp", ".bmp", ".gif", ".tif", ".tiff"),
}
# The knobs that `DreamRecipe.called` tells.
NAMED_KNOBS = ("model", "layer", "channels", "intensity", "seed")
MAX_SUFFIX_LENGTH = 60
# So many digits of a sha256 tell two from each other.
DIGITS = 12


@dataclass(frozen=True)
class Task:
    """A picture to make: of the file `input`, by a settled recipe, as the file `output`.

    `key` is what its share depends on: where the file is in the source, and the recipe before it
    was settled, which are the same on all machines and whatever other files there are.
    """

    input: str
    output: str
    recipe: DreamRecipe
    key: str = ""


def list_images(
    source: str, listed: Iterable[str] = (), recursive: bool = False, out: str = ""
) -> tuple[list[str], str]:
    """The picture files that are meant, in full: those of a folder, one, or of "-" the listed ones.

    A folder's own are taken, by their endings; those of folders in it, but for `out` once it has
    dreams, where it is `recursive`.

    Returns:
        The files, and what was passed over of a folder, in words; "" if nothing was.

    Raises:
        PictureError: if there are none, or a folder cannot be read.
    """
    others: Counter[str] = Counter()
    if source == "-":
        lines = (line.strip().removeprefix("\ufeff") for line in listed)
        found = list(dict.fromkeys(line for line in lines if line))
    elif os.path.isdir(source):
        try:
            found, others = _walk(source, recursive, out)
        except OSError as error:
            raise PictureError(f"{error.filename} cannot be read: {error.strerror}") from error
    elif os.path.isfile(source):
        found = [source]
    else:
        raise PictureError(f"there is no folder {source}")
    passed_over = ", ".join(f"{count} {what}" for what, count in sorted(others.items()))
    if not found:
        endings = ", ".join(sorted(IMAGE_SUFFIXES))
        where = "the list names no picture" if source == "-" else f"no picture is in {source}"
        where += f" (but {passed_over})" if passed_over else ""
        raise PictureError(f"{where}; give files that end in {endings}")
    return [os.path.abspath(each) for each in found], passed_over


def _walk(source: str, recursive: bool, out: str) -> tuple[list[str], Counter[str]]:
    """The pictures of a folder by their endings, and how many other files and folders it has, by
    what they are. Neither hidden ones count, nor `out` where it has a manifest.
    """
    found: list[str] = []
    others: Counter[str] = Counter()
    waiting, seen = [source], {os.path.realpath(source)}
    if out and any(Path(out).glob("manifest*.jsonl")):
        seen.add(os.path.realpath(out))
    for folder in waiting:
        for each in os.scandir(folder):
            ending, place = Path(each.name).suffix.lower(), os.path.realpath(each.path)
            if each.name.startswith(".") or place in seen:
                continue
            if each.is_dir():
                if recursive:
                    waiting.append(each.path)
                    seen.add(place)  # A link may lead round in a circle.
                else:
                    others["in folders (--recursive takes them)"] += 1
            elif ending in IMAGE_SUFFIXES and each.is_file():
                found.append(each.path)
            else:
                others[f"{ending or 'without an ending'} (not read here)"] += 1
    return sorted(found), others


def names(files: Iterable[str]) -> dict[str, str]:
    """What each picture file is called in the names of its dreams, no two alike: its stem; where
    several have the same, with its ending, its folder, or at last what its path comes to.

    >>> names(["/in/cat.jpg", "/in/cat.png", "/in/dog.png"]).values()
    dict_values(['cat.jpg', 'cat.png', 'dog'])
    """
    found = {file: safe_name(Path(file).stem) for file in files}
    for longer in (_with_ending, _with_folder, _with_digest):
        count = Counter(name.casefold() for name in found.values())
        for file, name in found.items():
            if count[name.casefold()] > 1:
                found[file] = longer(file)
    return found


def _with_ending(file: str) -> str:
    return safe_name(Path(file).name)


def _with_folder(file: str) -> str:
    return safe_name("/".join(Path(file).parts[-2:]))


def _with_digest(file: str) -> str:
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()
    return f"{safe_name(Path(file).stem)}+{digest[:DIGITS]}"


def make_tasks(
    files: Sequence[str], recipes: Sequence[DreamRecipe], device: str, source: str = ""
) -> list[Task]:
    """Each of the files, of that source, by each of the recipes, settled for that device type."""
    called, base = names(files), Path(os.path.abspath(source))
    made: dict[str, Task] = {}
    for recipe in recipes:
        settled, rest = recipe.with_defaults(device, True), _name_suffix(recipe)
        about = json.dumps(recipe_summary(recipe))
        for file, name in called.items():
            output = f"{recipe.file_stem(name)}{rest}.png"
            path = Path(file)
            within = path.relative_to(base) if path.is_relative_to(base) else path
            made[output] = Task(file, output, settled, f"{within.as_posix()} {about}")
    return list(made.values())


def _name_suffix(recipe: DreamRecipe) -> str:
    """What the name of a dream does not tell of its recipe yet: all that is not as usual. Where
    that is too long, or has letters that no name has, it ends with what all of it comes to.
    """
    about = recipe_summary(recipe)
    usual = type(recipe)(**{name: getattr(recipe, name) for name in NAMED_KNOBS})
    others = {name: str(value) for name, value in about.items() if value != getattr(usual, name)}
    rest = "".join(f"-{name}{safe_name(value)}" for name, value in others.items())
    is_short, mixed = len(rest) <= MAX_SUFFIX_LENGTH, (recipe.layer, recipe.channels)
    if (
        is_short
        and sum(map(len, mixed)) <= MAX_SUFFIX_LENGTH / 2
        and all(safe_name(value) == value for value in (*mixed, *others.values()))
    ):
        return rest
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()
    return f"{rest if is_short else ''}-{digest[:DIGITS]}"


def recipe_summary(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data, of the pictures in it their sha256 alone."""
    return {
        name: hashlib.sha256(value.encode()).hexdigest()[:DIGITS]
        if knobs(recipe)[name].is_image and value
        else value
        for name, value in asdict(recipe).items()
    }


def select_shard(tasks: Iterable[Task], shard: str) -> list[Task]:
    """The tasks of one of several machines, as "2/8", by their keys: whatever else there is.

    Raises:
        RecipeError: if it is no such share.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    place, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= place <= count:
        raise RecipeError(f"--shard is one of several, as 1/8 to 8/8, not {describe_value(shard)}")
    return [task for task in tasks if crc32(os.fsencode(task.key)) % count == place - 1]
