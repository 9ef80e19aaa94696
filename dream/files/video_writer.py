"""Videos written part by part, so that one can be stopped, or go on, after any of them.

A part is a video of about a second by itself. They lie in a folder beside the file that they become
when they are put together, with the sound, if any, and the recipe.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import json
import os
import shlex
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from dream.errors import PictureError, first_line
from dream.files.gif import write_gif
from dream.files.image import check_destination, load_image
from dream.files.limited_reader import regular_file
from dream.files.video_container import RECIPE_KEY, audio_of, open_video
from dream.files.video_info import VideoInfo
from dream.recipe import Recipe
from dream.tensors import Size, to_pil_image

# Raised when parts of before can no longer be gone on from.
PARTS_VERSION = 2
# By how a file ends: its container, and the codec, the pixels and the options of its parts. Each
# codec gives the packets in the order in which they are shown, on one thread: the same ones always.
# The lookahead of x264 would read what it never wrote: two films in a hundred came out otherwise.
X264 = {"crf": "20", "preset": "fast", "bf": "0", "rc-lookahead": "0"}
OUTPUT_FORMATS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    ".mp4": ("mp4", "libx264", "yuv420p", X264),
    ".webm": (
        "webm",
        "libvpx-vp9",
        "yuv420p",
        {"crf": "32", "b": "0", "cpu-used": "5", "lag-in-frames": "0", "auto-alt-ref": "0"},
    ),
    # Without loss: its colours are chosen when it is put together.
    ".gif": ("gif", "libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast", "bf": "0"}),
}
# What is asked of a container; without the second the number of a track is a random one.
MUXERS = {
    ".mp4": {"movflags": "faststart+use_metadata_tags"},
    ".webm": {"fflags": "bitexact"},
}
# The codec for sound, and those that are taken as they are.
AUDIO_CODECS = {".mp4": ("aac", ("aac", "mp3")), ".webm": ("libopus", ("opus", "vorbis"))}
AUDIO_RATE = 48_000
OPUS_SAMPLES = 960
# As browsers take a video to be that does not say.
BT709 = 1


class VideoWriter:
    """A video under way: `done` frames of it are there, `last` is the last of them. Once it is
    finished `remark` says what it had to go without.

    `about` says what it is made of: with parts of the same it goes on.

    Raises:
        PictureError: if the name ends in none of .mp4, .webm and .gif, or cannot be written; or
            if there are parts of another film, which says how that was begun.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        recipe: Recipe,
        size: Size,
        rate: Fraction,
        time_base: Fraction,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = check_destination(path, *OUTPUT_FORMATS)
        self.recipe, self.size, self.frame_rate, self.time_base = recipe, size, rate, time_base
        self.folder = self.path.with_name(f".{self.path.name}.parts")
        made = [PARTS_VERSION, self.path.suffix.lower(), recipe.to_dict(), dict(about or {})]
        self.key = json.dumps(made)
        self.frames_done = 0
        self.last_frame: Image.Image | None = None
        self.remark = ""
        self._starts: dict[Path, Fraction] = {}
        self._resume()

    def _resume(self) -> None:
        """Go on from the parts that are there; without one that is finished, begin anew.

        Raises:
            PictureError: if they are of another film, or damaged: they are somebody's hours.
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
            if self.frames_done and key == self.key:
                self.last_frame = to_pil_image(load_image(self.folder / f"{self.frames_done}.png"))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                said = f"{error.strerror}; give a shorter name for OUT"
                raise PictureError(f"{self.path} cannot be written: {said}") from error
            raise self._not_ours("", f"damaged ({first_line(error)})") from error
        if not self.frames_done:
            self.discard_parts()
        elif key != self.key:
            begun = f"begun {_differences(key, self.key)}, and {self.frames_done} frames of it are there"
            raise self._not_ours("the same again goes on; ", begun)

    def _not_ours(self, advice: str, what: str) -> PictureError:
        return PictureError(
            f"{self.path} was {what}: {advice}give another name for OUT, or delete {self.folder} "
            "to begin anew"
        )

    @contextmanager
    def open_part(self, start: Fraction) -> Iterator[VideoPart]:
        """A part that begins at so many seconds; if it is not broken off, it is kept.

        Raises:
            PictureError: if it cannot be written; the parts before it are kept.
        """
        with convert_write_errors():
            self.folder.mkdir(exist_ok=True)
            if (
                not self.frames_done
            ):  # Later a full disk would leave nothing of it, and so of all parts.
                (self.folder / "film.json").write_text(self.key)
            now = self.folder / "now.mp4"
            part = VideoPart(
                now, self.path.suffix.lower(), self.size, self.frame_rate, self.time_base
            )
            try:
                yield part
            except BaseException:
                part.close()
                if part.frame_count:
                    self._starts[now] = start
                raise
            part.close()
            stop = self.frames_done + part.frame_count
            self.last_frame = part.last_frame
            part.last_frame.save(self.folder / f"{stop}.png")
            (self.folder / f"{self.frames_done}.start").write_text(str(start))
            # What is killed before this goes on from the part before.
            kept = now.rename(self.folder / f"{self.frames_done:09}-{stop:09}.mp4")
            self._starts[kept], self.frames_done = start, stop

    def finish(self, sound: VideoInfo | None = None, with_recipe: bool = True) -> bool:
        """Put the parts that there are together, with the recipe of these; whether there are any.

        With the sound of that video, where it can be had; else `remark` says why not.

        Raises:
            PictureError: if the file cannot be written.
        """
        if not sound or self.path.suffix.lower() not in AUDIO_CODECS:
            return self._finish(None, with_recipe)
        self.remark = sound.remark
        try:
            return self._finish(sound, with_recipe)
        except PictureError as error:
            if not sound.has_audio:
                raise
            is_there = self._finish(None, with_recipe)
            self.remark = f"its sound cannot be taken along, and is left out: {error}"
            return is_there

    def _finish(self, sound: VideoInfo | None, with_recipe: bool) -> bool:
        if not self._starts:
            return False
        partial = self.path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with convert_write_errors():
                lasting = self.recipe.with_max_seconds(_total_seconds(self._starts))
                made_by = lasting.to_json() if with_recipe else ""
                if self.path.suffix.lower() == ".gif":
                    write_gif(partial, self._starts, made_by, self.size)
                else:
                    _join_parts(partial, self.path.suffix.lower(), self._starts, made_by, sound)
                partial.replace(self.path)
        finally:
            partial.unlink(missing_ok=True)
        return True

    def discard_parts(self) -> None:
        """Throw the parts away."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.frames_done, self.last_frame, self._starts = 0, None, {}


@contextmanager
def convert_write_errors() -> Iterator[None]:
    """What goes wrong in here, as on a full disk, is a `PictureError`."""
    import av

    try:
        yield
    except (OSError, av.FFmpegError) as error:
        raise PictureError(f"the video cannot be written: {first_line(error)}") from error


def _differences(begun: str, now: str) -> str:
    """How a film was begun that is now to be another, by the keys of both: "with --zoom 2.0"."""
    try:
        (version, _, recipe, about), (own, _, wanted, sources) = json.loads(begun), json.loads(now)
        others = {name: recipe[name] for name in recipe if recipe[name] != wanted.get(name)}
        if "kind" in others:
            return f"as a {recipe['kind']}"
        options = [
            shlex.join((f"--{name.replace('_', '-')}", str(value)))
            for name, value in others.items()
        ]
        words = {"source": "another picture or video", "weights": "other weights"}
        files = [said for name, said in words.items() if about.get(name) != sources.get(name)]
        if version == own and (options or files):
            return "with " + " and ".join(filter(None, (" ".join(options), *files)))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        pass  # It is no key of this program's.
    return "by another version of this program"


def file_sha256(path: str | os.PathLike[str]) -> str:
    """What tells the content of a file from any other. Raises as `regular_file`."""
    found = hashlib.sha256()
    with regular_file(path, os.fspath(path)) as file:
        while content := file.read(1 << 20):
            found.update(content)
    return found.hexdigest()


class VideoPart:
    """A video of some frames, which begin at 0; `frames` were added, the `last` one last."""

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
            context.color_range = 1  # As films have it: 16 to 235.

    def add(self, image: Image.Image, start: Fraction, duration: Fraction) -> None:
        """One more frame, shown from so many seconds on, for so many."""
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
        """Have all of it in the file."""
        if self.frame_count:
            self._write(None)
        self._container.close()

    def _write(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = self._durations.pop(0)
            self._container.mux(packet)


def _video_packets(parts: Mapping[Path, Fraction], stream: Any) -> Iterator[tuple[Fraction, Any]]:
    """The packets of all parts, one after the other, each with its time."""
    for path, start in sorted(parts.items(), key=lambda part: part[1]):
        with open_video(path) as container:
            own = container.streams.video[0]
            for packet in container.demux(own):
                if packet.size:
                    offset = int(start / packet.time_base)
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    time = packet.dts * packet.time_base
                    packet.stream = stream
                    yield time, packet


def _join_parts(
    path: Path, ending: str, parts: Mapping[Path, Fraction], recipe: str, sound: VideoInfo | None
) -> None:
    import av

    first = min(parts, key=lambda part: parts[part])
    with (
        open_video(first) as model,
        convert_write_errors(),  # Else it would be said that the first part cannot be read.
        av.open(
            str(path), "w", format=OUTPUT_FORMATS[ending][0], options=MUXERS[ending]
        ) as container,
    ):
        container.metadata[RECIPE_KEY] = recipe
        stream = container.add_stream_from_template(model.streams.video[0])
        tracks = [_video_packets(parts, stream)]
        if sound and sound.has_audio:
            tracks.append(_audio_packets(container, ending, sound, _total_seconds(parts)))
        for _, packet in heapq.merge(*tracks, key=lambda each: each[0]):
            container.mux(packet)


def _total_seconds(parts: Mapping[Path, Fraction]) -> Fraction:
    """How many seconds all parts last together."""
    last = max(parts, key=lambda part: parts[part])
    with open_video(last) as container:
        stream = container.streams.video[0]
        return parts[last] + Fraction(stream.duration * stream.time_base)


def _audio_packets(
    container: Any, ending: str, video: VideoInfo, length: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    """The packets of a video's sound, as far as that, each with its time."""
    codec, taken = AUDIO_CODECS[ending]
    with open_video(video.path) as source:
        own = audio_of(source)
        if own.codec_context.name.replace("float", "") in taken:
            stream = container.add_stream_from_template(own)
            packets = _copy_audio(source, own, stream, video.start)
        else:
            stream = container.add_stream(codec, rate=AUDIO_RATE)
            if own.codec_context.layout.nb_channels == 1:
                stream.codec_context.layout = "mono"
            packets = _encode_audio(source, own, stream, video.start)
        for packet in packets:
            time = packet.pts * packet.time_base
            if time >= length:
                break
            yield time, packet


def _copy_audio(source: Any, own: Any, stream: Any, start: Fraction) -> Iterator[Any]:
    for packet in source.demux(own):
        if packet.size and packet.pts is not None:
            offset = int(start / packet.time_base)
            packet.pts, packet.dts = packet.pts - offset, packet.pts - offset
            packet.stream = stream
            yield packet


def _encode_audio(source: Any, own: Any, stream: Any, start: Fraction) -> Iterator[Any]:
    import av

    context = stream.codec_context
    resampler = av.AudioResampler(
        context.format, context.layout, AUDIO_RATE, context.frame_size or OPUS_SAMPLES
    )
    for packet in source.demux(own):
        frames: list[Any] = []
        with suppress(av.InvalidDataError):  # What is damaged is a gap, as players have it.
            frames = packet.decode()
        for frame in frames:
            if frame.pts is None:
                continue
            frame.pts -= int(start / frame.time_base)
            for each in resampler.resample(frame):
                yield from stream.encode(each)
    for each in (*resampler.resample(None), None):
        yield from stream.encode(each)
