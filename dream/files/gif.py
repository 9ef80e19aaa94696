"""GIFs: of the parts of a film, in the colours that suit each frame best."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from dream.files.video_container import open_video, pull_frames
from dream.tensors import Size

GIF_TIME_BASE = Fraction(1, 100)
MIN_FRAME_TICKS = 2


def write_gif(path: Path, parts: Mapping[Path, Fraction], recipe: str, size: Size) -> None:
    """Put parts, each with its time in seconds, together as a GIF of that (height, width).

    Each frame has a palette of its own; the recipe is a comment.
    """
    import av

    bare = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with av.open(str(bare), "w", format="gif") as container:
            stream = container.add_stream("gif", rate=100)
            stream.pix_fmt, stream.codec_context.time_base = "pal8", GIF_TIME_BASE
            stream.height, stream.width = size
            for frame in _quantise_colours(_gif_frames(parts)):
                for packet in stream.encode(frame):
                    packet.duration = frame.duration
                    container.mux(packet)
            container.mux(stream.encode(None))
        _insert_comment(bare, path, recipe.encode())
    finally:
        bare.unlink(missing_ok=True)


def _gif_frames(parts: Mapping[Path, Fraction]) -> Iterator[Any]:
    """The frames of all parts, in hundredths of a second: at most one in two of them, as browsers
    slow down what is quicker.
    """
    last = -MIN_FRAME_TICKS
    for path, start in sorted(parts.items(), key=lambda part: part[1]):
        with open_video(path) as container:
            for frame in container.decode(container.streams.video[0]):
                base = frame.time_base
                time, length = start + frame.pts * base, frame.duration * base
                time, length = round(time / GIF_TIME_BASE), round(length / GIF_TIME_BASE)
                if time >= last + MIN_FRAME_TICKS:
                    last = frame.pts = time
                    frame.time_base, frame.duration = GIF_TIME_BASE, length
                    yield frame


def _quantise_colours(frames: Iterator[Any]) -> Iterator[Any]:
    """The frames, each in the colours that suit it best."""
    import av

    graph = None
    for frame in frames:
        if graph is None:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=GIF_TIME_BASE
            )
            split, find, use, sink = (
                graph.add(name, how)
                for name, how in (
                    ("split", ""),
                    ("palettegen", "stats_mode=single"),
                    ("paletteuse", "new=1:dither=bayer"),
                    ("buffersink", ""),
                )
            )
            source.link_to(split)
            split.link_to(use, 0, 0)
            split.link_to(find, 1, 0)
            find.link_to(use, 0, 1)
            use.link_to(sink)
            graph.configure()
        graph.push(frame)
        yield from pull_frames(graph)
    if graph:
        graph.push(None)
        yield from pull_frames(graph)


def _insert_comment(bare: Path, path: Path, text: bytes) -> None:
    """A GIF with a comment, which ffmpeg writes none of: behind the head and its colours."""
    blocks = (text[start : start + 255] for start in range(0, len(text), 255))
    with open(bare, "rb") as source, open(path, "wb") as target:
        head = source.read(13)
        colours = 3 << (head[10] % 8 + 1) if head[10] & 0x80 else 0
        target.write(head + source.read(colours))
        if text:
            target.write(b"\x21\xfe")
            target.writelines(bytes([len(each)]) + each for each in blocks)
            target.write(b"\0")
        shutil.copyfileobj(source, target)
