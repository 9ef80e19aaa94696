"""Estimated duration of a dream, shown before it starts."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.image import image_size
from dream.networks import weights
from dream.page.widgets import components
from dream.recipe import Recipe
from dream.recipe.motion import MotionRecipe
from dream.render.cost import format_duration
from dream.service.job_runner import JobRunner
from dream.tensors import Size

# The knobs that decide how long a dream takes.
COST_KNOBS = (
    *("model", "layer", "octaves", "scale", "iterations", "laplacian"),
    *("max_side", "tile", "seamless"),
)


def estimate_text(runner: JobRunner, recipe: Recipe, size: Size | None, frames: int = 0) -> str:
    """Return the network, device, download size and estimated duration as HTML.

    The duration is for an image of `size` (height, width), left out if that is None, or for a video
    of so many `frames`.
    """
    device = "a CPU" if runner.engine.device.type == "cpu" else "a GPU"
    parts = [f"{recipe.model.capitalize()} on {device}"]
    card = recipe.card
    if not (recipe.model in runner.engine.files or weights.find_weights(card)):
        parts.append(f"{card.source.megabytes:.0f} MB to download first")
    try:
        if size:
            seconds = runner.estimate_seconds([recipe], size, frames)
            parts.append(format_duration(seconds))
            # An image takes one lease, however long; a video is split over several.
            is_video = isinstance(recipe, MotionRecipe)
            if runner.uses_leased_gpu and is_video and (leases := runner.lease_count(seconds)) > 1:
                parts.append(f"in {leases} GPU leases from your quota")
    except DreamError:
        pass  # The button shows the error.
    return f"<span>{html.escape(', '.join(parts))}</span>"


def photo_size(photo: str | None) -> Size | None:
    """Return the (height, width) of a photo; None if it cannot be read."""
    try:
        return image_size(photo) if photo else None
    except DreamError:
        return None


def connect(
    line: gr.HTML,
    update_line: Callable[..., str],
    inputs: Mapping[str, Any],
    *others: Any,
    **options: Any,
) -> None:
    """Update a line by its inputs when one of them, or of other components, changes."""
    gr.on(
        [each.change for each in (*inputs.values(), *others)],
        update_line,
        None,
        line,
        inputs_kwargs=dict(inputs),
        trigger_mode="always_last",
        **components.SLOW_EVENT | options,
    )
