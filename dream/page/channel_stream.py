"""Which channels: those that were asked for, or those that answer a photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from dream.errors import DreamError
from dream.files.image import image_size, load_image, save_preview
from dream.page.image_stream import (
    RenderUpdate,
    RenderUpdates,
    frame_updates,
    new_output_folder,
    stream_in_turn,
)
from dream.recipe import Recipe
from dream.recipe.channel import ChannelRecipe, evenly_spaced_channels, parse_channels
from dream.render.response import LayerResponse
from dream.service.job_runner import JobRunner

PLACEHOLDER_SIDE = 160

GRID_CHANNELS = 16
# How many channels answer, where nothing is said.
TOP_CHANNELS = 8


def channel_recipes(recipe: ChannelRecipe, numbers: str) -> list[ChannelRecipe]:
    """A recipe for each channel that was asked for; for some of every kind if none was."""
    if numbers.strip():
        channels = parse_channels(numbers, recipe.model, recipe.layer)
    else:
        channels = evenly_spaced_channels(GRID_CHANNELS, recipe.model, recipe.layer)
    return [recipe.with_changes(channel=channel) for channel in channels]


def stream_top_channels(
    work: JobRunner,
    photo: str,
    recipe: ChannelRecipe,
    spot: tuple[float, float] | None,
    count: int,
    *,
    in_photo: bool = False,
) -> RenderUpdates:
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

    def stream() -> RenderUpdates:
        response, frames = work.respond_and_render(image, recipe, count, spot, in_photo=in_photo)
        top_channels = response.top(count, spot)
        if not top_channels:
            raise DreamError(
                f"no channel of {recipe.layer} answers there; try another spot or layer"
            )
        yield RenderUpdate("", response=(response, top_channels))
        yield from frame_updates(((frame, None) for frame in frames), photo if in_photo else None)

    return stream_in_turn(work, recipe.model, RenderUpdate, stream())


def write_heatmap(response: LayerResponse, channel: int) -> str:
    """The path of the photo, marked where a channel answers."""
    path = new_output_folder() / f"where-{channel}.jpg"
    save_preview(response.overlay_heatmap(channel), path)
    return str(path)


@dataclass(frozen=True)
class ChannelGrid:
    """A grid of channels as it is now: a file for each, grey ones at first, what each is made by,
    and who is silent.
    """

    update: RenderUpdate
    files: dict[int, str]
    recipes: dict[int, Recipe]
    silent: tuple[int, ...]
    done: bool


def stream_grid(
    stream: Iterator[RenderUpdate], recipes: Sequence[ChannelRecipe]
) -> Iterator[ChannelGrid]:
    """Channels as they form, in the order of their recipes."""
    placeholder = new_output_folder() / "waiting.jpg"
    save_preview(Image.new("RGB", (PLACEHOLDER_SIDE, PLACEHOLDER_SIDE), "grey"), placeholder)
    files = {recipe.channel: str(placeholder) for recipe in recipes}
    made_recipes: dict[int, Recipe] = {recipe.channel: recipe for recipe in recipes}
    silent: tuple[int, ...] = ()
    for update in stream:
        frame = update.frame
        if frame:
            files |= zip(frame.channels, update.files, strict=True)
            made_recipes |= zip(frame.channels, frame.recipes, strict=True)
            silent += frame.silent if frame.finished else ()
        yield ChannelGrid(
            update, dict(files), dict(made_recipes), silent, bool(frame and frame.done == 1)
        )
