"""The making-of section: the shown dream as a video of how it forms."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.page import video_stream
from dream.page.widgets import components
from dream.page.widgets.components import Updates
from dream.page.widgets.recipe_controls import recipe_in_photo
from dream.page.widgets.run import RunButtons
from dream.page.widgets.visit import Visit
from dream.render.making_of import MakingOf
from dream.service.job_runner import JobRunner

# Whether the video runs back to its start, and its file format.
PLAYBACK_MODES = {
    "Once": (False, "mp4"),
    "As a loop": (True, "mp4"),
    "As a looping GIF": (True, "gif"),
}


class MakingOfSection:
    """The section that `go_button` opens, hidden at first: playback mode, video and download."""

    def __init__(self, go_button: gr.Button) -> None:
        self.go_button = go_button
        with gr.Column(visible=False) as self.column:
            self.mode = gr.Radio(
                list(PLAYBACK_MODES), value="Once", show_label=False, label="Playback"
            )
            label = "The dream as it forms"
            self.video_outputs = [
                components.still_image(label, "making-picture"),
                components.video_player(None, label, visible=False, elem_id="making-film"),
                gr.DownloadButton("Download the video", elem_id="making-download"),
            ]

    def connect(self, runner: JobRunner, run_buttons: RunButtons, visit: gr.BrowserState) -> None:
        """Make the video on a click, and again when the playback mode changes."""
        for event in (self.go_button.click, self.mode.input):
            run_buttons.start_on(
                event,
                partial(self.stream, runner, run_buttons.status),
                {"visit": visit, "playback_mode": self.mode},
                [self.column, *self.video_outputs],
            )

    def stream(
        self, runner: JobRunner, status: Any, visit: Any, playback_mode: str
    ) -> Iterator[Updates]:
        """Yield the status, then the video; raise DreamError if the dream is unfinished."""
        entry = Visit.read(visit).require_shown()
        if not (recipe := recipe_in_photo(entry.file)):
            raise DreamError("This dream was stopped early. Finish a dream first.")
        loop, ending = PLAYBACK_MODES.get(playback_mode, PLAYBACK_MODES["Once"])
        for update in video_stream.stream_making_of(
            runner, recipe, entry.photo, MakingOf(loop=loop), ending
        ):
            updates: Updates = {status: update.status}
            if update.done:
                shown = components.player_updates(update.path)
                updates |= {self.column: gr.update(visible=True)}
                updates |= zip(self.video_outputs, shown, strict=True)
            yield updates
