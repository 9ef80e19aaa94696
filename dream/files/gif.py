"""GIFs, joined from the parts of a video, with a palette for each frame."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

from dream.files.video_container import filter_frames, open_video
from dream.tensors import Size

GIF_TIME_BASE = Fraction(1, 100)
MIN_FRAME_TICKS = 2


def write_gif(path: Path, parts: Mapping[Path, Fraction], recipe: str, size: Size) -> None:
    """Join the parts of a video, in order, each with its start in seconds, as a GIF of `size`.

    `size` is (height, width). Each frame has its own palette; the recipe becomes the comment.
    """
    import av

    # ffmpeg opens the file itself: through a Python file it would not say why a write fails.
    uncommented = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with av.open(str(uncommented), "w", format="gif") as container:
            stream = container.add_stream("gif", rate=100)
            stream.pix_fmt, stream.codec_context.time_base = "pal8", GIF_TIME_BASE
            stream.height, stream.width = size
            for frame in _quantise_colours(_gif_frames(parts)):
                for packet in stream.encode(frame):
                    packet.duration = frame.duration
                    container.mux(packet)
            container.mux(stream.encode(None))
        _copy_with_comment(uncommented, path, recipe.encode())
    finally:
        uncommented.unlink(missing_ok=True)


def _gif_frames(parts: Mapping[Path, Fraction]) -> Iterator[Any]:
    """Yield the frames of all parts, in ticks of 1/100 s.

    Frames are at least two ticks apart, because browsers slow down faster GIFs.
    """
    last = -MIN_FRAME_TICKS
    for path, start in parts.items():
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
    """Return the frames, each with the 256 colours that suit it best."""
    import av

    first, graph = next(frames), av.filter.Graph()
    source = graph.add_buffer(
        width=first.width, height=first.height, format=first.format, time_base=GIF_TIME_BASE
    )
    split = graph.add("split")
    palettegen = graph.add("palettegen", "stats_mode=single")
    paletteuse = graph.add("paletteuse", "new=1:dither=bayer")
    source.link_to(split)
    split.link_to(paletteuse, 0, 0)
    split.link_to(palettegen, 1, 0)
    palettegen.link_to(paletteuse, 0, 1)
    paletteuse.link_to(graph.add("buffersink"))
    graph.configure()
    return filter_frames(graph, chain([first], frames, [None]))


def _copy_with_comment(gif: Path, path: Path, text: bytes) -> None:
    """Copy a GIF with a comment after its header and palette; ffmpeg writes no comments."""
    blocks = (text[start : start + 255] for start in range(0, len(text), 255))
    with open(gif, "rb") as source, open(path, "wb") as target:
        header = source.read(13)
        palette_bytes = 3 << (header[10] % 8 + 1) if header[10] & 0x80 else 0
        target.write(header + source.read(palette_bytes))
        if text:
            target.write(b"\x21\xfe")
            target.writelines(bytes([len(block)]) + block for block in blocks)
            target.write(b"\0")
        shutil.copyfileobj(source, target)
