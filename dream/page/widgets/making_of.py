"""The making-of section: the shown dream as a video of how it forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.page import video_stream
from dream.page.widgets import players
from dream.page.widgets.recipe_controls import recipe_in_photo
from dream.page.widgets.saved_visit import Visit
from dream.render.making_of import MakingOf
from dream.service.job_runner import JobRunner

# Whether the video runs back to its start, and its file format.
PLAYBACK_MODES = {
    "Once": (False, "mp4"),
    "As a loop": (True, "mp4"),
    "As a looping GIF": (True, "gif"),
}


@dataclass(frozen=True)
class MakingOfSection:
    """The button, and the section it opens: playback mode, video and download."""

    go_button: gr.Button
    result: gr.Column
    playback_mode: gr.Radio
    image: gr.Image
    video: gr.Video
    download: gr.DownloadButton

    @property
    def outputs(self) -> dict[str, Any]:
        """Outputs of `stream_making_of`, without the status."""
        return {
            "making": self.result,
            "made_picture": self.image,
            "made_film": self.video,
            "made_download": self.download,
        }


def build_button() -> gr.Button:
    """Build the button that opens the section."""
    return gr.Button("Watch it form", elem_id="came-about", min_width=90)


def build_section(go_button: gr.Button) -> MakingOfSection:
    """Build the section, which is hidden at first."""
    with gr.Column(visible=False) as section:
        mode = gr.Radio(list(PLAYBACK_MODES), value="Once", show_label=False, label="Playback")
        image = players.still_image("The dream as it forms", "making-picture")
        video = players.video_player(
            None, "The dream as it forms", visible=False, elem_id="making-film"
        )
        download = gr.DownloadButton("Download the video", elem_id="making-download")
    return MakingOfSection(go_button, section, mode, image, video, download)


def stream_making_of(runner: JobRunner, visit: Any, playback_mode: str) -> Iterator[dict[str, Any]]:
    """Yield the changes of the outputs while the video is made.

    Raises:
        DreamError: if the dream was stopped early, or as `video_stream.stream_making_of`.
    """
    entry = Visit.read(visit).require_shown()
    if not (recipe := recipe_in_photo(entry.file)):
        raise DreamError("This dream was stopped early. Finish a dream first.")
    loop, ending = PLAYBACK_MODES.get(playback_mode, PLAYBACK_MODES["Once"])
    for update in video_stream.stream_making_of(
        runner, recipe, entry.photo, MakingOf(loop=loop), ending
    ):
        changes: dict[str, Any] = {"status": update.status}
        if update.done:
            image, video = players.player_updates(update.path)
            changes |= {"making": gr.update(visible=True), "made_download": update.path}
            changes |= {"made_picture": image, "made_film": video}
        yield changes
