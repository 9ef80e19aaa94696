"""Reading of video files: their properties and frames."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from dream.files.decoder import next_answer, read_in_decoder, to_pixels
from dream.files.limited_reader import display_name
from dream.files.video_info import VideoInfo, VideoLimits

if TYPE_CHECKING:
    from dream.tensors import Size


def read_video_info(path: str | os.PathLike[str], limits: VideoLimits | None = None) -> VideoInfo:
    """Return the properties of an MP4, MOV, WebM or GIF file; only one frame is decoded.

    Raises:
        PictureError: if it is no such video, is damaged, has fewer than two frames, or exceeds the
            limits.
    """
    limits = limits or VideoLimits()
    with read_in_decoder("video", path, limits=asdict(limits)) as answers:
        video = next_answer(answers, partial(VideoInfo.from_dict, str(path)))
    seconds = float(video.times[-1])
    limits.check(
        display_name(path), side=max(video.size), seconds=seconds, frames=video.frame_count
    )
    return video


def read_frames(video: VideoInfo, size: Size, first: int = 0) -> Generator[Image.Image, None, None]:
    """Yield the frames of a video from index `first` on, upright, at `size` (height, width).

    A copy of the previous frame, or else of the next one, replaces a frame that cannot be decoded.
    A `PictureError` says where a damaged video ends.
    """
    if first >= video.frame_count:
        return
    values, convert = video.to_dict(), partial(to_pixels, shape=(*size, 3))
    with read_in_decoder("frames", video.path, video=values, size=size, first=first) as answers:
        frames = (answer for answer in answers if answer is not None)
        for _ in range(first, video.frame_count - 1):
            yield Image.fromarray(next_answer(frames, convert))
        last = next_answer(frames, convert)
    yield Image.fromarray(last)  # Free the decoder first, because the caller may not ask for more.
