"""How a dream came about: the one that is shown, as a video of itself forming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from dream.files.picture import read_recipe
from dream.page import films, motion
from dream.page.controls import of_a_visitor
from dream.page.work import Work
from dream.paint.making import Making
from dream.recipe import DreamRecipe

# How it runs, and what it is written as.
WAYS = {"Once": (False, "mp4"), "As a loop": (True, "mp4"), "As a looping GIF": (True, "gif")}


@dataclass(frozen=True)
class Section:
    """What is chosen, the button, and where the video is put."""

    way: gr.Radio
    go: gr.Button
    picture: gr.Image
    film: gr.Video
    download: gr.DownloadButton

    @property
    def outputs(self) -> dict[str, Any]:
        """What `came_about` puts out, but for the status."""
        return {
            "made_picture": self.picture,
            "made_film": self.film,
            "made_download": self.download,
        }


def section() -> Section:
    """The section, below a dream."""
    with gr.Accordion("How it came about", open=False, elem_id="making"):
        way = gr.Radio(list(WAYS), value="Once", show_label=False, label="How")
        go = gr.Button("Show how it came about", size="sm", elem_id="came-about")
        picture = gr.Image(
            type="filepath",
            label="The dream, forming",
            interactive=False,
            visible=False,
            buttons=[],
            elem_id="making-picture",
        )
        film = motion.player(None, "How it came about", visible=False, elem_id="making-film")
        download = gr.DownloadButton("Download", visible=False, elem_id="making-download")
    return Section(way, go, picture, film, download)


def came_about(work: Work, dreamed: str, origin: str, way: str) -> Iterator[dict[str, Any]]:
    """The video of a dream that was made of that photo."""
    recipe = of_a_visitor(read_recipe(dreamed, DreamRecipe))
    loop, ending = WAYS.get(way, WAYS["Once"])
    for moment in films.making_of(work, recipe, origin, Making(loop=loop), ending):
        changes: dict[str, Any] = {"status": moment.words}
        if moment.done:
            picture, film = motion.played(moment.path)
            download = gr.update(value=moment.path, visible=True)
            changes |= {"made_picture": picture, "made_film": film, "made_download": download}
        yield changes
