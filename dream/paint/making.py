"""The making-of: a picture as a video of itself forming, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from PIL import Image

from dream.files.film import Film, convert_write_errors
from dream.paint.frames import Frame
from dream.recipe.knob import Knob
from dream.recipe.zoom import exact_rate
from dream.tensors import Size, even, limited

# The longest side of such a video.
SIDE = 1280
# For how many seconds the finished picture is shown, and at the turns of a loop.
REST, TURN = 1, Fraction(1, 2)
SECONDS = Knob("How long it takes to form.", 0.5, 60, unit="seconds", default=3.0, kind=float)
FPS = Knob("How many frames a second.", 1, 60, default=24.0, kind=float)


@dataclass(frozen=True)
class Making:
    """How a making-of runs: forming for so many seconds; as a `loop` it goes back to its start.

    Raises:
        RecipeError: if a number is out of bounds.
    """

    seconds: float = 3.0
    fps: float = 24.0
    loop: bool = False

    def __post_init__(self) -> None:
        SECONDS.check("seconds", self.seconds)
        FPS.check("fps", self.fps)

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return exact_rate(self.fps)

    @property
    def forming(self) -> int:
        """How many frames show it forming, the first and the last state among them."""
        return max(2, round(Fraction(self.seconds) * self.rate))

    @property
    def order(self) -> list[int]:
        """Which of those is shown in each frame of the video."""
        return self.order_of(self.forming)

    def order_of(self, states: int) -> list[int]:
        """The same, where there was time for so many."""
        last = states - 1
        if not self.loop:
            return [*range(last), *[last] * max(1, round(REST * self.rate))]
        turn = max(1, round(TURN * self.rate))
        return [*[0] * turn, *range(1, last), *[last] * turn, *range(last - 1, 0, -1)]


def making_size(size: Size) -> Size:
    """The size of the making-of of a picture of that (height, width)."""
    return even(limited(size, SIDE))


def formed(frames: Iterator[Frame], making: Making, film: Film) -> Iterator[Frame]:
    """Have a picture formed, and its making-of written into a film; the frames go through.

    Between two steps, pictures go over from one to the next. They are kept in files until the video
    has been written. Where there was no time for all, it ends with the picture as far as it came.
    """
    folder = film.folder
    film.drop()  # One that was killed forms anew.
    with convert_write_errors():
        folder.mkdir()
    made, before = 0, None
    for frame in frames:
        now = frame.picture().resize((film.size[1], film.size[0]), Image.Resampling.LANCZOS)
        # Where each state lies among the steps: those up to this one can be shown.
        while made < making.forming:
            place = made * max(frame.total, 1) / (making.forming - 1)
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
    _write(making, film, made)


def _write(making: Making, film: Film, states: int) -> None:
    length = 1 / making.rate
    with film.part(Fraction(0)) as part:
        for number, state in enumerate(making.order_of(states)):
            with Image.open(_state(film.folder, state)) as image:
                part.add(image.convert("RGB"), number * length, length)


def _save_state(film: Film, number: int, image: Image.Image) -> None:
    with convert_write_errors():
        image.save(_state(film.folder, number), compress_level=1)


def _state(folder: Path, number: int) -> Path:
    return folder / f"state-{number}.png"
