"""Videos in files: what is known of them, and their frames."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import asdict
from functools import partial

from PIL import Image

from dream.files.decoder import read_in_decoder
from dream.files.decoder_answers import next_answer, to_rgb_image
from dream.files.limited_reader import name_of
from dream.files.video_info import VideoInfo, VideoLimits, check_limits
from dream.tensors import Size

__all__ = ["VideoInfo", "VideoLimits", "read_frames", "read_video_info"]


def read_video_info(path: str | os.PathLike[str], limits: VideoLimits | None = None) -> VideoInfo:
    """What is known of the video in a file: MP4, MOV, WebM or GIF. One frame of it is decoded.

    Raises:
        PictureError: if it is none, is damaged, has no or one frame, or is beyond the limits.
    """
    limits = limits or VideoLimits()
    with read_in_decoder("video", path, limits=asdict(limits)) as answers:
        video = next_answer(answers, partial(VideoInfo.from_dict, str(path)))
    check_limits(video, limits, name_of(path))
    return video


def read_frames(video: VideoInfo, size: Size, first: int = 0) -> Generator[Image.Image, None, None]:
    """The frames of a video from the one of that number on, upright and at that (height, width).

    One that cannot be read is like the one before it, or after it where none is before.

    Raises:
        PictureError: if the video turns out to be damaged.
    """
    if first >= video.frame_count:
        return
    found, to_frame = video.to_dict(), partial(to_rgb_image, size=size)
    with read_in_decoder("frames", video.path, video=found, size=size, first=first) as answers:
        frames = (answer for answer in answers if answer is not None)
        for _ in range(first, video.frame_count - 1):
            yield next_answer(frames, to_frame)
        last = next_answer(frames, to_frame)
    yield last  # Not before the decoder is free: not everyone asks for more.
