"""Images are read as correct RGB, or refused in one clear line; see also test_hostile_files."""

import io
import math
import os
import struct
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    PictureError,
    RecipeError,
    __version__,
    load_image,
    read_recipe,
    save_image,
)
from dream.files import decoder, limited_reader
from dream.files.embedded_text import FROM_NOISE, FROM_PHOTO, XMP_KEY
from dream.files.image import (
    DECODE_LOCK,
    fits_within,
    image_size,
    load_thumbnail,
    save_preview,
)
from dream.recipe import Recipe
from dream.tensors import check_image, to_pil_image, to_tensor
from tests.conftest import EXAMPLES
from tests.support.corpus import (
    Tag,
    corpus,
    encode,
    encode_quarters,
    jpeg_with_scans,
    jpeg_with_size,
    png_header,
    png_with_chunks,
    quarters,
    tiff,
)
from tests.support.processes import run_python

READERS: tuple[Callable[[Any], Any], ...] = (
    load_image,
    image_size,
    lambda path: load_thumbnail(path, 64),
)


def load(content: bytes) -> torch.Tensor:
    return load_image(io.BytesIO(content))


@pytest.mark.parametrize(
    ("values", "kind", "white"),
    [
        (np.uint16, "PNG", 65535),
        (np.uint16, "TIFF", 65535),
        (np.int32, "TIFF", 65535),
        (np.int32, "TIFF", 255),
        (np.int32, "TIFF", 1_000_000),
        (np.float32, "TIFF", 1.0),
        (np.float32, "TIFF", 255.0),
        (np.float32, "TIFF", 65535.0),
    ],
)
def test_deep_grey_is_scaled_not_cut_off(values: Any, kind: str, white: float) -> None:
    ramp = np.tile(np.linspace(0, white, 64), (40, 1)).astype(values)
    picture = load(encode(Image.fromarray(ramp), kind))
    assert (picture[0, 0, 0] * 255).numpy() == pytest.approx(np.linspace(0, 255, 64), abs=1)
    assert torch.equal(picture[:, 0], picture[:, 2])


def test_floats_that_are_no_numbers_become_black() -> None:
    picture = load(encode(Image.fromarray(np.full((40, 40), np.nan, np.float32)), "TIFF"))
    assert torch.equal(picture, torch.zeros(1, 3, 40, 40))


def test_what_is_transparent_becomes_white() -> None:
    palette = quarters("P")
    content = encode(palette, "PNG", transparency=palette.getpixel((0, 0)))
    assert load(content)[0, :, 8, 8].tolist() == [1, 1, 1]
    pink = load(encode(Image.new("RGBA", (40, 40), (255, 0, 0, 128)), "PNG"))[0, :, 5, 5] * 255
    assert pink.tolist() == pytest.approx([255, 127, 127], abs=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((png_header(side, side), "megapixels; the limit is 64") for side in (13_000, 2**31 - 1)),
        (png_header(8001, 8000), "64.0 megapixels; the limit is 64"),
        (png_header(30_001, 10), "a side of 30001 pixels; the limit is 30000"),
    ],
    ids=["large", "huge", "limit", "side"],
)
def test_a_huge_picture_is_refused_by_its_header(content: bytes, message: str) -> None:
    start = time.thread_time()
    for read in READERS:
        with pytest.raises(PictureError, match=f"^the file has .*{message}"):
            read(io.BytesIO(content))
    assert time.thread_time() - start < 1


def test_what_is_larger_than_pillow_reads_is_read_at_a_half_or_refused() -> None:
    photo = encode(Image.new("RGB", (64, 48), "red"), "JPEG")
    large = jpeg_with_size(photo, 16_320, 12_240)  # 200 megapixels.
    assert load(large).shape == (1, 3, 6120, 8160)
    assert load(jpeg_with_size(photo, 4800, 3600)).shape == (1, 3, 3600, 4800)
    with pytest.raises(PictureError, match=r"256.0 megapixels; the limit is 256"):
        load(jpeg_with_size(photo, 16_000, 16_001))


def test_a_jpeg_whose_coefficients_lie_in_memory_is_no_larger_than_others() -> None:
    photo = encode(Image.new("RGB", (64, 48), "red"), "JPEG")
    scan = photo.index(b"\xff\xda")
    of_one_component = photo[: scan + 4] + b"\1" + photo[scan + 5 :]
    for jpeg in (photo[:-2] + photo[scan:], of_one_component):
        with pytest.raises(PictureError, match=r"72.0 megapixels; the limit is 64"):
            image_size(io.BytesIO(jpeg_with_size(jpeg, 9000, 8000)))
    assert image_size(io.BytesIO(jpeg_with_size(photo, 9000, 8000))) == (8000, 9000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "is not an image"),
        ((EXAMPLES / "cat.jpg").read_bytes()[:9000], "cannot be read: .*truncated"),
        (png_header(64, 64), "cannot be read"),
    ],
)
def test_what_is_no_whole_picture_is_refused_without_its_folder(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=f"photo.jpg {message}") as caught:
        load_image(path)
    assert str(tmp_path) not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"there is no file nope.png"):
        load_image(tmp_path / "nope.png")
    with pytest.raises(PictureError, match="cannot be read"):
        load_image(tmp_path)


WHOLE = zlib.compress(bytes(64 * 64))
# A strip of that data, after the four bytes of a list with one tag of a million numbers.
STRIP: tuple[Tag, ...] = ((273, 4, 1, 26), (278, 4, 1, 64), (279, 4, 1, len(WHOLE)))
DATA = struct.pack("<HHHLL4x", 1, 900, 3, 10**6, 0) + WHOLE
# 64 strips of the same bytes, with empty blocks before any data.
LONG = b"\x78\x01" + b"\0\0\0\xff\xff" * 180_000 + WHOLE[2:]
SHARED = struct.pack("<64L", *[8 + 512] * 64) + struct.pack("<64L", *[len(LONG)] * 64) + LONG


def tiled(width: int, height: int) -> bytes:
    tile = (322, 4, 1, width), (323, 4, 1, height), (324, 4, 1, 26), (325, 4, 1, 8)
    return tiff(64, 64, *tile, data=DATA)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tiled(30_000, 71_568), "its tiles of 30000 x 71568 pixels are too large"),
        (tiled(20, 2_000_000), "its tiles of 20 x 2000000 pixels are too large"),
        (tiff(64, 64, *STRIP, (257, 4, 1, 64), data=DATA), "it has a tag twice"),
        (
            tiff(64, 64, *STRIP, (34665, 4, 1, 8), data=DATA),
            "more than 500000 numbers in its tags",
        ),
        (
            tiff(64, 64, (273, 4, 64, 8), (278, 4, 1, 1), (279, 4, 64, 264), data=SHARED),
            "its tiles or strips share their bytes",
        ),
    ],
    ids=["tile", "tiles", "twice", "numbers", "shared"],
)
def test_a_tiff_that_would_cost_far_more_than_its_picture_is_refused(
    content: bytes, message: str
) -> None:
    for read in READERS:
        with pytest.raises(PictureError, match=f"the file cannot be read: .*{message}"):
            read(io.BytesIO(content))


def test_a_jpeg_of_scans_without_end_is_refused() -> None:
    assert load(jpeg_with_scans(40)).shape == (1, 3, 480, 640)
    with pytest.raises(PictureError, match="it has more than 50 scans"):
        load(jpeg_with_scans(50))


def growing_exif(tags: int, length: int) -> bytes:
    """Return EXIF of `length` bytes that rotates the image; each tag spans nearly all of it."""
    entries = b"".join(struct.pack("<HHLL", 1000 + n, 7, length - 1, 1) for n in range(tags))
    start = struct.pack("<2sHLHHHLL", b"II", 42, 8, tags + 1, 274, 3, 1, 6)
    return (start + entries).ljust(length, b"\0")


def test_exif_that_would_become_gigabytes_is_passed_over() -> None:
    for tags, length, shape in ((2, 900, (48, 32)), (3, 80_000, (32, 48))):
        picture = load(encode_quarters("PNG", exif=growing_exif(tags, length)))
        assert picture.shape == (1, 3, *shape)
    segment = b"\xff\xe1\xfe\xfeExif\0\0" + growing_exif(9, 65270)
    content = encode_quarters("JPEG")
    assert load(content[:2] + segment + content[2:]).shape == (1, 3, 48, 32)
    with pytest.raises(PictureError, match="or 70000 bytes of EXIF"):
        load(content[:2] + 2 * segment + content[2:])


def gif_with_comment(blocks: int) -> bytes:
    """Return a GIF that begins with a comment of so many blocks."""
    content = encode_quarters("GIF", "P")
    start = 13 + 3 * 2 ** ((content[10] & 7) + 1)
    return content[:start] + b"!\xfe" + (b"\xff" + bytes(255)) * blocks + b"\0" + content[start:]


def jpeg_with_junk(count: int) -> bytes:
    """Return a JPEG that begins with `count` bytes that are no marker."""
    content = encode_quarters("JPEG")
    return content[:20] + bytes(count) + content[20:]


@pytest.mark.parametrize(
    "content",
    [png_with_chunks(100_000), gif_with_comment(20_000), jpeg_with_junk(1_000_000)],
    ids=["chunks", "comment", "junk"],
)
def test_a_reading_ends_in_time(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_reader, "MAX_READ_SECONDS", 0.05)
    (tmp_path / "slow").write_bytes(content)
    said = "slow takes more than 0.05 seconds to read"
    for read in READERS:
        with pytest.raises(PictureError, match=said):
            read(tmp_path / "slow")
    with open(tmp_path / "slow", "rb") as file, pytest.raises(PictureError, match="the file takes"):
        image_size(file)
    assert not fits_within(tmp_path / "slow", 64)
    if content.startswith(b"\x89PNG"):
        with pytest.raises(RecipeError, match=said):
            read_recipe(tmp_path / "slow")


def test_a_file_is_not_read_over_and_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_reader, "MAX_FILE_BYTES", 100_000)
    tags: list[Tag] = [(1000 + number, 4, 1000, 26) for number in range(8)]
    content = tiff(64, 64, *STRIP, *tags, data=DATA + bytes(4000))
    assert load(content).shape == (1, 3, 64, 64)
    monkeypatch.setattr(limited_reader, "MAX_FILE_BYTES", 8_000)
    with pytest.raises(PictureError, match="read again and again"):
        load(content)


def test_bytes_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    save_image(quarters(), path, DreamRecipe(seed=3))
    os.truncate(path, limited_reader.MAX_FILE_BYTES + 10**6)
    with open(path, "rb") as file:
        for each, name in ((path, "large.png"), (file, "the file")):
            with pytest.raises(PictureError, match=f"{name} has 251.0 MB; the limit is 250"):
                load_image(each)
    assert read_recipe(path, DreamRecipe).seed == 3  # For a large file this is only its beginning.
    path.write_bytes(b"\xff\xd8\xff")
    os.truncate(path, limited_reader.MAX_FILE_BYTES + 10**6)
    with pytest.raises(RecipeError, match=r"large.png has 251.0 MB; the limit is 250"):
        read_recipe(path)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in READERS:
            with pytest.raises(PictureError, match=f"{path.name} is not a regular file"):
                read(path)
        with pytest.raises(RecipeError, match=f"{path.name} is not a regular file"):
            read_recipe(path)
        assert not fits_within(path, 64)


def test_what_cannot_be_gone_back_in_is_read_all_the_same() -> None:
    out, into = os.pipe()
    with open(out, "rb") as file, open(into, "wb") as other:
        other.write(encode_quarters("PNG"))
        other.close()
        assert load_image(file).shape == (1, 3, 32, 48)


def test_pictures_are_decoded_one_at_a_time_and_headers_are_read_meanwhile() -> None:
    for read in (load_image, lambda path: load_thumbnail(path, 64)):
        other = threading.Thread(target=read, args=(EXAMPLES / "cat.jpg",))
        with DECODE_LOCK:
            other.start()
            assert image_size(EXAMPLES / "cat.jpg") == (300, 451)
            other.join(0.2)
            assert other.is_alive()
        other.join(30)
        assert not other.is_alive()


def test_a_file_with_a_bad_header_waits_for_no_other() -> None:
    with ThreadPoolExecutor(1) as pool, DECODE_LOCK:
        refused = pool.submit(load, b"no picture")
        assert isinstance(refused.exception(timeout=20), PictureError)


MEMORY_SCRIPT = """
import re, sys, threading, torch
from dream.files.image import load_image, load_thumbnail
read, path, count = sys.argv[1:]
def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = memory("VmRSS")
arguments = {"load_image": (path,), "load_thumbnail": (path, 64)}[read]
readers = [threading.Thread(target=globals()[read], args=arguments) for _ in range(int(count))]
for each in readers: each.start()
for each in readers: each.join()
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("read", "mode", "size", "count", "limit"),
    [
        ("load_thumbnail", "LA", (8000, 2500), 5, 7e8),  # Five take the memory of one.
        pytest.param("load_image", "RGBA", (8000, 8000), 1, 1e9, marks=pytest.mark.at_scale),
    ],
)
def test_reading_takes_less_than_a_gigabyte(
    read: str, mode: str, size: tuple[int, int], count: int, limit: float, tmp_path: Path
) -> None:
    colour = (9, 99, 199, 9)[-len(mode) :]
    Image.new(mode, size, colour).save(tmp_path / "large.png", compress_level=1)
    done = run_python("-c", MEMORY_SCRIPT, read, str(tmp_path / "large.png"), str(count))
    assert int(done.stdout) < limit, done.stderr


def test_saving_and_loading_gives_the_same_picture(noise: torch.Tensor, tmp_path: Path) -> None:
    save_image(noise, tmp_path / "noise.png")
    assert (load_image(tmp_path / "noise.png") - noise).abs().max() <= 0.5001 / 255
    again = load_image(tmp_path / "noise.png")
    assert torch.equal(to_tensor(to_pil_image(again)), again)


def test_a_saved_dream_carries_its_recipe_and_that_a_network_made_it_and_nothing_else(
    tmp_path: Path,
) -> None:
    recipe, path = DreamRecipe(intensity=7, seed=42), tmp_path / "dream.png"
    exif = Image.Exif()
    exif[271] = "A camera"
    exif.get_ifd(34853)[1] = "N"
    photo = encode_quarters("JPEG", exif=exif, comment=b"secret", icc_profile=b"p" * 200)
    with Image.open(io.BytesIO(photo)) as image:
        save_image(image, path, recipe)
        save_preview(image, tmp_path / "preview.jpg", from_photo=True)
    assert read_recipe(path) == recipe
    with Image.open(path) as image:
        assert set(image.info) - {"xmp"} == {"deepdream", XMP_KEY} and not image.getexif()
        assert f'xmp:CreatorTool="dream {__version__}"' in image.info[XMP_KEY]
    with Image.open(tmp_path / "preview.jpg") as image:
        assert not image.getexif() and set(image.info) & {"exif", "comment", "icc_profile"} == set()
    assert digital_source_type(tmp_path / "preview.jpg") == FROM_PHOTO


def digital_source_type(path: Path) -> str | None:
    """Return the IPTC digital source type of an image file."""
    with Image.open(path) as image:
        packet = image.info.get(XMP_KEY) or image.info.get("xmp")
    if packet is None:
        return None
    names = {
        "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    }
    about = ElementTree.fromstring(packet).find("rdf:RDF/rdf:Description", names)
    assert about is not None
    terms, _, term = about.attrib[f"{{{names['ext']}}}DigitalSourceType"].rpartition("/")
    assert terms == "http://cv.iptc.org/newscodes/digitalsourcetype"
    return term


@pytest.mark.parametrize(
    ("recipe", "photo", "said"),
    [
        (DreamRecipe(), None, FROM_PHOTO),
        (ChannelRecipe(), None, FROM_NOISE),
        (ChannelRecipe(), True, FROM_PHOTO),
        (ClassRecipe(), False, FROM_NOISE),
        (None, True, FROM_PHOTO),  # A contact sheet.
        (None, False, FROM_NOISE),
        (None, None, None),
    ],
)
def test_a_picture_says_in_the_usual_way_that_a_network_made_it(
    recipe: Recipe | None, photo: bool | None, said: str | None, tmp_path: Path
) -> None:
    save_image(quarters(), tmp_path / "made.png", recipe, photo=photo)
    assert digital_source_type(tmp_path / "made.png") == said


def test_the_pictures_that_ship_say_so_too() -> None:
    shipped = [path for path in EXAMPLES.rglob("*.png") if path.parent.name != "site"]
    for path in shipped:
        of_a_photo = path.parent.name in ("layers", "presets") or path.name.startswith("dream-")
        assert digital_source_type(path) == (FROM_PHOTO if of_a_photo else FROM_NOISE), path.name
    assert len(shipped) > 50


def test_a_file_without_a_recipe_is_refused_in_one_line(tmp_path: Path) -> None:
    contents = [b"", b"\x89PNG\r\n", b"GIF89a", (EXAMPLES / "cat.jpg").read_bytes()]
    for content in (*contents, encode_quarters("PNG")):
        (tmp_path / "file.png").write_bytes(content)
        with pytest.raises(RecipeError, match=r"file.png (has no recipe|cannot be read)") as caught:
            read_recipe(tmp_path / "file.png")
        assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError, match=r"nope.png cannot be read: No such file"):
        read_recipe(tmp_path / "nope.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dream.bmp", "the name selects the format: use dream.png or dream.jpg or"),
        ("no/such/folder/dream.png", "is not a writable folder"),
        *((name, "cannot be written: .") for name in ("x" * 300 + ".png", "a\0b.png", "f/x.png")),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_beforehand(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(PictureError, match=message) as caught:
        save_image(quarters(), tmp_path / name)
    assert str(caught.value).isprintable() and os.listdir(tmp_path) == ["f"]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dream.png"
    path.write_bytes(b"old")

    def full_disk(self: Image.Image, file: Path, *_: Any, **__: Any) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(PictureError, match="cannot be written: No space left on device"):
        save_image(quarters(), path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["dream.png"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_picture_that_is_not_finite_is_never_written(value: float, tmp_path: Path) -> None:
    picture = torch.rand(1, 3, 40, 40)
    picture[0, 1, 20, 30] = value
    with pytest.raises(PictureError, match="infinite or undefined values"):
        save_image(picture, tmp_path / "black.png")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_goes_after_an_hour(tmp_path: Path) -> None:
    hour_ago = time.time() - 3601
    ours = f".{'0af' * 10}12.part"
    others = [".0af.part", ours.upper(), ours[1:], "x.part", f"{ours}s"]
    for name in (ours, *others):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (hour_ago, hour_ago))
    (tmp_path / f".{'1' * 32}.part").touch()
    (tmp_path / f".{'2' * 32}.part").mkdir()
    os.utime(tmp_path / f".{'2' * 32}.part", (hour_ago, hour_ago))
    save_image(quarters(), tmp_path / "dream.png")
    kept = {"dream.png", f".{'1' * 32}.part", f".{'2' * 32}.part", *others}
    assert set(os.listdir(tmp_path)) == kept


@pytest.mark.parametrize(
    "wrong",
    [
        torch.zeros(3, 40, 40),
        torch.zeros(1, 4, 40, 40),
        torch.zeros(1, 3, 0, 40),
        torch.zeros(1, 3, 40, 40, dtype=torch.uint8),
        torch.full((1, 3, 40, 40), 2.0),
        torch.full((1, 3, 40, 40), float("nan")),
        np.zeros((40, 40, 3)),
    ],
)
def test_what_is_no_picture_tensor_is_refused(wrong: Any) -> None:
    with pytest.raises(PictureError):
        check_image(wrong)


def test_a_thumbnail_is_the_picture_only_smaller(tmp_path: Path) -> None:
    photo = load_image(EXAMPLES / "coffee.jpg")
    small = load_thumbnail(EXAMPLES / "coffee.jpg", 150)
    assert small.size == (150, 100) and small.mode == "RGB"
    expected = torch.nn.functional.interpolate(photo, (100, 150), mode="area")
    assert (to_tensor(small) - expected).abs().mean() < 0.02
    save_image(torch.rand(1, 3, 30, 20), tmp_path / "tiny.png")
    assert load_thumbnail(tmp_path / "tiny.png", 150).size == (20, 30)
    with pytest.raises(PictureError, match="is not an image"):
        load_thumbnail(__file__, 150)


def test_readings_side_by_side_leave_the_filters_of_warnings_as_they_were() -> None:
    before = warnings.filters[:]
    with ExitStack() as first, ExitStack() as second:
        for reading in (first, second):
            next(reading.enter_context(decoder.read_in_decoder("pixels", EXAMPLES / "cat.jpg")))
        first.close()  # Not the last opened file, since threads open others.
    assert warnings.filters == before


def test_pillow_warns_nobody(tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png_header(10_000, 10_000))
    # Pillow would log that this one has too many samples.
    (deep,) = (made.content for made in corpus() if made.name == "flipped-12.tif")
    (tmp_path / "deep.tif").write_bytes(deep)
    script = (
        "import sys; from dream.files.image import fits_within;"
        "[fits_within(each, 9) for each in sys.argv[1:]]"
    )
    done = run_python("-c", script, str(tmp_path / "huge.png"), str(tmp_path / "deep.tif"))
    assert done.stderr == "" and done.returncode == 0
