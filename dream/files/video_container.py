"""Videos in files, read with suspicion, frame by frame; as in `pixels`, by readings.

PyAV does the work: ffmpeg's libraries, which its wheels bring. It is imported where it is used, as
nothing else waits for it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from dream.errors import PictureError, first_line
from dream.files.colour import BT2020, composite_on_background, to_srgb
from dream.files.limited_reader import PathOrFile, Reading, bounded, name_of, seekable_file
from dream.files.video_info import VideoInfo, VideoLimits, check, check_side

RECIPE_KEY = "deepdream"
# What a reader is chosen by: no other is tried, and none that reads lists of other files.
DEMUXERS = {
    **{mark: "mov" for mark in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")},
    b"\x1a\x45\xdf\xa3": "matroska",
    b"GIF8": "gif",
}
# Of so many frames one is taken at least, where a video has more in a second than are taken: those
# that are left out are decoded, too.
ONE_OF = 4
# After so many frames that are decoded and left out a reading says that it goes on.
HEARTBEAT_FRAMES = 16
# ffmpeg's threads each hold a frame.
MAX_THREADS = 4
CODECS = (
    *("h264", "hevc", "vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d", "mpeg4", "mjpeg"),
    *("gif", "prores", "rawvideo", "aac", "mp3", "mp3float", "opus", "libopus", "vorbis"),
    *("flac", "alac", "ac3", "eac3", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_f32le"),
)
# Who reads the alpha of what ffmpeg's own decoders read without.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# By the first numbers of its matrix: how a frame becomes upright.
UPRIGHT = {
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
# Matrices, by their numbers in ITU-T H.273, that the scaler knows; and from how many lines on
# players take a video to be BT.709 that names none, where smaller ones are BT.601.
MATRICES, BT2020_CL, HD_LINES = (1, 4, 5, 6, 7, BT2020), 10, 720


def read_video(file: BinaryIO, name: str, limits: Mapping[str, Any]) -> Reading:
    """Yield what is known of a video, as `Video.to_dict` says it. Raises as `load_video`."""
    yield _found(file, name, VideoLimits(**limits)).to_dict()


def _found(file: BinaryIO, name: str, limits: VideoLimits) -> VideoInfo:
    with open_video(file, name) as container:
        stream = _video_stream(container, name)
        check_side(max(stream.width, stream.height), limits, name)
        told = float((stream.duration or 0) * (stream.time_base or 0))
        told = max(told, (container.duration or 0) / 1e6)
        check("lasts", told, limits.seconds, "seconds; cut it", name)
        (times, begin), base = (
            _frame_times(container, stream, limits, name),
            Fraction(stream.time_base),
        )
    with open_video(file, name) as container:
        stream = _video_stream(container, name)
        frame = next(_decode_frames(container, stream), None)
        if frame is None or frame.pts is None or len(times) < 2:
            raise PictureError(f"{name} is damaged: no picture of it can be read")
        start, upright = frame.pts * frame.time_base, UPRIGHT.get(matrix := _matrix(frame))
        if start - begin in times[:-1]:  # What was cut begins with frames that lack others.
            times = tuple(time - (start - begin) for time in times if time >= start - begin)
        if len(times) == 2:
            raise PictureError(f"{name} has one frame; a video has more, and this is a picture")
        check_side(max(frame.width, frame.height), limits, name)
        check("lasts", float(times[-1]), limits.seconds, "seconds; cut it", name)
        height, width = frame.height, frame.width
        if ratio := stream.sample_aspect_ratio:
            width = max(1, round(width * ratio))
        check_side(width, limits, name)
        size = (width, height) if matrix in UPRIGHT and not matrix[0] else (height, width)
        sound = audio_of(container)
        return VideoInfo(
            "",
            size,
            times,
            base,
            start,
            upright,
            bool(sound),
            _describe_unreadable_audio(container),
        )


def _frame_times(
    container: Any, stream: Any, limits: VideoLimits, name: str
) -> tuple[tuple[Fraction, ...], Fraction]:
    """When each frame is shown, and when the last one ends, in seconds from the first; and when
    that is. Nothing is decoded.
    """
    shown: list[tuple[int, int]] = []
    for count, packet in enumerate(container.demux(stream)):
        if packet.has_sidedata("encryption_info"):
            raise PictureError(f"{name} is encrypted; give one that is not")
        if count > (most := ONE_OF * limits.frames):
            raise PictureError(
                f"{name} has more than {most} frames, of which {limits.frames} are taken at most; "
                "cut it"
            )
        if packet.pts is not None and packet.size and not packet.is_discard:
            shown.append((packet.pts, packet.duration or 0))
    shown.sort()
    if not shown:
        return (), Fraction(0)
    points = [pts for pts, _ in dict(shown).items()]
    last = max(0, shown[-1][1]) or (points[-1] - points[-2] if len(points) > 1 else 1)
    base = Fraction(stream.time_base)
    times = [(point - points[0]) * base for point in (*points, points[-1] + last)]
    if len(points) > times[-1] * limits.rate > 0:
        times = [*_thin_times(times[:-1], 1 / Fraction(limits.rate)), times[-1]]
    check("has", len(times) - 1, limits.frames, "frames; cut it", name)
    return tuple(times), points[0] * base


def _thin_times(times: Iterable[Fraction], step: Fraction) -> Iterator[Fraction]:
    """Those of the times that are about so many seconds apart or more."""
    due = Fraction(0)
    for time in times:
        if time >= due:
            yield time
            due = max(due + step, time)


def read_frames(
    file: BinaryIO, name: str, video: Mapping[str, Any], size: Sequence[int], first: int
) -> Reading:
    """Yield frames as `frames_of`, of the video of which `Video.to_dict` says so much.

    Where many are left out before the first one, None comes now and then: for each answer a decoder
    has limited time.
    """
    found = VideoInfo.from_dict(name, video)
    points = {time: at for at, time in enumerate(found.times[:-1])}
    due, image, before, left_out = first, None, None, 0

    def upright(frame: Any) -> Image.Image:
        check_side(max(frame.width, frame.height), VideoLimits(), name)
        image = _convert_to_rgb(frame)
        if found.upright is not None:
            image = image.transpose(found.upright)
        image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
        return to_srgb(image, int(frame.color_primaries), int(frame.color_trc))

    with open_video(file, name) as container:
        for frame in _decode_frames(container, _video_stream(container, name)):
            at = -1
            if frame.pts is not None:
                at = points.get(frame.pts * frame.time_base - found.start, -1)
            if at < due:
                before = frame if at >= 0 else before
                left_out += 1
                if left_out % HEARTBEAT_FRAMES == 0:
                    yield None
                continue
            if due < at and image is None:
                image = upright(before or frame)
            while image and due < at:
                yield image
                due += 1
            image = upright(frame)
            yield image
            due = at + 1
            if due == found.frame_count:
                return
    if due < found.frame_count:
        raise PictureError(
            f"{name} is damaged: it ends after {due} of its {found.frame_count} frames"
        )


def _decode_frames(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream, with their alpha; those that are interlaced, as whole ones."""
    import av

    threads = min(MAX_THREADS, os.cpu_count() or 1)
    stream.codec_context.thread_count = threads
    frames = container.decode(stream)
    has_alpha = {key.lower(): text for key, text in stream.metadata.items()}.get("alpha_mode")
    if has_alpha == "1" and (name := ALPHA_DECODERS.get(stream.codec_context.name)):
        decoder = av.CodecContext.create(name, "r")
        decoder.thread_count = threads
        frames = (frame for packet in container.demux(stream) for frame in decoder.decode(packet))
    graph, about = None, {}
    for frame in frames:
        seen = {"width": frame.width, "height": frame.height, "format": frame.format.name}
        if graph and seen != about:  # A graph is for frames of one kind.
            graph.push(None)
            yield from pull_frames(graph)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, about = av.filter.Graph(), seen
            source = graph.add_buffer(time_base=frame.time_base, **about)
            bwdif = graph.add("bwdif", "mode=send_frame:deint=interlaced")
            graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
        if graph is None:
            yield frame
        else:
            graph.push(frame)
            yield from pull_frames(graph)
    if graph:
        graph.push(None)
        yield from pull_frames(graph)


def pull_frames(graph: Any) -> Iterator[Any]:
    """The frames that come out of a graph of filters now."""
    import av

    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def _matrix(frame: Any) -> tuple[int, int, int, int]:
    """The four numbers that turn and mirror a frame, of -1, 0 and 1 if it is by right angles."""
    if not (said := frame.side_data.get("DISPLAYMATRIX")):
        return (1, 0, 0, 1)
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(said))
    most = max(map(abs, (a, b, c, d))) or 1
    return round(a / most), round(b / most), round(c / most), round(d / most)


def _convert_to_rgb(frame: Any) -> Image.Image:
    """A frame as RGB, on white where it is transparent; by its matrix, or the one players take."""
    from av.video.reformatter import Interpolation

    matrix = None
    if int(frame.colorspace) not in MATRICES:
        wide = int(frame.colorspace) == BT2020_CL or int(frame.color_primaries) == BT2020
        matrix = "BT2020" if wide else "ITU709" if frame.height >= HD_LINES else "ITU601"
    # Without these all colours of 10 bits come out two levels darker.
    how = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    about = {"src_colorspace": matrix, "interpolation": how}
    if not any(component.is_alpha for component in frame.format.components):
        return frame.to_image(**about)  # type: ignore[no-any-return]
    pixels = frame.to_ndarray(format="rgba", **about)
    return composite_on_background(Image.fromarray(pixels), "white")


@contextmanager
def open_video(path: PathOrFile, name: str = "") -> Iterator[Any]:
    """The container in a file; what goes wrong with it is a `PictureError`."""
    import av

    name = name or name_of(path)
    try:
        with seekable_file(path) as file:
            file.seek(0)
            if not (reader := detect_demuxer(file.read(8))):
                raise PictureError(
                    f"{name} is no video this program reads; give MP4, MOV, WebM or GIF"
                )
            file.seek(0)
            options = {"codec_whitelist": ",".join(CODECS)}
            # Before PyAV 19, which always keeps them, tags that are no UTF-8 were an error.
            keep = {"metadata_errors": "surrogateescape"} if av.__version__ < "19" else {}
            with av.open(file, format=reader, options=options, **keep) as video:
                yield video
    except PictureError:
        raise
    except (av.InvalidDataError, av.EOFError) as error:
        raise PictureError(f"{name} cannot be read: it is damaged, or cut off") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise PictureError(f"{name} cannot be read: {first_line(error)}") from error


def detect_demuxer(head: bytes) -> str:
    """Which reader takes a file that begins so; "" where none does."""
    return DEMUXERS.get(head[:4]) or DEMUXERS.get(head[4:8], "")


def _video_stream(container: Any, name: str) -> Any:
    import av

    cover = av.stream.Disposition.attached_pic
    streams = [each for each in container.streams.video if not each.disposition & cover]
    if not container.streams:
        raise PictureError(f"{name} cannot be read: it is damaged, or cut off")
    if not streams:
        but = " but a cover" if container.streams.video else ""
        raise PictureError(f"{name} has no pictures{but}, only sound")
    stream = streams[0]
    if _is_encrypted(stream):
        raise PictureError(f"{name} is encrypted; give one that is not")
    if not _is_decodable(stream):
        raise PictureError(
            f"{name} is in {_codec(stream)}, which this program does not read; save it as H.264"
        )
    if not stream.width:  # Not even the head of a picture can be read.
        raise PictureError(f"{name} is damaged, or its pictures are far too large")
    return stream


def audio_of(container: Any) -> Any:
    """The first stream of sound that this program reads; None if there is none."""
    return next(filter(_is_decodable, container.streams.audio), None)


def _describe_unreadable_audio(container: Any) -> str:
    """What to say of sound that there is, and that is not read."""
    if audio_of(container) or not container.streams.audio:
        return ""
    codec = _codec(container.streams.audio[0])
    return f"its sound is in {codec}, which this program does not read, and is left out"


def _codec(stream: Any) -> str:
    """What a stream is coded by, as ffmpeg calls it."""
    if stream.codec_context is None:
        return "an unknown codec"
    return ("encrypted " if _is_encrypted(stream) else "") + str(stream.codec_context.name)


def _is_encrypted(stream: Any) -> bool:
    """Whether a stream of Matroska or WebM is; packets of MP4 say so one by one."""
    return "enc_key_id" in stream.metadata


def _is_decodable(stream: Any) -> bool:
    """Whether its codec is one of `CODECS`: PyAV opens any, whatever the whitelist says."""
    if stream.codec_context is None or _is_encrypted(stream):
        return False
    return stream.codec_context.name in CODECS


def read_text(file: BinaryIO, name: str, key: str) -> Reading:
    """Yield what a PNG or a video says under that key, a GIF as its comment; "" if nothing.

    Raises:
        PictureError: if it cannot be read.
    """
    text = ""
    try:
        if reader := detect_demuxer(file.read(8)):
            with open_video(file, name) as container:
                said = {each.lower(): text for each, text in container.metadata.items()}
            text = str(said.get(key, "")).encode(errors="surrogateescape").decode(errors="replace")
        if reader in ("", "gif"):
            with Image.open(bounded(file, name), formats=["PNG", "GIF"]) as image:
                comment = bytes(image.info.get("comment", b"")).decode(errors="replace")
                text = comment if reader else str(image.info.get(key, ""))
    except PictureError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"{name} cannot be read: it is damaged") from error
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file.
        raise PictureError(f"{name} cannot be read: {first_line(error)}") from error
    yield text
