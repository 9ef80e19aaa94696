"""Image files with limits on read time and bytes: a small hostile file can block a decoder."""

from __future__ import annotations

import io
import math
import os
import re
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from PIL import TiffImagePlugin

from dream.errors import PictureError, first_line

PathOrFile = str | os.PathLike[str] | BinaryIO
# What a reader yields, step by step: JSON-like values, images and arrays.
Answers = Generator[Any, None, None]

# CPU time, not wall time, because a large photo takes longer on a busy machine.
MAX_READ_SECONDS = 10.0
MAX_FILE_BYTES = 250_000_000
# A progressive JPEG has about ten.
MAX_JPEG_SCANS = 50
# EXIF tags may share bytes and expand to gigabytes; a JPEG segment holds 65,533 bytes.
MAX_EXIF_BYTES = 70_000
# Numbers in the tags of a TIFF, which has two for each tile or strip.
MAX_TAG_VALUES = 500_000


class LimitedReader:
    """A file for Pillow that raises an error after too much CPU time or too many bytes read.

    In every format, Pillow's loops over chunks, comments and blocks call `read`.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.seek, self.tell = file.seek, file.tell
        self.deadline = time.thread_time() + MAX_READ_SECONDS
        self.bytes_left = 4 * MAX_FILE_BYTES  # Pillow reads headers more than once.

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; raise a `PictureError` beyond the limit of time or bytes."""
        content = self.file.read(size)
        self.bytes_left -= len(content)
        if self.bytes_left < 0 or time.thread_time() > self.deadline:
            raise PictureError(
                f"{self.name} takes more than {MAX_READ_SECONDS:g} seconds to read, or is read "
                "again and again; save it with another program and try again"
            )
        return content


def limit_reading(file: BinaryIO, name: str) -> BinaryIO:
    """Return the file with the limits of a `LimitedReader`; errors call it `name`."""
    return cast(BinaryIO, LimitedReader(file, name))


def display_name(path: PathOrFile) -> str:
    """Return the name of a file for messages."""
    return Path(path).name if isinstance(path, str | os.PathLike) else "the file"


def too_large_error(name: str, measure: str, limit: int) -> PictureError:
    """Return the error of a file with a larger measure, in words, than the limit in its unit."""
    return PictureError(f"{name} has {measure}; the limit is {limit}. Shrink it and try again.")


def check_file_size(file: BinaryIO, name: str) -> None:
    """Refuse a file of more than `MAX_FILE_BYTES`."""
    if (size := file.seek(0, os.SEEK_END)) > MAX_FILE_BYTES:
        raise too_large_error(name, f"{size / 1e6:.1f} MB", MAX_FILE_BYTES // 10**6)


@contextmanager
def convert_read_errors(name: str, *kinds: type[Exception]) -> Iterator[None]:
    """Raise a `PictureError` in place of errors of these kinds, or of too little memory."""
    try:
        yield
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(f"{name} takes too much memory to read; shrink it") from error
    except kinds as error:
        raise PictureError(f"{name} cannot be read: {first_line(error)}") from error


@contextmanager
def open_seekable(path: PathOrFile) -> Iterator[BinaryIO]:
    """Open a file for reading and seeking; a `PictureError` says why it cannot be opened."""
    name = display_name(path)
    with ExitStack() as stack:
        with convert_read_errors(name, OSError, ValueError):
            try:
                if isinstance(path, str | os.PathLike):
                    file: BinaryIO = stack.enter_context(open_regular_file(path, name))
                else:
                    file = path if path.seekable() else io.BytesIO(path.read(MAX_FILE_BYTES + 1))
            except FileNotFoundError as error:
                raise PictureError(f"there is no file {name}") from error
        yield file


@contextmanager
def open_regular_file(path: str | os.PathLike[str], name: str) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading; errors call it `name`.

    Raises:
        OSError: if it cannot be opened.
        PictureError: if it is a pipe or a device.
    """
    with open(path, "rb", opener=_open_nonblocking) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PictureError(f"{name} is not a regular file")
        yield file


def _open_nonblocking(path: str, flags: int) -> int:
    """Return the descriptor of an opened file; opening a pipe must not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_header(file: BinaryIO) -> bool:
    """Refuse a JPEG or TIFF whose header shows that Pillow would need too much time or memory.

    Returns:
        Whether it is a JPEG with all components in a single scan.

    Raises:
        ValueError: if it has too many scans, EXIF bytes or tag values, or a tag twice.
    """
    file.seek(0)
    head = file.read(16)
    if head.startswith(b"\xff\xd8\xff"):
        file.seek(0)
        return _check_jpeg_segments(file.read())
    if head[:4] in TiffImagePlugin.PREFIXES:
        _check_tiff_tags(file, head)
    return False


# The JPEG markers that start a segment, and the end marker.
JPEG_MARKER = re.compile(rb"\xff([\xc0-\xc7\xc9-\xcf\xd9-\xef\xfe])")


def _check_jpeg_segments(jpeg: bytes) -> bool:
    """Refuse too many scans, each of which decodes the whole image, and too much EXIF.

    Returns:
        Whether a single scan has all components, so that decoding stores no coefficients.
    """
    scans = exif = at = 0
    components = scanned = b""
    while match := JPEG_MARKER.search(jpeg, at):
        marker, at = match[1], match.end()
        if marker == b"\xd9":
            if scans:
                break
            continue
        length = int.from_bytes(jpeg[at : at + 2], "big")
        if marker == b"\xda":
            scans, scanned = scans + 1, jpeg[at + 2 : at + 3]
        elif marker in (b"\xc0", b"\xc1"):  # Neither progressive nor arithmetic.
            components = jpeg[at + 7 : at + 8]
        exif += length if marker == b"\xe1" and jpeg.startswith(b"Exif\0\0", at + 2) else 0
        if scans > MAX_JPEG_SCANS or exif > MAX_EXIF_BYTES:
            raise ValueError(
                f"it has more than {MAX_JPEG_SCANS} scans, or {MAX_EXIF_BYTES} bytes of EXIF"
            )
        at += length
    return scans == 1 and scanned == components


def read_cicp(png: BinaryIO) -> tuple[int, int] | None:
    """Return the H.273 primaries and transfer in a PNG's first 64 kB, or None without cICP."""
    at = png.tell()
    png.seek(0)
    chunk = png.read(1 << 16).partition(b"IDAT")[0].partition(b"\0\0\0\x04cICP")[2]
    png.seek(at)
    return (chunk[0], chunk[1]) if len(chunk) >= 4 else None


# Tags that point to more tags; types that Pillow keeps as bytes; bytes per value of other types.
IFD_POINTER_TAGS = (34665, 34853, 40965)
BYTE_TYPES = (1, 2, 7)
BYTES_PER_TYPE = {3: 2, 4: 4, 8: 2, 9: 4, 13: 4}


def _check_tiff_tags(file: BinaryIO, head: bytes) -> None:
    """Refuse a TIFF with too many numbers in its tags, or with a repeated tag.

    Of repeated tags libtiff uses the first, which `check_tiff_tiles` does not see.
    """
    order: Literal["big", "little"] = "big" if head[:1] == b"M" else "little"
    width = 8 if head[2] == 43 else 4  # 43 is BigTIFF.
    offsets, numbers = [int.from_bytes(head[width : 2 * width], order)], 0
    for offset in offsets:
        file.seek(offset)
        seen = set()
        for _ in range(int.from_bytes(file.read(8 if width == 8 else 2), order)):
            if len(entry := file.read(4 + 2 * width)) < 4 + 2 * width:
                break
            tag, kind = (int.from_bytes(entry[at : at + 2], order) for at in (0, 2))
            count, value = entry[4 : 4 + width], entry[4 + width :]
            numbers += 1 if kind in BYTE_TYPES else max(1, int.from_bytes(count, order))
            if tag in seen or numbers > MAX_TAG_VALUES:
                raise ValueError(
                    f"it has a tag twice, or more than {MAX_TAG_VALUES} numbers in its tags"
                )
            seen.add(tag)
            inner = int.from_bytes(value[: BYTES_PER_TYPE.get(kind, width)], order)
            if tag in IFD_POINTER_TAGS and inner not in offsets:  # Pointers may form a cycle.
                offsets.append(inner)


def check_tiff_tiles(tiff: TiffImagePlugin.TiffImageFile, pixels: float) -> None:
    """Refuse tiles that are far larger than their image, and tiles that share bytes.

    Raises:
        ValueError: if a tile has more than `pixels` pixels, all tiles together have more than
            twice as many, or tiles or strips share bytes.
    """
    tags = tiff.tag_v2
    sides = (tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH])
    tile_tags = (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH)
    tile = [tags.get(tag, side) for tag, side in zip(tile_tags, sides, strict=True)]
    total = math.prod(-(-side // step) * step for side, step in zip(sides, tile, strict=True))
    if max(math.prod(tile), total / 2) > pixels:
        raise ValueError(f"its tiles of {tile[0]} x {tile[1]} pixels are too large")
    assert tiff.fp
    count_tags = (TiffImagePlugin.STRIPBYTECOUNTS, TiffImagePlugin.TILEBYTECOUNTS)
    declared_bytes = sum(sum(tags.get(tag, ())) for tag in count_tags)
    if declared_bytes > 2 * tiff.fp.seek(0, os.SEEK_END):
        raise ValueError("its tiles or strips share their bytes")
