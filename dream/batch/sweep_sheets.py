"""Sheets: what a sweep made of a picture, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from dream.batch.destination import Destination
from dream.batch.tasks import Task, names
from dream.files.contact_sheet import draw_contact_sheet

# The longest side of a picture on a sheet, in pixels.
THUMBNAIL_SIDE = 320


def write_sheets(
    place: Destination, tasks: Sequence[Task], swept_knobs: Sequence[str]
) -> list[str]:
    """A sheet for each photo of which two pictures or more are there, labelled by what was swept.

    Returns their names.
    """
    there, called = place.list_files(), names(dict.fromkeys(task.input for task in tasks))
    of_each: dict[str, list[Task]] = {}
    for task in tasks:
        if task.output in there:
            of_each.setdefault(task.input, []).append(task)
    written = []
    for file, made in of_each.items():
        if len(made) > 1:
            written.append(f"sheet-{called[file]}.png")
            place.save_image(
                written[-1],
                draw_contact_sheet(
                    [_labelled_thumbnail(place, each, swept_knobs) for each in made]
                ),
            )
    return written


def _labelled_thumbnail(
    place: Destination, task: Task, swept: Sequence[str]
) -> tuple[str, Image.Image]:
    label = ", ".join(f"{name} {getattr(task.recipe, name)}"[:40] for name in swept)
    with Image.open(io.BytesIO(place.read(task.output)), formats=["PNG"]) as picture:
        picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return label, picture.convert("RGB")
