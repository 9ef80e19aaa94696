"""Which channels: those that were asked for, or those that answer a photo."""

from __future__ import annotations

from dream.errors import DreamError
from dream.files.picture import image_size, load_image, save_preview
from dream.page.moments import Moment, Moments, fresh_folder, in_turn, of_frames
from dream.paint.response import Response
from dream.recipe.channel import ChannelRecipe, channel_numbers, spread_channels
from dream.service.work import Work

GRID = 16
# How many channels answer, where nothing is said.
TOP = 8


def recipes_for(recipe: ChannelRecipe, numbers: str) -> list[ChannelRecipe]:
    """A recipe for each channel that was asked for; for some of every kind if none was."""
    if numbers.strip():
        channels = channel_numbers(numbers, recipe.model, recipe.layer)
    else:
        channels = spread_channels(GRID, recipe.model, recipe.layer)
    return [recipe.but(channel=channel) for channel in channels]


def answered(
    work: Work,
    photo: str,
    recipe: ChannelRecipe,
    spot: tuple[float, float] | None,
    count: int,
    *,
    raised: bool = False,
) -> Moments:
    """What a layer answers to a photo and its channels that answer most, at a spot in pixels or all
    over, as the moment that is `seen`; and then those as they form, from noise or `raised` in it.

    Raises:
        DreamError: if it cannot be told, or none answers.
    """
    image = load_image(photo)
    if spot:
        height, width = image_size(photo)  # Of all of it, where it is read at a half; not upright.
        if (height > width) != (image.shape[2] > image.shape[3]):
            height, width = width, height
        if not (0 <= spot[0] < width and 0 <= spot[1] < height):
            raise DreamError(
                f"the spot {spot[0]:g}, {spot[1]:g} lies outside of the picture, "
                f"which is {width} x {height} pixels"
            )
        spot = ((spot[0] + 0.5) / width, (spot[1] + 0.5) / height)

    def stream() -> Moments:
        response, frames = work.answered(image, recipe, count, spot, raised=raised)
        found = response.top(count, spot)
        if not found:
            raise DreamError(
                f"no channel of {recipe.layer} answers there; try another spot or layer"
            )
        yield Moment("", seen=(response, found))
        yield from of_frames(((frame, None) for frame in frames), photo if raised else None)

    return in_turn(work, recipe.model, Moment, stream())


def map_file(response: Response, channel: int) -> str:
    """The path of the photo, marked where a channel answers."""
    path = fresh_folder() / f"where-{channel}.jpg"
    save_preview(response.map(channel), path)
    return str(path)
