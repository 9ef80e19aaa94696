"""Pictures in files: read with suspicion, written whole, with the recipe inside.

A picture is a float tensor (1, 3, H, W), RGB in [0, 1].
"""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
import torch
from PIL import (
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION
from torch import Tensor

from dream.errors import PictureError, RecipeError, first_line
from dream.files import video
from dream.files.bounded import (
    BYTES,
    EXIF_BYTES,
    PathOrFile,
    bounded_file,
    check,
    check_tiles,
    cicp,
)
from dream.files.colour import apply_gamma, composite_on_background, convert_by_profile, to_srgb
from dream.files.origin import XMP_KEY, made_by_a_network
from dream.files.whole import whole
from dream.recipe.dream import DreamRecipe
from dream.recipe.recipe import AnyRecipe, Recipe
from dream.tensors import ROWS, to_image

# MPO, which some phones write, is read as the JPEG that it starts with.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MEGAPIXELS = 64
# Its decoder holds the picture three times.
WEBP_MEGAPIXELS = 40
# A JPEG of one scan can be decoded smaller than it is. Of several scans, as a progressive one has,
# all coefficients lie in memory first, which takes as much as a picture.
JPEG_MEGAPIXELS = 256
SIDE = 30_000
RECIPE_KEY = "deepdream"
# A recipe may hold a guide and a mask (see `embedded`).
RECIPE_BYTES = 1_000_000
# What is longer is passed over, as EXIF may grow.
EXIF_LENGTHS = {"exif": EXIF_BYTES, "Raw profile type exif": 2 * EXIF_BYTES}
# Of PNG: the key in Pillow's `info` for what cICP says, and the gAMA of pictures that are sRGB.
CICP, USUAL_GAMMA = "cicp", 0.45455
# Pictures are decoded one at a time, so that many at once take the memory of one; headers, which
# may be hostile for seconds, keep nobody waiting.
DECODING = threading.Lock()
# Pillow tells of what it mends by itself, and of what is refused here anyway. It is kept
# quiet once and for all: `catch_warnings` around each reading would mix up those of other threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def load_image(path: PathOrFile, background: str | None = None) -> Tensor:
    """The picture in a file as a float tensor (1, 3, H, W), RGB in [0, 1], the right way up.

    The first frame of PNG, JPEG, WebP, BMP, GIF, TIFF or MPO. The header is read first, so that a
    small file that unpacks to a huge picture costs nothing. 16-bit, palette, grey and CMYK pictures
    become RGB; colours become sRGB as a profile, or cICP or gAMA of a PNG, say. Grey of more than 8
    bits of which no value is above 4095 is taken for 12 bits. What is transparent shows the
    background: without one white, or black where art is nearly white. It takes up to a gigabyte,
    however many pictures are asked for at once. A JPEG of more than 64 megapixels comes at a half
    of its width and height, the same for whoever asks.

    Raises:
        PictureError: if it is no such file, is damaged, has more than 64 megapixels (40 as WebP,
            256 as a JPEG of a single scan, which no progressive one is), 30,000 pixels a side or
            250 MB, or would take more than 10 seconds of a processor to read.
    """
    with _opened(path) as image, DECODING:
        if image.width * image.height > MEGAPIXELS * 1e6:
            image.draft(None, (image.width // 2, image.height // 2))
        rgb = _upright_rgb(image, background)
        image.close()  # The picture is there once, as floats, and not also as it was.
        # In 8 bits first: as `to_tensor` does it, the image and its floats are there together.
        pixels = np.empty((rgb.height, rgb.width, 3), np.uint8)
        for top in range(0, rgb.height, ROWS):
            rows = rgb.crop((0, top, rgb.width, min(top + ROWS, rgb.height)))
            pixels[top : top + ROWS] = np.asarray(rows)
        rgb.close()
        return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().div_(255)


def image_size(path: PathOrFile) -> tuple[int, int]:
    """The (height, width) of the picture in a file, as its header says; nothing is decoded.

    Raises as `load_image`.
    """
    with _opened(path) as image:
        return image.height, image.width


def is_within(path: PathOrFile, side: int) -> bool:
    """Whether a file is a picture of at most so many pixels a side, by its header."""
    try:
        return max(image_size(path)) <= side
    except PictureError:
        return False


def load_thumbnail(path: PathOrFile, side: int) -> Image.Image:
    """The picture in a file as `load_image` reads it, shrunk to that longest side in pixels.

    Cheap even where the file is large. Raises as `load_image`.
    """
    with _opened(path) as image, DECODING:
        image.draft(None, (side, side))  # A JPEG at the least size that has so many pixels a side.
        small = _upright_rgb(image)
        small.thumbnail((side, side))
    return small


@contextmanager
def _opened(path: PathOrFile) -> Iterator[Image.Image]:
    """The picture in a file, its header read; what goes wrong with it is a `PictureError`."""
    name, is_tiff = _name(path), False
    try:
        with bounded_file(path, name) as file:
            if (size := file.seek(0, os.SEEK_END)) > BYTES:
                raise _too_large(name, f"{size / 1e6:.1f} MB", BYTES // 10**6)
            is_tiff, has_one_scan = check(file)
            with _open_by_signature(file) as image:
                megapixels = image.width * image.height / 1e6
                most = WEBP_MEGAPIXELS if image.format == "WEBP" else MEGAPIXELS
                if image.format in ("JPEG", "MPO") and has_one_scan:
                    most = JPEG_MEGAPIXELS
                if megapixels > most:
                    raise _too_large(name, f"{megapixels:.1f} megapixels", most)
                if max(image.size) > SIDE:
                    raise _too_large(name, f"a side of {max(image.size)} pixels", SIDE)
                if isinstance(image, TiffImagePlugin.TiffImageFile):
                    check_tiles(image, MEGAPIXELS * 1e6)
                if image.format == "PNG":
                    image.info[CICP] = cicp(file)
                yield image
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureError(f"there is no file {name}") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far too many megapixels", MEGAPIXELS) from error
    except UnidentifiedImageError as error:
        said = f"is no picture this program reads; give {', '.join(FORMATS)}"
        if is_tiff:
            said = "is damaged, or a kind of TIFF this program does not read; save it as PNG"
        raise PictureError(f"{name} {said}") from error
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file.
        raise PictureError(f"{name} cannot be read: {first_line(error)}") from error


def _open_by_signature(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:  # Pillow's own limit, at 179 megapixels, is for all alike.
        file.seek(0)
        if not file.read(3) == b"\xff\xd8\xff":
            raise
        file.seek(0)
        return JpegImagePlugin.jpeg_factory(file)


def _too_large(name: str, what: str, limit: int) -> PictureError:
    return PictureError(f"{name} has {what}; the limit is {limit}. Shrink it and try again.")


def _upright_rgb(image: Image.Image, background: str | None = None) -> Image.Image:
    _correct_raw_mode(image)
    image.load()
    info, is_negative = image.info, _tag(image, PHOTOMETRIC_INTERPRETATION) == 0
    image = _eight_bit(_upright(image), is_negative)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        image = composite_on_background(image, background)
    if image.mode not in ("L", "CMYK", "RGB"):
        image = image.convert("RGB")
    if coding := info.get(CICP):
        return to_srgb(image.convert("RGB"), *coding)
    if profile := info.get("icc_profile"):
        return convert_by_profile(image, profile)
    gamma = info.get("gamma", USUAL_GAMMA)
    if "srgb" not in info and 0.05 < abs(gamma / USUAL_GAMMA - 1) and 0.2 <= gamma <= 5:
        image = apply_gamma(image, gamma)
    return image.convert("RGB")


def _tag(image: Image.Image, tag: int) -> Any:
    """What a TIFF says under that tag; None of another format, or where it says nothing."""
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None


def _correct_raw_mode(image: Image.Image) -> None:
    """Have Pillow read, of what is not loaded yet, as many bits as there are."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return
    raw = str(image.tile[0].args)
    key = image.info.get("transparency")
    if isinstance(key, tuple) and raw == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and raw in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw == "L;2" else 17)
    bits = _tag(image, BITSPERSAMPLE)
    if _tag(image, PLANAR_CONFIGURATION) == 2 and bits and max(bits) == 16:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        for at, tile in enumerate(image.tile):
            if tile.codec_name == "raw" and isinstance(tile.args, tuple):
                band = f"{tile.args[0]};16{order}"
                image.tile[at] = tile._replace(args=(band, *tile.args[1:]))


def _upright(image: Image.Image) -> Image.Image:
    """The same picture, turned where its EXIF says so."""
    try:
        for key, most in EXIF_LENGTHS.items():
            if len(image.info.get(key, "")) > most:
                del image.info[key]
        image.getexif()
        # Without what is beside the picture: EXIF would be written anew.
        image.info = {key: image.info[key] for key in ("transparency",) if key in image.info}
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # Damaged EXIF says nothing of which way is up; the picture is still good.
        pass
    return image


def _eight_bit(image: Image.Image, is_negative: bool) -> Image.Image:
    """Grey pictures of more than 8 bits as 8-bit grey; others as they are."""
    if image.mode.startswith("I;16"):
        whites = [4095.0, 65535.0]
    elif image.mode == "I":
        whites = [255.0, 4095.0, 65535.0]
    elif image.mode == "F":
        whites = [1.0, 255.0, 65535.0]
    else:
        return image
    grey = np.nan_to_num(np.array(image, dtype=np.float32), copy=False)
    key = image.info.get("transparency")
    alpha = None if key is None else (grey != key).astype(np.uint8) * 255
    white = next((white for white in whites if grey.max() <= white), grey.max())
    grey.clip(0, white, out=grey)
    grey *= 255 / white
    if is_negative:
        np.subtract(255, grey, out=grey)
    eight_bit = Image.fromarray(grey.round(out=grey).astype(np.uint8))
    if alpha is not None:
        eight_bit.putalpha(Image.fromarray(alpha))
    return eight_bit


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
    image = to_image(picture) if isinstance(picture, Tensor) else picture
    info = PngImagePlugin.PngInfo()
    if recipe:
        info.add_itxt(RECIPE_KEY, recipe.to_json())
    if recipe or photo is not None:
        of_a_photo = bool(photo) or isinstance(recipe, DreamRecipe)
        info.add_itxt(XMP_KEY, made_by_a_network(of_a_photo))
    _write(image, path, "PNG", pnginfo=info)


def save_preview(image: Image.Image, path: Path, *, photo: bool | None = None) -> None:
    """Write a JPEG to look at, which says as `save_image` how it was made.

    Raises:
        PictureError: if it cannot be written.
    """
    xmp = {} if photo is None else {"xmp": made_by_a_network(photo).encode()}
    _write(image, path, "JPEG", quality=90, **xmp)


def _write(image: Image.Image, path: Path, kind: str, **options: Any) -> None:
    image = image.convert("RGB")
    image.info = {}  # A comment would be written along.
    with whole(path) as partial:
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
        with bounded_file(path, _name(path)) as file:
            text = file.read(RECIPE_BYTES)
            if video.reader_of(text):
                text = video.recipe_text(path).encode()
            if text.startswith(b"\x89PNG"):
                with Image.open(file, formats=["PNG"]) as image:
                    text = str(image.info.get(RECIPE_KEY, "")).encode()
    except PictureError as error:
        raise RecipeError(str(error)) from error
    except Exception as error:  # As in load_image.
        raise RecipeError(f"{_name(path)} cannot be read: {first_line(error)}") from error
    head = text[:100].decode(json.detect_encoding(text), errors="replace")
    if not head.lstrip("\ufeff \t\r\n").startswith("{"):
        raise RecipeError(f"{_name(path)} holds no recipe; give a PNG or video made here, or JSON")
    return kind.from_json(text)


def _name(path: PathOrFile) -> str:
    return Path(path).name if isinstance(path, str | os.PathLike) else "the file"
