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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from dream.errors import PictureError, RecipeError, first_line
from dream.files.colour import ROWS_PER_CHUNK
from dream.files.decoder import hold_lock, next_answer, read_in_decoder, to_pixels, to_rgb_image
from dream.files.limited_reader import PathOrFile, display_name, open_regular_file, unreadable_error
from dream.files.pixels import MAX_IMAGE_SIDE, MAX_JPEG_MEGAPIXELS, MAX_MEGAPIXELS
from dream.files.video_container import RECIPE_KEY, detect_demuxer
from dream.recipe.base import AnyRecipe, Recipe
from dream.recipe.dream import DreamRecipe
from dream.tensors import Size, to_pil_image

# A recipe may contain a guide and a mask (see `embedded_images`).
MAX_RECIPE_BYTES = 1_000_000
# The PNG text key of XMP.
XMP_KEY = "XML:com.adobe.xmp"
# The PNG text key of the share of the dream over its photo, in per cent.
BLEND_KEY = "deepdream-blend"
IPTC_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
FROM_PHOTO, FROM_NOISE = "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"
XMP_TEMPLATE = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about=""
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{source}"/>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""
# A killed process leaves its temporary file behind; later writes to the folder delete it.
TEMP_NAME = re.compile(r"\.[0-9a-f]{32}\.part")
MAX_TEMP_AGE_SECONDS = 3600
# Decode one image at a time, to limit memory. Headers are read without the lock, because a hostile
# one can take seconds.
DECODE_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):  # In a fork, as on ZeroGPU, the lock could stay locked.
    os.register_at_fork(after_in_child=DECODE_LOCK._at_fork_reinit)  # type: ignore[attr-defined]


def load_image(path: PathOrFile, background: str | None = None) -> Tensor:
    """Load the first frame of a PNG, JPEG, WebP, BMP, GIF, TIFF or MPO file, upright.

    Sizes are checked in the header first, so that a decompression bomb costs nothing. 16-bit,
    palette, grey and CMYK images become RGB; colours become sRGB by the profile, or by cICP or gAMA
    of a PNG. Grey of more than 8 bits counts as 12-bit if no value is above 4095. A JPEG of more
    than 64 megapixels is loaded at half its width and height. Decoding takes up to a gigabyte,
    however many images are requested at once, in the decoder process if one is used.

    Args:
        path: a path or a binary file.
        background: shown through transparency; by default white, or black behind nearly white art.

    Returns:
        A float tensor (1, 3, H, W), RGB in [0, 1].

    Raises:
        PictureError: if the file is no such image, is damaged, is above 64 megapixels (40 as WebP,
            256 as a JPEG with a single scan, which a progressive JPEG is not), 30,000 pixels a side
            or 250 MB, or takes more than 10 seconds of CPU time to read; or if it waits for a
            minute because other files take too long.
    """
    with (
        read_in_decoder("pixels", path, background=background) as answers,
        _hold_decode_lock(answers, path),
    ):
        height, width = _next_size(answers)
        image = np.empty((height, width, 3), np.float32)
        for top in range(0, height, ROWS_PER_CHUNK):
            rows = image[top : top + ROWS_PER_CHUNK]
            pixels = next_answer(answers, partial(to_pixels, shape=rows.shape))
            np.divide(pixels, np.float32(255), out=rows)
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
    """Load an image, reduced to that longest side in pixels; cheaper than `load_image`.

    Raises as `load_image`.
    """
    with read_in_decoder("thumbnail", path, side=side) as answers, _hold_decode_lock(answers, path):
        return next_answer(answers, partial(to_rgb_image, size=_next_size(answers)))


@contextmanager
def _hold_decode_lock(answers: Iterator[Any], path: PathOrFile) -> Iterator[None]:
    """Wait until the header is read, then hold the lock of decoding."""
    next_answer(answers, bool)
    with hold_lock(DECODE_LOCK, display_name(path)):
        yield


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
    blend: int | None = None,
) -> None:
    """Write a PNG atomically, with the recipe (iTXt `deepdream`) and its provenance (XMP).

    Args:
        picture: (1, 3, H, W) in [0, 1], or an image of PIL.
        path: must end in .png.
        recipe: omitted if None.
        photo: whether the image is based on a photo, as every dream is. If both this and `recipe`
            are None, no provenance is written. There is no other metadata.
        blend: the share of the recipe's dream over its photo, in per cent, noted beside the recipe
            (tEXt `deepdream-blend`); None if the image is the dream alone.

    Raises:
        PictureError: if the name does not end in .png, the file cannot be written, or the image is
            not finite.
    """
    path = check_output_path(path)
    image = to_pil_image(picture) if isinstance(picture, Tensor) else picture
    _write_image(image, path, "PNG", pnginfo=png_metadata(recipe, photo, blend))


def save_preview(image: Image.Image, path: Path, *, from_photo: bool | None = None) -> None:
    """Write a JPEG preview with the provenance, as `save_image`.

    Raises:
        PictureError: if the file cannot be written.
    """
    xmp = {} if from_photo is None else {"xmp": provenance_xmp(from_photo).encode()}
    _write_image(image, path, "JPEG", quality=90, **xmp)


def _write_image(image: Image.Image, path: Path, kind: str, **options: Any) -> None:
    image = image.convert("RGB")
    image.info = {}  # Pillow would write a comment.
    with atomic_write(path) as partial:
        image.save(partial, kind, **options)


def check_output_path(path: str | os.PathLike[str], *endings: str) -> Path:
    """Return the path of a new PNG, or of a video if there are endings, if it seems writable.

    Raises:
        PictureError: if the name has another ending, or the folder is missing or not writable.
    """
    path = Path(path)
    if path.suffix.lower() not in (endings or (".png",)):
        if endings:
            names = " or ".join(f"{path.stem or 'dream'}{ending}" for ending in endings)
            raise PictureError(f"the name selects the format of a video: use {names}")
        raise PictureError(f"a dream is saved as PNG: name it {path.stem or 'dream'}.png")
    try:
        with suppress(FileNotFoundError):
            path.stat()
    except (OSError, ValueError) as error:  # The name is too long, has a NUL, …
        raise PictureError(f"{path} cannot be written: {first_line(error)}") from error
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise PictureError(f"{path} cannot be written: {path.parent} is not a writable folder")
    return path


def provenance_xmp(from_photo: bool) -> str:
    """Return XMP that says that a network made the image, from a photo or from noise.

    It uses IPTC's `DigitalSourceType` (https://cv.iptc.org/newscodes/digitalsourcetype/).
    """
    return XMP_TEMPLATE.format(source=IPTC_TERMS + (FROM_PHOTO if from_photo else FROM_NOISE))


def png_metadata(
    recipe: Recipe | None, photo: bool | None, blend: int | None = None
) -> PngImagePlugin.PngInfo:
    """Return recipe (iTXt `deepdream`), blend and provenance (XMP), as `save_image` needs them."""
    info = PngImagePlugin.PngInfo()
    if recipe:
        info.add_itxt(RECIPE_KEY, recipe.to_json())
    if blend is not None:
        info.add_text(BLEND_KEY, str(blend))
    if recipe or photo is not None:
        is_from_photo = bool(photo) or isinstance(recipe, DreamRecipe)
        info.add_itxt(XMP_KEY, provenance_xmp(is_from_photo))
    return info


@overload
def read_recipe(path: str | os.PathLike[str]) -> Recipe: ...
@overload
def read_recipe(path: str | os.PathLike[str], kind: type[AnyRecipe]) -> AnyRecipe: ...
def read_recipe(path: str | os.PathLike[str], kind: type[Recipe] = Recipe) -> Recipe:
    """Return the recipe, of one kind or any, in a PNG or video made by this program, or in JSON.

    Raises:
        RecipeError: if the file is missing, has no recipe, or has one that cannot be used.
    """
    try:
        with open_regular_file(path, display_name(path)) as file:
            text = file.read(MAX_RECIPE_BYTES)
        if text.startswith(b"\x89PNG") or detect_demuxer(text):
            with read_in_decoder("text", path, key=RECIPE_KEY) as answers:
                text = next_answer(answers, lambda answer: str(answer).encode())
    except PictureError as error:
        raise RecipeError(str(error)) from error
    except Exception as error:
        raise RecipeError(str(unreadable_error(display_name(path), error))) from error
    head = text[:100].decode(json.detect_encoding(text), errors="replace")
    if not head.lstrip("\ufeff \t\r\n").startswith("{"):
        raise RecipeError(
            f"{display_name(path)} has no recipe; use a PNG or video made by this program, or JSON"
        )
    return kind.from_json(text)


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
