"""Colours, alpha and bit depths are read as other programs show them, in all formats."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from dream import PictureError, load_image
from tests.support.corpus import BEST, chunk, encode, png, tiff

ONE_S15 = 65536
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def profile(
    name: str = "sRGB built-in", colorants: Any = (), linear: bool = False, grey: bool = False
) -> bytes:
    """Return the profile of sRGB with a name of the same length and other changes."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for at in range(132, 132 + 12 * content[131], 12):
        tag, place, _ = struct.unpack(">4sLL", content[at : at + 12])
        if tag in (b"rXYZ", b"gXYZ", b"bXYZ") and colorants:
            colorant = [round(each * ONE_S15) for each in colorants["rgb".index(chr(tag[0]))]]
            content[place + 8 : place + 20] = struct.pack(">3l", *colorant)
        if tag == b"rTRC":
            if linear:
                content[place : place + 12] = b"curv" + bytes(8)
            if grey:
                content[at : at + 4] = b"kTRC"
    if grey:
        content[16:20] = b"GRAY"
    old = "sRGB built-in".encode("utf-16-be")
    assert old in content and len(name.encode("utf-16-be")) == len(old)
    return bytes(content.replace(old, name.encode("utf-16-be")))


def read_colours(content: bytes, *places: tuple[int, int], **about: Any) -> list[list[int]]:
    """Return the colours, 0 to 255, at those columns and rows of an image."""
    pixels = (load_image(io.BytesIO(content), **about)[0] * 255).round().int()
    return [pixels[:, row, column].tolist() for column, row in places or [(1, 1)]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG", "HEIF", "AVIF"])
@pytest.mark.parametrize(
    ("icc", "colour", "expected"),
    [
        # By lcms, and by the numbers of W3C's CSS Color 4 for display-p3.
        (profile("P3 with sRGB ", P3), (200, 60, 60), (217, 42, 52)),
        (profile("Linear sRGB  ", linear=True), (55, 55, 55), (128, 128, 128)),
        (profile("Another name "), (201, 61, 59), (201, 61, 59)),
    ],
    ids=["P3", "linear", "sRGB"],
)
def test_a_profile_is_known_by_what_it_does_not_by_its_name(
    icc: bytes, colour: tuple[int, int, int], expected: tuple[int, ...], kind: str
) -> None:
    image = Image.new("RGB", (16, 16), colour)
    (seen,) = read_colours(encode(image, kind, icc_profile=icc, **BEST.get(kind, {})))
    exactly = kind in ("PNG", "WEBP", "TIFF") and "Another" in icc.decode("utf-16-be", "replace")
    assert seen == pytest.approx(expected, abs=0 if exactly else 3)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_the_profile_of_a_grey_picture_counts_with_alpha_and_with_16_bits_too(mode: str) -> None:
    deep = Image.fromarray(np.full((9, 9), 55 * 257, np.uint16))
    image = deep if mode == "I;16" else Image.new("L", (9, 9), 55).convert(mode)
    icc = profile("Linear sRGB  ", linear=True, grey=True)
    assert read_colours(encode(image, "PNG", icc_profile=icc)) == [[128] * 3]


def png_of(*chunks: bytes, colour: tuple[int, int, int]) -> bytes:
    rows = chunk(b"IDAT", zlib.compress((b"\0" + bytes(colour) * 4) * 4))
    return png(4, 4, *chunks, rows)


def test_gamma_and_cicp_of_a_png_are_heeded() -> None:
    linear, usual = (chunk(b"gAMA", struct.pack(">L", each)) for each in (100_000, 45_455))
    p3, srgb = (chunk(b"cICP", bytes([primaries, 13, 0, 1])) for primaries in (12, 1))
    is_srgb = chunk(b"sRGB", b"\0")
    assert read_colours(png_of(linear, colour=(55, 55, 55))) == [[128] * 3]
    for harmless in ([usual], [srgb], [is_srgb, linear], [srgb, linear]):
        assert read_colours(png_of(*harmless, colour=(200, 60, 55))) == [[200, 60, 55]]
    (seen,) = read_colours(png_of(p3, linear, colour=(200, 60, 60)))
    assert seen == pytest.approx((217, 42, 52), abs=3)
    hlg = chunk(b"cICP", bytes([9, 18, 0, 1]))
    (white,) = read_colours(png_of(hlg, colour=(191, 191, 191)))
    assert white[0] == white[1] == white[2] and 215 < white[0] < 245


def deep_tiff(values: np.ndarray, planar: bool, photometric: int, compression: int = 1) -> bytes:
    """Return a little-endian 16-bit TIFF of values (H, W, bands), one strip per plane."""
    height, width, bands = values.shape
    planes = [values[..., band] for band in range(bands)] if planar else [values]
    strips = [plane.astype("<u2").tobytes() for plane in planes]
    strips = [zlib.compress(each) for each in strips] if compression == 8 else strips
    head = struct.pack(f"<{bands}H", *[16] * bands).ljust(8, b"\0")
    lists = [[8 + 40 + sum(map(len, strips[:at])) for at in range(len(strips))]]
    lists.append([len(each) for each in strips])
    data = head + b"".join(struct.pack(f"<{len(each)}L", *each).ljust(16, b"\0") for each in lists)
    several = len(strips) > 1
    places, lengths = (16, 32) if several else (lists[0][0], lists[1][0])
    bits = (258, 3, bands, 8 if bands > 2 else 16)
    return tiff(
        *(width, height, bits, (259, 3, 1, compression), (262, 3, 1, photometric)),
        *((277, 3, 1, bands), (284, 3, 1, 2 if planar else 1), (278, 4, 1, height)),
        *((273, 4, len(strips), places), (279, 4, len(strips), lengths)),
        data=data + b"".join(strips),
    )


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("planar", [True, False])
def test_16_bits_of_each_colour_are_read_in_planes_too(planar: bool, compression: int) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3))
    file = io.BytesIO(deep_tiff(values, planar, 2, compression))
    seen = (load_image(file)[0] * 255).permute(1, 2, 0).numpy()
    assert np.abs(seen - values / 257).max() <= 1


@pytest.mark.parametrize(
    ("white", "photometric", "compression"), [(65535, 0, 1), (65535, 0, 8), (4095, 1, 1)]
)
def test_16_bit_grey_may_be_negative_or_of_12_bits(
    white: int, photometric: int, compression: int
) -> None:
    values = np.linspace(0, white, 64).round().astype(np.uint16)[None].repeat(4, 0)
    files = [deep_tiff(values[..., None], False, photometric, compression)]
    files += [encode(Image.fromarray(values), "PNG")] if photometric else []
    expected = np.linspace(0, 255, 64) if photometric else np.linspace(255, 0, 64)
    for content in files:
        seen = load_image(io.BytesIO(content))[0, 0, 0] * 255
        assert seen.numpy() == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_that_a_png_says_is_transparent_is_so_at_every_depth(depth: int) -> None:
    most = 2**depth - 1
    greys = [0, most, most // 3, 0]
    bits = "".join(f"{grey:0{depth}b}" for grey in greys).ljust(8, "0")
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    clear = chunk(b"tRNS", struct.pack(">H", greys[2]))
    content = png(4, 2, clear, chunk(b"IDAT", zlib.compress(row * 2)), depth=depth, colours=0)
    seen = [each[0] for each in read_colours(content, *((x, 1) for x in range(4)))]
    assert seen == ([0, 255, 0, 0] if depth == 1 else [0, 255, 255, 0])


def test_a_colour_that_a_png_says_is_transparent_is_so_at_16_bits() -> None:
    clear, other = (0x1234, 0x5678, 0x9ABC), (0x9ABC, 0x1234, 0x5678)
    row = b"\0" + struct.pack(">6H", *clear, *other)
    key = chunk(b"tRNS", struct.pack(">3H", *clear))
    content = png(2, 2, key, chunk(b"IDAT", zlib.compress(row * 2)), depth=16)
    seen = read_colours(content, (0, 1), (1, 1))
    assert seen == [[255, 255, 255], [0x9A, 0x12, 0x56]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_art_on_transparency_is_seen_be_it_white_or_not(mode: str) -> None:
    for art, expected in ((255, 0), (250, 0), (120, 255), (0, 255)):
        image = Image.new("LA", (40, 40), (255, 0))
        image.paste((art, 255), (10, 10, 30, 30))
        content = encode(image.convert(mode), "PNG")
        below, on = read_colours(content, (1, 1), (20, 20))
        assert (below[0], on[0]) == (expected, art)
        assert read_colours(content, background="black") == [[0] * 3]
    clear = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    assert read_colours(encode(clear, "PNG")) == [[255] * 3]


@pytest.mark.parametrize(
    ("bits", "photometric", "sample_format"), [(32, 2, 3), (64, 2, 1), (16, 8, 1)]
)
def test_a_tiff_of_a_kind_that_is_not_read_is_called_one(
    bits: int, photometric: int, sample_format: int, tmp_path: Path
) -> None:
    data = struct.pack("<3H", bits, bits, bits).ljust(8, b"\0") + bytes(3 * 4 * bits // 8)
    content = tiff(
        *(2, 2, (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, photometric), (277, 3, 1, 3)),
        *((273, 4, 1, 16), (279, 4, 1, 3 * 4 * bits // 8), (278, 4, 1, 2)),
        (339, 3, 1, sample_format),
        data=data,
    )
    (tmp_path / "deep.tif").write_bytes(content)
    with pytest.raises(PictureError, match=r"^deep.tif is .* a kind of TIFF .* save it as PNG$"):
        load_image(tmp_path / "deep.tif")
