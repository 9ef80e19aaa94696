"""The endpoints for API and MCP clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import gradio as gr

from dream.errors import RecipeError, TimeLimitReached
from dream.files.embedded_images import embed_files
from dream.files.image_formats import FORMAT_KNOB
from dream.files.pixels import FORMAT_NAMES
from dream.page import status_line, video_stream
from dream.page.channel_stream import (
    TOP_COUNT,
    channel_recipes,
    stream_grid,
    stream_top_channels,
    write_heatmap,
)
from dream.page.image_stream import check_image_format, stream_render
from dream.page.server.endpoint import Endpoints, Parameter
from dream.page.widgets import components, small_dreams
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, VideoRecipe, ZoomRecipe
from dream.recipe.knob import Knob, knobs
from dream.recipe.motion import FPS_KNOB, SECONDS_KNOB
from dream.recipe.presets import parse_intensities, parse_names, variations
from dream.recipe.presets import presets as preset_recipes
from dream.render.making_of import MakingOf
from dream.service.job_runner import JobRunner

MAX_TOP_COUNT = 32
SPOT_KNOB = Knob("", 0, 30_000, derived_default="the whole photo", value_type=float)
COUNT_KNOB = Knob("", 1, MAX_TOP_COUNT, value_type=int)
LOOP_KNOB = Knob("", value_type=bool)
IMAGE_OUTPUT = partial(gr.Image, format="png")
Knobs = dict[str, Any]


def _knob_help(knob: Knob) -> str:
    return f"{knob.help} {knob.low:g} to {knob.high:g}."


# The parameters that are not knobs. A video has an image field, which the middleware knows and
# which passes a file on unchanged.
PARAMETERS = {
    "image": Parameter(
        components.photo_input,
        f"The photo: {FORMAT_NAMES}, of at most 64 megapixels "
        "(40 as WebP, 256 as a JPEG with one scan).",
        required=True,
    ),
    "video": Parameter(
        components.photo_input, f"The video. {video_stream.LIMITS_TEXT}", required=True
    ),
    "layers": Parameter(
        gr.Textbox, "The layers, as inception3b,inception4c; empty for one layer.", default=""
    ),
    "intensities": Parameter(
        gr.Textbox, "The intensities, as 3,5,8; empty for one intensity.", default=""
    ),
    "channels": Parameter(
        gr.Textbox,
        "Channels, such as 3,7 or 0-15; top for the image's 8 most active; empty for 16 of the "
        "layer.",
        default="0",
    ),
    "x": Parameter(components.RawNumber, "Spot, pixels from the left; empty for the whole image."),
    "y": Parameter(components.RawNumber, "Spot, pixels from the top; empty for the whole image."),
    "count": Parameter(
        components.RawInteger, f"How many channels, 1 to {MAX_TOP_COUNT}.", default=TOP_COUNT
    ),
    "seconds": Parameter(
        components.RawNumber, _knob_help(SECONDS_KNOB), default=SECONDS_KNOB.default
    ),
    "fps": Parameter(components.RawNumber, _knob_help(FPS_KNOB), default=FPS_KNOB.default),
    "loop": Parameter(
        gr.Checkbox, "Whether the video returns to the photo, so that it loops.", default=False
    ),
    "format": Parameter(
        components.RawText,
        f"The file format: {', '.join(FORMAT_KNOB.choices)}.",
        default=FORMAT_KNOB.default,
    ),
}
FROM_NOISE = PARAMETERS | {
    "image": Parameter(components.photo_input, "A photo to start from; empty to start from noise.")
}
FOR_VIDEOS = PARAMETERS | {
    "format": Parameter(
        components.RawText,
        f"The file format: {', '.join(video_stream.FORMAT_NAMES)}.",
        default="mp4",
    )
}


def add_endpoints(runner: JobRunner) -> None:
    """Add all endpoints to the page that is being built."""
    endpoints = Endpoints(runner)
    add, field = endpoints.add, endpoints.field
    recipe, video = field(gr.JSON, "recipe"), field(gr.File, "video")
    dream_knobs = list(knobs(DreamRecipe))
    outputs = [field(IMAGE_OUTPUT, "dream"), recipe]
    add(deep_dream, DreamRecipe, ["image", *dream_knobs, "format"], PARAMETERS, outputs)
    names = [name for name in dream_knobs if name not in ("layer", "intensity")]
    names = ["image", "layers", "intensities", *names, "format"]
    outputs = [field(IMAGE_OUTPUT, "sheet"), field(gr.JSON, "recipes")]
    add(compare, DreamRecipe, names, PARAMETERS, outputs, _variation_recipes)
    unqueued: dict[str, Any] = {"queue": False, "concurrency_limit": None}  # Waits for no dream.
    gr.api(presets, api_name="presets", **unqueued)  # type: ignore[attr-defined]
    names = ["model", "layer", "channels", "size", "steps", "image", "seed"]
    names += ["objective", "canvas", "format"]
    outputs = [field(gr.Gallery, "channels"), field(gr.JSON, "recipes")]
    add(visualize_channel, ChannelRecipe, names, FROM_NOISE, outputs, _parse_recipes)
    names = ["image", "model", "layer", "x", "y", "count", "size", "steps", "format"]
    outputs = [field(gr.Gallery, "channels"), field(gr.Image, "where"), field(gr.JSON, "answers")]
    add(top_channels, ChannelRecipe, names, PARAMETERS, outputs, _check_spot)
    names = [*("target", "model", "mode", "size", "steps", "seed"), "image"]
    names += ["step", "penalty", "tries", "format"]
    outputs = [field(IMAGE_OUTPUT, "picture"), recipe, field(gr.JSON, "verdict")]
    add(class_image, ClassRecipe, names, FROM_NOISE, outputs)
    outputs = [video, recipe, field(IMAGE_OUTPUT, "frame")]
    add(zoom, ZoomRecipe, ["image", *knobs(ZoomRecipe), "format"], FOR_VIDEOS, outputs)
    add(dream_video, VideoRecipe, ["video", *knobs(VideoRecipe), "format"], FOR_VIDEOS, outputs)
    names = ["image", "seconds", "fps", "loop", "format", *dream_knobs]
    add(making_of, DreamRecipe, names, FOR_VIDEOS, outputs)


def deep_dream(
    runner: JobRunner, image: str, format: str, knob_values: Knobs
) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
    """Dream a photo: amplify what a layer of a neural network detects in it, octave by octave.

    Low layers bring strokes (inception3b of dreamlet), middle ones eyes and faces (inception4c),
    high ones whole animals (inception5a). Sends empty updates while the network downloads, then
    previews (JPEG, without a recipe). The last answer is the dream, whose file carries its recipe,
    and that recipe as JSON. If the time limit ends the dream early, the last answer is the
    dream so far, and "ended" with the reason instead of the recipe.
    """
    recipe = DreamRecipe(**embed_files(DreamRecipe, knob_values))
    try:
        for update in stream_render(runner, [recipe], image, file_format=format):
            if update.frame is None:
                yield None, None
            else:
                made = update.frame.recipes[0].to_dict() if update.frame.finished else None
                yield update.files[0], made
    except TimeLimitReached as error:
        yield update.files[0], _time_limit_result(error)


def compare(
    runner: JobRunner, image: str, layers: str, intensities: str, format: str, knob_values: Knobs
) -> Iterator[tuple[str | None, list[dict[str, Any]] | None]]:
    """Dream a photo at several layers or intensities, on one labelled contact sheet.

    The last answer is the sheet and the recipe of each image on it, row by row. If the time
    limit ends it early, the last image is the dream so far, with "ended" instead of a recipe.
    """
    recipes = _variation_recipes(
        DreamRecipe(**embed_files(DreamRecipe, knob_values)), layers, intensities
    )
    format = check_image_format(format)
    made_by: list[dict[str, Any]] = []
    try:
        for update, _, sheet in small_dreams.stream_sheet(runner, recipes, image, format):
            if update.frame and update.frame.finished and not sheet:
                made_by.append(update.frame.recipes[0].to_dict())
            yield sheet or None, made_by if sheet else None
    except TimeLimitReached as error:
        yield sheet, [*made_by, _time_limit_result(error)]


def _variation_recipes(
    recipe: DreamRecipe, layers: str, intensities: str, **others: Any
) -> list[DreamRecipe]:
    return variations(recipe, parse_names(layers or ""), parse_intensities(intensities or ""))


def presets() -> dict[str, dict[str, Any]]:
    """Return the presets: recipes with names.

    All fields of a preset but deepdream and kind are parameters of deep_dream; leave out those that
    are empty or null.
    """
    return {name: recipe.to_dict() for name, recipe in preset_recipes().items()}


def visualize_channel(
    runner: JobRunner, channels: str, image: str | None, format: str, knob_values: Knobs
) -> Iterator[tuple[list[tuple[str, str]], dict[str, Any] | None]]:
    """Show what channels of a neural network detect, at most 64, from noise or in a photo.

    Sends previews (JPEG) first. The last answer is a file for each channel, which carries its
    recipe, and as JSON those recipes and the channels that stayed silent: nothing in their image
    activates them.
    """
    recipe = ChannelRecipe(**knob_values)
    recipes = _parse_recipes(recipe, channels, image)
    if recipes:
        stream = stream_render(runner, recipes, image, use_cache=True, file_format=format)
    else:
        assert image
        stream = stream_top_channels(
            runner, image, recipe, None, TOP_COUNT, in_photo=True, file_format=format
        )
        while not (update := next(stream)).response:
            yield [], None
        recipes = [recipe.with_changes(channel=each.channel) for each in update.top_channels]
    try:
        for grid in stream_grid(stream, recipes):
            items = [(path, str(channel)) for channel, path in grid.files.items()]
            made_by = [each.to_dict() for each in grid.recipes.values()]
            summary = {"recipes": made_by, "silent": list(grid.silent)}
            yield items, summary if grid.done else None
    except TimeLimitReached as error:
        yield items, summary | _time_limit_result(error)


def _parse_recipes(
    recipe: ChannelRecipe, channels: str, image: str | None, **others: Any
) -> list[ChannelRecipe]:
    """Return the recipes of the named channels; none for "top", the most active in an image."""
    if (channels or "").strip() != "top":
        return channel_recipes(recipe, channels or "")
    if image is None:
        raise RecipeError("top needs an image; send one, or name channels as 3,7,12")
    return []


def top_channels(
    runner: JobRunner,
    image: str,
    x: float | None,
    y: float | None,
    count: int,
    format: str,
    knob_values: Knobs,
) -> Iterator[tuple[list[tuple[str, str]], str | None, list[dict[str, Any]] | None]]:
    """Find the most active channels of a layer in a photo, and show what they detect.

    The last answer is an image of each channel, the most active first; the photo with a heatmap of
    the first; and channels and strengths as JSON. If the time limit ends it early, the last item of
    that list is "ended" with the reason.
    """
    recipe = ChannelRecipe(**knob_values)
    spot, count = _check_spot(recipe, x, y, count)
    stream = stream_top_channels(runner, image, recipe, spot, count, file_format=format)
    while not (update := next(stream)).response:
        yield [], None, None
    top = update.top_channels
    recipes = [recipe.with_changes(channel=each.channel) for each in top]
    where = write_heatmap(update.response, top[0].channel)
    answers = [asdict(each) for each in top]
    try:
        for grid in stream_grid(stream, recipes):
            items = [(path, str(channel)) for channel, path in grid.files.items()]
            yield items, where, answers if grid.done else None
    except TimeLimitReached as error:
        yield items, where, [*answers, _time_limit_result(error)]


def _check_spot(
    recipe: ChannelRecipe, x: float | None, y: float | None, count: int, **others: Any
) -> tuple[tuple[float, float] | None, int]:
    """Return the spot, None for the whole image, and the number of channels."""
    x, y, count = SPOT_KNOB.check("x", x), SPOT_KNOB.check("y", y), COUNT_KNOB.check("count", count)
    if (x is None) != (y is None):
        raise RecipeError("a spot needs both x and y; send both, or neither for the whole image")
    return None if x is None or y is None else (x, y), count


def class_image(
    runner: JobRunner, image: str | None, format: str, knob_values: Knobs
) -> Iterator[tuple[str | None, dict[str, Any] | None, dict[str, Any] | None]]:
    """Show what a neural network takes for a class of ImageNet, from noise or in a photo.

    Sends previews (JPEG) first. The last answer is the image, whose file carries its recipe, that
    recipe, and the verdict as JSON: the target's logit, probability and rank before and after, and
    the five most likely classes.
    """
    before = None
    try:
        recipes = [ClassRecipe(**knob_values)]
        for update in stream_render(runner, recipes, image, file_format=format):
            frame = update.frame
            if not (frame and frame.verdict):
                yield None, None, None
                continue
            before = before or frame.verdict
            verdicts = {"before": asdict(before), "after": asdict(frame.verdict)}
            done, made = frame.finished, frame.recipes[0].to_dict()
            yield update.files[0], made if done else None, verdicts if done else None
    except TimeLimitReached as error:
        yield update.files[0], _time_limit_result(error), verdicts


def _time_limit_result(error: TimeLimitReached) -> dict[str, Any]:
    """Return the answer that replaces the recipe of an image or video that ended early."""
    status_line.show_toast(error, "Ended early")
    return {"ended": str(error)}


VideoResults = Iterator[tuple[str | None, dict[str, Any] | None, str | None]]


def zoom(runner: JobRunner, image: str, format: str, knob_values: Knobs) -> VideoResults:
    """Zoom endlessly into a photo, as a video: each frame is the last one, enlarged and dreamed.

    Sends frames (JPEG) while it renders. The last answer is the video, which carries its recipe,
    and that recipe as JSON.
    """
    recipe = ZoomRecipe(**knob_values)
    yield from _video_results(video_stream.stream_zoom(runner, recipe, image, format))


def dream_video(runner: JobRunner, video: str, format: str, knob_values: Knobs) -> VideoResults:
    """Dream a video: the dream follows the motion. The sound is kept.

    Sends frames (JPEG) while it renders. The last answer is the video, which carries its recipe,
    and that recipe as JSON.
    """
    recipe = VideoRecipe(**knob_values)
    yield from _video_results(video_stream.stream_video(runner, recipe, video, format))


def making_of(
    runner: JobRunner,
    image: str,
    seconds: float,
    fps: float,
    loop: bool,
    format: str,
    knob_values: Knobs,
) -> VideoResults:
    """Show how a dream of a photo forms, as a short video, or as a loop there and back.

    Sends frames (JPEG) while it renders. The last answer is the video, which carries the recipe of
    the dream, and that recipe as JSON.
    """
    recipe = DreamRecipe(**embed_files(DreamRecipe, knob_values))
    options = MakingOf(seconds, fps, LOOP_KNOB.check("loop", loop))
    yield from _video_results(video_stream.stream_making_of(runner, recipe, image, options, format))


def _video_results(updates: video_stream.VideoUpdates) -> VideoResults:
    for update in updates:
        done = update.done
        made_by = {"ended": update.ended} if update.ended else update.recipe.to_dict()
        yield update.path if done else None, made_by if done else None, update.preview or None
