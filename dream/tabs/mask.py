"""The mask painter: white strokes over the photo, where it shall dream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from dream import embedded
from dream.errors import DreamError
from dream.octave import limited, resized
from dream.picture import load_image, to_image

# Larger canvases make a stroke as thin as a hair, and slow to send.
SIDE = 512
WHITE = ("#ffffff", 0.6)


def painter(photo: str) -> gr.ImageEditor:
    """The photo to paint on, with a brush and an eraser and nothing else."""
    return gr.ImageEditor(
        **_canvas(_shown(photo)),
        type="pil",
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


def unpainted(photo: str | None) -> dict[str, Any]:
    """How the painter looks with that photo; a dreamed one is painted with its own mask."""
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


def mask_file(painting: dict[str, Any] | None, folder: str) -> str:
    """The path of what was painted, white on black, in a new file there; "" if nothing was."""
    if not painting or not painting["layers"]:
        return ""
    mask = painting["layers"][0].getchannel("A").point(lambda alpha: 255 if alpha else 0)
    if not mask.getbbox():
        return ""
    path = Path(folder) / "mask.png"
    mask.save(path)
    return str(path)


def _shown(photo: str) -> Image.Image:
    picture = load_image(photo)
    return to_image(resized(picture, limited(picture.shape[2:], SIDE)))


def _canvas(image: Image.Image, *layers: Image.Image) -> dict[str, Any]:
    # Layers lie where they belong only on a canvas of their own size.
    value = {"background": image, "layers": list(layers), "composite": None}
    return {"value": value, "canvas_size": image.size}
