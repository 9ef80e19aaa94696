"""Photos as phones take them are read as other decoders read them; see also test_colour."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from dream import PictureError, load_image, read_recipe
from dream.errors import RecipeError
from dream.files import pixels
from dream.files.image import image_size, load_thumbnail
from tests.support.corpus import BEST, chunk, encode, encode_quarters, quarters_file
from tests.support.heif import Item, coded_item, grid_item, heif, nclx
from tests.support.videos import pan

WIDTH, HEIGHT = 96, 64


def read(content: bytes, **about: Any) -> np.ndarray:
    """Return an image's pixels (H, W, 3), 0 to 255."""
    return (load_image(io.BytesIO(content), **about)[0] * 255).permute(1, 2, 0).numpy()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean difference of pixels of the same size."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(float) - other).mean())


def photo() -> Image.Image:
    """Return smooth noise."""
    return pan(1, (HEIGHT, WIDTH))[0]


def deep_heic(values: np.ndarray, mode: str = "RGB;16", **options: Any) -> bytes:
    """Return a HEIC of 10 bits of values (H, W, …) of 16 bits."""
    file, (height, width) = io.BytesIO(), values.shape[:2]
    image = pillow_heif.from_bytes(mode, (width, height), values.astype("<u2").tobytes())
    image.save(file, quality=95, chroma="444", **options)
    return file.getvalue()


def read_by_ffmpeg(content: bytes) -> np.ndarray:
    with av.open(io.BytesIO(content)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def deep_avif(values: np.ndarray, path: Path, **colours: int) -> bytes:
    """Return an AVIF of 10 bits of grey values (H, W) of 10 bits, written by ffmpeg."""
    height, width = values.shape
    with av.open(path, "w", format="avif") as container:
        stream: Any = container.add_stream("libsvtav1", 1, options={"crf": "5", "preset": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p10le"
        frame = av.VideoFrame(width, height, "yuv420p10le")
        for plane, value in zip(frame.planes, (values, None, None), strict=True):
            rows = np.full((plane.height, plane.line_size // 2), 512, "<u2")
            if value is not None:
                rows[:, :width] = value
            plane.update(rows.tobytes())
        for name, number in {"color_range": 2, "colorspace": 1, **colours}.items():
            setattr(frame, name, number)
            setattr(stream.codec_context, name, number)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_a_heic_is_what_ffmpeg_decodes(subsampling: str) -> None:
    content = encode(photo(), "HEIF", quality=90, subsampling=subsampling)
    assert difference(read(content), read_by_ffmpeg(content)) < 1.5
    assert difference(read(content), np.asarray(photo())) < 4


def test_a_heic_of_ten_bits_is_rounded_to_eight() -> None:
    ramp = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    colours = np.stack([np.tile(ramp, (HEIGHT, 1)), np.full((HEIGHT, WIDTH), 30_000)] * 2, -1)
    assert difference(read(deep_heic(colours[..., :3])), colours[..., :3] / 257) < 1.5
    dark = np.tile(ramp // 32, (HEIGHT, 1))  # 16-bit values below 4096, which are not 12-bit ones.
    for values in (dark, dark * 32):
        seen = read(deep_heic(values, "I;16"))
        assert difference(seen[..., 0], values / 257) < 1.5


def test_a_grid_of_tiles_is_put_together_and_cut_to_its_size() -> None:
    image = photo().resize((150, 90))
    whole = encode(image, "HEIF", quality=95)
    tiled = encode(image, "HEIF", quality=95, tile_size=64)
    assert b"grid" in tiled and b"grid" not in whole
    assert difference(read(tiled), read(whole)) < 2


def test_the_primary_picture_of_a_burst_is_read() -> None:
    first, second = (
        coded_item(encode(Image.new("RGB", (64, 64), each), "HEIF")) for each in ("red", "blue")
    )
    for primary, colour in ((1, (255, 0, 0)), (2, (0, 0, 255))):
        seen = read(heif([first, second], primary))
        assert np.abs(seen - colour).max() < 4


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_only_the_container_turns_a_picture_not_its_exif(kind: str) -> None:
    """As ISO/IEC 23008-12 says, so that a photo is not turned twice."""
    exif = b"Exif\0\0" + struct.pack("<2sHLHHHLLL", b"II", 42, 8, 1, 274, 3, 1, 6, 0)
    image = photo()
    turned = encode(image, kind, exif=exif, **BEST[kind])
    assert b"irot" in turned
    upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    assert difference(read(turned), upright) < 4
    item = coded_item(encode(image, kind, **BEST[kind]))
    about = Item(b"Exif", b"\0\0\0\6" + exif, (), [(b"cdsc", [1])])
    assert difference(read(heif([item, about], brand=item.brand)), np.asarray(image)) < 4


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize(("primaries", "transfer"), [(12, 13), (9, 16), (9, 18), (1, 8)])
def test_code_points_mean_the_same_as_in_a_png(kind: str, primaries: int, transfer: int) -> None:
    colours = Image.new("RGB", (64, 64), (150, 90, 60))
    item = coded_item(
        encode(colours, kind, **BEST[kind]), nclx(primaries, transfer, 6), replaced=[b"colr"]
    )
    png = encode(colours, "PNG")
    at = png.index(b"IDAT") - 4
    png = png[:at] + chunk(b"cICP", bytes([primaries, transfer, 0, 1])) + png[at:]
    expected = read(png)
    assert difference(expected, np.asarray(colours)) > 5
    assert np.abs(read(heif([item], brand=item.brand)) - expected).max() < 6


def test_an_avif_of_ten_bits_in_pq_is_tone_mapped(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1023, WIDTH).astype(int), (HEIGHT, 1))
    plain = read(deep_avif(ramp, tmp_path / "plain.avif", color_primaries=1, color_trc=13))
    assert difference(plain[..., 1], ramp / 1023 * 255) < 2
    bright = read(deep_avif(ramp, tmp_path / "pq.avif", color_primaries=9, color_trc=16))
    # 203 nits, which are 58 % of PQ, are about the white of SDR (BT.2408).
    assert bright[5, round(0.58 * WIDTH), 1] == pytest.approx(225, abs=25)
    assert bright[5, -1, 1] > 250


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_alpha_lets_the_background_through(kind: str) -> None:
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 32, 64))
    content = encode(image, kind, **BEST[kind])
    for background, colour in (("black", (0, 0, 0)), (None, (255, 255, 255))):
        seen = read(content, background=background)
        assert np.abs(seen[32, 8] - (0, 0, 255)).max() < 6
        assert np.abs(seen[32, 56] - colour).max() < 6


def test_of_an_ultra_hdr_jpeg_the_base_picture_is_read() -> None:
    gain_map = Image.new("L", (24, 16), 200)
    content = encode_quarters("MPO", save_all=True, append_images=[gain_map.convert("RGB")])
    about = b'http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version="1.0" hdrgm:GainMapMax="3"/>'
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(about)) + about
    content = content[:2] + segment + content[2:]
    assert b"MPF\0" in content
    assert np.array_equal(read(content), read(encode_quarters("JPEG")))


def cmyk_profile(colours: np.ndarray) -> bytes:
    """Return a profile of CMYK that maps its 16 corners to CIELAB colours (16, 3), 8 bits each."""
    table = struct.pack(">4s4xBBBB", b"mft1", 4, 3, 2, 0)
    table += struct.pack(">9l", *(65536 * (at % 4 == 0) for at in range(9)))
    line = bytes(range(256))
    table += line * 4 + colours.astype(np.uint8).tobytes() + line * 3
    white = struct.pack(">4s4x3l", b"XYZ ", *(round(65536 * each) for each in (0.9642, 1, 0.8249)))
    words = b"CMYK test"
    name = struct.pack(">4s4xL", b"desc", len(words) + 1) + words + bytes(1 + 8 + 3 + 67)
    tags, at = [], 128 + 4 + 3 * 12
    for kind, each in ((b"desc", name), (b"wtpt", white), (b"A2B0", table)):
        tags.append((kind, at, each.ljust(-(-len(each) // 4) * 4, b"\0")))
        at += len(tags[-1][2])
    head = struct.pack(">L4sL4s4s4s", at, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3l", 63190, 65536, 54061)
    listed = b"".join(struct.pack(">4sLL", kind, place, len(each)) for kind, place, each in tags)
    content = head.ljust(128, b"\0") + struct.pack(">L", 3) + listed
    return content + b"".join(each for _, _, each in tags)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_read_by_its_profile(kind: str) -> None:
    corners = np.zeros((16, 3))
    for at in range(16):  # Yellow and black change fastest.
        cyan, _, _, black = ((at >> bit) & 1 for bit in (3, 2, 1, 0))
        corners[at] = (0, 128, 128) if black else (138, 209, 198) if cyan else (255, 128, 128)
    # Whatever has cyan is L 54.3, a 81, b 70 of D50, which is sRGB's red; the rest is white.
    icc = cmyk_profile(corners)
    for cmyk, colour in (
        ((255, 0, 0, 0), (254, 0, 0)),
        ((0, 255, 255, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
    ):
        image = Image.new("CMYK", (32, 32), cmyk)
        seen = read(encode(image, kind, icc_profile=icc, **BEST.get(kind, {})))
        assert np.abs(seen - colour).max() < 8


def test_sizes_and_thumbnails_are_those_of_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "photo.heic"
    path.write_bytes(encode(photo(), "HEIF", exif=exif.tobytes()))
    assert image_size(path) == (WIDTH, HEIGHT)
    assert load_thumbnail(path, 48).size == (32, 48)
    with pytest.raises(RecipeError, match=r"^photo.heic has no recipe"):
        read_recipe(path)


def test_what_is_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jxl").write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40))
    said = r"^a.jxl is JPEG XL, which .* not read; save it as PNG$"
    with pytest.raises(PictureError, match=said):
        load_image(tmp_path / "a.jxl")
    monkeypatch.setattr(pixels, "register_heif_formats", lambda: ["AVIF"])
    (tmp_path / "b.heic").write_bytes(quarters_file("HEIF"))
    with pytest.raises(PictureError, match=r"^b.heic .* HEIC or AVIF .* save it as PNG$"):
        load_image(tmp_path / "b.heic")


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_no_picture_is_larger_than_the_limit_by_being_cropped_or_deep(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "MAX_MEGAPIXELS", 0.01)
    tile = coded_item(encode(Image.new("RGB", (128, 128)), kind))
    for items in ([tile], [grid_item(1, 1, (64, 64), [2]), tile]):
        with pytest.raises(PictureError, match=r"has 0.0 megapixels; the limit is 0.01"):
            read(heif(items, brand=tile.brand))


def test_a_deep_heic_in_full_colour_may_be_as_large_as_a_webp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pixels, "MAX_COSTLY_MEGAPIXELS", 0.001)
    read(encode(photo(), "HEIF", subsampling="4:4:4"))
    with pytest.raises(PictureError, match=r"has 0.0 megapixels; the limit is 0.001"):
        read(deep_heic(np.zeros((HEIGHT, WIDTH, 3))))
