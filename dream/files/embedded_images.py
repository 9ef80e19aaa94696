"""Guides and masks in recipes, as data URIs, so that a recipe is self-contained.

They are small enough to be stored in a PNG. A recipe depends on no other file, and cannot name a
file of the machine that reads it.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dream.errors import RecipeError
from dream.files.image import fits_within, load_image
from dream.files.limited_reader import PathOrFile
from dream.recipe import Recipe
from dream.recipe.knob import DATA_URI_PREFIX, knobs
from dream.tensors import Size, limit_size, luminance, resize_clamped, size_of, to_pil_image

GUIDE_SIDE = 256
MASK_SIDES = (1024, 512, 256)
MAX_MASK_URI_LENGTH = 150_000
# Darker pixels count as black, so that JPEG noise in a mask does not change the image.
BLACK_THRESHOLD = 8 / 255


def embed_guide(path: PathOrFile) -> str:
    """Return a guide of at most 256 pixels a side, as a lossless WebP. Raises as `load_image`."""
    image = load_image(path)
    image = resize_clamped(image, limit_size(size_of(image), GUIDE_SIDE))
    return _to_data_uri(to_pil_image(image), "WEBP", lossless=True)


def embed_mask(path: PathOrFile) -> str:
    """Return a mask as a data URI (grey PNG), its longest side at most 1024 pixels.

    White areas dream; black and transparent areas stay. When the mask is reduced, partly black
    pixels become black, so that no pixel outside the mask ever changes.

    Raises:
        PictureError: as `load_image`.
        RecipeError: if the mask is completely black.
    """
    return encode_mask(load_image(path, background="black"))


def encode_mask(picture: Tensor) -> str:
    """Return an image (1, 3, H, W) in [0, 1] as a mask, as `embed_mask`."""
    mask = _require_white(_whiteness(picture))
    for side in MASK_SIDES:
        image = to_pil_image(_min_pool(mask, limit_size(size_of(mask), side)).expand(-1, 3, -1, -1))
        uri = _to_data_uri(image.convert("L"), "PNG", optimize=True)
        if len(uri) <= MAX_MASK_URI_LENGTH:
            break
    return uri


EMBEDDERS: dict[str, Callable[[PathOrFile], str]] = {"guide": embed_guide, "mask": embed_mask}


def embed_files(kind: type[Recipe], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of knobs, with the files of image knobs embedded. Raises as `EMBEDDERS`."""
    metadata = knobs(kind)
    return {
        name: EMBEDDERS[name](value) if value and metadata[name].is_image else value
        for name, value in values.items()
    }


def decode_guide(uri: str) -> Tensor:
    """Return the guide of a recipe, (1, 3, H, W), RGB in [0, 1].

    Raises:
        RecipeError: if the URI is not one of a guide.
        PictureError: if the image in it is damaged.
    """
    return load_image(_from_data_uri("guide", uri, GUIDE_SIDE))


def decode_mask(uri: str, size: Size) -> Tensor:
    """Return the mask of a recipe at a size, (1, 1, H, W), from 0 (unchanged) to 1.

    Raises:
        RecipeError: if the URI is not one of a mask, or the mask is black at that size.
        PictureError: if the image in it is damaged.
    """
    mask = _whiteness(load_image(_from_data_uri("mask", uri, max(MASK_SIDES))))
    mask = _min_pool(mask, (min(mask.shape[2], size[0]), min(mask.shape[3], size[1])))
    return F.interpolate(_require_white(mask), size=size, mode="nearest-exact")


def feather_mask(mask: Tensor, feather: int) -> Tensor:
    """Let a mask (1, 1, H, W) rise from its edge inwards over `feather` pixels; 0 stays 0."""
    if not feather:
        return mask
    import cv2

    inside = (mask[0, 0] > 0).byte().numpy()
    distance = torch.from_numpy(cv2.distanceTransform(inside, cv2.DIST_C, cv2.DIST_MASK_3))
    return mask * distance.clamp(max=feather) / feather


def _min_pool(mask: Tensor, size: Size) -> Tensor:
    """Reduce a mask to a size by the minimum of the pixels in each cell."""
    return -F.adaptive_max_pool2d(-mask, size)


def _whiteness(image: Tensor) -> Tensor:
    """Return the luminance of each pixel, (1, 1, H, W), 0 below the threshold of black."""
    grey = luminance(image).clamp(0, 1)
    return grey.where(grey >= BLACK_THRESHOLD, 0)


def _require_white(mask: Tensor) -> Tensor:
    if not mask.any():
        raise RecipeError("the mask is completely black; paint white the area that should dream")
    return mask


def _to_data_uri(image: Image.Image, kind: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"{DATA_URI_PREFIX}{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _from_data_uri(knob: str, uri: str, side: int) -> io.BytesIO:
    """Return the file in a data URI; refuse images larger than this program embeds."""
    try:
        content = base64.b64decode(uri.partition(";base64,")[2], validate=True)
    except ValueError:
        content = b""
    if not fits_within(io.BytesIO(content), side):
        raise RecipeError(
            f"the {knob} in the recipe is not an image of at most {side} pixels a side"
        )
    return io.BytesIO(content)
