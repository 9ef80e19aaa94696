"""Properties of a video file, limits on videos, and the formats that are written."""

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
# By file ending: the container, and the codec, pixel format and options of the parts of a written
# video. Each codec writes packets in display order on one thread, so that the output is
# deterministic. x264's lookahead would read uninitialised memory: two videos in a hundred differed.
X264_OPTIONS = {"crf": "20", "preset": "fast", "bf": "0", "rc-lookahead": "0"}
OUTPUT_FORMATS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    ".mp4": ("mp4", "libx264", "yuv420p", X264_OPTIONS),
    ".webm": (
        "webm",
        "libvpx-vp9",
        "yuv420p",
        {"crf": "32", "b": "0", "cpu-used": "5", "lag-in-frames": "0", "auto-alt-ref": "0"},
    ),
    # Lossless, because the palettes are chosen when the parts are joined.
    ".gif": ("gif", "libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast", "bf": "0"}),
}


@dataclass(frozen=True)
class VideoLimits:
    """Limits on a video: seconds, pixels a side, frames, and frames per second.

    A video with more frames per second, such as slow motion, loses some of its frames.
    """

    max_seconds: float = 3600
    max_side: int = 8192
    max_frames: int = 216_000
    max_frame_rate: float = 120

    def check(self, name: str, *, side: int = 0, seconds: float = 0, frames: int = 0) -> None:
        """Raise a `PictureError` if a video exceeds a limit."""
        if side > self.max_side:
            problem = f"a side of {side} pixels; the limit is {self.max_side}. Shrink"
            raise PictureError(f"{name} has {problem} it and try again.")
        if seconds > self.max_seconds:
            problem = f"{seconds:.10g} seconds; the limit is {self.max_seconds:g}. Cut"
            raise PictureError(f"{name} lasts {problem} it and try again.")
        if frames > self.max_frames:
            problem = f"{frames} frames; the limit is {self.max_frames}. Cut"
            raise PictureError(f"{name} has {problem} it and try again.")


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
