"""The endpoints, which API and MCP clients call; on fields of their own, that no page shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from dream.errors import RecipeError, TimeLimitReached
from dream.files.embedded_images import embed_files
from dream.page import status_line, video_stream
from dream.page.channel_stream import (
    TOP_CHANNELS,
    channel_recipes,
    stream_grid,
    stream_top_channels,
    write_heatmap,
)
from dream.page.image_stream import stream_render
from dream.page.server.endpoint import Endpoints, Parameter
from dream.page.widgets import comparison as comparing
from dream.page.widgets import components
from dream.recipe import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    VideoRecipe,
    ZoomRecipe,
)
from dream.recipe import presets as library
from dream.recipe.knob import Knob, knobs
from dream.recipe.variations import parse_integers, parse_names, variations
from dream.render import making_of as making
from dream.service.job_runner import JobRunner

TOP_LIMIT = 32
SPOT_KNOB = Knob("", 0, 30_000, derived_default="the whole photo", value_type=float)
COUNT_KNOB = Knob("", 1, TOP_LIMIT, value_type=int)
LOOP_KNOB = Knob("", value_type=bool)
PNG = partial(gr.Image, format="png")


IMAGE_PARAMETER = Parameter(
    components.photo_input,
    "The photo: PNG, JPEG, WebP, BMP, GIF or TIFF of at most 64 megapixels "
    "(40 as WebP, 256 as a JPEG of one scan).",
    required=True,
)
OPTIONAL_IMAGE_PARAMETER = Parameter(
    components.photo_input, "A photo to start from; empty to start from noise."
)
LIST_PARAMETERS = {
    "layers": Parameter(
        gr.Textbox, "The layers, as inception3b,inception4c; empty for one alone.", default=""
    ),
    "intensities": Parameter(
        gr.Textbox, "The intensities, as 3,5,8; empty for one alone.", default=""
    ),
}
CHANNELS_PARAMETER = Parameter(
    gr.Textbox,
    "As 7 or 3,7,12 or 0-15; top for 8 that answer the image; empty for 16 of all.",
    default="0",
)
SPOT_PARAMETERS = {
    "x": Parameter(components.RawNumber, "The spot, in pixels from the left; empty for all of it."),
    "y": Parameter(components.RawNumber, "The spot, in pixels from the top; empty for all of it."),
    "count": Parameter(
        components.RawInteger, f"How many channels, 1 to {TOP_LIMIT}.", default=TOP_CHANNELS
    ),
}


def _knob_help(knob: Knob) -> str:
    return f"{knob.help} {knob.low:g} to {knob.high:g}."


# A field as of pictures, which the door knows: a file is handed on as it came.
VIDEO_PARAMETER = Parameter(
    components.photo_input, f"The video. {video_stream.LIMITS_TEXT}", required=True
)
FORMAT_PARAMETER = Parameter(
    components.RawText, f"What is written: {', '.join(video_stream.FORMAT_NAMES)}.", default="mp4"
)
MAKING_OF_PARAMETERS = {
    "seconds": Parameter(
        components.RawNumber, _knob_help(making.SECONDS_KNOB), default=making.SECONDS_KNOB.default
    ),
    "fps": Parameter(
        components.RawNumber, _knob_help(making.FPS_KNOB), default=making.FPS_KNOB.default
    ),
    "loop": Parameter(
        gr.Checkbox, "Whether it goes back to the photo, to be repeated.", default=False
    ),
}


def add_endpoints(work: JobRunner) -> None:
    """All of them."""
    all_of_them = Endpoints(work)
    add, field = all_of_them.add, all_of_them.field
    recipe, video = field(gr.JSON, "recipe"), field(gr.File, "video")
    about = list(knobs(DreamRecipe))
    compared = [name for name in about if name not in ("layer", "intensity")]
    made = [field(PNG, "dream"), recipe]
    add(deep_dream, DreamRecipe, ["image", *about], {"image": IMAGE_PARAMETER}, made)
    made = [field(PNG, "sheet"), field(gr.JSON, "recipes")]
    own = {"image": IMAGE_PARAMETER, **LIST_PARAMETERS}
    add(compare, DreamRecipe, [*own, *compared], own, made, _variation_recipes)
    look: dict[str, Any] = {"queue": False, "concurrency_limit": None}  # It waits for no dream.
    gr.api(presets, api_name="presets", **look)  # type: ignore[attr-defined]
    names = ["model", "layer", "channels", "size", "steps", "image", "seed", "objective", "canvas"]
    own = {"channels": CHANNELS_PARAMETER, "image": OPTIONAL_IMAGE_PARAMETER}
    made = [field(gr.Gallery, "channels"), field(gr.JSON, "recipes")]
    add(visualize_channel, ChannelRecipe, names, own, made, _named_channels)
    names = ["image", "model", "layer", "x", "y", "count", "size", "steps"]
    made = [field(gr.Gallery, "channels"), field(gr.Image, "where"), field(gr.JSON, "answers")]
    own = {"image": IMAGE_PARAMETER, **SPOT_PARAMETERS}
    add(top_channels, ChannelRecipe, names, own, made, _check_spot)
    names = [*("target", "model", "mode", "size", "steps", "seed"), "image"]
    names += ["step", "penalty", "tries"]
    made = [field(PNG, "picture"), recipe, field(gr.JSON, "verdict")]
    add(class_image, ClassRecipe, names, {"image": OPTIONAL_IMAGE_PARAMETER}, made)
    made = [video, recipe, field(PNG, "frame")]
    own = {"image": IMAGE_PARAMETER, "format": FORMAT_PARAMETER}
    add(zoom, ZoomRecipe, ["image", *knobs(ZoomRecipe), "format"], own, made)
    own = {"video": VIDEO_PARAMETER, "format": FORMAT_PARAMETER}
    add(dream_video, VideoRecipe, ["video", *knobs(VideoRecipe), "format"], own, made)
    own = {"image": IMAGE_PARAMETER, **MAKING_OF_PARAMETERS, "format": FORMAT_PARAMETER}
    add(making_of, DreamRecipe, ["image", *MAKING_OF_PARAMETERS, "format", *about], own, made)


def deep_dream(
    work: JobRunner, image: str, given: dict[str, Any]
) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
    """Dream a photo: raise what a neural network sees in it, octave by octave.

    Low layers bring strokes (inception3b of dreamlet), middle ones eyes and faces
    (inception4c), high ones whole animals (inception5a). Sends nothing but signs of life while
    the network is fetched, then previews (JPEG, without a recipe); the last answer is the dream
    as PNG, which carries its recipe inside, and that recipe as JSON. Where its time is up before
    it is done, the last answer is the dream as far as it came, and in the place of its recipe that
    it has "ended", and why.
    """
    recipe = DreamRecipe(**embed_files(DreamRecipe, given))
    try:
        for moment in stream_render(work, [recipe], image):
            if moment.frame is None:
                yield None, None
            else:
                made = moment.frame.recipes[0].to_dict() if moment.frame.finished else None
                yield moment.files[0], made
    except TimeLimitReached as error:
        yield moment.files[0], _time_limit_result(error)


def compare(
    work: JobRunner, image: str, layers: str, intensities: str, given: dict[str, Any]
) -> Iterator[tuple[str | None, list[dict[str, Any]] | None]]:
    """Dream a photo at several layers or intensities, on one labelled contact sheet.

    The last answer is the sheet (PNG) and the recipe of each picture on it, row by row. Where time
    is up before it is done, the last picture is as far as it came, and has "ended" for a recipe.
    """
    recipes = _variation_recipes(
        DreamRecipe(**embed_files(DreamRecipe, given)), layers, intensities
    )
    made: list[Image.Image] = []
    by: list[dict[str, Any]] = []
    try:
        for moment, dreams in comparing.stream_dreams(work, recipes, image):
            made = dreams
            if moment.frame and moment.frame.finished:
                by.append(moment.frame.recipes[0].to_dict())
            yield None, None
    except TimeLimitReached as error:
        by.append(_time_limit_result(error))
    yield comparing.write_sheet(recipes, made, image), by


def _variation_recipes(
    recipe: DreamRecipe, layers: str, intensities: str, image: str | None = None
) -> list[DreamRecipe]:
    return variations(recipe, parse_names(layers or ""), parse_integers(intensities or ""))


def presets() -> dict[str, dict[str, Any]]:
    """The presets: recipes with names.

    All in one of them but deepdream and kind are parameters of deep_dream; leave out what is
    empty or null.
    """
    return {name: recipe.to_dict() for name, recipe in library.presets().items()}


def visualize_channel(
    work: JobRunner, channels: str, image: str | None, given: dict[str, Any]
) -> Iterator[tuple[list[tuple[str, str]], dict[str, Any] | None]]:
    """Show what channels of a neural network look for, at most 64, from noise or in a photo.

    Sends previews (JPEG) first; the last answer is a PNG for each channel, which carries its
    recipe inside, and as JSON those recipes and the channels that stayed silent: nothing in
    their picture excites them.
    """
    recipe = ChannelRecipe(**given)
    recipes = _named_channels(recipe, channels, image)
    if recipes:
        stream = stream_render(work, recipes, image, use_cache=True)
    else:
        assert image
        stream = stream_top_channels(work, image, recipe, None, TOP_CHANNELS, in_photo=True)
        while not (seen := next(stream).response):
            yield [], None
        recipes = [recipe.with_changes(channel=each.channel) for each in seen[1]]
    try:
        for grid in stream_grid(stream, recipes):
            items = [(path, str(channel)) for channel, path in grid.files.items()]
            made = [each.to_dict() for each in grid.recipes.values()]
            about = {"recipes": made, "silent": list(grid.silent)}
            yield items, about if grid.done else None
    except TimeLimitReached as error:
        yield items, about | _time_limit_result(error)


def _named_channels(recipe: ChannelRecipe, channels: str, image: str | None) -> list[ChannelRecipe]:
    """The channels that are named; none where those that answer an image are asked for."""
    if (channels or "").strip() != "top":
        return channel_recipes(recipe, channels or "")
    if image is None:
        raise RecipeError("top needs an image; give one, or channels as 3,7,12")
    return []


def top_channels(
    work: JobRunner, image: str, x: float | None, y: float | None, count: int, given: dict[str, Any]
) -> Iterator[tuple[list[tuple[str, str]], str | None, list[dict[str, Any]] | None]]:
    """Say which channels of a layer answer a photo most strongly, and show what they look for.

    The last answer is a PNG for each channel, the strongest first; the photo marked where the
    strongest answers; and channels and strengths as JSON, in the end of which it says that it has
    "ended", and why, where time was up before all pictures were done.
    """
    recipe = ChannelRecipe(**given)
    spot, count = _check_spot(recipe, x, y, count)
    stream = stream_top_channels(work, image, recipe, spot, count)
    while not (seen := next(stream).response):
        yield [], None, None
    response, found = seen
    recipes = [recipe.with_changes(channel=each.channel) for each in found]
    where = write_heatmap(response, found[0].channel)
    answers = [asdict(each) for each in found]
    try:
        for grid in stream_grid(stream, recipes):
            items = [(path, str(channel)) for channel, path in grid.files.items()]
            yield items, where, answers if grid.done else None
    except TimeLimitReached as error:
        yield items, where, [*answers, _time_limit_result(error)]


def _check_spot(
    recipe: ChannelRecipe, x: float | None, y: float | None, count: int, image: str | None = None
) -> tuple[tuple[float, float] | None, int]:
    """A spot, None for all of the image, and how many of its channels."""
    x, y, count = SPOT_KNOB.check("x", x), SPOT_KNOB.check("y", y), COUNT_KNOB.check("count", count)
    if (x is None) != (y is None):
        raise RecipeError("a spot needs both x and y; give both, or none for all of it")
    return None if x is None or y is None else (x, y), count


def class_image(
    work: JobRunner, image: str | None, given: dict[str, Any]
) -> Iterator[tuple[str | None, dict[str, Any] | None, dict[str, Any] | None]]:
    """Show what a neural network takes for a class of ImageNet, from noise or in a photo.

    Sends previews (JPEG) first; the last answer is the picture as PNG, which carries its recipe
    inside, that recipe, and the verdict as JSON: the target's logit, probability and rank
    before and after, and the five classes that the network now sees.
    """
    before = None
    try:
        for moment in stream_render(work, [ClassRecipe(**given)], image, with_verdict=True):
            if not (moment.frame and moment.verdict):
                yield None, None, None
                continue
            before = before or moment.verdict
            both = {"before": asdict(before), "after": asdict(moment.verdict)}
            done = moment.frame.finished
            made = moment.frame.recipes[0].to_dict()
            yield moment.files[0], made if done else None, both if done else None
    except TimeLimitReached as error:
        yield moment.files[0], _time_limit_result(error), both


def _time_limit_result(error: TimeLimitReached) -> dict[str, Any]:
    """What is answered in the place of a recipe where there was no time for all of it."""
    status_line.show_toast(error, "Ended early")
    return {"ended": str(error)}


VideoResults = Iterator[tuple[str | None, dict[str, Any] | None, str | None]]


def zoom(work: JobRunner, image: str, format: str, given: dict[str, Any]) -> VideoResults:
    """Zoom into a photo without end, as a video: each frame is the last one, moved and dreamed.

    Sends frames (JPEG) as they are made; the last answer is the video, which carries its recipe,
    and that recipe as JSON.
    """
    yield from _video_results(video_stream.stream_zoom(work, ZoomRecipe(**given), image, format))


def dream_video(work: JobRunner, video: str, format: str, given: dict[str, Any]) -> VideoResults:
    """Dream a video: what is dreamed goes along with what moves. Its sound is kept.

    Sends frames (JPEG) as they are made; the last answer is the video, which carries its recipe,
    and that recipe as JSON.
    """
    yield from _video_results(video_stream.stream_video(work, VideoRecipe(**given), video, format))


def making_of(
    work: JobRunner,
    image: str,
    seconds: float,
    fps: float,
    loop: bool,
    format: str,
    given: dict[str, Any],
) -> VideoResults:
    """Show how a dream of a photo comes about, as a short video, or as a loop there and back.

    Sends frames (JPEG) as they are made; the last answer is the video, which carries the recipe of
    the dream, and that recipe as JSON.
    """
    recipe = DreamRecipe(**embed_files(DreamRecipe, given))
    how = making.MakingOf(seconds, fps, LOOP_KNOB.check("loop", loop))
    yield from _video_results(video_stream.stream_making_of(work, recipe, image, how, format))


def _video_results(made: video_stream.VideoUpdates) -> VideoResults:
    for moment in made:
        done = moment.done
        made_by = {"ended": moment.ended} if moment.ended else moment.recipe.to_dict()
        yield moment.path if done else None, made_by if done else None, moment.preview or None
