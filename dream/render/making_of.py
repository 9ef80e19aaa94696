"""The making-of: a video that shows an image form, and optionally loops back to its start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from PIL import Image

from dream.files.video_writer import VideoWriter, convert_write_errors
from dream.recipe.motion import FPS_KNOB, SECONDS_KNOB, exact_frame_rate
from dream.render.job_loop import Frame
from dream.tensors import Size, even_size, limit_size

# Pixels of a video's longest side.
MAX_VIDEO_SIDE = 1280
# How long the finished image is shown at the end, and each end of a loop.
FINAL_HOLD_SECONDS, LOOP_HOLD_SECONDS = 1, Fraction(1, 2)


@dataclass(frozen=True)
class MakingOf:
    """The options of a making-of: `seconds` to form, frames per second, and whether it is a loop.

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
        """Frames per second."""
        return exact_frame_rate(self.fps)

    @property
    def state_count(self) -> int:
        """Number of states from the first to the finished image, both included."""
        return max(2, round(Fraction(self.seconds) * self.frame_rate))

    @property
    def frame_order(self) -> list[int]:
        """The state that each frame of the video shows, by number from 0."""
        return self.order_of(self.state_count)

    def order_of(self, state_count: int) -> list[int]:
        """Return the `frame_order` of a video with fewer states, as one that ended early has."""
        last = state_count - 1
        if not self.loop:
            return [*range(last), *[last] * max(1, round(FINAL_HOLD_SECONDS * self.frame_rate))]
        hold = max(1, round(LOOP_HOLD_SECONDS * self.frame_rate))
        return [*[0] * hold, *range(1, last), *[last] * hold, *range(last - 1, 0, -1)]


def making_of_size(size: Size) -> Size:
    """Return the (height, width) of the making-of of an image of that (height, width)."""
    return even_size(limit_size(size, MAX_VIDEO_SIDE))


def record_making_of(
    frames: Iterator[Frame], options: MakingOf, writer: VideoWriter
) -> Iterator[Frame]:
    """Yield the frames of a job, and write the making-of of its image when they end.

    States are spaced evenly over the steps and interpolated between them. They are stored as files
    until the video is written. If the job ends early, the video ends with its last image.
    """
    writer.discard_parts()  # A making-of cannot be resumed.
    with convert_write_errors():
        writer.folder.mkdir()
    state_count, previous = 0, None
    for frame in frames:
        image = frame.picture().resize((writer.size[1], writer.size[0]), Image.Resampling.LANCZOS)
        # Save the states up to this step.
        while state_count < options.state_count:
            position = state_count * max(frame.total, 1) / (options.state_count - 1)  # In steps.
            if position > frame.step and not frame.finished:
                break
            share = min(1.0, position - (frame.step - 1))
            state = image if previous is None else Image.blend(previous, image, share)
            _save_state(writer, state_count, state)
            state_count += 1
        if frame.ended:
            _save_state(writer, state_count, image)
            state_count += 1
        previous = image
        yield frame
    _write_video(options, writer, state_count)


def _write_video(options: MakingOf, writer: VideoWriter, state_count: int) -> None:
    duration = 1 / options.frame_rate
    with writer.open_part(Fraction(0)) as part:
        for number, state in enumerate(options.order_of(state_count)):
            with Image.open(_state_path(writer.folder, state)) as image:
                part.add(image.convert("RGB"), number * duration, duration)


def _save_state(writer: VideoWriter, number: int, image: Image.Image) -> None:
    with convert_write_errors():
        image.save(_state_path(writer.folder, number), compress_level=1)


def _state_path(folder: Path, number: int) -> Path:
    return folder / f"state-{number}.png"
