"""The pixels of pictures in files, read with suspicion and made 8-bit RGB.

Each reading yields numbers, text and arrays of bytes alone: so it may run in a process of its own,
which loads no torch (see `decoder`).
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION

from dream.errors import PictureError, first_line
from dream.files.colour import (
    ROWS,
    apply_gamma,
    composite_on_background,
    convert_by_profile,
    to_srgb,
)
from dream.files.limited_reader import (
    MAX_EXIF_BYTES,
    MAX_FILE_BYTES,
    Reading,
    bounded,
    check_header,
    check_tiff_tiles,
    cicp,
    too_much_memory,
)

# MPO, which some phones write, is read as the JPEG that it starts with.
INPUT_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAX_MEGAPIXELS = 64
# Its decoder holds the picture three times.
WEBP_MEGAPIXELS = 40
# A JPEG of one scan can be decoded smaller than it is. Of several scans, as a progressive one has,
# all coefficients lie in memory first, which takes as much as a picture.
JPEG_MEGAPIXELS = 256
MAX_SIDE = 30_000
# What is longer is passed over, as EXIF may grow.
EXIF_LENGTHS = {"exif": MAX_EXIF_BYTES, "Raw profile type exif": 2 * MAX_EXIF_BYTES}
# Of PNG: the key in Pillow's `info` for what cICP says, and the gAMA of pictures that are sRGB.
CICP, USUAL_GAMMA = "cicp", 0.45455
# Pillow tells of what it mends by itself, and of what is refused here anyway. It is kept
# quiet once and for all: `catch_warnings` around each reading would mix up those of other threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def read_pixels(file: BinaryIO, name: str, background: str | None = None) -> Reading:
    """Read a picture as `load_image` does.

    Yields:
        None once its header is read, then its [height, width], then rows of it, RGB in 8 bits
        (N, width, 3), from the top.

    Raises:
        PictureError: as `load_image`.
    """
    with _open_image(file, name) as image:
        yield None
        if image.width * image.height > MAX_MEGAPIXELS * 1e6:
            image.draft(None, (image.width // 2, image.height // 2))
        rgb = _to_upright_rgb(image, background)
        image.close()  # The picture is there once, as bytes, and not also as it was.
        pixels = np.empty((rgb.height, rgb.width, 3), np.uint8)
        for top in range(0, rgb.height, ROWS):
            rows = rgb.crop((0, top, rgb.width, min(top + ROWS, rgb.height)))
            pixels[top : top + ROWS] = np.asarray(rows)
        rgb.close()
        yield list(pixels.shape[:2])
        for top in range(0, len(pixels), ROWS):
            yield pixels[top : top + ROWS]


def read_size(file: BinaryIO, name: str) -> Reading:
    """Yield the [height, width] that the header says. Raises as `read_pixels`."""
    with _open_image(file, name) as image:
        yield [image.height, image.width]


def read_thumbnail(file: BinaryIO, name: str, side: int) -> Reading:
    """Yield as `read_pixels` does, of the picture shrunk to that longest side in pixels."""
    with _open_image(file, name) as image:
        yield None
        image.draft(None, (side, side))  # A JPEG at the least size that has so many pixels a side.
        small = _to_upright_rgb(image)
        small.thumbnail((side, side))
        yield [small.height, small.width]
        small.info.clear()  # What is said of it may hold for the picture that it was.
        yield small


@contextmanager
def _open_image(source: BinaryIO, name: str) -> Iterator[Image.Image]:
    """The picture in a file, its header read; what goes wrong with it is a `PictureError`."""
    file, is_tiff = bounded(source, name), False
    try:
        if (size := file.seek(0, os.SEEK_END)) > MAX_FILE_BYTES:
            raise _too_large_error(name, f"{size / 1e6:.1f} MB", MAX_FILE_BYTES // 10**6)
        is_tiff, has_one_scan = check_header(file)
        with _open_by_signature(file) as image:
            megapixels = image.width * image.height / 1e6
            most = WEBP_MEGAPIXELS if image.format == "WEBP" else MAX_MEGAPIXELS
            if image.format in ("JPEG", "MPO") and has_one_scan:
                most = JPEG_MEGAPIXELS
            if megapixels > most:
                raise _too_large_error(name, f"{megapixels:.1f} megapixels", most)
            if max(image.size) > MAX_SIDE:
                raise _too_large_error(name, f"a side of {max(image.size)} pixels", MAX_SIDE)
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                check_tiff_tiles(image, MAX_MEGAPIXELS * 1e6)
            if image.format == "PNG":
                image.info[CICP] = cicp(file)
            yield image
    except PictureError:
        raise
    except MemoryError as error:
        raise too_much_memory(name) from error
    except Image.DecompressionBombError as error:
        raise _too_large_error(name, "far too many megapixels", MAX_MEGAPIXELS) from error
    except UnidentifiedImageError as error:
        said = f"is no picture this program reads; give {', '.join(INPUT_FORMATS)}"
        if is_tiff:
            said = "is damaged, or a kind of TIFF this program does not read; save it as PNG"
        raise PictureError(f"{name} {said}") from error
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file.
        raise PictureError(f"{name} cannot be read: {first_line(error)}") from error


def _open_by_signature(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=INPUT_FORMATS)
    except Image.DecompressionBombError:  # Pillow's own limit, at 179 megapixels, is for all alike.
        file.seek(0)
        if not file.read(3) == b"\xff\xd8\xff":
            raise
        file.seek(0)
        return JpegImagePlugin.jpeg_factory(file)


def _too_large_error(name: str, what: str, limit: int) -> PictureError:
    return PictureError(f"{name} has {what}; the limit is {limit}. Shrink it and try again.")


def _to_upright_rgb(image: Image.Image, background: str | None = None) -> Image.Image:
    _correct_raw_mode(image)
    image.load()
    info, is_negative = image.info, _tag(image, PHOTOMETRIC_INTERPRETATION) == 0
    image = _to_8bit_grey(_apply_exif_orientation(image), is_negative)
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


def _apply_exif_orientation(image: Image.Image) -> Image.Image:
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


def _to_8bit_grey(image: Image.Image, is_negative: bool) -> Image.Image:
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
