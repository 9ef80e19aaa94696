"""Videos in files: what is known of them, and their frames."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from PIL import Image

from dream.files.bounded import name_of
from dream.files.decoder import read_in_decoder
from dream.files.decoder_answers import next_answer, to_rgb_image
from dream.files.video_info import Limits, Video, check_limits
from dream.tensors import Size

__all__ = ["Limits", "Video", "frames_of", "load_video"]


def load_video(path: str | os.PathLike[str], limits: Limits | None = None) -> Video:
    """What is known of the video in a file: MP4, MOV, WebM or GIF. One frame of it is decoded.

    Raises:
        PictureError: if it is none, is damaged, has no or one frame, or is beyond the limits.
    """
    limits = limits or Limits()
    with read_in_decoder("video", path, limits=asdict(limits)) as answers:
        video = next_answer(answers, partial(Video.from_dict, str(path)))
    check_limits(video, limits, name_of(path))
    return video


def frames_of(video: Video, size: Size, first: int = 0) -> Iterator[Image.Image]:
    """The frames of a video from the one of that number on, upright and at that (height, width).

    One that cannot be read is like the one before it, or after it where none is before.

    Raises:
        PictureError: if the video turns out to be damaged.
    """
    found = video.to_dict()
    with read_in_decoder("frames", video.path, video=found, size=size, first=first) as answers:
        for _ in range(first, video.frames):
            yield next_answer(answers, partial(to_rgb_image, size=size))
