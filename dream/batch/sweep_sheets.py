"""Contact sheets of a sweep."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from dream.batch.destination import Destination
from dream.batch.tasks import Task, unique_names
from dream.files.contact_sheet import draw_contact_sheet

THUMBNAIL_SIDE = 320  # Longest side, in pixels.


def write_sheets(
    destination: Destination, tasks: Sequence[Task], swept_knobs: Sequence[str]
) -> list[str]:
    """Write a labelled contact sheet for each photo with two or more images; return their names."""
    existing = destination.list_files()
    stems = unique_names(dict.fromkeys(task.input for task in tasks))
    tasks_by_photo: dict[str, list[Task]] = {}
    for task in tasks:
        if task.output in existing:
            tasks_by_photo.setdefault(task.input, []).append(task)
    written = []
    for photo, group in tasks_by_photo.items():
        if len(group) > 1:
            thumbnails = [_labelled_thumbnail(destination, task, swept_knobs) for task in group]
            written.append(f"sheet-{stems[photo]}.png")
            destination.save_image(written[-1], draw_contact_sheet(thumbnails))
    return written


def _labelled_thumbnail(
    destination: Destination, task: Task, swept_knobs: Sequence[str]
) -> tuple[str, Image.Image]:
    label = ", ".join(f"{name} {getattr(task.recipe, name)}"[:40] for name in swept_knobs)
    with Image.open(io.BytesIO(destination.read(task.output)), formats=["PNG"]) as image:
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return label, image.convert("RGB")
