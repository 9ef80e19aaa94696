"""Image files: safe reading, and atomic writing with the recipe inside.

Images are float tensors (1, 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dream.errors import PictureError, RecipeError, first_line
from dream.files.colour import ROWS_PER_CHUNK
from dream.files.decoder import hold_lock, next_answer, read_in_decoder, to_pixels
from dream.files.embedded_text import RECIPE_KEY
from dream.files.image_formats import (
    check_output_path,
    encode_image,
    encoder_options,
    image_format,
)
from dream.files.limited_reader import (
    PathOrFile,
    convert_read_errors,
    display_name,
    open_regular_file,
)
from dream.files.pixels import MAX_IMAGE_SIDE, MAX_JPEG_MEGAPIXELS, MAX_MEGAPIXELS
from dream.recipe.base import AnyRecipe, Recipe

if TYPE_CHECKING:  # Torch takes seconds to import, and a missing file is reported without it.
    from torch import Tensor

    from dream.tensors import Size

# A recipe may contain a guide and a mask (see `embedded_images`).
MAX_RECIPE_BYTES = 1_000_000
# A killed process leaves its temporary file behind; later writes to the folder delete it.
TEMP_NAME = re.compile(r"\.[0-9a-f]{32}\.part")
MAX_TEMP_AGE_SECONDS = 3600
# Decode one image at a time, to limit memory. Headers are read without the lock, because a hostile
# one can take seconds.
DECODE_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):  # In a fork, as on ZeroGPU, the lock could stay locked.
    os.register_at_fork(after_in_child=DECODE_LOCK._at_fork_reinit)  # type: ignore[attr-defined]


def load_image(path: PathOrFile, background: str | None = None) -> Tensor:
    """Load the first frame of a PNG, JPEG, WebP, BMP, GIF, TIFF, HEIC or AVIF file, upright.

    Sizes are checked in the header first, so that a decompression bomb costs nothing. 16-bit,
    palette, grey and CMYK images become RGB; colours become sRGB by the profile, by cICP or gAMA of
    a PNG, or by nclx of a HEIC or AVIF. Of several images the primary one is loaded, without its
    gain map. Grey of more than 8 bits counts as 12-bit if no value is above 4095. A JPEG of more
    than 64 megapixels is loaded at half its width and height. Decoding takes up to a gigabyte,
    however many images are requested at once, in the decoder process if one is used.

    Args:
        path: a path or a binary file.
        background: shown through transparency; by default white, or black behind nearly white art.

    Returns:
        A float tensor (1, 3, H, W), RGB in [0, 1].

    Raises:
        PictureError: if the file is no such image, is damaged, is above 64 megapixels (40 as WebP
            or as HEIC of more than 8 bits with colours in full, 256 as a JPEG with a single scan,
            which a progressive JPEG is not), 30,000 pixels a side or 250 MB, or takes more than 10
            seconds of CPU time to read; or if it waits a minute because other files take too long.
    """
    image = _decode(path, np.float32, background=background)
    image /= np.float32(255)
    import torch

    return torch.from_numpy(image).permute(2, 0, 1)[None]


def image_size(path: PathOrFile) -> tuple[int, int]:
    """Return the (height, width) in an image's header, without decoding. Raises as `load_image`."""
    with read_in_decoder("size", path) as answers:
        return _next_size(answers, MAX_JPEG_MEGAPIXELS)


def fits_within(path: PathOrFile, side: int) -> bool:
    """Return whether a file is an image of at most `side` pixels a side, by its header."""
    try:
        return max(image_size(path)) <= side
    except PictureError:
        return False


def load_thumbnail(path: PathOrFile, side: int) -> Image.Image:
    """Load an image, reduced to that longest side in pixels. Raises as `load_image`."""
    return Image.fromarray(_decode(path, np.uint8, side=side))


def _decode(path: PathOrFile, dtype: type[np.generic], **options: Any) -> NDArray[Any]:
    """Return the pixels of an image, (H, W, 3), RGB from 0 to 255; wait if another is decoded."""
    with read_in_decoder("pixels", path, **options) as answers:
        next_answer(answers, bool)  # The header is read.
        with hold_lock(DECODE_LOCK, display_name(path)):
            image = np.empty((*_next_size(answers), 3), dtype)
            for top in range(0, len(image), ROWS_PER_CHUNK):
                rows = image[top : top + ROWS_PER_CHUNK]
                rows[:] = next_answer(answers, partial(to_pixels, shape=rows.shape))
            return image


def _next_size(answers: Iterator[Any], megapixels: float = 1.01 * MAX_MEGAPIXELS) -> Size:
    """Return the next answer as an image size; halved sizes may be rounded up, hence the 1 %."""

    def to_size(answer: Any) -> Size:
        height, width = map(int, answer)
        is_valid = 0 < height <= MAX_IMAGE_SIDE and 0 < width <= MAX_IMAGE_SIDE
        if not (is_valid and height * width <= 1e6 * megapixels):
            raise ValueError("this is not the size of an image")
        return height, width

    return next_answer(answers, to_size)


def save_image(
    picture: Tensor | Image.Image,
    path: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    photo: bool | None = None,
    quality: int | None = None,
    blend: int | None = None,
) -> None:
    """Write an image atomically, with the recipe and its provenance inside.

    Args:
        picture: (1, 3, H, W) in [0, 1], or an image of PIL.
        path: ends in .png, .jpg, .jpeg, .webp or .avif, which selects the format.
        recipe: omitted if None. `read_recipe` reads it again.
        photo: whether the image is based on a photo, as every dream is. If both this and `recipe`
            are None, no provenance is written. There is no other metadata.
        quality: from 1 to 100, by default 90; only for the formats other than PNG.
        blend: the share of the recipe's dream over its photo, in per cent, noted beside the recipe
            of a PNG (tEXt `deepdream-blend`); None if the image is the dream alone.

    Raises:
        PictureError: if the name has another ending, the file cannot be written, the image is not
            finite, a PNG is given a quality, or the recipe is too long for a JPEG.
        RecipeError: if the quality is out of bounds.
    """
    path = check_output_path(path)
    options = encoder_options(path, recipe, photo, quality, blend)
    if not isinstance(picture, Image.Image):
        from dream.tensors import to_pil_image

        picture = to_pil_image(picture)
    _write_image(picture, path, image_format(path), options)


def save_preview(image: Image.Image, path: Path, *, from_photo: bool | None = None) -> None:
    """Write a JPEG preview, smaller than a JPEG of `save_image`. Raises as `save_image`."""
    options = encoder_options(path, None, from_photo, None)
    _write_image(image, path, "JPEG", options | {"subsampling": "4:2:0"})


def _write_image(image: Image.Image, path: Path, kind: str, options: Mapping[str, Any]) -> None:
    image = image.convert("RGB")
    image.info = {}  # Pillow would write a comment.
    with atomic_write(path) as partial:
        encode_image(image, partial, kind, options)


@overload
def read_recipe(path: str | os.PathLike[str]) -> Recipe: ...
@overload
def read_recipe(path: str | os.PathLike[str], kind: type[AnyRecipe]) -> AnyRecipe: ...
def read_recipe(path: str | os.PathLike[str], kind: type[Recipe] = Recipe) -> Recipe:
    """Return the recipe, of one kind or any, in an image or video of this program, or in JSON.

    Raises:
        RecipeError: if the file is missing, has no recipe, or has one that cannot be used.
    """
    name = display_name(path)
    try:
        with convert_read_errors(name, Exception):
            with open_regular_file(path, name) as file:
                text = file.read(MAX_RECIPE_BYTES)
            if not _is_json(text):
                with read_in_decoder("text", path, key=RECIPE_KEY) as answers:
                    text = next_answer(answers, lambda answer: str(answer).encode())
    except PictureError as error:
        raise RecipeError(str(error)) from error
    if not _is_json(text):
        raise RecipeError(
            f"{name} has no recipe; use an image or a video made by this program, or JSON"
        )
    return kind.from_json(text)


def _is_json(text: bytes) -> bool:
    """Return whether a text, in any encoding of JSON, starts like a recipe."""
    head = text[:100].decode(json.detect_encoding(text), errors="replace")
    return head.lstrip("\ufeff \t\r\n").startswith("{")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` atomically on success.

    Raises:
        PictureError: if the file cannot be written.
    """
    _remove_stale_files(path.parent, time.time() // MAX_TEMP_AGE_SECONDS)
    partial = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise PictureError(f"{path.name} cannot be written: {first_line(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


@lru_cache(maxsize=64)  # Runs once per folder and hour, because listing a large folder is slow.
def _remove_stale_files(folder: Path, hour: float) -> None:
    for path in folder.glob(".*.part"):
        with suppress(OSError):  # Another process may delete it first, or own it.
            is_stale = time.time() - path.lstat().st_mtime > MAX_TEMP_AGE_SECONDS
            if is_stale and TEMP_NAME.fullmatch(path.name):
                path.unlink()
