"""The boxes of HEIF and AVIF (ISO/IEC 14496-12, 23008-12) that limits and colours need.

libheif and libavif limit what their boxes may say, but check only the size that is left after
cropping, and copy metadata and profiles once for each image of the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# Major brands of files with images; the others are of sequences, which are videos, too.
STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
BRANDS = (*STILL_BRANDS, b"hevc", b"hevx", b"hevm", b"hevs", b"msf1", b"avis")
# Boxes before and after the coded images; they have profiles, but no pixels.
HEADER_KINDS, MAX_HEADER_BYTES = (b"meta", b"moov"), 4_000_000
# Of one level; libheif reads fewer.
MAX_BOXES = 10_000
# The library copies the profile of each item.
MAX_PROFILE_COPY_BYTES = 100_000_000
# Properties of coded images.
CODEC_KINDS = {b"hvcC", b"av1C"}
# Kinds of metadata items, and of their references to images.
METADATA_KINDS = (b"Exif", b"mime", b"cdsc")


@dataclass(frozen=True)
class HeifHeader:
    """The header of a HEIF or AVIF file.

    `sizes` are the (width, height) of each image and part of one, before it is cropped or turned;
    `code_points` the H.273 primaries and transfer of the primary image, if it has any.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    code_points: tuple[int, int] | None = None


def is_heif(head: bytes, brands: tuple[bytes, ...] = BRANDS) -> bool:
    """Return whether a file's first 12 bytes or more are those of a HEIF or AVIF file."""
    return head[4:8] == b"ftyp" and head[8:12] in brands


def read_heif(file: BinaryIO) -> tuple[HeifHeader, BinaryIO]:
    """Return the header of a HEIF or AVIF file, and a copy of the file without metadata.

    Metadata can be far larger than the file: its items may share bytes, and tags of EXIF too. No
    picture needs any, because HEIF orients images by properties, whatever EXIF says.

    Raises:
        ValueError: if its boxes are damaged, or too long.
    """
    file.seek(0)
    content, header = bytearray(file.read()), HeifHeader()
    for kind, start, end in _boxes(content, 0, len(content)):
        if kind not in HEADER_KINDS:
            continue
        if end - start > MAX_HEADER_BYTES:
            raise ValueError(f"its header has more than {MAX_HEADER_BYTES // 10**6} MB")
        if kind == b"meta":
            header = _read_meta(content, start, end)
        for name in METADATA_KINDS:
            content[start:end] = content[start:end].replace(name, b"none")
    return header, io.BytesIO(content)


def _boxes(content: bytes | bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and where its content starts and ends."""
    for count in range(MAX_BOXES + 1):
        if end - start < 8:
            return
        length, kind = struct.unpack_from(">I4s", content, start)
        head = 8
        if length == 1 and end - start >= 16:
            length, head = struct.unpack_from(">Q", content, start + 8)[0], 16
        length = length or end - start
        if length < head or count == MAX_BOXES:
            raise ValueError("its boxes are damaged, or too many")
        yield kind, start + head, min(start + length, end)
        start += length


def _read_meta(content: bytearray, start: int, end: int) -> HeifHeader:
    """Return what a meta box says; parts that are missing or cut off are left to the libraries."""
    inner = {kind: bytes(content[at:to]) for kind, at, to in _boxes(content, start + 4, end)}
    iprp = inner.get(b"iprp", b"")
    lists = {kind: iprp[at:to] for kind, at, to in _boxes(iprp, 0, len(iprp))}
    ipco = lists.get(b"ipco", b"")
    properties = [(kind, ipco[at:to]) for kind, at, to in _boxes(ipco, 0, len(ipco))]
    profile_bytes = max((len(each) for kind, each in properties if kind == b"colr"), default=0)
    if inner.get(b"iinf", b"").count(b"infe") * profile_bytes > MAX_PROFILE_COPY_BYTES:
        raise ValueError("its profile is too long for so many images")
    width = 2 if inner.get(b"pitm", b"")[:1] == b"\0" else 4
    primary = int.from_bytes(inner.get(b"pitm", b"")[4 : 4 + width], "big")
    code_points = None
    for item, places in _associations(lists.get(b"ipma", b"")):
        own = [properties[place] for place in places if place < len(properties)]
        kinds = {kind for kind, _ in own}
        if kinds & CODEC_KINDS and b"ispe" not in kinds:
            raise ValueError("one of its images has no size")
        for kind, each in own:
            if item == primary and kind == b"colr" and each.startswith(b"nclx"):
                code_points = struct.unpack(">HH", each[4:8].ljust(4, b"\0"))
    sizes = [each[4:12] for kind, each in properties if kind == b"ispe" and len(each) >= 12]
    return HeifHeader(tuple(struct.unpack(">II", size) for size in sizes), code_points)


def _associations(ipma: bytes) -> Iterator[tuple[int, list[int]]]:
    """Yield the number of each item, and the places of its properties in the list of all."""
    width = 4 if ipma[:1] > b"\0" else 2
    step = 2 if ipma[3:4] and ipma[3] & 1 else 1
    flag = 0x80 << 8 * (step - 1)  # The highest bit: whether a reader must know the property.
    at = 8
    while at + width < len(ipma):
        item, start = int.from_bytes(ipma[at : at + width], "big"), at + width + 1
        at = start + step * ipma[start - 1]
        numbers = (
            int.from_bytes(ipma[each : each + step], "big") for each in range(start, at, step)
        )
        yield item, [(number & ~flag) - 1 for number in numbers if number & ~flag]
