"""Readers of untrusted video files, frame by frame (see `pixels` for readers of images).

They use PyAV, whose wheels include ffmpeg's libraries. It is imported in functions, so that other
code starts without it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dream.errors import PictureError
from dream.files.colour import BT2020, composite_on_background, to_srgb
from dream.files.heif_boxes import STILL_BRANDS, is_heif
from dream.files.limited_reader import (
    Answers,
    PathOrFile,
    convert_read_errors,
    display_name,
    open_seekable,
)
from dream.files.video_info import VideoInfo, VideoLimits

# ffmpeg's demuxers by signature: no others are tried, and none that opens other files.
DEMUXERS = {
    **{mark: "mov" for mark in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")},
    b"\x1a\x45\xdf\xa3": "matroska",
    b"GIF8": "gif",
}
# A video may have this many frames per frame that is used: skipped frames are decoded, too.
MAX_FRAMES_PER_OUTPUT = 4
# After this many skipped frames a reader yields None, which restarts the time limit of answers.
HEARTBEAT_FRAMES = 16
# Each thread of ffmpeg holds a frame in memory.
MAX_DECODER_THREADS = 4
CODECS = (
    *("h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "mjpeg"),
    *("gif", "prores", "rawvideo", "aac", "mp3", "mp3float", "opus", "libopus", "vorbis"),
    *("flac", "alac", "ac3", "eac3", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le"),
)
# Decoders that read alpha, where ffmpeg's own decoders ignore it.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# How a frame becomes upright, by `_display_matrix`.
TRANSPOSE_BY_MATRIX = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
# Matrix coefficients (ITU-T H.273) that the scaler knows. Without any, players assume BT.709 for
# videos of at least HD_LINES lines, and BT.601 for smaller ones.
KNOWN_MATRICES, BT2020_CL, HD_LINES = (1, 4, 5, 6, 7, BT2020), 10, 720


def read_video(file: BinaryIO, name: str, limits: Mapping[str, Any]) -> Answers:
    """Yield the `VideoInfo.to_dict` of a video; decode only the first frame."""
    bounds = VideoLimits(**limits)
    with open_video(file, name) as container:
        stream = _video_stream(container, name)
        seconds = float((stream.duration or 0) * (stream.time_base or 0))
        seconds = max(seconds, (container.duration or 0) / 1e6)
        bounds.check(name, side=max(stream.width, stream.height), seconds=seconds)
        times, first_time = _frame_times(container, stream, bounds, name)
        base = Fraction(stream.time_base)
    with open_video(file, name) as container:
        stream = _video_stream(container, name)
        frame = next(_decode_frames(container, stream), None)
        if frame is None or frame.pts is None or len(times) < 2:
            raise PictureError(f"{name} is damaged: none of its frames can be read")
        start, matrix = frame.pts * frame.time_base, _display_matrix(frame)
        offset = start - first_time
        if offset in times[:-1]:  # A cut video starts with frames that cannot be decoded.
            times = tuple(time - offset for time in times if time >= offset)
        if len(times) == 2:
            raise PictureError(f"{name} has one frame; use it as an image, not as a video")
        bounds.check(name, side=max(frame.width, frame.height))
        # Pixels become square; the caller checks the size that this gives.
        height, width = frame.height, frame.width
        if ratio := stream.sample_aspect_ratio:
            width = max(1, round(width * ratio))
        is_turned = matrix in TRANSPOSE_BY_MATRIX and not matrix[0]
        size = (width, height) if is_turned else (height, width)
        upright, has_audio = TRANSPOSE_BY_MATRIX.get(matrix), bool(find_audio_stream(container))
        remark = _describe_unreadable_audio(container)
        yield VideoInfo("", size, times, base, start, upright, has_audio, remark).to_dict()


def _frame_times(
    container: Any, stream: Any, limits: VideoLimits, name: str
) -> tuple[tuple[Fraction, ...], Fraction]:
    """Return when each frame starts and the last one ends, and when the first starts in the file.

    The times are seconds from the first frame. Nothing is decoded.
    """
    spans: list[tuple[int, int]] = []
    for count, packet in enumerate(container.demux(stream)):
        if packet.has_sidedata("encryption_info"):
            raise PictureError(f"{name} is encrypted; use an unencrypted video")
        if count > (max_count := MAX_FRAMES_PER_OUTPUT * limits.max_frames):
            raise PictureError(
                f"{name} has more than {max_count} frames, of which at most {limits.max_frames} "
                "are used; cut it and try again"
            )
        if packet.pts is not None and packet.size and not packet.is_discard:
            spans.append((packet.pts, packet.duration or 0))
    spans.sort()
    if not spans:
        return (), Fraction(0)
    points = list(dict(spans))
    duration = max(0, spans[-1][1]) or (points[-1] - points[-2] if len(points) > 1 else 1)
    base = Fraction(stream.time_base)
    times = [(point - points[0]) * base for point in (*points, points[-1] + duration)]
    if len(points) > times[-1] * limits.max_frame_rate > 0:
        times = [*_thin_times(times[:-1], 1 / Fraction(limits.max_frame_rate)), times[-1]]
    limits.check(name, frames=len(times) - 1)
    return tuple(times), points[0] * base


def _thin_times(times: Iterable[Fraction], step: Fraction) -> Iterator[Fraction]:
    """Yield times that are about `step` seconds or more apart."""
    due = Fraction(0)
    for time in times:
        if time >= due:
            yield time
            due = max(due + step, time)


def read_frames(
    file: BinaryIO, name: str, video: Mapping[str, Any], size: Sequence[int], first: int
) -> Answers:
    """Yield the frames of a video, given by `VideoInfo.to_dict`, as `video_reader.read_frames`.

    While frames before the first one are skipped, it sometimes yields None, because each answer of
    a decoder has a time limit.
    """
    info = VideoInfo.from_dict(name, video)
    index_by_time: dict[Any, int] = {time: index for index, time in enumerate(info.times[:-1])}
    due, pixels, previous = first, None, None
    with open_video(file, name) as container:
        frames = _decode_frames(container, _video_stream(container, name))
        for count, frame in enumerate(frames, 1):
            time = None if frame.pts is None else frame.pts * frame.time_base - info.start
            index = index_by_time.get(time, -1)
            if index < due:
                previous = frame if index >= 0 else previous
                if count % HEARTBEAT_FRAMES == 0:
                    yield None
                continue
            if due < index and pixels is None:
                pixels = _to_upright(previous or frame, info, size)
            while due < index:  # Repeat the last frame in place of unreadable ones.
                yield pixels
                due += 1
            pixels = _to_upright(frame, info, size)
            yield pixels
            due = index + 1
            if due == info.frame_count:
                return
    raise PictureError(f"{name} is damaged: it ends after {due} of its {info.frame_count} frames")


def _to_upright(frame: Any, info: VideoInfo, size: Sequence[int]) -> NDArray[np.uint8]:
    """Return a frame as upright sRGB, (H, W, 3), of `size` (height, width)."""
    VideoLimits().check(info.path, side=max(frame.width, frame.height))
    image = _convert_to_rgb(frame)
    if info.transposition is not None:
        image = image.transpose(info.transposition)
    image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(to_srgb(image, int(frame.color_primaries), int(frame.color_trc)))


def _decode_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of a stream, with their alpha, deinterlaced."""
    import av

    threads = min(MAX_DECODER_THREADS, os.cpu_count() or 1)
    stream.codec_context.thread_count = threads
    frames = container.decode(stream)
    alpha_mode = {key.lower(): text for key, text in stream.metadata.items()}.get("alpha_mode")
    if alpha_mode == "1" and (name := ALPHA_DECODERS.get(stream.codec_context.name)):
        decoder = av.CodecContext.create(name, "r")
        decoder.thread_count = threads
        frames = (frame for packet in container.demux(stream) for frame in decoder.decode(packet))
    graph, graph_format = None, {}
    for frame in frames:
        format_ = {"width": frame.width, "height": frame.height, "format": frame.format.name}
        if graph and format_ != graph_format:  # A filter graph takes frames of one format.
            yield from filter_frames(graph, [None])
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, graph_format = av.filter.Graph(), format_
            source = graph.add_buffer(time_base=frame.time_base, **graph_format)
            bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
            graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        yield from filter_frames(graph, [frame]) if graph else [frame]
    if graph:
        yield from filter_frames(graph, [None])


def filter_frames(graph: Any, frames: Iterable[Any]) -> Iterator[Any]:
    """Yield what a filter graph makes of frames; None after the last one ends its output."""
    import av

    for frame in frames:
        graph.push(frame)
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield graph.vpull()


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """Return the rotation and mirroring of a frame: 2 x 2, of -1, 0 and 1 for right angles."""
    if not (side_data := frame.side_data.get("DISPLAYMATRIX")):
        return (1, 0, 0, 1)
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(side_data))
    scale = max(map(abs, (a, b, c, d))) or 1
    return round(a / scale), round(b / scale), round(c / scale), round(d / scale)


def _convert_to_rgb(frame: Any) -> Image.Image:
    """Convert a frame to RGB on white, by its matrix or the one that players assume."""
    from av.video.reformatter import Interpolation

    matrix = None
    if int(frame.colorspace) not in KNOWN_MATRICES:
        is_wide = int(frame.colorspace) == BT2020_CL or int(frame.color_primaries) == BT2020
        matrix = "BT2020" if is_wide else "ITU709" if frame.height >= HD_LINES else "ITU601"
    # Without these flags 10-bit colours come out two levels too dark.
    flags = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    options = {"src_colorspace": matrix, "interpolation": flags}
    if not any(component.is_alpha for component in frame.format.components):
        return frame.to_image(**options)  # type: ignore[no-any-return]
    pixels = frame.to_ndarray(format="rgba", **options)
    return composite_on_background(Image.fromarray(pixels), "white")


@contextmanager
def open_video(path: PathOrFile, name: str = "") -> Iterator[Any]:
    """Open the container of a video; any error, also while it is read, is a `PictureError`."""
    import av

    name = name or display_name(path)
    with convert_read_errors(name, av.FFmpegError, OSError, ValueError):
        try:
            with open_seekable(path) as file:
                file.seek(0)
                if not (demuxer := detect_demuxer(file.read(12))):
                    raise PictureError(
                        f"{name} is not a video this program reads; use MP4, MOV, WebM or GIF"
                    )
                file.seek(0)
                options = {"codec_whitelist": ",".join(CODECS)}
                # Before PyAV 19, which always escapes them, tags that are not UTF-8 were an error.
                escape = {"metadata_errors": "surrogateescape"} if av.__version__ < "19" else {}
                with av.open(file, format=demuxer, options=options, **escape) as container:
                    yield container
        except (av.InvalidDataError, av.EOFError) as error:
            raise PictureError(f"{name} cannot be read: it is damaged, or cut off") from error


def detect_demuxer(head: bytes) -> str:
    """Return the demuxer for a file's first 12 bytes or more, or "" if it is no video."""
    if is_heif(head, STILL_BRANDS):  # Images start like an MP4.
        return ""
    return DEMUXERS.get(head[:4]) or DEMUXERS.get(head[4:8], "")


def _video_stream(container: Any, name: str) -> Any:
    """Return the first video stream that is not a cover; refuse one that cannot be decoded."""
    import av

    cover = av.stream.Disposition.attached_pic
    streams = [each for each in container.streams.video if not each.disposition & cover]
    if not container.streams:
        raise PictureError(f"{name} cannot be read: it is damaged, or cut off")
    if not streams:
        but = " but a cover image" if container.streams.video else ""
        raise PictureError(f"{name} has no video{but}, only audio")
    stream = streams[0]
    if _is_encrypted(stream):
        raise PictureError(f"{name} is encrypted; use an unencrypted video")
    if not _is_decodable(stream):
        codec = _codec_name(stream)
        raise PictureError(
            f"{name} is in {codec}, which this program does not read; save it as H.264"
        )
    if not stream.width:  # Not even the header of a frame can be read.
        raise PictureError(f"{name} is damaged, or its frames are far too large")
    return stream


def find_audio_stream(container: Any) -> Any:
    """Return the first audio stream that this program reads, or None."""
    return next(filter(_is_decodable, container.streams.audio), None)


def _describe_unreadable_audio(container: Any) -> str:
    """Return a remark if there is audio and none can be read, or ""."""
    if find_audio_stream(container) or not container.streams.audio:
        return ""
    codec = _codec_name(container.streams.audio[0])
    return f"its audio is in {codec}, which this program does not read, and is left out"


def _codec_name(stream: Any) -> str:
    """Return ffmpeg's name of a stream's codec."""
    if stream.codec_context is None:
        return "an unknown codec"
    return ("encrypted " if _is_encrypted(stream) else "") + str(stream.codec_context.name)


def _is_encrypted(stream: Any) -> bool:
    """Return whether a Matroska or WebM stream is encrypted; MP4 marks its packets instead."""
    return "enc_key_id" in stream.metadata


def _is_decodable(stream: Any) -> bool:
    """Return whether the codec is in `CODECS`: PyAV ignores the whitelist for codec contexts."""
    if stream.codec_context is None or _is_encrypted(stream):
        return False
    return stream.codec_context.name in CODECS
