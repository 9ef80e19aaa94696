"""Resumable writing of videos, part by part.

A part is a video of about a second. Parts are stored in a folder next to the final file, and joined
at the end, with the audio, if any, and the recipe.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from dream.errors import PictureError, first_line
from dream.files.embedded_text import RECIPE_KEY
from dream.files.gif import write_gif
from dream.files.image import atomic_write, load_image
from dream.files.image_formats import check_output_path
from dream.files.limited_reader import open_regular_file
from dream.files.video_container import find_audio_stream, open_video
from dream.files.video_info import OUTPUT_FORMATS, VideoInfo
from dream.recipe import Recipe
from dream.tensors import Size, to_pil_image

# Increase this when a new version cannot resume older parts.
PARTS_VERSION = 3
# Options of the containers; without `bitexact`, WebM numbers its tracks at random.
MUXER_OPTIONS = {
    ".mp4": {"movflags": "faststart+use_metadata_tags"},
    ".webm": {"fflags": "bitexact"},
}
# The audio codec, and the codecs that are copied without encoding.
AUDIO_CODECS = {".mp4": ("aac", ("aac", "mp3")), ".webm": ("libopus", ("opus", "vorbis"))}
AUDIO_RATE = 48_000
OPUS_SAMPLES = 960
# The H.273 code of BT.709, which browsers assume.
BT709 = 1


class VideoWriter:
    """A video that is written part by part, and resumed if earlier parts match.

    `frames_done` frames are written, `last_frame` is the last of them. After `finish`, `remark`
    says what is missing in the file. Parts match if the recipe, the format and the `sources`
    (JSON-like values that identify the inputs) are the same.

    Raises:
        PictureError: if the name ends in none of .mp4, .webm and .gif, or the video or a part
            cannot be written; or if there are parts of another video, with how that differs.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        recipe: Recipe,
        size: Size,
        frame_rate: Fraction,
        time_base: Fraction,
        sources: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = check_output_path(path, OUTPUT_FORMATS)
        self.ending = self.path.suffix.lower()
        self.recipe, self.size = recipe, size
        self.frame_rate, self.time_base = frame_rate, time_base
        self.folder = self.path.with_name(f".{self.path.name}.parts")
        inputs = [PARTS_VERSION, self.ending, recipe.to_dict(), dict(sources or {})]
        self.parts_key = json.dumps(inputs)
        self.frames_done = 0
        self.last_frame: Image.Image | None = None
        self.remark = ""
        self._starts: dict[Path, Fraction] = {}  # Of parts, in order.
        self._resume()

    def _resume(self) -> None:
        """Resume from finished parts; discard the folder if there are none.

        Parts that are damaged or of another video may have taken hours, so they are not deleted.
        """
        key = ""
        try:
            with suppress(FileNotFoundError):
                key = (self.folder / "film.json").read_text()
            for path in sorted(self.folder.glob("*-*.mp4")):
                first, stop = map(int, path.stem.split("-"))
                if first == self.frames_done:
                    self.frames_done = stop
                    self._starts[path] = Fraction((self.folder / f"{first}.start").read_text())
            if self.frames_done and key == self.parts_key:
                self.last_frame = to_pil_image(load_image(self.folder / f"{self.frames_done}.png"))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                text = f"{error.strerror}; use a shorter name for OUT"
                raise PictureError(f"{self.path} cannot be written: {text}") from error
            raise self._resume_error(f"has damaged parts ({first_line(error)}): ") from error
        if not self.frames_done:
            self.discard_parts()
        elif key != self.parts_key:
            differences = _describe_differences(key, self.parts_key)
            state = f"was started {differences} and has {self.frames_done} frames"
            raise self._resume_error(f"{state}: run that again to resume it, or ")

    def _resume_error(self, text: str) -> PictureError:
        return PictureError(
            f"{self.path} {text}use another name for OUT, or delete {self.folder} to start again"
        )

    @contextmanager
    def open_part(self, start: Fraction) -> Iterator[VideoPart]:
        """Yield a new part that starts at `start` seconds, and keep it if it is completed."""
        with convert_write_errors():
            self.folder.mkdir(exist_ok=True)
            # Only the first part writes the key: on a full disk, writing it again would leave it
            # empty, and no part could be resumed.
            if not self.frames_done:
                (self.folder / "film.json").write_text(self.parts_key)
            path = self.folder / "now.mp4"
            part = VideoPart(path, self.ending, self.size, self.frame_rate, self.time_base)
            try:
                yield part
            except BaseException:
                part.close()
                if part.frame_count:
                    self._starts[path] = start
                raise
            part.close()
            stop = self.frames_done + part.frame_count
            self.last_frame = part.last_frame
            part.last_frame.save(self.folder / f"{stop}.png")
            (self.folder / f"{self.frames_done}.start").write_text(str(start))
            # A part counts as finished only once it is renamed.
            path = path.rename(self.folder / f"{self.frames_done:09}-{stop:09}.mp4")
            self._starts[path], self.frames_done = start, stop

    def finish(self, audio_source: VideoInfo | None = None, with_recipe: bool = True) -> bool:
        """Join the parts, with the audio of a video and the recipe; return whether there are any.

        If the audio cannot be used, it is left out, and `remark` says why.
        """
        if not self._starts:
            return False
        if audio_source and self.ending in AUDIO_CODECS:
            self.remark = audio_source.remark
            if audio_source.has_audio:
                try:
                    self._join_parts(audio_source, with_recipe)
                    return True
                except PictureError as error:
                    self.remark = f"its audio cannot be used, and is left out: {error}"
        self._join_parts(None, with_recipe)
        return True

    def _join_parts(self, audio: VideoInfo | None, with_recipe: bool) -> None:
        """Write all parts to one file, with the audio of a video."""
        with atomic_write(self.path) as partial, convert_write_errors():
            recipe = self.recipe.with_max_seconds(_total_seconds(self._starts))
            text = recipe.to_json() if with_recipe else ""
            if self.ending == ".gif":
                write_gif(partial, self._starts, text, self.size)
            else:
                _mux_parts(partial, self.ending, self._starts, text, audio)

    def discard_parts(self) -> None:
        """Delete all parts."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.frames_done, self.last_frame, self._starts = 0, None, {}


@contextmanager
def convert_write_errors() -> Iterator[None]:
    """Raise a `PictureError` in place of errors of the disk or of ffmpeg."""
    import av

    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise PictureError(f"the video cannot be written: {first_line(error)}") from error


def _describe_differences(old_key: str, new_key: str) -> str:
    """Return how the video of the old key differs from the new one: "with --zoom 2.0"."""
    # A key that is not from this program raises one of these errors.
    with suppress(AttributeError, LookupError, RecursionError, TypeError, ValueError):
        old_version, _, old, old_sources = json.loads(old_key)
        new_version, _, new, new_sources = json.loads(new_key)
        changes = {name: old[name] for name in old if old[name] != new.get(name)}
        if "kind" in changes:
            return f"as a {old['kind']}"
        options = [
            shlex.join((f"--{name.replace('_', '-')}", str(value)))
            for name, value in changes.items()
        ]
        texts = {"source": "another image or video", "weights": "other weights"}
        files = [texts[name] for name in texts if old_sources.get(name) != new_sources.get(name)]
        if old_version == new_version and (options or files):
            return "with " + " and ".join(filter(None, (" ".join(options), *files)))
    return "by another version of this program"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's content, in hex. Raises as `open_regular_file`."""
    with open_regular_file(path, os.fspath(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class VideoPart:
    """A part of a video, whose times start at 0; it has `frame_count` frames so far."""

    def __init__(
        self, path: Path, ending: str, size: Size, rate: Fraction, time_base: Fraction
    ) -> None:
        import av

        _, codec, pixels, options = OUTPUT_FORMATS[ending]
        self.frame_count = 0
        self.time_base = time_base
        self.last_frame = Image.new("RGB", (1, 1))
        self._durations: list[int] = []
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = stream = self._container.add_stream(codec, rate=rate, options=dict(options))
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        if pixels == "yuv420p":
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = BT709
            context.color_range = 1  # Limited range, 16 to 235.

    def add(self, image: Image.Image, start: Fraction, duration: Fraction) -> None:
        """Add a frame; `start` and `duration` are in seconds."""
        import av

        frame = av.VideoFrame.from_image(image)
        if self._stream.pix_fmt == "yuv420p":
            frame = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=1)
        frame.pts, frame.time_base = int(start / self.time_base), self.time_base
        frame.duration = int(duration / self.time_base)
        self._durations.append(frame.duration)
        self.frame_count, self.last_frame = self.frame_count + 1, image
        self._write(frame)

    def close(self) -> None:
        """Encode the remaining frames and close the file."""
        if self.frame_count:
            self._write(None)
        self._container.close()

    def _write(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = self._durations.pop(0)
            self._container.mux(packet)


def _video_packets(parts: Mapping[Path, Fraction], stream: Any) -> Iterator[tuple[Fraction, Any]]:
    """Yield the packets of all parts in order, each with its time in seconds."""
    for path, start in parts.items():
        with open_video(path) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size:
                    offset = int(start / packet.time_base)
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    time = packet.dts * packet.time_base
                    packet.stream = stream
                    yield time, packet


def _mux_parts(
    path: Path, ending: str, parts: Mapping[Path, Fraction], recipe: str, audio: VideoInfo | None
) -> None:
    """Write the parts, given by start in seconds, the recipe and a video's audio to one file."""
    import av

    with (
        open_video(next(iter(parts))) as template,
        convert_write_errors(),  # Otherwise `open_video` would blame the first part.
        av.open(
            str(path), "w", format=OUTPUT_FORMATS[ending][0], options=MUXER_OPTIONS[ending]
        ) as container,
    ):
        container.metadata[RECIPE_KEY] = recipe
        stream = container.add_stream_from_template(template.streams.video[0])
        tracks = [_video_packets(parts, stream)]
        if audio:
            tracks.append(_audio_packets(container, ending, audio, _total_seconds(parts)))
        for _, packet in heapq.merge(*tracks, key=lambda timed: timed[0]):
            container.mux(packet)


def _total_seconds(parts: Mapping[Path, Fraction]) -> Fraction:
    """Return when the last part ends."""
    path, start = list(parts.items())[-1]
    with open_video(path) as container:
        stream = container.streams.video[0]
        return start + Fraction(stream.duration * stream.time_base)


def _audio_packets(
    container: Any, ending: str, video: VideoInfo, length: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    """Yield a video's audio packets up to `length` seconds, each with its time in seconds."""
    codec, copied_codecs = AUDIO_CODECS[ending]
    with open_video(video.path) as source:
        audio = find_audio_stream(source)
        if audio.codec_context.name.replace("float", "") in copied_codecs:
            stream = container.add_stream_from_template(audio)
            packets = _copy_audio(source, audio, stream, video.start)
        else:
            stream = container.add_stream(codec, rate=AUDIO_RATE)
            if audio.codec_context.layout.nb_channels == 1:
                stream.codec_context.layout = "mono"
            packets = _encode_audio(source, audio, stream, video.start)
        for packet in packets:
            time = packet.pts * packet.time_base
            if time >= length:
                break
            yield time, packet


def _copy_audio(source: Any, audio: Any, stream: Any, start: Fraction) -> Iterator[Any]:
    for packet in source.demux(audio):
        if packet.size and packet.pts is not None:
            offset = int(start / packet.time_base)
            packet.pts, packet.dts = packet.pts - offset, packet.pts - offset
            packet.stream = stream
            yield packet


def _encode_audio(source: Any, audio: Any, stream: Any, start: Fraction) -> Iterator[Any]:
    import av

    context = stream.codec_context
    resampler = av.AudioResampler(
        context.format, context.layout, AUDIO_RATE, context.frame_size or OPUS_SAMPLES
    )
    for packet in source.demux(audio):
        frames: list[Any] = []
        with suppress(av.InvalidDataError):  # Leave a gap for damaged audio, as players do.
            frames = packet.decode()
        for frame in frames:
            if frame.pts is None:
                continue
            frame.pts -= int(start / frame.time_base)
            for resampled in resampler.resample(frame):
                yield from stream.encode(resampled)
    for resampled in (*resampler.resample(None), None):
        yield from stream.encode(resampled)
