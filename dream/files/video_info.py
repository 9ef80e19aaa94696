"""Properties of a video file, and limits on videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from PIL import Image

from dream.errors import PictureError

if TYPE_CHECKING:  # A decoder process must not load torch.
    from dream.tensors import Size

MAX_REMARK_LENGTH = 200


@dataclass(frozen=True)
class VideoLimits:
    """Limits on a video: seconds, pixels a side, frames, and frames per second.

    A video with more frames per second, such as slow motion, loses some of its frames.
    """

    max_seconds: float = 3600
    max_side: int = 8192
    max_frames: int = 216_000
    max_frame_rate: float = 120


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file.

    `size` is (height, width) of an upright frame with square pixels. `times` are the seconds from
    the first frame to each frame, and to the end of the last; all are multiples of `time_base`.
    `start` is the time of the first frame in the file, `transposition` what makes a frame
    upright, `remark` what in the file cannot be used.
    """

    path: str
    size: Size
    times: tuple[Fraction, ...]
    time_base: Fraction
    start: Fraction
    transposition: Image.Transpose | None
    has_audio: bool
    remark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return all but the path as JSON-like values."""
        return {
            "size": self.size,
            "times": [int(time / self.time_base) for time in self.times],
            "time_base": self.time_base.as_integer_ratio(),
            "start": self.start.as_integer_ratio(),
            "upright": self.transposition,
            "sound": self.has_audio,
            "remark": self.remark,
        }

    @classmethod
    def from_dict(cls, path: str, values: Mapping[str, Any]) -> VideoInfo:
        """Return the video at a path with the values of `to_dict`, which are untrusted.

        Raises:
            ArithmeticError, LookupError, TypeError, ValueError: if no video can have such values.
        """
        base, start = (Fraction(*map(int, values[name])) for name in ("time_base", "start"))
        times, (height, width) = [int(time) for time in values["times"]], map(int, values["size"])
        if (
            base <= 0
            or min(height, width) < 1
            or len(times) < 3
            or times[0] != 0
            or times != sorted({*times})
        ):
            raise ValueError("these are not the values of a video")
        upright = None if values["upright"] is None else Image.Transpose(values["upright"])
        seconds = tuple(time * base for time in times)
        has_audio, remark = bool(values["sound"]), str(values["remark"])
        if len(remark) > MAX_REMARK_LENGTH or not remark.isprintable():
            raise ValueError("this is not a remark")
        return cls(path, (height, width), seconds, base, start, upright, has_audio, remark)

    @property
    def frame_count(self) -> int:
        """The number of frames."""
        return len(self.times) - 1

    @property
    def frame_rate(self) -> Fraction:
        """The mean number of frames per second."""
        return self.frame_count / self.times[-1]


def check_limits(video: VideoInfo, limits: VideoLimits, name: str) -> None:
    """Raise a `PictureError` if a video exceeds a limit."""
    check_side(max(video.size), limits, name)
    check_duration(float(video.times[-1]), limits, name)
    check_frame_count(video.frame_count, limits, name)


def check_side(pixels: int, limits: VideoLimits, name: str) -> None:
    """Raise a `PictureError` if a side of a video is too long."""
    if pixels > limits.max_side:
        raise _limit_error(f"{name} has a side of {pixels} pixels", limits.max_side, "Shrink")


def check_duration(seconds: float, limits: VideoLimits, name: str) -> None:
    """Raise a `PictureError` if a video is too long."""
    if seconds > limits.max_seconds:
        raise _limit_error(f"{name} lasts {seconds:.10g} seconds", limits.max_seconds, "Cut")


def check_frame_count(count: int, limits: VideoLimits, name: str) -> None:
    """Raise a `PictureError` if a video has too many frames."""
    if count > limits.max_frames:
        raise _limit_error(f"{name} has {count} frames", limits.max_frames, "Cut")


def _limit_error(text: str, limit: float, verb: str) -> PictureError:
    return PictureError(f"{text}; the limit is {limit:g}. {verb} it and try again.")
