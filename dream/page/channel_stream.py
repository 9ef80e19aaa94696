"""Stream channel images: requested channels, or the most active ones in a photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from dream.errors import DreamError
from dream.files.image import image_size, load_image, save_preview
from dream.files.image_formats import FORMAT_KNOB
from dream.page.image_stream import (
    RenderUpdate,
    RenderUpdates,
    check_image_format,
    frame_updates,
    new_output_folder,
    stream_in_turn,
)
from dream.recipe import Recipe
from dream.recipe.channel import ChannelRecipe, evenly_spaced_channels, parse_channels
from dream.render.layer_response import LayerResponse
from dream.service.job_runner import JobRunner

PLACEHOLDER_SIDE = 160

GRID_COUNT = 16
TOP_COUNT = 8


def channel_recipes(recipe: ChannelRecipe, numbers: str) -> list[ChannelRecipe]:
    """Return a recipe per requested channel; for evenly spaced channels if `numbers` is empty."""
    if numbers.strip():
        channels = parse_channels(numbers, recipe.model, recipe.layer)
    else:
        channels = evenly_spaced_channels(GRID_COUNT, recipe.model, recipe.layer)
    return [recipe.with_changes(channel=channel) for channel in channels]


def stream_top_channels(
    runner: JobRunner,
    photo: str,
    recipe: ChannelRecipe,
    spot: tuple[float, float] | None,
    count: int,
    *,
    in_photo: bool = False,
    file_format: str = FORMAT_KNOB.default,
) -> RenderUpdates:
    """Yield the most active channels in a photo, then their images as they form.

    `spot` is (across, down) in pixels; None for the whole photo. With `in_photo`, the images start
    from the photo, not from noise.

    Raises:
        DreamError: if the format is unknown, the spot outside the photo, or no channel active.
    """
    file_format = check_image_format(file_format)
    image = load_image(photo)
    place = _relative_spot(photo, image, spot) if spot else None

    def stream() -> RenderUpdates:
        response, frames = runner.render_top_channels(
            image, recipe, count, place, in_photo=in_photo
        )
        top_channels = response.top(count, place)
        if not top_channels:
            raise DreamError(
                f"no channel of {recipe.card.layer_label(recipe.layer)} is active "
                "there; choose another spot or layer"
            )
        yield RenderUpdate("", response=response, top_channels=top_channels)
        yield from frame_updates(frames, photo if in_photo else None, file_format=file_format)

    return stream_in_turn(runner, recipe.model, RenderUpdate, stream())


def _relative_spot(photo: str, image: Tensor, spot: tuple[float, float]) -> tuple[float, float]:
    """Return the centre of a pixel of a photo's file as shares of its width and height.

    `load_image` may have reduced the `image`, and rotated it as EXIF says.
    """
    height, width = image_size(photo)
    if (height > width) != (image.shape[2] > image.shape[3]):
        height, width = width, height
    if not (0 <= spot[0] < width and 0 <= spot[1] < height):
        raise DreamError(
            f"the spot {spot[0]:g}, {spot[1]:g} lies outside the photo, "
            f"which is {width} x {height} pixels; choose a spot inside it"
        )
    return (spot[0] + 0.5) / width, (spot[1] + 0.5) / height


def write_heatmap(response: LayerResponse, channel: int) -> str:
    """Write the photo with a heatmap of a channel's activation and return its path."""
    path = new_output_folder() / f"where-{channel}.jpg"
    save_preview(response.overlay_heatmap(channel), path)
    return str(path)


@dataclass(frozen=True)
class ChannelGrid:
    """The state of a channel grid: files (grey at first), recipes and silent channels."""

    update: RenderUpdate
    files: dict[int, str]
    recipes: dict[int, Recipe]
    silent: tuple[int, ...]
    done: bool


def stream_grid(
    stream: Iterator[RenderUpdate], recipes: Sequence[ChannelRecipe]
) -> Iterator[ChannelGrid]:
    """Yield the grid, in the order of the recipes, after each update."""
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
