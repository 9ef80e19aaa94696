"""Readers of untrusted image files, as 8-bit sRGB.

They can run in a decoder process, which does not load torch (see `decoder`).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from PIL import (
    AvifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION

from dream.errors import PictureError
from dream.files.colour import (
    ROWS_PER_CHUNK,
    apply_gamma,
    composite_on_background,
    convert_by_profile,
    to_srgb,
)
from dream.files.heif_boxes import is_heif, read_heif
from dream.files.limited_reader import (
    MAX_EXIF_BYTES,
    Answers,
    check_file_size,
    check_header,
    check_tiff_tiles,
    limit_reading,
    read_cicp,
    too_large_error,
)

# MPO, which some phones write, is read as the JPEG at its start.
INPUT_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
FORMAT_NAMES = "PNG, JPEG, WebP, BMP, GIF, TIFF, HEIC, AVIF"
MAX_MEGAPIXELS = 64
# The WebP decoder holds the image three times; that of HEIC does so for deep colours in full.
MAX_COSTLY_MEGAPIXELS = 40
FULL_CHROMA = 444
# Threads of one image's decoder, each of which needs memory.
MAX_THREADS = 4
# JPEG XL has no library for Python that reads the size before it decodes the whole image.
JXL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
# A JPEG with one scan can be decoded at a reduced size. With several scans, as in a progressive
# JPEG, the decoder stores all coefficients, which takes as much memory as the image.
MAX_JPEG_MEGAPIXELS = 256
MAX_IMAGE_SIDE = 30_000
# Longer EXIF is ignored, because it may expand.
MAX_EXIF_LENGTHS = {"exif": MAX_EXIF_BYTES, "Raw profile type exif": 2 * MAX_EXIF_BYTES}
# For PNG: our key for cICP in Pillow's `info`, and the gAMA value of sRGB images.
CICP_KEY, SRGB_GAMMA = "cicp", 0.45455
# Pillow warns about what it repairs itself and about what is refused here anyway. Silence it once:
# `catch_warnings` around each read would disturb the warnings of other threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def read_pixels(
    file: BinaryIO, name: str, *, side: int | None = None, background: str | None = None
) -> Answers:
    """Read an image as `load_image` does, or reduced to a longest `side` in pixels.

    Yields:
        None once the header is read, then [height, width], then chunks of rows from the top,
        (N, width, 3), 8-bit RGB.
    """
    with _open_image(file, name) as image:
        yield None
        if side:
            image.draft(None, (side, side))  # Decode a JPEG at the smallest sufficient size.
        elif image.width * image.height > MAX_MEGAPIXELS * 1e6:
            image.draft(None, (image.width // 2, image.height // 2))
        rgb = _to_upright_rgb(image, background)
        image.close()  # Free the original, so that only the RGB copy is in memory.
    if side:
        rgb.thumbnail((side, side))
    pixels = np.empty((rgb.height, rgb.width, 3), np.uint8)  # Pillow takes four bytes a pixel.
    tops = range(0, rgb.height, ROWS_PER_CHUNK)
    for top in tops:
        rows = rgb.crop((0, top, rgb.width, min(top + ROWS_PER_CHUNK, rgb.height)))
        pixels[top : top + ROWS_PER_CHUNK] = np.asarray(rows)
    rgb.close()
    yield list(pixels.shape[:2])
    yield from (pixels[top : top + ROWS_PER_CHUNK] for top in tops)


def read_size(file: BinaryIO, name: str) -> Answers:
    """Yield the [height, width] in the header."""
    with _open_image(file, name) as image:
        yield [image.height, image.width]


@contextmanager
def _open_image(source: BinaryIO, name: str) -> Iterator[Image.Image]:
    """Open an image and check its header."""
    file, head = limit_reading(source, name), b""
    try:
        check_file_size(file, name)
        file.seek(0)
        head = file.read(12)
        open_image = _open_heif if is_heif(head) else _open_by_signature
        with open_image(file, name) as image:
            yield image
    except Image.DecompressionBombError as error:
        raise too_large_error(name, "far too many megapixels", MAX_MEGAPIXELS) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"{name} {_describe_unread(head)}") from error


def _describe_unread(head: bytes) -> str:
    """Return why no reader takes a file that starts with `head`, and what to do."""
    if head.startswith(JXL_STARTS):
        return "is JPEG XL, which this program does not read; save it as PNG"
    is_tiff = head[:4] in TiffImagePlugin.PREFIXES
    if is_tiff or is_heif(head):
        kind = "TIFF" if is_tiff else "HEIC or AVIF"
        return f"is damaged, or a kind of {kind} this program does not read; save it as PNG"
    return f"is not an image this program reads; use {FORMAT_NAMES}"


def _open_by_signature(file: BinaryIO, name: str) -> Image.Image:
    """Open an image file and check its header; a JPEG may exceed Pillow's 179 megapixels."""
    has_one_scan = check_header(file)
    file.seek(0)
    try:
        image = Image.open(file, formats=INPUT_FORMATS)
    except Image.DecompressionBombError:
        file.seek(0)
        if file.read(3) != b"\xff\xd8\xff":
            raise
        file.seek(0)
        image = JpegImagePlugin.jpeg_factory(file)
    limit = MAX_COSTLY_MEGAPIXELS if image.format == "WEBP" else MAX_MEGAPIXELS
    if image.format in ("JPEG", "MPO") and has_one_scan:
        limit = MAX_JPEG_MEGAPIXELS
    _check_size(name, *image.size, limit)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        check_tiff_tiles(image, MAX_MEGAPIXELS * 1e6)
    if image.format == "PNG":
        image.info[CICP_KEY] = read_cicp(file)
    return image


def _open_heif(file: BinaryIO, name: str) -> Image.Image:
    """Open a HEIF or AVIF file and check the size of all its images, also of cropped ones."""
    header, copy = read_heif(file)
    for width, height in header.sizes:
        _check_size(name, width, height, MAX_MEGAPIXELS)
    image = Image.open(copy, formats=register_heif_formats())
    is_costly = image.info.get("chroma") == FULL_CHROMA and image.info["bit_depth"] > 8
    _check_size(name, *image.size, MAX_COSTLY_MEGAPIXELS if is_costly else MAX_MEGAPIXELS)
    if "icc_profile" not in image.info:
        image.info[CICP_KEY] = header.code_points
    return image


@lru_cache
def register_heif_formats() -> list[str]:
    """Let pillow-heif, if installed, read primary images; return the formats of HEIF."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = MAX_THREADS
    formats = ["AVIF"]
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=MAX_THREADS
        )
        formats.append("HEIF")
    return formats


def _check_size(name: str, width: int, height: int, megapixels: int) -> None:
    """Refuse an image with more than so many megapixels, or with too long a side."""
    if width * height > megapixels * 1e6:
        raise too_large_error(name, f"{width * height / 1e6:.1f} megapixels", megapixels)
    if max(width, height) > MAX_IMAGE_SIDE:
        raise too_large_error(name, f"a side of {max(width, height)} pixels", MAX_IMAGE_SIDE)


def _to_upright_rgb(image: Image.Image, background: str | None = None) -> Image.Image:
    """Decode an opened image to upright 8-bit sRGB on a background."""
    _correct_raw_mode(image)
    image.load()
    info, is_negative = image.info, _tiff_tag(image, PHOTOMETRIC_INTERPRETATION) == 0
    image = _to_8bit_grey(_apply_exif_orientation(image), is_negative)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
        image = composite_on_background(image, background)
    if image.mode not in ("L", "CMYK", "RGB"):
        image = image.convert("RGB")
    if code_points := info.get(CICP_KEY):
        return to_srgb(image.convert("RGB"), *code_points)
    if profile := info.get("icc_profile"):
        return convert_by_profile(image, profile)
    gamma = info.get("gamma", SRGB_GAMMA)
    if "srgb" not in info and abs(gamma / SRGB_GAMMA - 1) > 0.05 and 0.2 <= gamma <= 5:
        image = apply_gamma(image, gamma)
    return image.convert("RGB")


def _tiff_tag(image: Image.Image, tag: int) -> Any:
    """Return the value of a TIFF tag, or None if the tag is missing or the format is another."""
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None


def _correct_raw_mode(image: Image.Image) -> None:
    """Correct the transparent colour and the TIFF bands that Pillow would read at a wrong depth."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return
    raw_mode = str(image.tile[0].args)
    key = image.info.get("transparency")
    if isinstance(key, tuple) and raw_mode == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif isinstance(key, int) and raw_mode in ("L;2", "L;4"):
        image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)
    bits = _tiff_tag(image, BITSPERSAMPLE)
    if _tiff_tag(image, PLANAR_CONFIGURATION) == 2 and bits and max(bits) == 16:
        assert isinstance(image, TiffImagePlugin.TiffImageFile)
        order = "L" if image.tag_v2.prefix == b"II" else "B"
        for at, tile in enumerate(image.tile):
            if tile.codec_name == "raw" and isinstance(tile.args, tuple):
                band = f"{tile.args[0]};16{order}"
                image.tile[at] = tile._replace(args=(band, *tile.args[1:]))


def _apply_exif_orientation(image: Image.Image) -> Image.Image:
    """Rotate or mirror an image in place by its EXIF orientation, and return it."""
    with suppress(Exception):  # The pixels of an image with damaged EXIF are still good.
        for key, limit in MAX_EXIF_LENGTHS.items():
            if len(image.info.get(key, "")) > limit:
                del image.info[key]
        image.getexif()
        # Drop the other metadata, because `exif_transpose` would rewrite the EXIF in it.
        image.info = {key: image.info[key] for key in ("transparency",) if key in image.info}
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _to_8bit_grey(image: Image.Image, is_negative: bool) -> Image.Image:
    """Convert grey of more than 8 bits to 8-bit grey; return other images unchanged."""
    if image.mode.startswith("I;16"):
        whites = [65535.0] if image.format == "HEIF" else [4095.0, 65535.0]
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
