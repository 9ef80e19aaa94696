"""Channels as files to show, while they form: what the tab and its endpoints share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from dream.errors import DreamError
from dream.files.picture import save_image
from dream.page.work import Work
from dream.paint.frames import Frame
from dream.paint.response import Answer, Response
from dream.recipe.channel import ChannelRecipe, channel_numbers, spread_channels
from dream.recipe.recipe import MODEL

GRID = 16
PLACEHOLDER = 160


@dataclass(frozen=True)
class Moment:
    """A grid as it is now: its last frame, a file for each channel, and who stayed silent."""

    frame: Frame
    files: dict[int, str]
    silent: tuple[int, ...]


def recipes_for(recipe: ChannelRecipe, numbers: str) -> list[ChannelRecipe]:
    """A recipe for each channel that was asked for; for some of every kind if none was."""
    if numbers.strip():
        channels = channel_numbers(numbers, recipe.model, recipe.layer)
    else:
        channels = spread_channels(GRID, recipe.model, recipe.layer)
    return [recipe.but(channel=channel) for channel in channels]


def visualized(
    work: Work,
    recipes: Sequence[ChannelRecipe],
    folder: str,
    image: Tensor | None = None,
    name: str = "",
) -> Iterator[Moment]:
    """The moments worth showing while channels form: previews (JPEG), then PNG with recipes.

    There is a file for each channel from the start; grey ones wait for their turn.
    """
    settled = {recipe.channel: work.engine.settle(recipe, image) for recipe in recipes}
    waiting = Path(folder) / "waiting.jpg"
    Image.new("RGB", (PLACEHOLDER, PLACEHOLDER), "grey").save(waiting)
    files = dict.fromkeys(settled, str(waiting))
    silent: tuple[int, ...] = ()
    for frame in work.paint(recipes, image, kept=True):
        for channel, picture in zip(frame.channels, frame.pictures(), strict=True):
            if frame.finished:
                files[channel] = channel_file(picture, settled[channel], folder, name)
            else:
                files[channel] = str(Path(folder) / f"{channel}-{frame.step}.jpg")
                picture.save(files[channel], quality=90)
        silent += frame.silent if frame.finished else ()
        yield Moment(frame, dict(files), silent)


def answers(
    work: Work,
    image: Tensor,
    recipe: ChannelRecipe,
    spot: tuple[float, float] | None,
    count: int,
) -> tuple[Response, list[Answer]]:
    """What a layer answers, and its channels that answer most, at a spot in pixels or all over."""
    if spot:
        height, width = image.shape[2:]
        if not (0 <= spot[0] < width and 0 <= spot[1] < height):
            raise DreamError(
                f"the spot {spot[0]:g}, {spot[1]:g} lies outside of the picture, "
                f"which is {width} x {height} pixels"
            )
        spot = ((spot[0] + 0.5) / width, (spot[1] + 0.5) / height)
    response = work.response(image, recipe)
    found = response.top(count, spot)
    if not found:
        raise DreamError(f"no channel of {recipe.layer} answers there; try another spot or layer")
    return response, found


def channel_file(image: Image.Image, recipe: ChannelRecipe, folder: str, name: str = "") -> str:
    """The path of a picture as a PNG with its recipe: channel-inception4c-7-seed0.png."""
    place = recipe.layer if recipe.model == MODEL else f"{recipe.model}.{recipe.layer}"
    words = filter(None, ("channel", name, place, str(recipe.channel), f"seed{recipe.seed}"))
    path = Path(folder) / f"{'-'.join(words)}.png"
    save_image(image, path, recipe)
    return str(path)


def map_file(response: Response, channel: int, folder: str) -> str:
    """The path of the photo, marked where a channel answers."""
    path = Path(folder) / f"where-{channel}.jpg"
    response.map(channel).save(path, quality=90)
    return str(path)
