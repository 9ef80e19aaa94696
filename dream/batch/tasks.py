"""The tasks of a batch run: photos by recipes, with unique output names."""

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
# The knobs that `DreamRecipe.file_stem` contains.
NAMED_KNOBS = ("model", "layer", "channels", "intensity", "seed")
MAX_SUFFIX_LENGTH = 60
# Digits of a SHA-256 in file names.
DIGEST_LENGTH = 12


@dataclass(frozen=True)
class Task:
    """One image to render: the photo file `input` by a recipe without None to the file `output`.

    `key` selects the shard: the path within the source and the recipe before its defaults were
    filled in. It is the same on all machines and does not depend on other files.
    """

    input: str
    output: str
    recipe: DreamRecipe
    key: str = ""


def list_images(
    source: str, listed: Iterable[str] = (), recursive: bool = False, out: str = ""
) -> tuple[list[str], str]:
    """List the image files of a folder, a single file, or for "-" the listed files.

    Images of a folder are found by suffix; subfolders count only if `recursive`, and never `out`
    once it has a manifest.

    Returns:
        The absolute paths, and a description of skipped files, "" if there are none.

    Raises:
        PictureError: if there is no image, or a folder cannot be read.
    """
    skipped_counts: Counter[str] = Counter()
    if source == "-":
        lines = (line.strip().removeprefix("\ufeff") for line in listed)
        found = list(dict.fromkeys(line for line in lines if line))
    elif os.path.isdir(source):
        try:
            found, skipped_counts = _walk(source, recursive, out)
        except OSError as error:
            raise PictureError(f"{error.filename} cannot be read: {error.strerror}") from error
    elif os.path.isfile(source):
        found = [source]
    else:
        raise PictureError(f"there is no file or folder {source}")
    skipped = ", ".join(f"{count} {what}" for what, count in sorted(skipped_counts.items()))
    if not found:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        problem = "the list is empty" if source == "-" else f"there is no image in {source}"
        problem += f" (but {skipped})" if skipped else ""
        raise PictureError(f"{problem}; give files that end in {suffixes}")
    return [os.path.abspath(path) for path in found], skipped


def _walk(source: str, recursive: bool, out: str) -> tuple[list[str], Counter[str]]:
    """Return the images of a folder, and counts of its other entries by description.

    Hidden entries do not count, nor does `out` if it has a manifest.
    """
    found: list[str] = []
    skipped_counts: Counter[str] = Counter()
    folders, seen = [source], {os.path.realpath(source)}
    if out and any(Path(out).glob("manifest*.jsonl")):
        seen.add(os.path.realpath(out))
    for folder in folders:
        for entry in os.scandir(folder):
            suffix, real_path = Path(entry.name).suffix.lower(), os.path.realpath(entry.path)
            if entry.name.startswith(".") or real_path in seen:
                continue
            if entry.is_dir():
                if recursive:
                    folders.append(entry.path)
                    seen.add(real_path)  # Symbolic links may form a cycle.
                else:
                    skipped_counts["in subfolders (--recursive includes them)"] += 1
            elif suffix in IMAGE_SUFFIXES and entry.is_file():
                found.append(entry.path)
            else:
                skipped_counts[f"{suffix or 'without suffix'} (not supported)"] += 1
    return sorted(found), skipped_counts


def unique_names(files: Iterable[str]) -> dict[str, str]:
    """Return a unique name per photo: its stem, if needed with suffix, folder or a path digest.

    >>> unique_names(["/in/cat.jpg", "/in/cat.png", "/in/dog.png"]).values()
    dict_values(['cat.jpg', 'cat.png', 'dog'])
    """
    names = {file: safe_name(Path(file).stem) for file in files}
    for longer_name in (_with_suffix, _with_folder, _with_digest):
        count = Counter(name.casefold() for name in names.values())
        for file, name in names.items():
            if count[name.casefold()] > 1:
                names[file] = longer_name(file)
    return names


def _with_suffix(file: str) -> str:
    return safe_name(Path(file).name)


def _with_folder(file: str) -> str:
    return safe_name("/".join(Path(file).parts[-2:]))


def _with_digest(file: str) -> str:
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()
    return f"{safe_name(Path(file).stem)}+{digest[:DIGEST_LENGTH]}"


def make_tasks(
    files: Sequence[str], recipes: Sequence[DreamRecipe], device: str, source: str = ""
) -> list[Task]:
    """Return a task for each file of `source` and each recipe, with defaults for the device."""
    stems, base = unique_names(files), Path(os.path.abspath(source))
    tasks: dict[str, Task] = {}
    for recipe in recipes:
        complete_recipe, suffix = recipe.with_defaults(device, True), _name_suffix(recipe)
        summary = json.dumps(recipe_summary(recipe))
        for file, stem in stems.items():
            output = f"{recipe.file_stem(stem)}{suffix}.png"
            path = Path(file)
            relative = path.relative_to(base) if path.is_relative_to(base) else path
            tasks[output] = Task(file, output, complete_recipe, f"{relative.as_posix()} {summary}")
    return list(tasks.values())


def _name_suffix(recipe: DreamRecipe) -> str:
    """Return the knobs that differ from the default and are not in `DreamRecipe.file_stem`.

    If they are too long or have characters that file names lack, a digest of the recipe follows.
    """
    summary = recipe_summary(recipe)
    default = type(recipe)(**{name: getattr(recipe, name) for name in NAMED_KNOBS})
    changed = {name: str(val) for name, val in summary.items() if val != getattr(default, name)}
    suffix = "".join(f"-{name}{safe_name(value)}" for name, value in changed.items())
    is_short, mix = len(suffix) <= MAX_SUFFIX_LENGTH, (recipe.layer, recipe.channels)
    if (
        is_short
        and sum(map(len, mix)) <= MAX_SUFFIX_LENGTH / 2
        and all(safe_name(value) == value for value in (*mix, *changed.values()))
    ):
        return suffix
    digest = hashlib.sha256(json.dumps(summary).encode()).hexdigest()
    return f"{suffix if is_short else ''}-{digest[:DIGEST_LENGTH]}"


def recipe_summary(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain data, with a digest in place of each image."""
    return {
        name: hashlib.sha256(value.encode()).hexdigest()[:DIGEST_LENGTH]
        if knobs(recipe)[name].is_image and value
        else value
        for name, value in asdict(recipe).items()
    }


def select_shard(tasks: Iterable[Task], shard: str) -> list[Task]:
    """Return the tasks of a shard such as "2/8"; a task's shard does not depend on other tasks.

    Raises:
        RecipeError: if `shard` does not have this form.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    number, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= count:
        raise RecipeError(f"--shard must be from 1/N to N/N, as 2/8, not {describe_value(shard)}")
    return [task for task in tasks if crc32(os.fsencode(task.key)) % count == number - 1]
