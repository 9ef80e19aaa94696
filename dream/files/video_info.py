"""What is known of a video in a file, and how much of one is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from PIL import Image

from dream.errors import PictureError

if TYPE_CHECKING:  # A decoder's process loads no torch.
    from dream.tensors import Size

MAX_REMARK_LETTERS = 200


@dataclass(frozen=True)
class VideoLimits:
    """How much of a video is taken: seconds, pixels a side, frames in all and in a second. Of one
    that is quicker, as slow motion is filmed, some frames are left out.
    """

    seconds: float = 3600
    side: int = 8192
    frames: int = 216_000
    rate: float = 120


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video in a file.

    `size` is that of an upright frame of square pixels, `times` when each is shown, in seconds from
    the first, and at last when it ends; all are whole multiples of `time_base`. `upright` says how
    a frame is turned or mirrored until it is that; `remark` what of the file cannot be taken.
    """

    path: str
    size: Size
    times: tuple[Fraction, ...]
    time_base: Fraction
    start: Fraction
    upright: Image.Transpose | None
    has_audio: bool
    remark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All but its path, in numbers and text alone."""
        return {
            "size": self.size,
            "times": [int(time / self.time_base) for time in self.times],
            "time_base": self.time_base.as_integer_ratio(),
            "start": self.start.as_integer_ratio(),
            "upright": self.upright,
            "sound": self.has_audio,
            "remark": self.remark,
        }

    @classmethod
    def from_dict(cls, path: str, found: Mapping[str, Any]) -> VideoInfo:
        """The video in that file of which `to_dict` said so much.

        Raises:
            ArithmeticError, LookupError, TypeError, ValueError: if nothing can be that video.
        """
        base, start = (Fraction(*map(int, found[name])) for name in ("time_base", "start"))
        times, (height, width) = [int(time) for time in found["times"]], map(int, found["size"])
        if (
            base <= 0
            or min(height, width) < 1
            or len(times) < 3
            or times[0] != 0
            or times != sorted({*times})
        ):
            raise ValueError("this is no video")
        upright = None if found["upright"] is None else Image.Transpose(found["upright"])
        at = tuple(time * base for time in times)
        sound, remark = bool(found["sound"]), str(found["remark"])
        if len(remark) > MAX_REMARK_LETTERS or not remark.isprintable():
            raise ValueError("this is no remark")
        return cls(path, (height, width), at, base, start, upright, sound, remark)

    @property
    def frame_count(self) -> int:
        """How many frames it has."""
        return len(self.times) - 1

    @property
    def frame_rate(self) -> Fraction:
        """How many frames it has in a second, on the mean."""
        return self.frame_count / self.times[-1]


def check_limits(video: VideoInfo, limits: VideoLimits, name: str) -> None:
    """Refuse a video beyond those limits.

    Raises:
        PictureError: if it is.
    """
    check_side(max(video.size), limits, name)
    check("lasts", float(video.times[-1]), limits.seconds, "seconds; cut it", name)
    check("has", video.frame_count, limits.frames, "frames; cut it", name)


def check(verb: str, value: float, limit: float, what: str, name: str) -> None:
    """Refuse a video by that name of which a value is above its limit.

    Raises:
        PictureError: if it is.
    """
    if value > limit:
        raise PictureError(f"{name} {verb} {value:.10g} {what}: the limit is {limit:g}")


def check_side(side: int, limits: VideoLimits, name: str) -> None:
    """The same for the pixels of a side."""
    check("has a side of", side, limits.side, "pixels; shrink it", name)
