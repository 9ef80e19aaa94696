"""The mask painter: white strokes over the photo, where it shall dream."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import DreamError, RecipeError
from dream.files import embedded
from dream.files.picture import is_within, load_image, load_thumbnail
from dream.page import parts
from dream.tensors import to_image

# Larger canvases make a stroke as thin as a hair, and slow to send.
SIDE = 512
WHITE = ("#ffffff", 0.6)
# What was painted, out of all that the painter holds.
PAINTED = "(painter) => painter?.layers?.find(Boolean) ?? null"

# Gradio would keep the strokes of visitors for ever.
Painter = parts.component_like(
    gr.ImageEditor, blob_storage=property(lambda self: {}, lambda self, none: None)
)


def painter(photo: str) -> gr.ImageEditor:
    """The photo to paint on, with a brush and an eraser and nothing else.

    It belongs to no event that runs here, but for `Controls.hand_over`: Gradio would have it send
    all that it holds, again and again, whenever progress is told of any event that it was part of.
    """
    editor: gr.ImageEditor = Painter(
        **_canvas(_shown(photo)),
        format="png",
        sources=(),
        transforms=(),
        layers=False,
        buttons=[],
        show_label=False,
        height=320,
        brush=gr.Brush(colors=[WHITE], default_color=WHITE, color_mode="fixed", default_size=32),
        eraser=gr.Eraser(default_size=32),
        elem_id="mask",
    )
    return editor


def unpainted(photo: str | None) -> dict[str, Any]:
    """How the painter looks with that photo and nothing painted."""
    try:
        return gr.update(**_canvas(_shown(photo))) if photo else gr.update(value=None)
    except DreamError:  # It is said when the photo shall be dreamed.
        return gr.update(value=None)


def painted(photo: str | None, mask: str) -> dict[str, Any]:
    """How the painter looks with that photo and the mask of a recipe, if it has one."""
    if not photo or not mask:
        return unpainted(photo)
    try:
        image = _shown(photo)
        white = embedded.mask(mask, (image.height, image.width)) > 0
    except DreamError:
        return unpainted(photo)
    layer = Image.new("RGBA", image.size, "white")
    layer.putalpha(to_image(white.float().expand(-1, 3, -1, -1) * WHITE[1]).convert("L"))
    return gr.update(**_canvas(image, layer))


def embedded_mask(layer: str | None) -> str:
    """What was painted as the mask of a recipe; "" if nothing was.

    Raises:
        RecipeError: if it is no layer of the painter's.
        PictureError: if that is damaged.
    """
    if not layer:
        return ""
    if not is_within(layer, SIDE):
        raise RecipeError(
            f"what was painted is no picture of at most {SIDE} pixels a side; paint it again"
        )
    mask = (load_image(layer, background="black") > 0).float()
    return embedded.masked(mask) if mask.any() else ""


def _shown(photo: str) -> Image.Image:
    return load_thumbnail(photo, SIDE)


def _canvas(image: Image.Image, *layers: Image.Image) -> dict[str, Any]:
    # Layers lie where they belong only on a canvas of their own size.
    value = {"background": image, "layers": list(layers), "composite": None}
    return {"value": value, "canvas_size": image.size}
