"""The dreams of one visit, side by side; a click brings one back with its recipe.

Gradio keeps a history of API runs by itself, across visits; this is only what is on the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from dream.files.picture import read_recipe
from dream.networks import catalogue
from dream.page import parts
from dream.page.controls import Controls
from dream.page.sharing import linked
from dream.recipe.dream import DreamRecipe

MOST = 24

# What a gallery hands back: the path of each picture, and its caption.
Kept = list[tuple[str, str | None]] | None
# What each dream is of, and what is shown beside it: another photo where a dream was dreamed again.
Origins = tuple[tuple[str, str], ...]


def strip() -> tuple[gr.Gallery, gr.State]:
    """The dreams made so far, none as yet, and what each was made of."""
    gallery = gr.Gallery(
        type="filepath",
        format="png",
        label="Your dreams",
        show_label=False,
        interactive=False,
        allow_preview=False,
        columns=MOST,
        rows=1,
        height="auto",
        object_fit="cover",
        buttons=[],
        visible=False,
        elem_id="strip",
    )
    return gallery, gr.State(())


def longer(
    kept: Kept, origins: Origins, dreamed: str, photo: str, before: str
) -> tuple[dict[str, Any], Origins]:
    """The strip with one more dream at its end, and what all of them were made of."""
    items = [*(kept or []), (dreamed, caption(dreamed))][-MOST:]
    origins = (*origins, (photo, before))[-MOST:]
    return gr.update(value=items, selected_index=None, visible=True), origins


def caption(dreamed: str) -> str:
    """A dream in a few words: what its layer brings, and the intensity."""
    recipe = read_recipe(dreamed, DreamRecipe)
    brings = {layer.name: layer.brings for layer in catalogue.card(recipe.model).layers}
    return f"{brings.get(recipe.layer, recipe.layer)} · {recipe.intensity}"


def wire(gallery: gr.Gallery, origins: gr.State, controls: Controls, outputs: list[Any]) -> None:
    """A click on a dream shows it again, with its photo, and sets every control as it was made."""
    photo, view, status, download, text, linkable, shown_of = outputs

    def bring_back(event: gr.SelectData, kept: Kept, origins: Origins) -> dict[Any, Any]:
        place = int(event.index)
        dreamed, (origin, before) = (kept or [])[place][0], origins[place]
        if not all(Path(each).exists() for each in (dreamed, origin, before)):
            return {status: parts.status("This dream is no longer kept here.")}
        recipe = read_recipe(dreamed, DreamRecipe)
        return controls.show(recipe, origin) | {
            photo: origin,
            view: (before, dreamed),
            status: parts.status(f"Dream {place + 1} of this visit, and its recipe."),
            download: dreamed,
            text: recipe.to_json(),
            linkable: linked(recipe),
            shown_of: origin,
        }

    gallery.select(
        bring_back, [gallery, origins], [*controls.outputs, *outputs], **controls.at_once
    )
