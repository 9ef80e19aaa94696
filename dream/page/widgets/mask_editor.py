"""The mask editor: white strokes on the photo mark the area to dream in."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import DreamError, RecipeError
from dream.files import embedded_images
from dream.files.image import fits_within, load_image, load_thumbnail
from dream.page.widgets import components
from dream.tensors import to_pil_image

# On larger canvases, strokes are too thin and slow to send.
CANVAS_SIDE = 512
BRUSH_COLOUR = ("#ffffff", 0.6)
# Takes the layer with the strokes from the editor's value.
MASK_LAYER_SCRIPT = "(painter) => painter?.layers?.find(Boolean) ?? null"

# Without this, Gradio would store the strokes of all visitors until the server stops.
MaskEditor = components.derive_component(
    gr.ImageEditor, blob_storage=property(lambda self: {}, lambda self, none: None)
)


def build_mask_editor(photo: str) -> gr.ImageEditor:
    """Build the editor: the photo, a brush and an eraser.

    Use it in no server event except `RecipeControls.fetch_mask_then`: Gradio sends its full value
    on each progress message.
    """
    editor: gr.ImageEditor = MaskEditor(
        **_editor_value(load_thumbnail(photo, CANVAS_SIDE)),
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


def editor_update(photo: str | None, mask: str = "") -> dict[str, Any]:
    """Return the update that shows a photo with the mask of a recipe, if it has a valid one."""
    if not photo:
        return gr.update(value=None)
    try:
        image = load_thumbnail(photo, CANVAS_SIDE)
    except DreamError:  # The dream button shows the error.
        return gr.update(value=None)
    layers = []
    if mask:
        with suppress(DreamError):
            white = embedded_images.decode_mask(mask, (image.height, image.width)) > 0
            strokes = white.float().expand(-1, 3, -1, -1) * BRUSH_COLOUR[1]
            layers = [Image.new("RGBA", image.size, "white")]
            layers[0].putalpha(to_pil_image(strokes).convert("L"))
    return gr.update(**_editor_value(image, *layers))


def encode_painted_mask(layer: str | None) -> str:
    """Return the painted layer as a mask, "" if it is empty; raise DreamError if it is invalid."""
    if not layer:
        return ""
    if not fits_within(layer, CANVAS_SIDE):
        raise RecipeError(
            f"the mask is not an image of at most {CANVAS_SIDE} pixels per side; paint it again"
        )
    mask = (load_image(layer, background="black") > 0).float()
    return embedded_images.encode_mask(mask) if mask.any() else ""


def _editor_value(image: Image.Image, *layers: Image.Image) -> dict[str, Any]:
    # Layers are aligned only on a canvas of the same size.
    value = {"background": image, "layers": list(layers), "composite": None}
    return {"value": value, "canvas_size": image.size}
