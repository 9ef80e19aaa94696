"""How a dream came about: the one that is shown, as a video of itself forming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.page import films, motion
from dream.page.controls import recipe_in
from dream.page.saved_visit import Visit
from dream.paint.making import Making
from dream.service.work import Work

# How it runs, and what it is written as.
WAYS = {"Once": (False, "mp4"), "As a loop": (True, "mp4"), "As a looping GIF": (True, "gif")}


@dataclass(frozen=True)
class Section:
    """The button, and what is below the dream once it was pressed: how it runs, and the video."""

    go: gr.Button
    below: gr.Column
    way: gr.Radio
    picture: gr.Image
    film: gr.Video
    download: gr.DownloadButton

    @property
    def outputs(self) -> dict[str, Any]:
        """What `stream_making_of` puts out, but for the status."""
        return {
            "making": self.below,
            "made_picture": self.picture,
            "made_film": self.film,
            "made_download": self.download,
        }


def button() -> gr.Button:
    """The button, which stands beside others."""
    return gr.Button("How it came about", elem_id="came-about", min_width=90)


def section(go: gr.Button) -> Section:
    """What is below the dream, hidden as yet."""
    with gr.Column(visible=False) as below:
        way = gr.Radio(list(WAYS), value="Once", show_label=False, label="How it runs")
        picture = motion.still("The dream, forming", "making-picture")
        film = motion.player(None, "How it came about", visible=False, elem_id="making-film")
        download = gr.DownloadButton("Download the video", elem_id="making-download")
    return Section(go, below, way, picture, film, download)


def stream_making_of(work: Work, visit: Any, way: str) -> Iterator[dict[str, Any]]:
    """The video of a dream that was made of that photo.

    Raises:
        DreamError: if no recipe makes it, or as `films.making_of`.
    """
    made = Visit.read(visit).found()
    if not (recipe := recipe_in(made.file)):
        raise DreamError("this dream was stopped on its way; let one come to its end first")
    loop, ending = WAYS.get(way, WAYS["Once"])
    for moment in films.making_of(work, recipe, made.photo, Making(loop=loop), ending):
        changes: dict[str, Any] = {"status": moment.words}
        if moment.done:
            picture, film = motion.played(moment.path)
            changes |= {"making": gr.update(visible=True), "made_download": moment.path}
            changes |= {"made_picture": picture, "made_film": film}
        yield changes
