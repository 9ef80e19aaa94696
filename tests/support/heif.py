"""HEIF and AVIF files, box by box, so that a test can say anything in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Boxes that contain boxes, and the bytes before the first of them.
CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
Property = tuple[bytes, bytes]


@dataclass(frozen=True)
class Item:
    """An item of a file: its data, its properties, and references (kind, items) to others."""

    kind: bytes
    data: bytes
    properties: Sequence[Property] = ()
    references: Sequence[tuple[bytes, Sequence[int]]] = ()

    @property
    def brand(self) -> bytes:
        """The brand of a file with such images."""
        return b"avif" if self.kind == b"av01" else b"heic"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", 8 + len(content)) + kind + content


def full_box(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return box(kind, bytes([version, 0, 0, 0]) + content)


def boxes(content: bytes) -> Iterator[Property]:
    """Yield the kind and the content of each box, also of those within `CONTAINERS`."""
    at = 0
    while at + 8 <= len(content):
        length, kind = struct.unpack(">L4s", content[at : at + 8])
        inner = content[at + 8 : at + (length or len(content))]
        yield kind, inner
        if kind in CONTAINERS:
            yield from boxes(inner[CONTAINERS[kind] :])
        at += length or len(content)


def ispe(width: int, height: int) -> Property:
    return b"ispe", struct.pack(">LLL", 0, width, height)


def nclx(primaries: int, transfer: int, matrix: int, full_range: bool = True) -> Property:
    return b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, full_range << 7)


def clap(width: int, height: int, from_centre: tuple[int, int] = (0, 0)) -> Property:
    across, down = from_centre
    return b"clap", struct.pack(">LLLLlLlL", width, 1, height, 1, across, 1, down, 1)


def coded_item(content: bytes, *extra: Property, replaced: Sequence[bytes] = ()) -> Item:
    """Return the item of a file with one image, with `extra` in place of `replaced` properties."""
    kinds = (b"hvcC", b"av1C", b"ispe", b"pixi", b"colr", b"clap")
    found = [each for each in boxes(content) if each[0] in kinds]
    kept = [each for each in found if each[0] not in replaced]
    (data,) = (inner for kind, inner in boxes(content) if kind == b"mdat")
    kind = b"hvc1" if any(each[0] == b"hvcC" for each in found) else b"av01"
    return Item(kind, data, [*kept, *extra])


def grid_item(
    rows: int, columns: int, size: tuple[int, int], tiles: Sequence[int], *extra: Property
) -> Item:
    """Return a grid of tiles; `size` is (width, height)."""
    data = struct.pack(">BBBBLL", 0, 1, rows - 1, columns - 1, *size)
    return Item(b"grid", data, [ispe(*size), *extra], [(b"dimg", tiles)])


def heif(items: Sequence[Item], primary: int = 1, brand: bytes = b"heic", **about: Any) -> bytes:
    """Return a file of items, which are numbered from 1.

    `extents` is how often each item's data is listed; `counts` overwrites counts of boxes by name.
    """
    extents, counts = about.get("extents", 1), about.get("counts", {})
    kinds = [
        full_box(b"infe", struct.pack(">HH4sB", place, 0, each.kind, 0), 2)
        for place, each in enumerate(items, 1)
    ]
    infos = full_box(b"iinf", struct.pack(">H", counts.get("iinf", len(items))) + b"".join(kinds))
    references = b"".join(
        box(kind, struct.pack(f">HH{len(others)}H", place, len(others), *others))
        for place, each in enumerate(items, 1)
        for kind, others in each.references
    )
    properties: list[Property] = []
    rows = b""
    for place, each in enumerate(items, 1):
        numbers = []
        for wanted in each.properties:
            if wanted not in properties:
                properties.append(wanted)
            numbers.append(properties.index(wanted) + 1)
        flags = b"".join(struct.pack(">H", 0x8000 | number) for number in numbers)
        rows += struct.pack(">HB", place, len(numbers)) + flags
    count = struct.pack(">L", counts.get("ipma", len(items)))
    associations = box(b"ipma", b"\0\0\0\1" + count + rows)
    property_boxes = b"".join(box(*each) for each in properties)
    iprp = box(b"iprp", box(b"ipco", property_boxes) + associations)

    def with_locations(start: int) -> bytes:
        rows = b""
        for place, each in enumerate(items, 1):
            rows += struct.pack(">HHH", place, 0, extents)
            rows += struct.pack(">LL", start, len(each.data)) * extents
            start += len(each.data)
        number = struct.pack(">H", counts.get("iloc", len(items)))
        iloc = full_box(b"iloc", b"\x44\0" + number + rows)
        hdlr = full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
        iref = full_box(b"iref", references) if references else b""
        pitm = full_box(b"pitm", struct.pack(">H", primary))
        return full_box(b"meta", hdlr + pitm + iloc + infos + iprp + iref)

    head = box(b"ftyp", brand + bytes(4) + b"mif1heicavifmiaf")
    start = len(head) + len(with_locations(0)) + 8
    return head + with_locations(start) + box(b"mdat", b"".join(each.data for each in items))
