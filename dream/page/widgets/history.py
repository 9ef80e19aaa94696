"""The dreams of one visit, side by side: a click brings one back with its recipe, or packs all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.zip_archive import write_zip
from dream.networks import catalogue
from dream.page import status_line
from dream.page.image_stream import new_output_folder
from dream.page.widgets import components
from dream.page.widgets.dream_details import detail_updates
from dream.page.widgets.recipe_controls import RecipeControls, recipe_in_photo
from dream.page.widgets.recipe_sharing import linkable_json
from dream.page.widgets.saved_visit import MAX_DREAMS, History, browser_state
from dream.recipe.dream import DreamRecipe

DOWNLOAD_SCRIPT = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""


@dataclass(frozen=True)
class HistoryStrip:
    """The dreams made so far, and all of them in one file."""

    dreams: gr.Gallery
    history: gr.BrowserState
    download_all_button: gr.Button
    zip_download: gr.DownloadButton


def build_strip() -> HistoryStrip:
    """The strip, hidden while there is no dream."""
    dreams = components.thumbnail_gallery(
        type="filepath",
        format="png",
        label="Your dreams",
        columns=MAX_DREAMS,
        rows=1,
        visible=False,
        elem_id="strip",
    )
    everything = gr.Button("Download all", size="sm", visible=False, elem_id="download-all")
    return HistoryStrip(
        dreams, browser_state("visit"), everything, gr.DownloadButton(visible=False)
    )


def append_dream(visit: History) -> dict[str, Any]:
    """What changes with one more dream, the one that is shown: the visit, and the strip."""
    return strip_of(replace(visit, dreams=(*visit.dreams, visit.shown)))


def strip_of(visit: History) -> dict[str, Any]:
    """The strip, and whether there are several to pack, with what is still here of a visit."""
    found = [(made, recipe_in_photo(made.file)) for each in visit.dreams if (made := each.found())]
    there = [(made, recipe) for made, recipe in found if recipe][-MAX_DREAMS:]
    items = [(made.file, caption(recipe)) for made, recipe in there]
    return {
        "strip": gr.update(value=items, selected_index=None, visible=bool(items)),
        "visit": replace(visit, dreams=tuple(made for made, _ in there)).to_browser(),
        "all": gr.update(visible=len(items) > 1),
    }


def caption(recipe: DreamRecipe) -> str:
    """A dream in a few words: what its layer brings, and the intensity."""
    brings = {layer.name: layer.effect for layer in catalogue.get_card(recipe.model).layers}
    return f"{brings.get(recipe.layer, recipe.layer)} · {recipe.intensity}"


def zip_history(kept: Any) -> tuple[str | None, str]:
    """The dreams of a visit, as the browser kept it, in one ZIP, and what is said of it."""
    visit = History.read(kept)
    there = [Path(made.file) for each in visit.dreams if (made := each.found())]
    try:
        if not there:
            raise DreamError("These dreams are no longer kept here.")
        path = new_output_folder() / "dreams.zip"
        write_zip(there, path)
    except DreamError as error:
        return None, status_line.status_html(status_line.to_sentence(error))
    said = f"{len(there)} dreams and their recipes, in one ZIP"
    gone = len(visit.dreams) - len(there)
    return str(path), status_line.status_html(
        f"{said}; {gone} more no longer kept here." if gone else f"{said}."
    )


def show_visit(visit: History, recipe: DreamRecipe) -> dict[str, Any]:
    """What changes where what a visit shows is shown again: made by that recipe, or a photo that is
    about to be.
    """
    made = visit.shown
    is_dream = made.file != made.photo
    download = gr.update(value=made.file if is_dream else None, interactive=is_dream)
    changes = {"view": (made.before, made.file), "download": download}
    return {
        **changes,
        "visit": replace(visit, recipe=linkable_json(recipe)).to_browser(),
        **detail_updates(recipe),
    }


def connect(strip: HistoryStrip, controls: RecipeControls, outputs: dict[str, Any]) -> None:
    """A click on a dream shows it again, with its photo, and sets every control as it was made."""
    status = outputs["status"]

    def bring_back(event: gr.SelectData, kept: Any) -> dict[Any, Any]:
        visit, place = History.read(kept), int(event.index)
        made = visit.dreams[place].found() if place < len(visit.dreams) else None
        if not (made and (recipe := recipe_in_photo(made.file))):
            return {status: status_line.status_html("This dream is no longer kept here.")}
        said = status_line.status_html(f"Dream {place + 1} of this visit, and its recipe.")
        changes = {
            "photo": made.photo,
            **show_visit(replace(visit, shown=made), recipe),
            "status": said,
        }
        changed = {outputs[name]: value for name, value in changes.items()}
        return controls.recipe_updates(recipe, made.photo) | changed

    every = [*controls.outputs, *outputs.values()]
    strip.dreams.select(bring_back, strip.history, every, **controls.event_options)
    strip.download_all_button.click(
        zip_history, strip.history, [strip.zip_download, status], **components.HEAVY_LOOK
    ).then(None, strip.zip_download, None, js=DOWNLOAD_SCRIPT, api_visibility="private")
