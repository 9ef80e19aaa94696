"""The making-of: a picture as a video of itself forming, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from PIL import Image

from dream.files.video_writer import VideoWriter, convert_write_errors
from dream.recipe.knob import Knob
from dream.recipe.zoom import exact_frame_rate
from dream.render.loop import Frame
from dream.tensors import Size, even_size, limit_size

# The longest side of such a video.
MAX_SIDE = 1280
# For how many seconds the finished picture is shown, and at the turns of a loop.
FINAL_HOLD_SECONDS, LOOP_HOLD_SECONDS = 1, Fraction(1, 2)
SECONDS_KNOB = Knob(
    "How long it takes to form.", 0.5, 60, unit="seconds", default=3.0, value_type=float
)
FPS_KNOB = Knob("How many frames a second.", 1, 60, default=24.0, value_type=float)


@dataclass(frozen=True)
class MakingOf:
    """How a making-of runs: forming for so many seconds; as a `loop` it goes back to its start.

    Raises:
        RecipeError: if a number is out of bounds.
    """

    seconds: float = 3.0
    fps: float = 24.0
    loop: bool = False

    def __post_init__(self) -> None:
        SECONDS_KNOB.check("seconds", self.seconds)
        FPS_KNOB.check("fps", self.fps)

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second."""
        return exact_frame_rate(self.fps)

    @property
    def state_count(self) -> int:
        """How many frames show it forming, the first and the last state among them."""
        return max(2, round(Fraction(self.seconds) * self.frame_rate))

    @property
    def frame_order(self) -> list[int]:
        """Which of those is shown in each frame of the video."""
        return self.order_of(self.state_count)

    def order_of(self, states: int) -> list[int]:
        """The same, where there was time for so many."""
        last = states - 1
        if not self.loop:
            return [*range(last), *[last] * max(1, round(FINAL_HOLD_SECONDS * self.frame_rate))]
        turn = max(1, round(LOOP_HOLD_SECONDS * self.frame_rate))
        return [*[0] * turn, *range(1, last), *[last] * turn, *range(last - 1, 0, -1)]


def making_of_size(size: Size) -> Size:
    """The size of the making-of of a picture of that (height, width)."""
    return even_size(limit_size(size, MAX_SIDE))


def record_making_of(
    frames: Iterator[Frame], making: MakingOf, film: VideoWriter
) -> Iterator[Frame]:
    """Have a picture formed, and its making-of written into a film; the frames go through.

    Between two steps, pictures go over from one to the next. They are kept in files until the video
    has been written. Where there was no time for all, it ends with the picture as far as it came.
    """
    folder = film.folder
    film.discard_parts()  # One that was killed forms anew.
    with convert_write_errors():
        folder.mkdir()
    made, before = 0, None
    for frame in frames:
        now = frame.picture().resize((film.size[1], film.size[0]), Image.Resampling.LANCZOS)
        # Where each state lies among the steps: those up to this one can be shown.
        while made < making.state_count:
            place = made * max(frame.total, 1) / (making.state_count - 1)
            if place > frame.step and not frame.finished:
                break
            share = min(1.0, place - (frame.step - 1))
            _save_state(film, made, now if before is None else Image.blend(before, now, share))
            made += 1
        if frame.ended:
            _save_state(film, made, now)
            made += 1
        before = now
        yield frame
    _write_video(making, film, made)


def _write_video(making: MakingOf, film: VideoWriter, states: int) -> None:
    length = 1 / making.frame_rate
    with film.open_part(Fraction(0)) as part:
        for number, state in enumerate(making.order_of(states)):
            with Image.open(_state_path(film.folder, state)) as image:
                part.add(image.convert("RGB"), number * length, length)


def _save_state(film: VideoWriter, number: int, image: Image.Image) -> None:
    with convert_write_errors():
        image.save(_state_path(film.folder, number), compress_level=1)


def _state_path(folder: Path, number: int) -> Path:
    return folder / f"state-{number}.png"
