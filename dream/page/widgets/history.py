"""The strip of dreams of one visit: a click restores one, a button downloads all as a ZIP."""

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
from dream.page.widgets.saved_visit import MAX_DREAMS, Visit, browser_state
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
    """The strip of dreams, the stored visit and the download of all."""

    dreams: gr.Gallery
    visit: gr.BrowserState
    download_all_button: gr.Button
    zip_download: gr.DownloadButton


def build_strip() -> HistoryStrip:
    """Build the strip, which is hidden while it is empty."""
    dreams = components.thumbnail_gallery(
        type="filepath",
        format="png",
        label="Dreams of this visit",
        columns=MAX_DREAMS,
        rows=1,
        visible=False,
        elem_id="strip",
    )
    download_all = gr.Button("Download all", size="sm", visible=False, elem_id="download-all")
    return HistoryStrip(
        dreams, browser_state("visit"), download_all, gr.DownloadButton(visible=False)
    )


def append_dream(visit: Visit) -> dict[str, Any]:
    """Return the changes that add the shown dream to the visit and the strip."""
    return strip_updates(replace(visit, dreams=(*visit.dreams, visit.shown)))


def strip_updates(visit: Visit) -> dict[str, Any]:
    """Return the changes that show the dreams of a visit whose files still exist."""
    entries = [
        (entry, recipe_in_photo(entry.file)) for each in visit.dreams if (entry := each.resolve())
    ]
    available = [(entry, recipe) for entry, recipe in entries if recipe][-MAX_DREAMS:]
    items = [(entry.file, caption(recipe)) for entry, recipe in available]
    return {
        "strip": gr.update(value=items, selected_index=None, visible=bool(items)),
        "visit": replace(visit, dreams=tuple(entry for entry, _ in available)).to_browser(),
        "all": gr.update(visible=len(items) > 1),
    }


def caption(recipe: DreamRecipe) -> str:
    """Return a short caption: the layer's friendly name and the intensity."""
    effects = {layer.name: layer.effect for layer in catalogue.get_card(recipe.model).layers}
    return f"{effects.get(recipe.layer, recipe.layer)} · {recipe.intensity}"


def zip_dreams(saved: Any) -> tuple[str | None, str]:
    """Write the dreams of a stored visit to a ZIP; return its path and the status."""
    visit = Visit.read(saved)
    paths = [Path(entry.file) for each in visit.dreams if (entry := each.resolve())]
    try:
        if not paths:
            raise DreamError("These dreams are no longer on the server.")
        path = new_output_folder() / "dreams.zip"
        write_zip(paths, path)
    except DreamError as error:
        return None, status_line.status_html(status_line.to_sentence(error))
    text = f"The ZIP has {len(paths)} dreams and their recipes."
    if missing := len(visit.dreams) - len(paths):
        text += f" {missing} more are no longer on the server."
    return str(path), status_line.status_html(text)


def visit_updates(visit: Visit, recipe: DreamRecipe) -> dict[str, Any]:
    """Return the changes that show the current image of a visit again, and its recipe."""
    entry = visit.shown
    is_dream = entry.file != entry.photo
    download = gr.update(value=entry.file if is_dream else None, interactive=is_dream)
    changes = {"view": (entry.before, entry.file), "download": download}
    return {
        **changes,
        "visit": replace(visit, recipe=linkable_json(recipe)).to_browser(),
        **detail_updates(recipe),
    }


def connect(strip: HistoryStrip, controls: RecipeControls, outputs: dict[str, Any]) -> None:
    """Restore a clicked dream with its photo and every control; download all on a click."""
    status = outputs["status"]

    def show_dream(event: gr.SelectData, saved: Any) -> dict[Any, Any]:
        visit, index = Visit.read(saved), int(event.index)
        entry = visit.dreams[index].resolve() if index < len(visit.dreams) else None
        if not (entry and (recipe := recipe_in_photo(entry.file))):
            return {status: status_line.status_html("This dream is no longer on the server.")}
        text = status_line.status_html(f"Dream {index + 1} of this visit and its recipe are back.")
        changes = {
            "photo": entry.photo,
            **visit_updates(replace(visit, shown=entry), recipe),
            "status": text,
        }
        changed = {outputs[name]: value for name, value in changes.items()}
        return controls.recipe_updates(recipe, entry.photo) | changed

    all_outputs = [*controls.outputs, *outputs.values()]
    strip.dreams.select(show_dream, strip.visit, all_outputs, **controls.event_options)
    strip.download_all_button.click(
        zip_dreams, strip.visit, [strip.zip_download, status], **components.HEAVY_EVENT
    ).then(None, strip.zip_download, None, js=DOWNLOAD_SCRIPT, api_visibility="private")
