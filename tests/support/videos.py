"""Write test videos: moving images, with sound on request."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from dream import Engine
from dream.files.video_info import VideoInfo
from dream.files.video_reader import read_frames, read_video_info
from dream.files.video_writer import VideoWriter
from dream.recipe import VideoRecipe
from dream.render.video_job import VideoJob, render_video
from dream.tensors import Size, to_pil_image

AUDIO_RATE = 48_000
# Bytes from the name of a tkhd box to its matrix.
MATRIX_OFFSET = 4 + 40


def pan(count: int, size: Size = (48, 64), speed: float = 2.0) -> list[Image.Image]:
    """Return frames of smooth noise that moves right by `speed` pixels a frame."""
    generator = torch.Generator().manual_seed(3)
    wide = torch.rand(1, 3, size[0] // 16, size[1] // 8, generator=generator)
    wide = torch.nn.functional.interpolate(wide, (size[0], 2 * size[1]), mode="bicubic").clamp(0, 1)
    images = []
    for frame in range(count):
        start = size[1] - round(frame * speed)
        images.append(to_pil_image(wide[..., start : start + size[1]]))
    return images


def write_timed(
    path: Path, images: Sequence[Image.Image], times: Sequence[Fraction], time_base: Fraction
) -> Path:
    """Write a video whose images start at those times; one more time is its end."""
    size = (images[0].height, images[0].width)
    rate = (len(images) / (times[-1] - times[0])).limit_denominator(1001)
    film = VideoWriter(path, VideoRecipe(), size, rate, time_base)
    with film.open_part(Fraction(0)) as part:
        for image, start, stop in zip(images, times, times[1:], strict=False):
            part.add(image, start, stop - start)
    film.finish()
    film.discard_parts()
    return path


def write_video(path: Path, images: Sequence[Image.Image], rate: Fraction = Fraction(24)) -> Path:
    """Write a video of those images at a constant frame rate."""
    times = [frame / rate for frame in range(len(images) + 1)]
    return write_timed(path, images, times, 1 / rate)


def encode(path: Path, images: Sequence[Image.Image], codec: str, pixels: str) -> Path:
    """Write a video of those images, 24 a second, by any encoder of PyAV."""
    frames = [av.VideoFrame.from_image(image).reformat(format=pixels) for image in images]
    try:
        return write_frames(path, frames, codec)
    finally:
        if codec == "libsvtav1" and hasattr(os, "sched_setscheduler"):
            # For root it raises its caller to the highest real-time priority: browsers and apps
            # that this process starts later would starve all others.
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def write_frames(
    path: Path, frames: Sequence[av.VideoFrame], codec: str = "libx264", **about: Any
) -> Path:
    """Write a video of those frames unchanged, 24 a second.

    `options` go to the encoder, `container` to the file, and others become the codec's attributes.
    """
    options, file_options = about.pop("options", {}), about.pop("container", {})
    with av.open(str(path), "w", options=file_options) as container:
        stream = container.add_stream(codec, rate=24, options=options)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        stream.metadata.update(about.pop("metadata", {}))
        for name, value in about.items():
            setattr(stream.codec_context, name, value)
        for at, frame in enumerate(frames):
            frame.pts = at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def add_beeps(path: Path, video: Path, beeps: Sequence[float], codec: str = "aac") -> Path:
    """Copy a video and add a tenth of a second of sound at each of those times."""
    length = float(read_video_info(video).times[-1])
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        pictures = source.streams.video[0]
        stream = target.add_stream_from_template(pictures)
        sound = target.add_stream(codec, rate=AUDIO_RATE)
        sound.codec_context.layout = "mono"
        time = np.arange(int(length * AUDIO_RATE)) / AUDIO_RATE
        loud = sum(((time >= beep) & (time < beep + 0.1)).astype(np.float32) for beep in beeps)
        samples = (0.5 * np.sin(2 * np.pi * 880 * time) * loud).astype(np.float32)
        resampler = av.AudioResampler("fltp", "mono", AUDIO_RATE, 1024)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = AUDIO_RATE, 0
        for packet in source.demux(pictures):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            target.mux(sound.encode(part))
        target.mux(sound.encode(None))
    return path


def read_video(path: Path) -> tuple[VideoInfo, list[Image.Image]]:
    """Return a video's info and frames."""
    video = read_video_info(path)
    return video, list(read_frames(video, video.size))


def find_beeps(path: Path) -> list[float]:
    """Return when sounds begin in a video, in seconds from its first frame."""
    found: list[float] = []
    with av.open(str(path)) as container:
        start = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        loud_until = -1.0
        for frame in container.decode(audio=0):
            samples = np.abs(frame.to_ndarray()).astype(np.float32)
            samples = samples.reshape(samples.shape[0], -1).max(0)
            if np.issubdtype(frame.to_ndarray().dtype, np.integer):
                samples = samples / 32768
            for at in np.flatnonzero(samples > 0.2):
                time = frame.time + at / frame.sample_rate
                if time > loud_until + 0.1:
                    found.append(time - start)
                loud_until = time
    return found


def set_matrix(path: Path, video: Path, by: tuple[int, int, int, int] = (0, 1, -1, 0)) -> Path:
    """Copy an MP4 with that matrix, by default an upright phone's: turned to the right."""
    content = bytearray(video.read_bytes())
    box = content.index(b"tkhd")
    a, b, c, d = (each << 16 for each in by)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    content[box + MATRIX_OFFSET : box + MATRIX_OFFSET + 36] = matrix
    path.write_bytes(content)
    return path


def write_camera_file(path: Path, images: Sequence[Image.Image]) -> Path:
    """Write an MJPEG that Chromium plays as a camera, over and over."""
    with path.open("wb") as file:
        for image in images:
            image.save(file, "JPEG", quality=90)
    return path


def render_some(engine: Engine, job: VideoJob, path: Path, steps: int) -> bool:
    """Render up to `steps` steps of a video, resuming it; return whether it is complete."""
    (recipe,) = job.render_job.recipes
    writer = VideoWriter(path, recipe, job.size, job.frame_rate, job.time_base)
    updates = render_video(job, engine.render_images, writer)
    for _ in zip(range(steps), updates, strict=False):
        pass
    updates.close()
    writer.finish(job.video)
    if is_complete := writer.frames_done == job.frame_count:
        writer.discard_parts()
    return is_complete
