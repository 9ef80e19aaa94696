"""What a dream will take, said before anyone asks for it."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.picture import image_size
from dream.networks import catalogue, weights
from dream.page import parts
from dream.page.controls import Controls
from dream.paint.cost import in_words
from dream.recipe import DreamRecipe, Recipe
from dream.recipe.moving import MovingRecipe
from dream.service.work import Work
from dream.tensors import Size

# The knobs that decide how long a dream takes.
COSTLY = (
    *("model", "layer", "octaves", "scale", "iterations", "laplacian"),
    *("max_side", "tile", "seamless"),
)


def said(work: Work, recipe: Recipe, size: Size | None, frames: int = 1) -> str:
    """The network, the device, and about how long a picture of a photo of that (height, width)
    takes there; of a video of so many frames.
    """
    device = "a CPU" if work.engine.device.type == "cpu" else "a GPU"
    about = [f"{recipe.model.capitalize()} on {device}"]
    card = catalogue.card(recipe.model)
    if not (recipe.model in work.engine.files or weights.find(card)):
        about.append(f"{card.source.megabytes:.0f} MB to download first")
    try:
        if size:
            seconds = frames * work.seconds([recipe], size)
            about.append(in_words(seconds))
            # A picture is one lease, however long; a film is cut into several.
            is_film = isinstance(recipe, MovingRecipe)
            if work.lent and is_film and (leases := work.leases(seconds)) > 1:
                about.append(f"in {leases} leases of your minutes")
    except DreamError:
        pass  # The button says what is wrong.
    return f"<span>{html.escape(', '.join(about))}</span>"


def size_of_photo(photo: str | None) -> Size | None:
    """The (height, width) of a photo; None if there is none that can be read."""
    try:
        return image_size(photo) if photo else None
    except DreamError:
        return None


def wire(
    work: Work, line: gr.HTML, photo: gr.Image, controls: Controls, dreams: gr.Gallery
) -> None:
    """The line follows the photo, the controls, and what was learned by each of the dreams."""

    def follow(photo: str | None, *values: Any) -> str:
        try:
            recipe = DreamRecipe(**dict(zip(COSTLY, values, strict=True)))
        except DreamError:
            return ""
        return said(work, recipe, size_of_photo(photo))

    costly = [controls.by_name[name] for name in COSTLY]
    gr.on(
        [photo.change, dreams.change, *(each.change for each in costly)],
        follow,
        [photo, *costly],
        line,
        trigger_mode="always_last",
        **parts.SLOW_LOOK,
    )
