"""Videos of all kinds are read as players show them, or refused with the reason."""

import os
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from dream import PictureError
from dream.batch.inputs import is_video_file
from dream.files.video_reader import read_frames, read_video_info
from tests.support import corpus
from tests.support.videos import (
    add_beeps,
    encode,
    pan,
    read_video,
    set_matrix,
    write_frames,
    write_video,
)


def flat_frame(
    values: Sequence[int], size: tuple[int, int], pixels: str = "yuv420p"
) -> av.VideoFrame:
    """Return a frame of (width, height) whose planes are constant."""
    frame = av.VideoFrame(*size, pixels)
    for plane, value in zip(frame.planes, values, strict=True):
        kind = "<u2" if pixels.endswith("le") else "u1"
        plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, value, kind).tobytes())
    return frame


def middle_colour(path: Path) -> tuple[int, ...]:
    _, (image, *_) = read_video(path)
    return image.getpixel((image.width // 2, image.height // 2))  # type: ignore[return-value]


def to_yuv(colour: tuple[int, int, int], red: float, blue: float, full: bool) -> list[int]:
    """Convert a colour by the weights of red and blue, as in ITU-R BT.601 and BT.709."""
    r, g, b = (each / 255 for each in colour)
    y = red * r + (1 - red - blue) * g + blue * b
    u, v = (b - y) / (2 - 2 * blue), (r - y) / (2 - 2 * red)
    if full:
        return [round(255 * y), round(128 + 255 * u), round(128 + 255 * v)]
    return [round(16 + 219 * y), round(128 + 224 * u), round(128 + 224 * v)]


BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)
LOSSLESS = {"qp": "0"}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("lines", "matrix", "tag"),
    [(718, BT601, 2), (720, BT709, 2), (720, BT601, 5), (96, BT709, 1), (96, BT601, 6)],
)
def test_what_does_not_say_its_colours_is_bt_709_from_720_lines_on(
    lines: int, matrix: tuple[float, float], tag: int, full: bool, tmp_path: Path
) -> None:
    colour = (40, 180, 60)
    frames = [flat_frame(to_yuv(colour, *matrix, full), (64, lines)) for _ in range(2)]
    about: Any = {"colorspace": tag, "color_range": 2 if full else 0, "options": LOSSLESS}
    path = write_frames(tmp_path / "in.mp4", frames, **about)
    assert middle_colour(path) == pytest.approx(colour, abs=3)


@pytest.mark.parametrize(
    ("transfer", "greys"),
    # The first three as swscale 9.5 maps them; then the reference white and the peak.
    [
        (18, {0.25: 61, 0.38: 100, 0.5: 137, 0.75: 228, 1: 255}),
        (16, {0.1: 5, 0.25: 44, 0.38: 99, 0.58: 223, 0.75: 253}),
    ],
    ids=["HLG", "PQ"],
)
def test_hdr_is_brought_to_sdr(transfer: int, greys: dict[float, int], tmp_path: Path) -> None:
    for share, expected in greys.items():
        grey = [round(64 + 876 * share), 512, 512]
        frames = [flat_frame(grey, (64, 48), "yuv420p10le") for _ in range(2)]
        about: Any = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer}
        path = write_frames(tmp_path / "in.mp4", frames, options=LOSSLESS, **about)
        assert middle_colour(path) == pytest.approx([expected] * 3, abs=3), share


def test_display_p3_in_a_video_becomes_srgb(tmp_path: Path) -> None:
    frames = [flat_frame(to_yuv((200, 60, 60), *BT709, False), (64, 48)) for _ in range(2)]
    about: Any = {"colorspace": 1, "color_primaries": 12, "color_trc": 13, "options": LOSSLESS}
    seen = middle_colour(write_frames(tmp_path / "in.mp4", frames, **about))
    assert seen == pytest.approx((217, 42, 52), abs=5)


def test_a_matrix_that_the_scaler_does_not_know_costs_no_video(tmp_path: Path) -> None:
    frames = [flat_frame(to_yuv((40, 180, 60), *BT601, False), (64, 48)) for _ in range(2)]
    path = write_frames(tmp_path / "in.mp4", frames, colorspace=8, options=LOSSLESS)
    assert middle_colour(path) == pytest.approx((40, 180, 60), abs=3)


@pytest.mark.parametrize(
    "matrix",
    [(a, 0, 0, d) for a in (-1, 1) for d in (-1, 1)]
    + [(0, b, c, 0) for b in (-1, 1) for c in (-1, 1)],
)
def test_a_video_is_turned_and_mirrored_as_its_matrix_says(
    matrix: tuple[int, int, int, int], tmp_path: Path
) -> None:
    image = Image.new("RGB", (64, 48), "black")
    image.paste("red", (0, 0, 32, 24))
    path = set_matrix(tmp_path / "in.mp4", write_video(tmp_path / "flat.mp4", [image] * 3), matrix)
    video, (upright, *_) = read_video(path)
    assert video.size == ((48, 64) if matrix[0] else (64, 48))
    # Where the file's top left corner goes: x' = ax + cy, y' = bx + dy.
    a, b, c, d = matrix
    corner = (-a - c, -b - d)
    for across, down in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        place = (upright.width * (2 + across) // 4, upright.height * (2 + down) // 4)
        red = upright.getpixel(place)[0]  # type: ignore[index]
        assert red > 200 if (across, down) == corner else red < 50


def test_an_interlaced_video_is_not_combed(tmp_path: Path) -> None:
    frames = []
    for at in range(6):  # A bar that moves between fields.
        fields = np.zeros((2, 48, 128, 3), np.uint8)
        for field in range(2):
            left = 8 * (2 * at + field)
            fields[field, :, left : left + 24] = 220
        combed = np.ascontiguousarray(fields.swapaxes(0, 1).reshape(96, 128, 3))
        frames.append(av.VideoFrame.from_ndarray(combed).reformat(format="yuv420p"))
    options = {"x264-params": "interlaced=1", "qp": "10"}
    video, images = read_video(write_frames(tmp_path / "in.mp4", frames, options=options))
    assert len(images) == video.frame_count == 6
    pixels = np.stack([np.asarray(image.convert("L"), float) for image in images])
    assert pixels.max() > 200 and np.abs(np.diff(pixels, axis=1)).mean() < 2
    # From the middle, as a resumed video reads them.
    assert next(iter(read_frames(video, video.size, 3))).tobytes() == images[3].tobytes()


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p"])
def test_an_interlaced_video_may_become_another_kind(pixels: str, tmp_path: Path) -> None:
    options = {"x264-params": "interlaced=1:repeat-headers=1", "qp": "10"}
    with av.open(str(tmp_path / "in.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 192, "yuv420p"
        small = av.CodecContext.create("libx264", "w")
        small.width, small.height, small.pix_fmt = 64, 96, pixels
        small.time_base, small.options = Fraction(1, 24), options
        for encoder, colour, begin in ((stream, (81, 90, 240), 0), (small, (145, 54, 34), 4)):
            for at in range(4):
                frame = flat_frame(colour, (encoder.width, encoder.height), encoder.pix_fmt)
                frame.pts, frame.time_base = at, Fraction(1, 24)
                target.mux(delay_packets(encoder.encode(frame), stream, begin))
            target.mux(delay_packets(encoder.encode(None), stream, begin))
    video, images = read_video(tmp_path / "in.mp4")
    assert video.frame_count == len(images) == 8 and video.size == (192, 128)
    for at, image in enumerate(images):
        for place in ((2, 2), (125, 189)):
            red, green, _ = image.getpixel(place)  # type: ignore[misc]
            assert (red > 200 > 50 > green) if at < 4 else (green > 200 > 50 > red)


def delay_packets(packets: list[av.Packet], stream: Any, by: int) -> list[av.Packet]:
    """Delay packets by so many frames at 24 a second."""
    for packet in packets:
        assert packet.pts is not None and packet.dts is not None
        later = int(by / 24 / packet.time_base)
        packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, stream
    return packets


def test_what_cannot_be_read_is_like_the_frame_before_wherever_one_begins(tmp_path: Path) -> None:
    good = encode(tmp_path / "good.webm", pan(8), "libvpx", "yuv420p")
    with av.open(str(good)) as source, av.open(str(tmp_path / "in.webm"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for at, old in enumerate(packet for packet in source.demux() if packet.size):
            content = bytearray(bytes(old))
            if at in (3, 4):
                content[0] &= ~0x10  # A hidden frame of VP8.
            new = av.Packet(bytes(content))
            new.pts, new.dts, new.time_base = old.pts, old.dts, old.time_base
            new.is_keyframe, new.stream = old.is_keyframe, stream
            target.mux(new)
    video, images = read_video(tmp_path / "in.webm")
    assert len(images) == 8 and images[2].tobytes() == images[3].tobytes() == images[4].tobytes()
    assert images[4].tobytes() != images[5].tobytes()
    for first in range(8):
        assert [*read_frames(video, video.size, first)] == images[first:]


def test_a_video_that_was_cut_begins_with_the_first_frame_that_can_be_read(tmp_path: Path) -> None:
    frames = [av.VideoFrame.from_image(each).reformat(format="yuv420p") for each in pan(12)]
    whole = write_frames(tmp_path / "whole.mp4", frames, options={"g": "8", "bf": "0"})
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in [packet for packet in source.demux() if packet.size][5:]:
            packet.stream = stream
            target.mux(packet)
    video, images = read_video(tmp_path / "cut.mp4")
    assert images == read_video(whole)[1][8:] and video.frame_count == 4
    assert float(video.times[-1]) == pytest.approx(4 / 24, abs=0.003)


def test_what_is_transparent_in_a_video_is_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (64, 48))
    image.paste((250, 0, 0, 255), (0, 0, 32, 48))
    pixels = av.VideoFrame.from_ndarray(np.array(image), format="rgba")
    frames = [pixels.reformat(format="yuva420p") for _ in range(4)]
    path = write_frames(tmp_path / "in.webm", frames, "libvpx-vp9", metadata={"alpha_mode": "1"})
    video, (first, *_) = read_video(path)
    assert video.frame_count == 4
    assert first.getpixel((16, 24)) == pytest.approx((250, 0, 0), abs=8)
    assert first.getpixel((48, 24)) == pytest.approx((255, 255, 255), abs=3)


def encrypted_mp4(path: Path) -> None:
    frames = [av.VideoFrame.from_image(each).reformat(format="yuv420p") for each in pan(4)]
    secret = {"encryption_key": "76a6c65c5ea762046bd749a2e632ccbb", "encryption_kid": "a7" * 16}
    write_frames(path, frames, container={"encryption_scheme": "cenc-aes-ctr", **secret})


def encrypted_webm(path: Path) -> None:
    title = b"\x53\x6e\xa1" + b"x" * 33
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libvpx", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["title"] = "x" * 33
        for image in pan(3):
            target.mux(stream.encode(av.VideoFrame.from_image(image)))
        target.mux(stream.encode(None))
    # Replaces the title: Matroska's ContentEncodings with AES and a key's identifier.
    encryption = b"\x50\x35\x97\x47\xe1\x81\5\x47\xe2\x90" + 16 * b"k"
    encodings = b"\x6d\x80\xa1\x62\x40\x9e\x50\x33\x81\1" + encryption
    content = path.read_bytes()
    assert title in content
    path.write_bytes(content.replace(title, encodings))


@pytest.mark.parametrize(("write", "ending"), [(encrypted_mp4, "mp4"), (encrypted_webm, "webm")])
def test_an_encrypted_video_is_refused(
    write: Callable[[Path], None], ending: str, tmp_path: Path
) -> None:
    write(path := tmp_path / f"in.{ending}")
    said = f"^in.{ending} is encrypted; use an unencrypted video$"
    with pytest.raises(PictureError, match=said):
        read_video_info(path)


@pytest.mark.parametrize(
    ("codec", "ending", "pixels"),
    [
        *(("mpeg2video", "mkv", "yuv420p"), ("ffv1", "mkv", "yuv420p"), ("h263", "mov", "yuv420p")),
        *(("png", "mov", "rgb24"), ("qtrle", "mov", "rgb24"), ("magicyuv", "mov", "gbrp")),
        ("msmpeg4", "mkv", "yuv420p"),
    ],
)
def test_a_decoder_that_is_not_listed_is_never_opened_and_is_named(
    codec: str, ending: str, pixels: str, tmp_path: Path
) -> None:
    images = [image.resize((176, 144)) for image in pan(3)]
    path = encode(tmp_path / f"in.{ending}", images, codec, pixels)
    said = f"in.{ending} is in {codec}, which .*; save it as H.264"
    with pytest.raises(PictureError, match=said):
        read_video_info(path)


def test_sound_in_a_codec_that_is_not_listed_is_left_out_with_a_remark(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", pan(9))
    mute = read_video_info(add_beeps(tmp_path / "mute.mov", video, [], "pcm_alaw"))
    assert not mute.has_audio and "audio is in pcm_alaw, which" in mute.remark
    assert not read_video_info(video).remark
    apple = add_beeps(tmp_path / "apple.mov", video, [0.1])
    assert read_video_info(apple).has_audio
    content = apple.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"dapa")
    apple.write_bytes(content)
    seen = read_video_info(apple)
    assert not seen.has_audio and "audio is in an unknown codec" in seen.remark


@pytest.mark.parametrize("has_cover", [True, False])
def test_a_song_is_no_video_with_a_cover_or_without(has_cover: bool, tmp_path: Path) -> None:
    song = tmp_path / "song.mkv"
    add_beeps(tmp_path / "a.mp4", write_video(tmp_path / "silent.mp4", pan(9)), [0.1])
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(song), "w") as target:
        own = source.streams.audio[0]
        stream = target.add_stream_from_template(own)
        if has_cover:
            target.add_attachment("cover.jpg", "image/jpeg", corpus.encode(pan(1)[0], "JPEG"))
        for packet in source.demux(own):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    but = " but a cover image" if has_cover else ""
    with pytest.raises(PictureError, match=f"^song.mkv has no video{but}, only audio$"):
        read_video_info(song)


def test_what_is_no_whole_video_is_refused_in_one_line_without_its_folder(tmp_path: Path) -> None:
    good = write_video(tmp_path / "good.mp4", pan(8)).read_bytes()
    bad = {f"cut{size}.mp4": good[:size] for size in (40, len(good) // 3, len(good) * 2 // 3)}
    bad |= {
        "noise.mp4": good[:40] + os.urandom(2000),
        "empty.mp4": b"",
        "list.mp4": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        "text.webm": b"hello",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=f"^{name} ") as caught:
            read_video(tmp_path / name)
        said = str(caught.value)
        assert not any(each in said for each in ("\n", "Errno", str(tmp_path)))
        assert "is damaged" in said or not name.startswith("cut")
    with pytest.raises(PictureError, match=r"there is no file none.mp4"):
        read_video_info(tmp_path / "none.mp4")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(PictureError, match=r"pipe.mp4 is not a regular file"):
        read_video_info(tmp_path / "pipe.mp4")
    assert not is_video_file(str(tmp_path / "pipe.mp4"))
