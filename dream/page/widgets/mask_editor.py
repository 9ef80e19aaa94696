"""The mask painter: white strokes over the photo, where it shall dream."""

from __future__ import annotations

from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import DreamError, RecipeError
from dream.files import embedded_images
from dream.files.image import fits_within, load_image, load_thumbnail
from dream.page.widgets import components
from dream.tensors import to_pil_image

# Larger canvases make a stroke as thin as a hair, and slow to send.
CANVAS_SIDE = 512
BRUSH_COLOUR = ("#ffffff", 0.6)
# What was painted, out of all that the painter holds.
MASK_LAYER_SCRIPT = "(painter) => painter?.layers?.find(Boolean) ?? null"

# Gradio would keep the strokes of visitors for ever.
MaskEditor = components.derive_component(
    gr.ImageEditor, blob_storage=property(lambda self: {}, lambda self, none: None)
)


def build_mask_editor(photo: str) -> gr.ImageEditor:
    """The photo to paint on, with a brush and an eraser and nothing else.

    It belongs to no event that runs here, but for `Controls.hand_over`: Gradio would have it send
    all that it holds, again and again, whenever progress is told of any event that it was part of.
    """
    editor: gr.ImageEditor = MaskEditor(
        **_editor_value(_load_background(photo)),
        format="png",
        sources=(),
        transforms=(),
        layers=False,
        buttons=[],
        show_label=False,
        height=320,
        brush=gr.Brush(
            colors=[BRUSH_COLOUR], default_color=BRUSH_COLOUR, color_mode="fixed", default_size=32
        ),
        eraser=gr.Eraser(default_size=32),
        elem_id="mask",
    )
    return editor


def empty_editor_update(photo: str | None) -> dict[str, Any]:
    """How the painter looks with that photo and nothing painted."""
    try:
        return (
            gr.update(**_editor_value(_load_background(photo))) if photo else gr.update(value=None)
        )
    except DreamError:  # It is said when the photo shall be dreamed.
        return gr.update(value=None)


def editor_update(photo: str | None, mask: str) -> dict[str, Any]:
    """How the painter looks with that photo and the mask of a recipe, if it has one."""
    if not photo or not mask:
        return empty_editor_update(photo)
    try:
        image = _load_background(photo)
        white = embedded_images.decode_mask(mask, (image.height, image.width)) > 0
    except DreamError:
        return empty_editor_update(photo)
    layer = Image.new("RGBA", image.size, "white")
    layer.putalpha(to_pil_image(white.float().expand(-1, 3, -1, -1) * BRUSH_COLOUR[1]).convert("L"))
    return gr.update(**_editor_value(image, layer))


def encode_painted_mask(layer: str | None) -> str:
    """What was painted as the mask of a recipe; "" if nothing was.

    Raises:
        RecipeError: if it is no layer of the painter's.
        PictureError: if that is damaged.
    """
    if not layer:
        return ""
    if not fits_within(layer, CANVAS_SIDE):
        raise RecipeError(
            f"what was painted is no picture of at most {CANVAS_SIDE} pixels a side; paint it again"
        )
    mask = (load_image(layer, background="black") > 0).float()
    return embedded_images.encode_mask(mask) if mask.any() else ""


def _load_background(photo: str) -> Image.Image:
    return load_thumbnail(photo, CANVAS_SIDE)


def _editor_value(image: Image.Image, *layers: Image.Image) -> dict[str, Any]:
    # Layers lie where they belong only on a canvas of their own size.
    value = {"background": image, "layers": list(layers), "composite": None}
    return {"value": value, "canvas_size": image.size}
