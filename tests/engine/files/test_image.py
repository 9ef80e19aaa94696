"""Every kind of image file is read as correct RGB, or refused in one clear line."""

import io
import math
import os
import random
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from dream import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Engine,
    PictureError,
    RecipeError,
    load_image,
    read_recipe,
    save_image,
)
from dream.__main__ import main
from dream.files import decoder, limited_reader
from dream.files.image import (
    DECODE_LOCK,
    FROM_NOISE,
    FROM_PHOTO,
    XMP_KEY,
    check_output_path,
    fits_within,
    image_size,
    load_thumbnail,
    save_preview,
)
from dream.recipe import Recipe
from dream.tensors import check_image, to_pil_image, to_tensor
from tests.conftest import EXAMPLES, ROOT, png_header
from tests.support.corpus import corpus, quarters

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, kind: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def centres(picture: torch.Tensor) -> np.ndarray:
    """Return the colours at the quarters' centres, 0 to 255."""
    height, width = picture.shape[2:]
    rows, columns = (height // 4, height * 3 // 4), (width // 4, width * 3 // 4)
    pixels = (picture[0] * 255).numpy()
    return np.array([pixels[:, row, column] for row in rows for column in columns])


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "PNG", {}),
        ("RGB", "JPEG", {"quality": 95, "subsampling": 0}),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGB", "BMP", {}),
        ("RGB", "TIFF", {}),
        ("RGB", "MPO", {"quality": 95, "subsampling": 0}),
        ("RGBA", "PNG", {}),
        ("RGBA", "TIFF", {}),
        ("RGBA", "WEBP", {"lossless": True}),
        ("P", "PNG", {}),
        ("P", "GIF", {}),
        ("P", "BMP", {}),
        ("CMYK", "TIFF", {}),
        ("CMYK", "JPEG", {"quality": 95}),
        ("LAB", "TIFF", {}),
    ],
)
def test_colours_survive_every_format_and_mode(mode: str, kind: str, options: Any) -> None:
    picture = load_image(encode(quarters(mode), kind, **options))
    assert picture.shape == (1, 3, 32, 48) and picture.dtype == torch.float32
    assert np.abs(centres(picture) - (RED, GREEN, BLUE, WHITE)).max() < 24


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("1", "PNG"), ("LA", "PNG"), ("L", "GIF")]
)
def test_grey_modes_become_rgb(mode: str, kind: str) -> None:
    image = Image.new("L", (48, 32))
    image.paste(255, (24, 0, 48, 32))
    picture = load_image(encode(image.convert(mode), kind))
    assert centres(picture)[:2].tolist() == [[0, 0, 0], [255, 255, 255]]


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
    picture = load_image(encode(Image.fromarray(ramp), kind))
    assert (picture[0, 0, 0] * 255).numpy() == pytest.approx(np.linspace(0, 255, 64), abs=1)
    assert torch.equal(picture[:, 0], picture[:, 2])


def test_floats_that_are_no_numbers_become_black() -> None:
    picture = load_image(encode(Image.fromarray(np.full((40, 40), np.nan, np.float32)), "TIFF"))
    assert torch.equal(picture, torch.zeros(1, 3, 40, 40))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    if mode == "P":
        file = encode(quarters("P"), "PNG", transparency=quarters("P").getpixel((0, 0)))
    else:
        image = quarters().convert(mode)
        image.putalpha(0)
        file = encode(image, "PNG")
    assert centres(load_image(file))[0].tolist() == [255, 255, 255]


def test_half_transparent_red_is_pink() -> None:
    picture = load_image(encode(Image.new("RGBA", (40, 40), (255, 0, 0, 128)), "PNG"))
    assert (picture[0, :, 5, 5] * 255).tolist() == pytest.approx([255, 127, 127], abs=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    turns = [None, None, 0, 3, 1, 5, 2, 6, 4]  # The Image.Transpose that undoes each orientation.
    stored = quarters()
    undone = turns[orientation]
    if undone is not None:
        stored = stored.transpose(Image.Transpose(undone))
    exif = Image.Exif()
    exif[274] = orientation
    picture = load_image(encode(stored, "PNG", exif=exif))
    assert picture.shape == (1, 3, 32, 48)
    assert centres(picture).tolist() == [list(colour) for colour in (RED, GREEN, BLUE, WHITE)]


def test_damaged_exif_does_not_cost_the_picture() -> None:
    file = encode(quarters(), "JPEG", quality=95, subsampling=0, exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    assert load_image(file).shape == (1, 3, 32, 48)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN, BLUE)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        file = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        picture = load_image(file)
        assert np.abs(centres(picture)[0] - RED).max() < 12, kind


def test_a_colour_profile_is_converted_to_srgb() -> None:
    # The profile of sRGB with red and green swapped, under another name.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    for one, other in ((b"rXYZ", b"gXYZ"), (b"rTRC", b"gTRC")):
        profile = profile.replace(one, b"----").replace(other, one).replace(b"----", other)
    colours = centres(load_image(encode(quarters(), "PNG", icc_profile=profile)))
    assert np.abs(colours - (GREEN, RED, BLUE, WHITE)).max() < 6


@pytest.mark.parametrize("profile", [b"not a profile", b"\0" * 4096])
def test_a_damaged_colour_profile_is_passed_over(profile: bytes) -> None:
    picture = load_image(encode(quarters(), "PNG", icc_profile=profile))
    assert np.abs(centres(picture) - (RED, GREEN, BLUE, WHITE)).max() == 0


@pytest.mark.parametrize("side", [13_000, 100_000, 2**31 - 1])
def test_a_huge_picture_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(side, side))
    start = time.monotonic()
    with pytest.raises(PictureError, match=r"bomb.png has .*megapixels; the limit is 64"):
        load_image(bomb)
    assert time.monotonic() - start < 1


def test_sixty_four_megapixels_are_the_limit() -> None:
    with pytest.raises(PictureError, match=r"64.0 megapixels; the limit is 64"):
        load_image(encode(Image.new("1", (8001, 8000)), "PNG"))
    progressive = encode(Image.new("L", (8001, 8000)), "JPEG", quality=20, progressive=True)
    with pytest.raises(PictureError, match=r"64.0 megapixels; the limit is 64"):
        load_image(progressive)


def test_a_photo_of_a_phone_becomes_the_same_picture_by_command_and_in_python(
    tmp_path: Path, engine: Engine
) -> None:
    """All of its 17 megapixels count: reading fewer gives another image."""
    noise = np.random.default_rng(0).integers(0, 256, (3600, 4800), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.jpg", quality=90)
    picture = load_image(tmp_path / "photo.jpg")
    assert picture.shape == (1, 3, 3600, 4800)
    recipe = DreamRecipe(max_side=64, octaves=1, iterations=1)
    *_, dream = engine.dream(picture, recipe)
    command = f"image {tmp_path}/photo.jpg -o {tmp_path}/a.png --max-side 64 --octaves 1"
    assert main([*command.split(), "--iterations", "1"]) == 0
    assert torch.equal(load_image(tmp_path / "a.png"), to_tensor(dream.picture()))


def with_header_size(jpeg: bytes, width: int, height: int) -> io.BytesIO:
    """Return the JPEG with that size in its header; the missing part is grey."""
    place = jpeg.index(b"\xff\xc0") + 5
    return io.BytesIO(jpeg[:place] + struct.pack(">2H", height, width) + jpeg[place + 4 :])


def test_what_is_larger_than_pillow_reads_is_read_at_a_half_or_refused() -> None:
    photo = encode(Image.new("RGB", (64, 48), RED), "JPEG").getvalue()
    large = with_header_size(photo, 16_320, 12_240)  # 200 megapixels.
    assert load_image(large).shape == (1, 3, 6120, 8160)
    with pytest.raises(PictureError, match=r"256.0 megapixels; the limit is 256"):
        load_image(with_header_size(photo, 16_000, 16_001))


def test_a_jpeg_whose_coefficients_lie_in_memory_is_no_larger_than_others() -> None:
    photo = encode(Image.new("RGB", (64, 48), RED), "JPEG").getvalue()
    scan = photo.index(b"\xff\xda")
    of_one_component = photo[: scan + 4] + b"\1" + photo[scan + 5 :]
    for jpeg in (photo[:-2] + photo[scan:], of_one_component):
        with pytest.raises(PictureError, match=r"72.0 megapixels; the limit is 64"):
            image_size(with_header_size(jpeg, 9000, 8000))
    assert image_size(with_header_size(photo, 9000, 8000)) == (8000, 9000)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an image"),
        (b"hello", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        ((EXAMPLES / "cat.jpg").read_bytes()[:9000], "cannot be read: .*truncated"),
        (png_header(64, 64), "cannot be read"),
    ],
)
def test_what_is_no_whole_picture_is_refused_in_one_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=f"photo.jpg {message}") as caught:
        load_image(path)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"there is no file nope.png"):
        load_image(tmp_path / "nope.png")
    with pytest.raises(PictureError, match="cannot be read"):
        load_image(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_files_are_read_or_refused_but_never_crash(kind: str) -> None:
    whole = encode(quarters("P" if kind == "GIF" else "RGB"), kind).getvalue()
    chance = random.Random(kind)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        message = ""
        try:
            check_image(load_image(io.BytesIO(damaged)))
        except PictureError as error:
            message = str(error)
        assert "\n" not in message


Tag = tuple[int, int, list[int]]


def tiff(*tags: Tag, inner: bytes = b"", data: bytes = b"") -> bytes:
    """Return a grey TIFF of tags (number, type, values) with an inner list of tags at its end.

    A tag without values holds the offset of that list, or of the data.
    """
    grey = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1}
    entries = sorted([*((tag, 3, [value]) for tag, value in grey.items()), *tags])
    place, lists = 8 + 2 + 12 * len(entries) + 4, b""
    end = place + sum(4 * len(values) for *_, values in entries if len(values) > 1)
    written = struct.pack("<2sHLH", b"II", 42, 8, len(entries))
    for tag, kind, values in entries:
        values = values or [end + len(data) if tag == 34665 else end]
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'L'}", *values)
        if len(packed) > 4:
            packed, lists = struct.pack("<L", place + len(lists)), lists + packed
        written += struct.pack("<HHL4s", tag, kind, len(values), packed)
    return written + bytes(4) + lists + data + inner


WHOLE = zlib.compress(bytes(64 * 64))
MILLION_VALUES = struct.pack("<HHHLL", 1, 900, 3, 10**6, 0)
STRIP: list[Tag] = [(273, 4, []), (278, 4, [64]), (279, 4, [len(WHOLE)])]
# Empty blocks before any data of a strip.
LONG = b"\x78\x01" + b"\0\0\0\xff\xff" * 180_000 + WHOLE[2:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            tiff((322, 4, [30000]), (323, 4, [71568]), (324, 4, []), (325, 4, [8]), data=WHOLE),
            "its tiles of 30000 x 71568 pixels are too large",
        ),
        (
            tiff((322, 4, [20]), (323, 4, [2_000_000]), (324, 4, []), (325, 4, [8]), data=WHOLE),
            "its tiles of 20 x 2000000 pixels are too large",
        ),
        (tiff(*STRIP, (257, 4, [64]), data=WHOLE), "it has a tag twice"),
        (
            tiff(*STRIP, (34665, 4, []), data=WHOLE, inner=MILLION_VALUES),
            "more than 500000 numbers in its tags",
        ),
        (
            tiff((273, 4, [0] * 64), (278, 4, [1]), (279, 4, [len(LONG)] * 64), data=LONG),
            "its tiles or strips share their bytes",
        ),
    ],
    ids=["tile", "tiles", "twice", "numbers", "shared"],
)
def test_a_tiff_that_would_cost_far_more_than_its_picture_is_refused(
    content: bytes, message: str
) -> None:
    for read in (load_image, image_size):
        with pytest.raises(PictureError, match=f"the file cannot be read: .*{message}"):
            read(io.BytesIO(content))


def jpeg_with_scans(more: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated `more` times."""
    content = encode(Image.new("L", (640, 480), 90), "JPEG", progressive=True).getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * more + content[-2:]


def test_a_jpeg_of_scans_without_end_is_refused() -> None:
    assert load_image(io.BytesIO(jpeg_with_scans(40))).shape == (1, 3, 480, 640)
    with pytest.raises(PictureError, match="it has more than 50 scans"):
        load_image(io.BytesIO(jpeg_with_scans(50)))


def growing_exif(tags: int, length: int) -> bytes:
    """Return EXIF of `length` bytes that rotates the image; each tag spans nearly all of it."""
    entries = b"".join(struct.pack("<HHLL", 1000 + n, 7, length - 1, 1) for n in range(tags))
    start = struct.pack("<2sHLHHHLL", b"II", 42, 8, tags + 1, 274, 3, 1, 6)
    return (start + entries).ljust(length, b"\0")


def test_exif_that_would_become_gigabytes_is_passed_over() -> None:
    for tags, length, shape in ((2, 900, (48, 32)), (3, 80_000, (32, 48))):
        file = encode(quarters(), "PNG", exif=growing_exif(tags, length))
        assert load_image(file).shape == (1, 3, *shape)
    segment = b"\xff\xe1\xfe\xfeExif\0\0" + growing_exif(9, 65270)
    content = encode(quarters(), "JPEG").getvalue()
    assert load_image(io.BytesIO(content[:2] + segment + content[2:])).shape == (1, 3, 48, 32)
    with pytest.raises(PictureError, match="or 70000 bytes of EXIF"):
        image_size(io.BytesIO(content[:2] + 2 * segment + content[2:]))


def png_with_chunks(count: int) -> bytes:
    """Return a PNG that begins with `count` empty chunks."""
    content = encode(quarters(), "PNG").getvalue()
    chunk = struct.pack(">L4sL", 0, b"abCd", zlib.crc32(b"abCd"))
    return content[:33] + chunk * count + content[33:]


def gif_with_comment(blocks: int) -> bytes:
    """Return a GIF that begins with a comment of so many blocks."""
    content = encode(quarters("P"), "GIF").getvalue()
    start = 13 + 3 * 2 ** ((content[10] & 7) + 1)
    return content[:start] + b"!\xfe" + (b"\xff" + bytes(255)) * blocks + b"\0" + content[start:]


def jpeg_with_junk(count: int) -> bytes:
    """Return a JPEG that begins with `count` bytes that are no marker."""
    content = encode(quarters(), "JPEG").getvalue()
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
    for read in (load_image, image_size, lambda path: load_thumbnail(path, 64)):
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
    tags: list[Tag] = [(1000 + number, 4, [0] * 1000) for number in range(8)]
    content = tiff(*STRIP, *tags, data=WHOLE)
    assert load_image(io.BytesIO(content)).shape == (1, 3, 64, 64)
    monkeypatch.setattr(limited_reader, "MAX_FILE_BYTES", 20_000)
    with pytest.raises(PictureError, match="read again and again"):
        load_image(io.BytesIO(content))


def test_sides_and_bytes_have_limits(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_header(30_001, 10))
    with pytest.raises(PictureError, match=r"large.png has a side of 30001 pixels; the .* 30000"):
        image_size(path)
    save_image(quarters(), path, DreamRecipe(seed=3))
    os.truncate(path, limited_reader.MAX_FILE_BYTES + 10**6)
    with open(path, "rb") as file:
        for each, name in ((path, "large.png"), (file, "the file")):
            with pytest.raises(PictureError, match=f"{name} has 251.0 MB; the limit is 250"):
                load_image(each)
    assert read_recipe(path, DreamRecipe).seed == 3  # For a large file this is only its beginning.


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (load_image, image_size, lambda path: load_thumbnail(path, 64)):
            with pytest.raises(PictureError, match=f"{path.name} is not a regular file"):
                read(path)
        with pytest.raises(RecipeError, match=f"{path.name} is not a regular file"):
            read_recipe(path)
        assert not fits_within(path, 64)


def test_what_cannot_be_gone_back_in_is_read_all_the_same() -> None:
    out, into = os.pipe()
    with open(out, "rb") as file, open(into, "wb") as other:
        other.write(encode(quarters(), "PNG").getvalue())
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


MEMORY_SCRIPT = """
import re, sys, threading
from dream.files.image import load_thumbnail
def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = memory("VmRSS")
readers = [threading.Thread(target=load_thumbnail, args=(sys.argv[1], 64)) for _ in range(5)]
for each in readers: each.start()
for each in readers: each.join()
print(memory("VmHWM") - before)
"""


def test_a_file_with_a_bad_header_waits_for_no_other() -> None:
    with ThreadPoolExecutor(1) as pool, DECODE_LOCK:
        refused = pool.submit(load_image, io.BytesIO(b"no picture"))
        assert isinstance(refused.exception(timeout=20), PictureError)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_five_readings_at_once_take_the_memory_of_one(tmp_path: Path) -> None:
    Image.new("LA", (8000, 2500), (9, 99)).save(tmp_path / "large.png", compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path / "large.png")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert int(done.stdout) < 7e8, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_largest_picture_takes_less_than_a_gigabyte(tmp_path: Path) -> None:
    Image.new("RGBA", (8000, 8000), (9, 99, 199, 9)).save(tmp_path / "large.png", compress_level=1)
    script = MEMORY_SCRIPT.replace("range(5)", "range(1)").replace(
        "(sys.argv[1], 64)", "(sys.argv[1],)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script.replace("load_thumbnail", "load_image"), "large.png"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert int(done.stdout) < 1e9, done.stderr


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
    photo = encode(quarters(), "JPEG", exif=exif, comment=b"secret", icc_profile=b"p" * 200)
    with Image.open(photo) as image:
        save_image(image, path, recipe)
        save_preview(image, tmp_path / "preview.jpg", from_photo=True)
    assert read_recipe(path) == recipe
    content = path.read_bytes()
    kinds, position = [], 8
    while position < len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        kinds.append(kind)
        position += length + 12
    assert sorted(kinds) == [b"IDAT", b"IEND", b"IHDR", b"iTXt", b"iTXt"]
    with Image.open(path) as image:
        assert set(image.info) - {"xmp"} == {"deepdream", XMP_KEY}
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
        of_a_photo = path.parent.name == "layers" or path.name.startswith("dream-")
        assert digital_source_type(path) == (FROM_PHOTO if of_a_photo else FROM_NOISE), path.name
    assert len(shipped) > 50


def test_a_recipe_is_read_from_json_too(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"layer": "inception3b"}')
    assert read_recipe(tmp_path / "r.json") == DreamRecipe(layer="inception3b")


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n", b"GIF89a", (EXAMPLES / "cat.jpg").read_bytes()]
)
def test_a_file_without_a_recipe_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(RecipeError, match=r"file.png (has no recipe|cannot be read)") as caught:
        read_recipe(tmp_path / "file.png")
    assert "\n" not in str(caught.value)


def test_a_png_without_a_recipe_is_refused(tmp_path: Path) -> None:
    save_image(quarters(), tmp_path / "plain.png")
    with pytest.raises(RecipeError, match=r"plain.png has no recipe"):
        read_recipe(tmp_path / "plain.png")
    with pytest.raises(RecipeError, match=r"nope.png cannot be read: No such file"):
        read_recipe(tmp_path / "nope.png")


@pytest.mark.parametrize("name", ["dream.jpg", "dream", "no/such/folder/dream.png"])
def test_a_place_that_cannot_be_written_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError):
        save_image(quarters(), tmp_path / name)
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png", "file.png/x.png"])
def test_a_name_that_no_file_can_have_is_refused_beforehand(name: str, tmp_path: Path) -> None:
    (tmp_path / "file.png").touch()
    with pytest.raises(PictureError, match=r"cannot be written: .") as caught:
        check_output_path(tmp_path / name)
    assert str(caught.value).isprintable()


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
    script = "import sys, dream; [dream.files.image.fits_within(each, 9) for each in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "huge.png"), str(tmp_path / "deep.tif")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
