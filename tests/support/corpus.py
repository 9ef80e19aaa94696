"""Some hundred files that a stranger might send as an image, the same each time.

Each has an expected result: red, green, blue and white `quarters`, `any` image, `refused`, or
`either` of the last two.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from dream.files.embedded_text import build_xmp
from dream.files.pixels import register_heif_formats
from tests.support.heif import (
    Item,
    box,
    clap,
    coded_item,
    grid_item,
    heif,
    ispe,
)

register_heif_formats()

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
WIDTH, HEIGHT = 48, 32
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "HEIF", "AVIF")
Options = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """A file and the expected result of reading it; `is_grey` allows an image without colours."""

    name: str
    content: bytes
    expected: str
    is_grey: bool = False


@lru_cache
def corpus() -> tuple[Sample, ...]:
    """Return all samples."""
    groups = (
        *(mode_files, orientation_files, misnamed_files, damaged_files, bomb_files, size_files),
        *(animated_files, deep_files, non_image_files, metadata_files, recipe_files, heif_files),
    )
    made = tuple(each for group in groups for each in group())
    assert len({each.name for each in made}) == len(made)
    return made


def looks_right(pixels: np.ndarray, made: Sample) -> bool:
    """Return whether pixels (H, W, 3) in 0 to 255 match the sample's expected result."""
    if made.expected in ("any", "either"):
        return bool(np.isfinite(pixels).all())
    if made.expected != "quarters" or pixels.shape != (HEIGHT, WIDTH, 3):
        return False
    rows, columns = (HEIGHT // 4, HEIGHT * 3 // 4), (WIDTH // 4, WIDTH * 3 // 4)
    seen = np.array([pixels[row, column] for row in rows for column in columns], float)
    if made.is_grey:
        return bool(seen[3].min() > 230 and seen[:3].max() < 230)
    return bool(np.abs(seen - COLOURS).max() < 40)


def quarters(mode: str = "RGB") -> Image.Image:
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for index, colour in enumerate(COLOURS):
        left, top = index % 2 * WIDTH // 2, index // 2 * HEIGHT // 2
        image.paste(colour, (left, top, left + WIDTH // 2, top + HEIGHT // 2))
    return image.convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# Options by which a format loses no colour, or little.
BEST: dict[str, Options] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "MPO": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "HEIF": {"quality": 95, "subsampling": "4:4:4"},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}


def encode_quarters(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """Return the quarters as a file of that format, at its best quality."""
    return encode(quarters(mode), kind, **BEST.get(kind, {}) | options)


def quarters_file(kind: str) -> bytes:
    """Return the quarters as a plain file of that format."""
    return encode_quarters(kind, "P" if kind == "GIF" else "RGB")


def suffix(kind: str) -> str:
    return {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "HEIF": "heic"}.get(kind, kind.lower())


def mode_files() -> Iterator[Sample]:
    """Yield each format in each of its modes."""
    fine = BEST["JPEG"]
    kinds: list[tuple[str, str, Options]] = [
        *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
        *(("GIF", mode, {}) for mode in ("1", "L", "P", "RGB", "RGBA")),
        *(("TIFF", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK")),
        *(("TIFF", mode, {}) for mode in ("LAB", "I", "F")),
        *(
            ("TIFF", "RGB", {"compression": each})
            for each in ("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits", "lzma")
        ),
        ("TIFF", "RGB", {"compression": "jpeg", "quality": 95}),
        ("TIFF", "1", {"compression": "group3"}),
        ("TIFF", "1", {"compression": "group4"}),
        ("TIFF", "RGB", {"big_tiff": True}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("WEBP", "RGB", {"quality": 95}),
        ("WEBP", "L", {"quality": 95}),
        *(("JPEG", mode, fine) for mode in ("L", "RGB", "CMYK")),
        ("JPEG", "RGB", {**fine, "progressive": True}),
        ("JPEG", "RGB", {"quality": 90}),
        ("JPEG", "RGB", {**fine, "optimize": True}),
        ("MPO", "RGB", fine),
        *((kind, mode, BEST[kind]) for kind in ("HEIF", "AVIF") for mode in ("L", "RGB", "RGBA")),
    ]
    for place, (kind, mode, options) in enumerate(kinds):
        image = quarters("L").convert(mode) if mode in ("I", "F") else quarters(mode)
        image.info.clear()  # LAB's profile holds the current time.
        name = f"whole-{place}-{mode.replace(';', '')}.{suffix(kind)}"
        grey = mode in ("1", "L", "LA", "I", "F")
        # One-bit images are dithered.
        comes_to = "any" if mode == "1" else "quarters"
        yield Sample(name, encode(image, kind, **options), comes_to, grey)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # Without its date.
    for kind, mode in (("JPEG", "CMYK"), ("TIFF", "CMYK"), ("PNG", "RGB"), ("WEBP", "RGB")):
        for name, icc in (("srgb", profile), ("none", b"not a profile"), ("cut", profile[:300])):
            content = encode(quarters(mode), kind, icc_profile=icc, lossless=kind == "WEBP")
            yield Sample(f"profile-{name}-{mode}.{suffix(kind)}", content, "quarters")
    image = quarters("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    yield Sample("transparent.png", encode(image, "PNG"), "any")


def orientation_files() -> Iterator[Sample]:
    """Yield every EXIF orientation."""
    undone = [None, None, 0, 3, 1, 5, 2, 6, 4]
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"):
        for orientation in range(1, 9):
            stored, turn = quarters(), undone[orientation]
            if turn is not None:
                stored = stored.transpose(Image.Transpose(turn))
            exif = Image.Exif()
            exif[274] = orientation
            content = encode(stored, kind, exif=exif.tobytes(), **BEST.get(kind, {}))
            yield Sample(f"turned-{orientation}.{suffix(kind)}", content, "quarters")
    for value in (0, 9, 255, 65535):
        exif = Image.Exif()
        exif[274] = value
        yield Sample(f"turned-{value}.png", encode_quarters("PNG", exif=exif), "quarters")


def misnamed_files() -> Iterator[Sample]:
    """Yield images with the suffix of another format, or of no image."""
    for kind in FORMATS:
        for name in ("png", "jpg", "gif", "txt", "svg"):
            if name != suffix(kind):
                yield Sample(f"{kind.lower()}-as.{name}", quarters_file(kind), "quarters")


def damaged_files() -> Iterator[Sample]:
    """Yield images cut off at many places, and with flipped bits."""
    for kind in FORMATS:
        content = quarters_file(kind)
        for part in range(10):
            cut = content[: len(content) * part // 10]
            yield Sample(f"cut-{part}.{suffix(kind)}", cut, "either")
        chance = random.Random(kind)
        for number in range(14):
            flipped = bytearray(content)
            for _ in range(chance.randint(1, 12)):
                flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            yield Sample(f"flipped-{number}.{suffix(kind)}", bytes(flipped), "either")


def chunk(kind: bytes, content: bytes) -> bytes:
    size, check = len(content), zlib.crc32(kind + content)
    return struct.pack(">L", size) + kind + content + struct.pack(">L", check)


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colours: int = 2) -> bytes:
    header = struct.pack(">LLBBBBB", width, height, depth, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header claims that size."""
    return png(width, height, chunk(b"IDAT", b""))


Tag = tuple[int, int, int, int]


def tiff(width: int, height: int, *tags: Tag, data: bytes = b"") -> bytes:
    """Return a grey TIFF with data at byte 8; a tag is (number, type, count, value)."""
    given = {tag[0] for tag in tags}
    size: list[Tag] = [(256, 4, 1, width), (257, 4, 1, height)]
    grey = ((258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1))
    all_tags = sorted([*size, *tags, *(tag for tag in grey if tag[0] not in given)])
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in all_tags)
    count = struct.pack("<H", len(all_tags))
    return struct.pack("<2sHL", b"II", 42, 8 + len(data)) + data + count + entries + bytes(4)


def bomb_files() -> Iterator[Sample]:
    """Yield small files that claim, or unpack to, huge images."""
    for side in (9000, 13_000, 60_000, 2**31 - 1):
        yield Sample(f"bomb-header-{side}.png", png_header(side, side), "refused")
    for side in (8200, 16_000):
        rows = chunk(b"IDAT", zlib.compress(bytes((1 + side // 8) * side)))
        yield Sample(f"bomb-{side}.png", png(side, side, rows, depth=1, colours=0), "refused")
    content = encode(Image.new("1", (8200, 8200)), "TIFF", compression="group4")
    yield Sample("bomb.tif", content, "refused")
    strip = (278, 4, 1, 9), (273, 4, 1, 8), (279, 4, 1, 9)
    content = tiff(100_000, 100_000, *strip, data=b"x" * 9)
    yield Sample("bomb-deflate.tif", content, "refused")
    tile = (322, 4, 1, 30_000), (323, 4, 1, 70_000), (324, 4, 1, 8), (325, 4, 1, 9)
    yield Sample("bomb-tile.tif", tiff(64, 64, *tile, data=b"x" * 9), "refused")
    yield Sample("bomb.jpg", jpeg_with_size(quarters_file("JPEG"), 65500, 65500), "refused")
    gif = bytearray(quarters_file("GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    yield Sample("bomb-header.gif", bytes(gif), "refused")
    bmp = bytearray(quarters_file("BMP"))
    bmp[18:26] = struct.pack("<ll", 100_000, 100_000)
    yield Sample("bomb.bmp", bytes(bmp), "refused")
    bmp[18:26] = struct.pack("<ll", -64, -64)
    yield Sample("bomb-negative.bmp", bytes(bmp), "either")
    webp = bytearray(
        encode(Image.new("RGBA", (64, 64)), "WEBP", lossless=True, exif=b"Exif\0\0II*\0")
    )
    place = webp.index(b"VP8X") + 12
    webp[place : place + 6] = b"\xff\x3f\0\xff\x3f\0"
    yield Sample("bomb.webp", bytes(webp), "refused")
    # Chunks that unpack to 50 MB: a text, a profile, and more rows than the image has.
    many = zlib.compress(bytes(50_000_000))
    row = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * 40) * 40)))
    yield Sample("bomb-text.png", png(40, 40, chunk(b"zTXt", b"a\0\0" + many), row), "either")
    yield Sample("bomb-profile.png", png(40, 40, chunk(b"iCCP", b"a\0\0" + many), row), "either")
    yield Sample("bomb-rows.png", png(40, 40, chunk(b"IDAT", many)), "either")
    yield Sample("bomb-scans.jpg", jpeg_with_scans(60), "refused")
    entries = b"".join(struct.pack("<HHLL", 1000 + n, 7, 59_000, 1) for n in range(4000))
    exif = struct.pack("<2sHLH", b"II", 42, 8, 4000) + entries
    yield Sample("bomb-exif.png", encode_quarters("PNG", exif=exif), "quarters")


def heif_files() -> Iterator[Sample]:
    """Yield HEIF and AVIF files whose boxes claim, repeat or refer to too much."""
    coded, large = coded_item(quarters_file("HEIF")), encode(Image.new("L", (640, 640)), "HEIF")
    tiles = [coded] * 25
    exif = struct.pack("<4x2sHLH", b"II", 42, 8, 4000)
    exif += b"".join(struct.pack("<HHLL", 1000 + n, 7, 40_000, 1) for n in range(4000))
    about = Item(b"Exif", exif, (), [(b"cdsc", [1])])
    turned = Item(coded.kind, coded.data, [*coded.properties, (b"irot", b"\2")])
    profile = b"colr", b"prof" + bytes(3_000_000)
    overlay = struct.pack(">BBHHHHLL", 0, 1, 0, 0, 0, 65535, WIDTH, HEIGHT) + bytes(16)
    size = ispe(WIDTH, HEIGHT)

    def with_size(content: bytes, width: int, height: int) -> Item:
        return coded_item(content, ispe(width, height), replaced=[b"ispe"])

    bad = {
        "size": [with_size(quarters_file("HEIF"), 9000, 9000)],
        "size-32-bit": [with_size(quarters_file("HEIF"), 2**32 - 1, 2**32 - 1)],
        "larger": [with_size(quarters_file("HEIF"), 500, 500)],
        "coded": [with_size(large, WIDTH, HEIGHT)],
        "cropped": [coded_item(large, ispe(9000, 9000), clap(64, 64), replaced=[b"ispe"])],
        "no-size": [coded_item(quarters_file("HEIF"), replaced=[b"ispe"])],
        "grid-self": [grid_item(1, 2, (2 * WIDTH, HEIGHT), [1, 1])],
        "grid-cycle": [grid_item(1, 1, (64, 64), [2]), grid_item(1, 1, (64, 64), [1])],
        "grid-of-one": [grid_item(124, 124, (124 * WIDTH, 124 * HEIGHT), [2] * 124**2), coded],
        "iden": [Item(b"iden", b"", [size], [(b"dimg", [at + 2])]) for at in range(900)],
        "overlays": [Item(b"iovl", overlay, [size], [(b"dimg", [at + 2] * 2)]) for at in range(30)],
        "profiles": [coded_item(quarters_file("HEIF"), profile, replaced=[b"colr"])] * 99,
        "profile": [coded_item(quarters_file("HEIF"), (b"colr", b"prof" + bytes(5_000_000)))],
        "nothing": [],
    }
    for name, items in bad.items():
        yield Sample(f"heif-{name}.heic", heif(items), "refused")
    good = {
        "plain": heif([coded]),
        "exif": heif([coded, about]),
        "metadata": heif([coded, *[Item(b"abcd", bytes(10_000), (), [(b"cdsc", [1])])] * 900]),
        "extents-of-30": heif([coded], extents=30),
        "turned": heif([turned]),
    }
    for name, content in good.items():
        yield Sample(f"heif-{name}.heic", content, "any" if name == "turned" else "quarters")
    yield Sample("heif-extents.heic", heif([coded], extents=60_000), "refused")
    grid = [grid_item(5, 5, (5 * WIDTH, 5 * HEIGHT), range(2, 27)), *tiles]
    yield Sample("heif-grid.heic", heif(grid), "either")
    for kind in ("iinf", "iloc", "ipma"):
        yield Sample(f"heif-{kind}.heic", heif([coded], counts={kind: 65535}), "either")
    head = box(b"ftyp", b"heic" + bytes(4) + b"mif1")
    yield Sample("heif-boxes.heic", head + box(b"free", b"") * 20_000, "refused")
    av1 = coded_item(quarters_file("AVIF"))
    turned = Item(av1.kind, av1.data, [*av1.properties, (b"irot", b"\1")])
    yield Sample("heif-exif.avif", heif([turned, about], brand=b"avif"), "any")
    claimed = with_size(quarters_file("AVIF"), 9000, 9000)
    yield Sample("heif-size.avif", heif([claimed], brand=b"avif"), "refused")
    yield Sample("heif-as-avif.avif", heif([coded], brand=b"avif"), "either")
    yield Sample("heif-av1.heic", heif([av1], brand=b"mif1"), "quarters")


def jpeg_with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """Return the JPEG with that size in its header; the missing part is grey."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">2H", height, width) + jpeg[place + 4 :]


def jpeg_with_scans(more: int) -> bytes:
    """Return a progressive JPEG of 640 x 480 whose last scan is repeated `more` times."""
    content = encode(Image.new("L", (640, 480), 90), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * more + content[-2:]


def size_files() -> Iterator[Sample]:
    """Yield the smallest, thinnest and longest images."""
    for width, height in ((1, 1), (2, 3), (1, 20_000), (20_000, 1), (31, 33), (30_000, 1)):
        image = Image.new("RGB", (width, height), "red")
        yield Sample(f"size-{width}x{height}.png", encode(image, "PNG"), "any")
    image = Image.new("RGB", (30_001, 1), "red")
    yield Sample("size-30001x1.png", encode(image, "PNG"), "refused")
    for kind in ("BMP", "GIF", "JPEG", "TIFF", "WEBP", "AVIF"):
        yield Sample(f"size-1x1.{suffix(kind)}", encode(Image.new("RGB", (1, 1)), kind), "any")
    for width, height in ((0, 0), (0, 9), (9, 0)):
        yield Sample(f"size-{width}x{height}.png", png(width, height), "refused")


def animated_files() -> Iterator[Sample]:
    """Yield animations, whose first image counts."""
    others = [Image.new("RGB", (WIDTH, HEIGHT), each) for each in ("black", "teal", "white")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "HEIF", "AVIF"):
        content = encode_quarters(kind, save_all=True, append_images=others)
        yield Sample(f"moving.{suffix(kind)}", content, "quarters")
    many = encode_quarters("GIF", save_all=True, append_images=others * 100)
    yield Sample("moving-300.gif", many, "quarters")
    yield Sample("moving-cut.gif", many[: len(many) // 2], "either")


def deep_files() -> Iterator[Sample]:
    """Yield images of more than 8 bits, as other programs write them."""
    grey = np.asarray(quarters("L"))
    wide: dict[str, Any] = {
        "uint16": grey.astype(np.uint16) * 257,
        "int32": grey.astype(np.int32) * 257,
        "float": grey.astype(np.float32) / 255,
        "huge": grey.astype(np.float32) * 1e30,
    }
    for name, values in wide.items():
        content = encode(Image.fromarray(values), "TIFF")
        yield Sample(f"deep-{name}.tif", content, "quarters", True)
    yield Sample("deep.png", encode(Image.fromarray(wide["uint16"]), "PNG"), "quarters", True)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        image = Image.fromarray(np.full((HEIGHT, WIDTH), value, np.float32))
        yield Sample(f"deep-{name}.tif", encode(image, "TIFF"), "any")
    colours = np.asarray(quarters(), np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    content = png(WIDTH, HEIGHT, chunk(b"IDAT", zlib.compress(rows)), depth=16)
    yield Sample("deep-48.png", content, "quarters")


def non_image_files() -> Iterator[Sample]:
    """Yield files with an image's name that are no image, or of an unsupported format."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("photo.png"), bytes(1_000_000))
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    entity = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>'
    contents = {
        "empty": b"",
        "text": b"hello",
        "nul": bytes(10_000),
        "random": random.Random(0).randbytes(5000),
        "svg": svg,
        "entity": entity,
        "html": b"<html><script>alert(1)</script></html>",
        "zip": packed.getvalue(),
        "gzip": gzip.compress(quarters_file("PNG"), mtime=0),
        "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(ls) system\n",
        "json": b'{"layer": "inception3b"}',
        "elf": b"\x7fELF\x02\x01\x01" + bytes(60),
        "pickle": b"\x80\x04cposix\nsystem\n(S'touch /tmp/owned'\ntR.",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
        "mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100),
        "psd": b"8BPS\0\x01" + bytes(20),
        "fits": b"SIMPLE  =                    T".ljust(2880),
        "xbm": b"#define a_width 9\n#define a_height 9\nstatic char a_bits[] = {0};\n",
        "dds": b"DDS " + bytes(124),
        "jxl": b"\xff\x0a" + bytes(40),
    }
    for kind in ("ICO", "PPM", "TGA", "PCX", "SGI", "JPEG2000", "IM", "MSP", "DIB"):
        try:
            mode = "1" if kind == "MSP" else "RGB"
            contents[kind.lower()] = encode(quarters(mode), kind)
        except (KeyError, OSError, ValueError):
            continue  # This Pillow lacks the format.
    for name, content in contents.items():
        yield Sample(f"strange-{name}.png", content, "refused")
    for kind, start in (
        ("PNG", b"\x89PNG\r\n\x1a\n"),
        ("JPEG", b"\xff\xd8\xff\xe0"),
        ("GIF", b"GIF89a"),
        ("TIFF", b"II*\0"),
        ("BMP", b"BM"),
        ("WEBP", b"RIFF\x24\0\0\0WEBPVP8 "),
    ):
        yield Sample(f"strange-start.{suffix(kind)}", start + bytes(40), "refused")
        yield Sample(f"strange-twice.{suffix(kind)}", start + quarters_file(kind), "either")


def metadata_files() -> Iterator[Sample]:
    """Yield images with large metadata."""
    exif = Image.Exif()
    exif[271] = "A camera" * 2000
    exif.get_ifd(34853)[1] = "N"
    exif.get_ifd(34853)[2] = (52.0, 31.0, 12.0)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        content = encode_quarters(kind, exif=exif)
        yield Sample(f"laden-gps.{suffix(kind)}", content, "quarters")
        if kind != "TIFF":
            content = encode_quarters(kind, exif=b"Exif\0\0MM\0*\0\0\xff\xff")
            yield Sample(f"laden-broken.{suffix(kind)}", content, "quarters")
    text = PngImagePlugin.PngInfo()
    for number in range(200):
        text.add_text(f"key{number}", "x" * 4000)
    content = quarters_file("PNG")
    tail = (273, 4, 1, 8), (278, 4, 1, 64), (279, 4, 1, 9)
    good = {
        "text.png": encode_quarters("PNG", pnginfo=text),
        "comment.jpg": encode_quarters("JPEG", comment=b"x" * 60_000),
        "comment.gif": encode_quarters("GIF", comment=b"x" * 60_000),
        "xmp.webp": encode_quarters("WEBP", xmp=b"<x>" * 50_000),
        "behind.png": content + random.Random(1).randbytes(500_000),
        "chunks.png": png_with_chunks(20_000),
    }
    yield from (Sample(f"laden-{name}", file, "quarters") for name, file in good.items())
    yield Sample("laden-before.png", b"\n" + content, "refused")
    circle = tiff(64, 64, *tail, (34665, 4, 1, 8 + 9), data=b"x" * 9)
    yield Sample("laden-circle.tif", circle, "either")
    million = tiff(64, 64, *tail, (900, 3, 10**6, 0), data=b"x" * 9)
    yield Sample("laden-million.tif", million, "refused")


def png_with_chunks(count: int) -> bytes:
    """Return the quarters as a PNG that begins with `count` empty chunks."""
    content = quarters_file("PNG")
    return content[:33] + chunk(b"abCd", b"") * count + content[33:]


HOSTILE: dict[str, Any] = {
    "path": {"guide": "/etc/passwd"},
    "url": {"mask": "http://169.254.169.254/"},
    "uri": {"guide": "data:image/png;base64,AAAA"},
    "type": {"octaves": "many"},
    "list": {"seed": [1]},
    "true": {"octaves": True},
    "nan": {"step": float("nan")},
    "inf": {"scale": float("inf")},
    "large": {"seed": 10**400},
    "bounds": {"iterations": 10**6},
    "model": {"model": "../../weights"},
    "layer": {"layer": "<script>alert(1)</script>"},
    "line": {"layer": "a\nb\x1b[31m\u202e\x00"},
    "layers": {"layer": ">".join(["inception3b"] * 5000)},
    "weight": {"layer": "inception3b:1e39"},
    "long": {"layer": "x" * 900_000},
    "unknown": {"__class__": 3},
    "version": {"deepdream": 10**9},
    "kind": {"kind": ["dream"]},
    "nothing": {"layer": None, "model": None},
    "array": [1, 2, 3],
    "null": None,
}


BOMB = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {after} '{f'&{before};' * 10}'>"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE_XMP = {
    "entities": BOMB + "]><x><deepdream:recipe>&i;</deepdream:recipe></x>",
    "file": '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>'
    '<deepdream:recipe>{"layer": "&f;"}</deepdream:recipe></x>',
    "unclosed": '<deepdream:recipe>{"seed": 3}',
    "cut": build_xmp(True, '{"seed": 3}')[:-200],
    "repeated": "<deepdream:recipe> deepdream:recipe=" * 1500,
    "quotes": " deepdream:recipe=\"'" * 3000,
    "empty": "<deepdream:recipe></deepdream:recipe>",
    "nul": "<deepdream:recipe>\0\x1b[31m\u202e</deepdream:recipe>",
}


def png_with_recipe(text: str, image: Image.Image | None = None) -> bytes:
    """Return an image, by default the quarters, as a PNG with that text as its recipe."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("deepdream", text, zip=len(text) > 10_000)
    return encode(image or quarters(), "PNG", pnginfo=info)


def recipe_files() -> Iterator[Sample]:
    """Yield good images with invalid recipes."""
    texts = {name: json.dumps(each) for name, each in HOSTILE.items()}
    texts |= {
        "nested": "[" * 200_000,
        "objects": '{"a":' * 50_000,
        "half": '{"layer": "',
        "surrogate": '{"layer": "\\ud800"}',
    }
    for name, text in texts.items():
        yield Sample(f"recipe-{name}.png", png_with_recipe(text), "quarters")
    for name in ("path", "line", "half", "unknown"):
        xmp = build_xmp(True, texts[name]).encode()
        yield Sample(f"recipe-{name}.jpg", encode_quarters("JPEG", xmp=xmp), "quarters")
        yield Sample(f"recipe-{name}.webp", encode_quarters("WEBP", xmp=xmp), "quarters")
    for name, text in HOSTILE_XMP.items():
        content = encode_quarters("JPEG", xmp=text.encode())
        yield Sample(f"recipe-{name}.jpg", content, "quarters")
