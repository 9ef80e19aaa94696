"""Files of pictures read with bounded patience: a few hostile bytes can keep a reader busy for
minutes, or have it make gigabytes, long before a picture is decoded.
"""

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
from PIL.TiffImagePlugin import (
    IMAGELENGTH,
    IMAGEWIDTH,
    STRIPBYTECOUNTS,
    TILEBYTECOUNTS,
    TILELENGTH,
    TILEWIDTH,
)

from dream.errors import PictureError, first_line

PathOrFile = str | os.PathLike[str] | BinaryIO
# What is found in a file, step by step.
Reading = Generator[Any, None, None]

# Seconds of a processor, not of a clock: where others are at work, a large photo takes longer.
MAX_READ_SECONDS = 10.0
MAX_FILE_BYTES = 250_000_000
# A progressive JPEG has about ten.
MAX_JPEG_SCANS = 50
# Its tags may share their bytes, and become gigabytes; a segment of a JPEG has 65,533.
MAX_EXIF_BYTES = 70_000
# In the tags of a TIFF; two for each tile or strip.
MAX_TAG_VALUES = 500_000


class LimitedReader:
    """A file as Pillow reads it, which ends a reading that goes on for too long: whatever the
    format, its loops over chunks, comments and blocks all come by here.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.seek, self.tell = file.seek, file.tell
        self.deadline = time.thread_time() + MAX_READ_SECONDS
        self.bytes_left = 4 * MAX_FILE_BYTES  # Headers are read more than once.

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            PictureError: if the reading has taken too much.
        """
        content = self.file.read(size)
        self.bytes_left -= len(content)
        if self.bytes_left < 0 or time.thread_time() > self.deadline:
            raise PictureError(
                f"{self.name} takes more than {MAX_READ_SECONDS:g} seconds to read, or is read over and "
                "over; save it anew with another program"
            )
        return content


def bounded(file: BinaryIO, name: str) -> BinaryIO:
    """That file, to read with patience that ends; messages call it by that name."""
    return cast(BinaryIO, LimitedReader(file, name))


def name_of(path: PathOrFile) -> str:
    """What messages call a file."""
    return Path(path).name if isinstance(path, str | os.PathLike) else "the file"


def too_much_memory(name: str) -> PictureError:
    """The error of a file by that name whose reading takes more memory than there is."""
    return PictureError(f"{name} takes too much memory to read; shrink it")


@contextmanager
def seekable_file(path: PathOrFile) -> Iterator[BinaryIO]:
    """That file, open for reading, in which one can go back.

    Raises:
        PictureError: if it is not there, cannot be opened, or is a pipe or a device.
    """
    name = name_of(path)
    with ExitStack() as stack:
        try:
            if isinstance(path, str | os.PathLike):
                file = stack.enter_context(regular_file(path, name))
            else:
                file = path if path.seekable() else io.BytesIO(path.read(MAX_FILE_BYTES + 1))
        except PictureError:
            raise
        except FileNotFoundError as error:
            raise PictureError(f"there is no file {name}") from error
        except (OSError, ValueError) as error:
            raise PictureError(f"{name} cannot be read: {first_line(error)}") from error
        yield file


@contextmanager
def regular_file(path: str | os.PathLike[str], name: str) -> Iterator[BinaryIO]:
    """That file, open for reading; messages call it by that name.

    Raises:
        OSError: if it cannot be opened.
        PictureError: if it is a pipe or a device.
    """
    with open(path, "rb", opener=_open_nonblocking) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise PictureError(f"{name} is no regular file")
        yield file


def _open_nonblocking(path: str, flags: int) -> int:
    """A file opened; for a pipe, without waiting for somebody who writes."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_header(file: BinaryIO) -> tuple[bool, bool]:
    """Refuse a JPEG or TIFF that costs too much where nothing is read, or before its size is known.

    Returns:
        Whether it is a TIFF, and whether a JPEG that has all its components in a single scan.

    Raises:
        ValueError: if it does.
    """
    file.seek(0)
    head, is_tiff, has_one_scan = file.read(16), False, False
    if head.startswith(b"\xff\xd8\xff"):
        file.seek(0)
        has_one_scan = _check_jpeg_segments(file.read())
    elif is_tiff := head[:4] in TiffImagePlugin.PREFIXES:
        _check_tiff_tags(file, head)
    return is_tiff, has_one_scan


# The markers of a JPEG that a segment follows, and the one that ends it.
JPEG_MARKER = re.compile(rb"\xff([\xc0-\xc7\xc9-\xcf\xd9-\xef\xfe])")


def _check_jpeg_segments(jpeg: bytes) -> bool:
    """Refuse scans without end, each of which goes over all of the picture, and too much EXIF.

    Returns:
        Whether a single scan has all components, so that no coefficients lie in memory.
    """
    scans = exif = at = 0
    components = scanned = b""
    while found := JPEG_MARKER.search(jpeg, at):
        marker, at = found[1], found.end()
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


def cicp(png: BinaryIO) -> tuple[int, int] | None:
    """The primaries and the transfer, by their numbers in ITU-T H.273, that a PNG names in its
    first 64 kB; None where it does not.
    """
    at = png.tell()
    png.seek(0)
    said = png.read(1 << 16).partition(b"IDAT")[0].partition(b"\0\0\0\x04cICP")[2]
    png.seek(at)
    return (said[0], said[1]) if len(said) >= 4 else None


# Tags that lead to more tags; types whose values stay bytes; how many bytes those of others have.
INNER_TAGS = (34665, 34853, 40965)
BYTE_TYPES = (1, 2, 7)
BYTES_PER_TYPE = {3: 2, 4: 4, 8: 2, 9: 4, 13: 4}


def _check_tiff_tags(file: BinaryIO, head: bytes) -> None:
    """Refuse a TIFF of which Pillow would make too many numbers, or with a tag twice: libtiff takes
    the first, which `check_tiles` does not see.
    """
    order: Literal["big", "little"] = "big" if head[:1] == b"M" else "little"
    wide = 8 if head[2] == 43 else 4  # 43 is BigTIFF.
    places, numbers = [int.from_bytes(head[wide : 2 * wide], order)], 0
    for place in places:
        file.seek(place)
        seen = set()
        for _ in range(int.from_bytes(file.read(8 if wide == 8 else 2), order)):
            if len(entry := file.read(4 + 2 * wide)) < 4 + 2 * wide:
                break
            tag, kind = (int.from_bytes(entry[at : at + 2], order) for at in (0, 2))
            count, value = entry[4 : 4 + wide], entry[4 + wide :]
            numbers += 1 if kind in BYTE_TYPES else max(1, int.from_bytes(count, order))
            if tag in seen or numbers > MAX_TAG_VALUES:
                raise ValueError(
                    f"it has a tag twice, or more than {MAX_TAG_VALUES} numbers in its tags"
                )
            seen.add(tag)
            inner = int.from_bytes(value[: BYTES_PER_TYPE.get(kind, wide)], order)
            if tag in INNER_TAGS and inner not in places:  # Some lead round in a circle.
                places.append(inner)


def check_tiff_tiles(tiff: TiffImagePlugin.TiffImageFile, pixels: float) -> None:
    """Refuse tiles far larger than the picture they make, and such as are read over and over.

    Raises:
        ValueError: if one tile has more than so many pixels, all together more than twice as many,
            or tiles or strips share their bytes.
    """
    tags = tiff.tag_v2
    sides = (tags[IMAGEWIDTH], tags[IMAGELENGTH])
    tile = (tags.get(TILEWIDTH, sides[0]), tags.get(TILELENGTH, sides[1]))
    whole = math.prod(-(-side // each) * each for side, each in zip(sides, tile, strict=True))
    if max(math.prod(tile), whole / 2) > pixels:
        raise ValueError(f"its tiles of {tile[0]} x {tile[1]} pixels are too large")
    assert tiff.fp
    told = sum(sum(tags.get(tag, ())) for tag in (STRIPBYTECOUNTS, TILEBYTECOUNTS))
    if told > 2 * tiff.fp.seek(0, os.SEEK_END):
        raise ValueError("its tiles or strips share their bytes")
