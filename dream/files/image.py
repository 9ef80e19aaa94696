"""Pictures in files: read with suspicion, written whole, with the recipe inside.

A picture is a float tensor (1, 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from dream.errors import PictureError, RecipeError, first_line
from dream.files.atomic import atomic_write
from dream.files.colour import ROWS
from dream.files.decoder import read_in_decoder, wait_for_turn
from dream.files.decoder_answers import next_answer, to_pixels, to_rgb_image
from dream.files.limited_reader import PathOrFile, name_of, regular_file
from dream.files.pixels import JPEG_MEGAPIXELS, MAX_MEGAPIXELS, MAX_SIDE
from dream.files.provenance import XMP_KEY, provenance_xmp
from dream.files.video_container import RECIPE_KEY, detect_demuxer
from dream.recipe.base import AnyRecipe, Recipe
from dream.recipe.dream import DreamRecipe
from dream.tensors import Size, to_pil_image

# A recipe may hold a guide and a mask (see `embedded`).
MAX_RECIPE_BYTES = 1_000_000
# Pictures are decoded one at a time, so that many at once take the memory of one; headers, which
# may be hostile for seconds, keep nobody waiting.
DECODE_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):  # A fork, as ZeroGPU makes them, may find it locked for good.
    os.register_at_fork(after_in_child=DECODE_LOCK._at_fork_reinit)  # type: ignore[attr-defined]


def load_image(path: PathOrFile, background: str | None = None) -> Tensor:
    """The picture in a file as a float tensor (1, 3, H, W), RGB in [0, 1], the right way up.

    The first frame of PNG, JPEG, WebP, BMP, GIF, TIFF or MPO. The header is read first, so that a
    small file that unpacks to a huge picture costs nothing. 16-bit, palette, grey and CMYK pictures
    become RGB; colours become sRGB as a profile, or cICP or gAMA of a PNG, say. Grey of more than 8
    bits of which no value is above 4095 is taken for 12 bits. What is transparent shows the
    background: without one white, or black where art is nearly white. It takes up to a gigabyte,
    in another process beside these floats where one decodes, however many pictures are asked for at
    once. A JPEG of more than 64 megapixels comes at a half of its width and height, the same for
    whoever asks.

    Raises:
        PictureError: if it is no such file, is damaged, has more than 64 megapixels (40 as WebP,
            256 as a JPEG of a single scan, which no progressive one is), 30,000 pixels a side or
            250 MB, or would take more than 10 seconds of a processor to read; or if others take so
            long that it waits for a minute.
    """
    with (
        read_in_decoder("pixels", path, background=background) as answers,
        _decoding(answers, path),
    ):
        height, width = _next_size(answers)
        picture = np.empty((height, width, 3), np.float32)
        for top in range(0, height, ROWS):
            rows = picture[top : top + ROWS]
            pixels = next_answer(answers, partial(to_pixels, shape=rows.shape))
            np.divide(pixels, np.float32(255), out=rows)
        return torch.from_numpy(picture).permute(2, 0, 1)[None]


def image_size(path: PathOrFile) -> tuple[int, int]:
    """The (height, width) of the picture in a file, as its header says; nothing is decoded.

    Raises as `load_image`.
    """
    with read_in_decoder("size", path) as answers:
        return _next_size(answers, JPEG_MEGAPIXELS)


def fits_within(path: PathOrFile, side: int) -> bool:
    """Whether a file is a picture of at most so many pixels a side, by its header."""
    try:
        return max(image_size(path)) <= side
    except PictureError:
        return False


def load_thumbnail(path: PathOrFile, side: int) -> Image.Image:
    """The picture in a file as `load_image` reads it, shrunk to that longest side in pixels.

    Cheap even where the file is large. Raises as `load_image`.
    """
    with read_in_decoder("thumbnail", path, side=side) as answers, _decoding(answers, path):
        return next_answer(answers, partial(to_rgb_image, size=_next_size(answers)))


@contextmanager
def _decoding(answers: Iterator[Any], path: PathOrFile) -> Iterator[None]:
    """Hold the turn to decode a picture, which comes once its header is read."""
    next_answer(answers, bool)
    with wait_for_turn(DECODE_LOCK, name_of(path)):
        yield


def _next_size(answers: Iterator[Any], megapixels: float = 1.01 * MAX_MEGAPIXELS) -> Size:
    """The next answer, which is a size that a picture may have; a half of it may be rounded up."""

    def to_size(answer: Any) -> Size:
        height, width = map(int, answer)
        if not (
            0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= 1e6 * megapixels
        ):
            raise ValueError("this is no size of a picture")
        return height, width

    return next_answer(answers, to_size)


def save_image(
    picture: Tensor | Image.Image,
    path: str | os.PathLike[str],
    recipe: Recipe | None = None,
    *,
    photo: bool | None = None,
) -> None:
    """Write a PNG with the recipe inside (iTXt `deepdream`), and that a network made it (XMP).

    `photo` says whether that was of a photo, as a dream always is. Without it and a recipe nothing
    is said. There is no other metadata. The file appears whole or not at all.

    Raises:
        PictureError: if the name does not end in .png, the file cannot be written, or the picture
            is not finite.
    """
    path = check_destination(path)
    image = to_pil_image(picture) if isinstance(picture, Tensor) else picture
    info = PngImagePlugin.PngInfo()
    if recipe:
        info.add_itxt(RECIPE_KEY, recipe.to_json())
    if recipe or photo is not None:
        of_a_photo = bool(photo) or isinstance(recipe, DreamRecipe)
        info.add_itxt(XMP_KEY, provenance_xmp(of_a_photo))
    _write_image(image, path, "PNG", pnginfo=info)


def save_preview(image: Image.Image, path: Path, *, photo: bool | None = None) -> None:
    """Write a JPEG to look at, which says as `save_image` how it was made.

    Raises:
        PictureError: if it cannot be written.
    """
    xmp = {} if photo is None else {"xmp": provenance_xmp(photo).encode()}
    _write_image(image, path, "JPEG", quality=90, **xmp)


def _write_image(image: Image.Image, path: Path, kind: str, **options: Any) -> None:
    image = image.convert("RGB")
    image.info = {}  # A comment would be written along.
    with atomic_write(path) as partial:
        image.save(partial, kind, **options)


def check_destination(path: str | os.PathLike[str], *endings: str) -> Path:
    """The path of a PNG, or a file with one of those endings, that can be written, as far as can be
    told beforehand.

    Raises:
        PictureError: if the name does not end so, or its folder is not there or not writable.
    """
    path = Path(path)
    if path.suffix.lower() not in (endings or (".png",)):
        if endings:
            names = " or ".join(f"{path.stem or 'dream'}{ending}" for ending in endings)
            raise PictureError(f"a video is written as {names}; the name says which")
        raise PictureError(f"a dream is written as PNG: name it {path.stem or 'dream'}.png")
    try:
        with suppress(FileNotFoundError):
            path.stat()
    except (OSError, ValueError) as error:  # Too long a name, one with a NUL, …
        raise PictureError(f"{path} cannot be written: {first_line(error)}") from error
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise PictureError(f"{path} cannot be written: {path.parent} is no folder to write it in")
    return path


@overload
def read_recipe(path: str | os.PathLike[str]) -> Recipe: ...
@overload
def read_recipe(path: str | os.PathLike[str], kind: type[AnyRecipe]) -> AnyRecipe: ...
def read_recipe(path: str | os.PathLike[str], kind: type[Recipe] = Recipe) -> Recipe:
    """The recipe in a PNG or a video made here, or in a file of JSON: of that kind, or any.

    Raises:
        RecipeError: if the file is not there, has no recipe, or one that cannot be used.
    """
    try:
        with regular_file(path, name_of(path)) as file:
            text = file.read(MAX_RECIPE_BYTES)
        if text.startswith(b"\x89PNG") or detect_demuxer(text):
            with read_in_decoder("text", path, key=RECIPE_KEY) as answers:
                text = next_answer(answers, lambda answer: str(answer).encode())
    except PictureError as error:
        raise RecipeError(str(error)) from error
    except Exception as error:  # As in load_image.
        raise RecipeError(f"{name_of(path)} cannot be read: {first_line(error)}") from error
    head = text[:100].decode(json.detect_encoding(text), errors="replace")
    if not head.lstrip("\ufeff \t\r\n").startswith("{"):
        raise RecipeError(
            f"{name_of(path)} holds no recipe; give a PNG or video made here, or JSON"
        )
    return kind.from_json(text)
