"""How a dream came about: the one that is shown, as a video of itself forming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.page import video_stream
from dream.page.widgets import players
from dream.page.widgets.recipe_controls import recipe_in_photo
from dream.page.widgets.saved_visit import History
from dream.render.making_of import MakingOf
from dream.service.job_runner import JobRunner

# How it runs, and what it is written as.
PLAYBACK_MODES = {
    "Once": (False, "mp4"),
    "As a loop": (True, "mp4"),
    "As a looping GIF": (True, "gif"),
}


@dataclass(frozen=True)
class MakingOfSection:
    """The button, and what is below the dream once it was pressed: how it runs, and the video."""

    go_button: gr.Button
    result: gr.Column
    playback_mode: gr.Radio
    picture: gr.Image
    video: gr.Video
    download: gr.DownloadButton

    @property
    def outputs(self) -> dict[str, Any]:
        """What `stream_making_of` puts out, but for the status."""
        return {
            "making": self.result,
            "made_picture": self.picture,
            "made_film": self.video,
            "made_download": self.download,
        }


def build_button() -> gr.Button:
    """The button, which stands beside others."""
    return gr.Button("How it came about", elem_id="came-about", min_width=90)


def build_section(go_button: gr.Button) -> MakingOfSection:
    """What is below the dream, hidden as yet."""
    with gr.Column(visible=False) as section:
        mode = gr.Radio(list(PLAYBACK_MODES), value="Once", show_label=False, label="How it runs")
        picture = players.still_image("The dream, forming", "making-picture")
        video = players.video_player(
            None, "How it came about", visible=False, elem_id="making-film"
        )
        download = gr.DownloadButton("Download the video", elem_id="making-download")
    return MakingOfSection(go_button, section, mode, picture, video, download)


def stream_making_of(work: JobRunner, visit: Any, way: str) -> Iterator[dict[str, Any]]:
    """The video of a dream that was made of that photo.

    Raises:
        DreamError: if no recipe makes it, or as `films.making_of`.
    """
    entry = History.read(visit).require_shown()
    if not (recipe := recipe_in_photo(entry.file)):
        raise DreamError("this dream was stopped on its way; let one come to its end first")
    loop, ending = PLAYBACK_MODES.get(way, PLAYBACK_MODES["Once"])
    for update in video_stream.stream_making_of(
        work, recipe, entry.photo, MakingOf(loop=loop), ending
    ):
        changes: dict[str, Any] = {"status": update.status}
        if update.done:
            picture, video = players.player_updates(update.path)
            changes |= {"making": gr.update(visible=True), "made_download": update.path}
            changes |= {"made_picture": picture, "made_film": video}
        yield changes
