"""Sheets: what a sweep made of a picture, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from dream.files.sheet import contact_sheet
from dream.many.place import Place
from dream.many.tasks import Task, names

# The longest side of a picture on a sheet, in pixels.
SIDE = 320


def write_sheets(place: Place, tasks: Sequence[Task], swept: Sequence[str]) -> list[str]:
    """A sheet for each photo of which two pictures or more are there, labelled by what was swept.

    Returns their names.
    """
    there, called = place.names(), names(dict.fromkeys(task.input for task in tasks))
    of_each: dict[str, list[Task]] = {}
    for task in tasks:
        if task.output in there:
            of_each.setdefault(task.input, []).append(task)
    written = []
    for file, made in of_each.items():
        if len(made) > 1:
            written.append(f"sheet-{called[file]}.png")
            place.save(written[-1], contact_sheet([_labelled(place, each, swept) for each in made]))
    return written


def _labelled(place: Place, task: Task, swept: Sequence[str]) -> tuple[str, Image.Image]:
    label = ", ".join(f"{name} {getattr(task.recipe, name)}"[:40] for name in swept)
    with Image.open(io.BytesIO(place.read(task.output)), formats=["PNG"]) as picture:
        picture.thumbnail((SIDE, SIDE))
        return label, picture.convert("RGB")
