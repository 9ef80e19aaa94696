"""What the browser keeps of a visit: the dream that is shown, and those of its strip.

The server keeps none of it. So a session that Gradio lets go and a reload lose nothing, and a
restart or a day only the files. What comes from a browser is read as a stranger's: it may name
uploads, whose folders nobody guesses, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from dream.errors import DreamError
from dream.page.blocks import is_uploaded, upload_name, upload_path
from dream.page.image_stream import lossless_path
from dream.page.widgets import components

EXAMPLE_PHOTO = components.EXAMPLES / "coffee.jpg"
EXAMPLE_DREAM = components.EXAMPLES / "dream-coffee-inception4c-i5-seed0.png"
# So many dreams are in the strip, the latest.
MAX_DREAMS = 24
MAX_RECIPE_LENGTH = 20_000


class HistoryEntry(NamedTuple):
    """A dream, the photo it is of, and what is shown beside it: another photo where a dream was
    dreamed again. Of a dream that is under way or was stopped, `file` may be any of its previews.
    """

    file: str
    photo: str
    before: str

    def resolve(self) -> HistoryEntry | None:
        """The same with its whole picture, if all of it is here."""
        entry = self._replace(file=lossless_path(self.file))
        return entry if all(is_uploaded(path) or path in OPENING for path in entry) else None


# What a page shows that nothing was dreamed on yet.
OPENING = HistoryEntry(str(EXAMPLE_DREAM), str(EXAMPLE_PHOTO), str(EXAMPLE_PHOTO))
SHIPPED = {upload_name(path): path for path in OPENING}


@dataclass(frozen=True)
class History:
    """What is shown and the strip. `recipe` is that of what is shown, as a link has it."""

    shown: HistoryEntry = OPENING
    recipe: str = ""
    dreams: tuple[HistoryEntry, ...] = ()

    @classmethod
    def read(cls, saved: Any) -> History:
        """What a browser says that it kept; nothing of what is malformed."""
        saved = saved if isinstance(saved, dict) else {}
        dreams, recipe = saved.get("dreams"), saved.get("recipe")
        strip = (
            [_parse_entry(each) for each in dreams[-MAX_DREAMS:]]
            if isinstance(dreams, list)
            else []
        )
        is_text = isinstance(recipe, str) and len(recipe) < MAX_RECIPE_LENGTH
        return cls(
            _parse_entry(saved.get("shown")) or OPENING,
            recipe if is_text else "",
            tuple(each for each in strip if each),
        )

    def to_browser(self) -> dict[str, Any]:
        """The same, for a browser to keep."""
        shown, *dreams = (
            [upload_name(path) for path in each] for each in (self.shown, *self.dreams)
        )
        return {"shown": shown, "recipe": self.recipe, "dreams": dreams}

    def require_shown(self) -> HistoryEntry:
        """What is shown, as a file.

        Raises:
            DreamError: if it is no longer here.
        """
        if entry := self.shown.resolve():
            return entry
        raise DreamError("this dream is no longer kept here; dream the photo again")


def browser_state(name: str) -> gr.BrowserState:
    """What the browser keeps by that name, and finds again after a restart, since the key stays."""
    return gr.BrowserState(storage_key=f"deep-dream-{name}", secret="deep-dream")


def _parse_entry(names: Any) -> HistoryEntry | None:
    if not (isinstance(names, list) and len(names) == len(OPENING)):
        return None
    paths = [SHIPPED.get(str(name)) or upload_path(name) for name in names]
    return HistoryEntry(*paths) if all(paths) else None
