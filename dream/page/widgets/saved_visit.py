"""A visit, stored in the browser: the shown dream and those of the strip.

The server stores none of it, so neither a reload nor an expired session loses anything; a restart,
or a day, loses only the files. Data from a browser is not trusted: it may name uploads, whose
folders cannot be guessed, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from dream.errors import DreamError
from dream.page.blocks import is_uploaded, upload_name, upload_path
from dream.page.image_stream import lossless_path
from dream.page.widgets import components

EXAMPLE_PHOTO = components.EXAMPLES_FOLDER / "coffee.jpg"
EXAMPLE_DREAM = components.EXAMPLES_FOLDER / "dream-coffee-inception4c-i5-seed0.png"
# The strip shows the latest dreams.
MAX_DREAMS = 24
MAX_RECIPE_LENGTH = 20_000


class VisitEntry(NamedTuple):
    """The files of a dream.

    Attributes:
        file: the dream; any of its previews if it is running or was stopped.
        photo: the photo that was dreamed; of a dream dreamed deeper, the previous dream.
        before: the image that is shown before the dream.
    """

    file: str
    photo: str
    before: str

    def resolve(self) -> VisitEntry | None:
        """Return the entry with its full image; None if a file is missing."""
        entry = self._replace(file=lossless_path(self.file))
        return entry if all(is_uploaded(path) or path in OPENING_ENTRY for path in entry) else None


# What the page shows before the first dream.
OPENING_ENTRY = VisitEntry(str(EXAMPLE_DREAM), str(EXAMPLE_PHOTO), str(EXAMPLE_PHOTO))
SHIPPED_PATHS = {upload_name(path): path for path in OPENING_ENTRY}


@dataclass(frozen=True)
class Visit:
    """The shown dream with its recipe (JSON, as in a link), and the dreams of the strip."""

    shown: VisitEntry = OPENING_ENTRY
    recipe: str = ""
    dreams: tuple[VisitEntry, ...] = ()

    @classmethod
    def read(cls, saved: Any) -> Visit:
        """Parse the visit from a browser, and ignore malformed parts."""
        saved = saved if isinstance(saved, dict) else {}
        dreams, recipe = saved.get("dreams"), saved.get("recipe")
        strip = (
            [_parse_entry(each) for each in dreams[-MAX_DREAMS:]]
            if isinstance(dreams, list)
            else []
        )
        is_text = isinstance(recipe, str) and len(recipe) < MAX_RECIPE_LENGTH
        return cls(
            _parse_entry(saved.get("shown")) or OPENING_ENTRY,
            recipe if is_text else "",
            tuple(each for each in strip if each),
        )

    def to_browser(self) -> dict[str, Any]:
        """Return the visit as JSON data for the browser."""
        shown, *dreams = (
            [upload_name(path) for path in each] for each in (self.shown, *self.dreams)
        )
        return {"shown": shown, "recipe": self.recipe, "dreams": dreams}

    def require_shown(self) -> VisitEntry:
        """Return the shown dream with its full image; raise DreamError if a file is missing."""
        if entry := self.shown.resolve():
            return entry
        raise DreamError("this dream is no longer on the server; dream the photo again")


def browser_state(name: str) -> gr.BrowserState:
    """Build a state in the browser's storage; the fixed key survives a server restart."""
    return gr.BrowserState(storage_key=f"deep-dream-{name}", secret="deep-dream")


def _parse_entry(names: Any) -> VisitEntry | None:
    if not (isinstance(names, list) and len(names) == len(OPENING_ENTRY)):
        return None
    paths = [SHIPPED_PATHS.get(str(name)) or upload_path(name) for name in names]
    return VisitEntry(*paths) if all(paths) else None
