"""The dreams of one visit, side by side: a click brings one back with its recipe, or packs all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from dream.errors import DreamError
from dream.files.pack import pack
from dream.files.picture import read_recipe
from dream.networks import catalogue
from dream.page import parts
from dream.page.beside import about
from dream.page.controls import Controls
from dream.recipe.dream import DreamRecipe

MOST = 24
DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""


class Made(NamedTuple):
    """A dream, its caption, what it is of, and what is shown beside it: another photo where a dream
    was dreamed again.
    """

    file: str
    caption: str
    photo: str
    before: str


# The browser holds no part of it, and names none: what is packed and brought back is the visitor's.
Visit = tuple[Made, ...]


@dataclass(frozen=True)
class Strip:
    """The dreams made so far, and all of them in one file."""

    dreams: gr.Gallery
    visit: gr.State
    all: gr.Button
    packed: gr.DownloadButton


def strip() -> Strip:
    """The strip, hidden while there is no dream."""
    dreams = parts.pictures(
        type="filepath",
        format="png",
        label="Your dreams",
        columns=MOST,
        rows=1,
        visible=False,
        elem_id="strip",
    )
    everything = gr.Button("Download all", size="sm", visible=False, elem_id="download-all")
    return Strip(dreams, gr.State(()), everything, gr.DownloadButton(visible=False))


def longer(visit: Visit, dreamed: str, photo: str, before: str) -> dict[str, Any]:
    """What changes with one more dream: the strip, the visit, and whether there are several."""
    there = (each for each in visit if Path(each.file).exists())
    visit = (*there, Made(dreamed, caption(dreamed), photo, before))[-MOST:]
    items = [(each.file, each.caption) for each in visit]
    return {
        "strip": gr.update(value=items, selected_index=None, visible=True),
        "visit": visit,
        "all": gr.update(visible=len(visit) > 1),
    }


def caption(dreamed: str) -> str:
    """A dream in a few words: what its layer brings, and the intensity."""
    recipe = read_recipe(dreamed, DreamRecipe)
    brings = {layer.name: layer.brings for layer in catalogue.card(recipe.model).layers}
    return f"{brings.get(recipe.layer, recipe.layer)} · {recipe.intensity}"


def packed(visit: Visit) -> tuple[str | None, str]:
    """The dreams of a visit in one ZIP, in the folder of the first, and what is said of it."""
    there = [Path(each.file) for each in visit if Path(each.file).is_file()]
    try:
        if not there:
            raise DreamError("These dreams are no longer kept here.")
        path = there[0].with_name("dreams.zip")
        pack(there, path)
    except DreamError as error:
        return None, parts.status(parts.sentence(error))
    said = f"{len(there)} dreams and their recipes, in one ZIP"
    gone = len(visit) - len(there)
    return str(path), parts.status(
        f"{said}; {gone} more no longer kept here." if gone else f"{said}."
    )


def wire(strip: Strip, controls: Controls, outputs: dict[str, Any]) -> None:
    """A click on a dream shows it again, with its photo, and sets every control as it was made."""
    status = outputs["status"]

    def bring_back(event: gr.SelectData, visit: Visit) -> dict[Any, Any]:
        place = int(event.index)
        made = visit[place] if place < len(visit) else None
        if not made or not all(
            Path(each).exists() for each in (made.file, made.photo, made.before)
        ):
            return {status: parts.status("This dream is no longer kept here.")}
        recipe = read_recipe(made.file, DreamRecipe)
        pair = made.before, made.file
        changes = about(recipe) | {
            "photo": made.photo,
            "view": pair,
            "pair": pair,
            "status": parts.status(f"Dream {place + 1} of this visit, and its recipe."),
            "download": made.file,
            "origin": made.photo,
        }
        changed = {outputs[name]: value for name, value in changes.items()}
        return controls.show(recipe, made.photo) | changed

    every = [*controls.outputs, *outputs.values()]
    strip.dreams.select(bring_back, strip.visit, every, **controls.at_once)
    strip.all.click(packed, strip.visit, [strip.packed, status], **parts.AT_ONCE).then(
        None, strip.packed, None, js=DOWNLOAD, api_visibility="private"
    )
