"""Pictures inside a recipe: its guide and its mask as data URIs, so that it is whole by itself.

`embed_guide` and `embed_mask` make them of files, small enough to travel in a PNG. What a recipe
makes depends on no file, and none can name one of the machine that it is read on.
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
MASK_BYTES = 150_000
# What is darker is black: the noise of a JPEG, too, leaves the picture alone.
BLACK_THRESHOLD = 8 / 255


def embed_guide(path: PathOrFile) -> str:
    """The guide in that file as a data URI (lossless WebP), its longest side at most 256 pixels.

    Raises:
        PictureError: as `load_image`.
    """
    picture = load_image(path)
    picture = resize_clamped(picture, limit_size(size_of(picture), GUIDE_SIDE))
    return _to_data_uri(to_pil_image(picture), "WEBP", lossless=True)


def embed_mask(path: PathOrFile) -> str:
    """The mask in that file as a data URI (PNG, grey), its longest side at most 1024 pixels.

    White is where to dream, black and transparent where not. Where it must be shrunk, what is
    partly black becomes black, so that nothing outside is ever touched.

    Raises:
        PictureError: as `load_image`.
        RecipeError: if all of it is black.
    """
    return encode_mask(load_image(path, background="black"))


def encode_mask(picture: Tensor) -> str:
    """The same for a picture (1, 3, H, W) in [0, 1]."""
    mask = _require_white(_whiteness(picture))
    for side in MASK_SIDES:
        image = to_pil_image(_min_pool(mask, limit_size(size_of(mask), side)).expand(-1, 3, -1, -1))
        uri = _to_data_uri(image.convert("L"), "PNG", optimize=True)
        if len(uri) <= MASK_BYTES:
            break
    return uri


EMBEDDERS: dict[str, Callable[[PathOrFile], str]] = {"guide": embed_guide, "mask": embed_mask}


def embed_files(kind: type[Recipe], given: Mapping[str, Any]) -> dict[str, Any]:
    """Those knobs of a recipe, with what is in the files that are named for its pictures.

    Raises:
        PictureError, RecipeError: as those that embed.
    """
    about = knobs(kind)
    return {
        name: EMBEDDERS[name](value) if value and about[name].is_image else value
        for name, value in given.items()
    }


def decode_guide(uri: str) -> Tensor:
    """The guide (1, 3, H, W), RGB in [0, 1].

    Raises:
        RecipeError: if it is no such data URI.
        PictureError: if what is in it is damaged.
    """
    return load_image(_from_data_uri("guide", uri, GUIDE_SIDE))


def decode_mask(uri: str, size: Size) -> Tensor:
    """The mask (1, 1, H, W) at that size, from 0 where nothing may change to 1. Raises as `guide`.

    Raises:
        RecipeError: also if nothing of it is left at that size.
    """
    mask = _whiteness(load_image(_from_data_uri("mask", uri, max(MASK_SIDES))))
    mask = _min_pool(mask, (min(mask.shape[2], size[0]), min(mask.shape[3], size[1])))
    return F.interpolate(_require_white(mask), size=size, mode="nearest-exact")


def feather_mask(mask: Tensor, feather: int) -> Tensor:
    """The mask (1, 1, H, W) rising over so many pixels from its edge inwards; 0 stays 0."""
    if not feather:
        return mask
    import cv2

    inside = (mask[0, 0] > 0).byte().numpy()
    depth = torch.from_numpy(cv2.distanceTransform(inside, cv2.DIST_C, cv2.DIST_MASK_3))
    return mask * depth.clamp(max=feather) / feather


def _min_pool(mask: Tensor, size: Size) -> Tensor:
    """The mask shrunk: each pixel the least of those in its place."""
    return -F.adaptive_max_pool2d(-mask, size)


def _whiteness(image: Tensor) -> Tensor:
    """How white each pixel is, (1, 1, H, W)."""
    grey = luminance(image).clamp(0, 1)
    return grey.where(grey >= BLACK_THRESHOLD, 0)


def _require_white(mask: Tensor) -> Tensor:
    if not mask.any():
        raise RecipeError("the mask is black all over; make white what shall dream")
    return mask


def _to_data_uri(image: Image.Image, kind: str, **options: object) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"{DATA_URI_PREFIX}{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _from_data_uri(what: str, uri: str, side: int) -> io.BytesIO:
    """The file in a data URI, if it is no larger than it is ever made here."""
    try:
        content = base64.b64decode(uri.partition(";base64,")[2], validate=True)
    except ValueError:
        content = b""
    if not fits_within(io.BytesIO(content), side):
        raise RecipeError(f"the {what} in the recipe is no picture of at most {side} pixels a side")
    return io.BytesIO(content)
