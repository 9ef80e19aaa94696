"""The dreams of one visit, side by side: a click brings one back with its recipe, or packs all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.pack import pack
from dream.networks import catalogue
from dream.page import parts
from dream.page.beside import about
from dream.page.controls import Controls, recipe_in
from dream.page.moments import fresh_folder
from dream.page.saved_visit import MOST, Visit, browser_state
from dream.page.sharing import linked
from dream.recipe.dream import DreamRecipe

DOWNLOAD = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""


@dataclass(frozen=True)
class Strip:
    """The dreams made so far, and all of them in one file."""

    dreams: gr.Gallery
    visit: gr.BrowserState
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
    return Strip(dreams, browser_state("visit"), everything, gr.DownloadButton(visible=False))


def longer(visit: Visit) -> dict[str, Any]:
    """What changes with one more dream, the one that is shown: the visit, and the strip."""
    return strip_of(replace(visit, dreams=(*visit.dreams, visit.shown)))


def strip_of(visit: Visit) -> dict[str, Any]:
    """The strip, and whether there are several to pack, with what is still here of a visit."""
    found = [(made, recipe_in(made.file)) for each in visit.dreams if (made := each.found())]
    there = [(made, recipe) for made, recipe in found if recipe][-MOST:]
    items = [(made.file, caption(recipe)) for made, recipe in there]
    return {
        "strip": gr.update(value=items, selected_index=None, visible=bool(items)),
        "visit": replace(visit, dreams=tuple(made for made, _ in there)).to_browser(),
        "all": gr.update(visible=len(items) > 1),
    }


def caption(recipe: DreamRecipe) -> str:
    """A dream in a few words: what its layer brings, and the intensity."""
    brings = {layer.name: layer.brings for layer in catalogue.card(recipe.model).layers}
    return f"{brings.get(recipe.layer, recipe.layer)} · {recipe.intensity}"


def packed(kept: Any) -> tuple[str | None, str]:
    """The dreams of a visit, as the browser kept it, in one ZIP, and what is said of it."""
    visit = Visit.read(kept)
    there = [Path(made.file) for each in visit.dreams if (made := each.found())]
    try:
        if not there:
            raise DreamError("These dreams are no longer kept here.")
        path = fresh_folder() / "dreams.zip"
        pack(there, path)
    except DreamError as error:
        return None, parts.status(parts.sentence(error))
    said = f"{len(there)} dreams and their recipes, in one ZIP"
    gone = len(visit.dreams) - len(there)
    return str(path), parts.status(
        f"{said}; {gone} more no longer kept here." if gone else f"{said}."
    )


def show_visit(visit: Visit, recipe: DreamRecipe) -> dict[str, Any]:
    """What changes where what a visit shows is shown again: made by that recipe, or a photo that is
    about to be.
    """
    made = visit.shown
    is_dream = made.file != made.photo
    download = gr.update(value=made.file if is_dream else None, interactive=is_dream)
    changes = {"view": (made.before, made.file), "download": download}
    return {**changes, "visit": replace(visit, recipe=linked(recipe)).to_browser(), **about(recipe)}


def wire(strip: Strip, controls: Controls, outputs: dict[str, Any]) -> None:
    """A click on a dream shows it again, with its photo, and sets every control as it was made."""
    status = outputs["status"]

    def bring_back(event: gr.SelectData, kept: Any) -> dict[Any, Any]:
        visit, place = Visit.read(kept), int(event.index)
        made = visit.dreams[place].found() if place < len(visit.dreams) else None
        if not (made and (recipe := recipe_in(made.file))):
            return {status: parts.status("This dream is no longer kept here.")}
        said = parts.status(f"Dream {place + 1} of this visit, and its recipe.")
        changes = {
            "photo": made.photo,
            **show_visit(replace(visit, shown=made), recipe),
            "status": said,
        }
        changed = {outputs[name]: value for name, value in changes.items()}
        return controls.show(recipe, made.photo) | changed

    every = [*controls.outputs, *outputs.values()]
    strip.dreams.select(bring_back, strip.visit, every, **controls.at_once)
    strip.all.click(packed, strip.visit, [strip.packed, status], **parts.HEAVY_LOOK).then(
        None, strip.packed, None, js=DOWNLOAD, api_visibility="private"
    )
