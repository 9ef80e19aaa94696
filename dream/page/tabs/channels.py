"""The tab "Channel visualization": a layer's channels, and those that answer a photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.files.image import save_image
from dream.page import status_line
from dream.page.blocks import FILE_GONE_MESSAGE, is_uploaded, upload_name, upload_path
from dream.page.channel_stream import (
    GRID_CHANNELS,
    TOP_CHANNELS,
    channel_recipes,
    stream_grid,
    stream_top_channels,
    write_heatmap,
)
from dream.page.image_stream import RenderUpdate, new_output_folder, stream_render
from dream.page.tabs import deep_dream
from dream.page.widgets import components
from dream.page.widgets.layer_picker import LayerPicker, build_layer_picker, picker_updates
from dream.page.widgets.run import Run, fill_outputs, stream_outputs
from dream.recipe.channel import ChannelRecipe
from dream.recipe.knob import knobs
from dream.render.channel import silent_channels_message
from dream.service.job_runner import JobRunner

EXAMPLE_PHOTO = components.EXAMPLES / "cat.jpg"
STOP_SCRIPT = "() => { document.querySelector('#stop-show')?.click(); return []; }"
ADVANCED_KNOBS = [
    name for name in knobs(ChannelRecipe) if name not in ("model", "layer", "channel")
]


@dataclass(frozen=True)
class GalleryState:
    """What a visitor's gallery shows, and the photo it answers, if any: where, in a file each.

    The browser keeps it, with the files by their names as uploads: the server may forget.
    """

    model: str
    layer: str
    channels: Sequence[int]
    selected: int | None
    photo: str = ""
    heatmaps: Sequence[str] = ()


@dataclass(frozen=True)
class Inputs:
    """What is asked for."""

    choice: LayerPicker
    numbers: gr.Textbox
    go_button: gr.Button
    stop_button: gr.Button
    photo: gr.Image
    whole_photo_button: gr.Button
    controls: dict[str, Any]


def build_tab(work: JobRunner, tabs: gr.Tabs, dreams: deep_dream.Inputs) -> None:
    """The tab; a channel of it can be carried over to the one that dreams."""
    first = work.engine.settle(ChannelRecipe())
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            inputs = _build_inputs(first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            outputs = _build_outputs(work.engine, first)
    shown, carry, gallery = outputs["shown"], outputs["carry"], outputs["gallery"]
    all_outputs = list(outputs.values())
    layer_inputs = {"model": inputs.choice.model, "layer": inputs.choice.layer, **inputs.controls}
    run = Run(inputs.go_button, inputs.stop_button, [inputs.whole_photo_button], outputs["status"])
    show_channels, show_top = partial(_show_channels, work), partial(_show_top_channels, work)
    run.start_on(
        inputs.go_button.click,
        show_channels,
        {"numbers": inputs.numbers, **layer_inputs},
        outputs,
        _requested_recipes,
    )
    spot = gr.State(None)
    photo_inputs = {"photo": inputs.photo, "spot": spot, **layer_inputs}
    whole_photo_clicked = inputs.whole_photo_button.click(
        lambda: None, None, spot, **components.IMMEDIATE_EVENT
    )
    spot_clicked = inputs.photo.select(_clicked_spot, None, spot, **components.IMMEDIATE_EVENT)
    for event in (whole_photo_clicked, spot_clicked):
        run.start_on(
            event.then,
            show_top,
            photo_inputs,
            outputs,
            partial(components.check_recipe, ChannelRecipe),
        )
    run.connect_stop()

    def show_cached(**knobs: Any) -> tuple[Any, ...]:
        return next(stream_outputs(_show_cached_grid(work.engine, **knobs), outputs))

    def select_channel(event: gr.SelectData, shown: Any) -> tuple[Any, ...]:
        return fill_outputs(_select_channel(_read_gallery_state(shown), int(event.index)), outputs)

    # What forms, or was enlarged, gives way to the first one of another layer.
    cleared = inputs.choice.on_change(
        lambda: [], None, gallery, js=STOP_SCRIPT, **components.IMMEDIATE_EVENT
    )
    cleared.then(show_cached, None, all_outputs, inputs_kwargs=layer_inputs, **components.SLOW_LOOK)
    gallery.select(select_channel, shown, all_outputs, **components.IMMEDIATE_EVENT)
    components.send_to_dream_tab(
        carry.click, _channel_to_dream, shown, [tabs, *dreams.settable_by_tabs]
    )


def _clicked_spot(event: gr.SelectData) -> Any:
    return event.index


def _read_gallery_state(saved: Any) -> GalleryState:
    """What the gallery shows, as a browser says.

    Raises:
        DreamError: if it says something else.
    """
    try:
        shown = GalleryState(**saved)
        for channel in [*shown.channels, shown.selected or 0]:
            ChannelRecipe(model=shown.model, layer=shown.layer, channel=channel)
    except TypeError as error:
        raise DreamError("these channels are not known here; show them again") from error
    return shown


def _find_upload(name: str) -> str:
    """The upload of that name.

    Raises:
        DreamError: if it is no longer here.
    """
    if is_uploaded(path := upload_path(name)):
        return path
    raise DreamError(FILE_GONE_MESSAGE)


def _channel_to_dream(saved: Any) -> tuple[Any, ...]:
    """The tab that dreams, with the channel that is selected."""
    shown = _read_gallery_state(saved)
    layer = picker_updates(shown.model, shown.layer)
    channel, photo = str(shown.selected), _find_upload(shown.photo) if shown.photo else gr.skip()
    return gr.Tabs(selected="dream"), *layer, channel, photo, None


def _build_inputs(first: ChannelRecipe) -> Inputs:
    gr.Markdown("**What it sees:** each channel of a layer looks for one thing.")
    layer_picker = build_layer_picker(
        first.model, first.layer, "Which layer to look into", "Its channels are shown."
    )
    numbers = gr.Textbox(
        label="Channels",
        placeholder=f"{GRID_CHANNELS} spread over the layer",
        info="As 3,7,12 or 0-15; empty for some of every kind.",
        elem_id="numbers",
    )
    go_button, stop_button = components.go_and_stop_buttons(
        "Show its channels", "show", "stop-show"
    )
    gr.Markdown("**What does it see in my photo?**")
    photo = components.photo_input(
        value=str(EXAMPLE_PHOTO),
        sources=["upload", "clipboard"],
        label="Click on a spot",
        elem_id="seen",
    )
    whole_photo = gr.Button("What does it see in all of it?", elem_id="see")
    with gr.Accordion("Advanced", open=False):
        controls = {
            name: components.knob_control(ChannelRecipe, name, getattr(first, name))
            for name in ADVANCED_KNOBS
        }
    return Inputs(layer_picker, numbers, go_button, stop_button, photo, whole_photo, controls)


def _build_outputs(engine: Engine, first: ChannelRecipe) -> dict[str, Any]:
    """What is put out, by name."""
    files, text = _cached_files(engine, first)
    initial = _select_first(first, tuple(files))
    gallery = components.thumbnail_gallery(
        value=_gallery_items(files),
        columns=4,
        label="Channels",
        allow_preview=True,
        buttons=["download", "fullscreen"],
        elem_id="channels",
    )
    status = gr.HTML(status_line.status_html(text), elem_id="show-status", elem_classes="status")
    label, is_known = initial["carry"]["value"], initial["carry"]["interactive"]
    carry = gr.Button(label, interactive=is_known, elem_id="carry")
    heatmap = gr.Image(
        label="Where it answers", visible=False, interactive=False, buttons=[], elem_id="where"
    )
    return {
        "gallery": gallery,
        "status": status,
        "shown": gr.JSON(initial["shown"], visible=False),
        "carry": carry,
        "where": heatmap,
    }


def _requested_recipes(numbers: str, **knobs: Any) -> list[ChannelRecipe]:
    return channel_recipes(ChannelRecipe(**knobs), numbers)


def _show_channels(work: JobRunner, numbers: str, **knobs: Any) -> Iterator[dict[str, Any]]:
    """The channels of a layer, as they form."""
    recipes = _requested_recipes(numbers, **knobs)
    yield from _stream_gallery(
        stream_render(work, recipes, use_cache=True), recipes, _caption(recipes)
    )


def _show_top_channels(
    work: JobRunner, photo: str | None, spot: tuple[float, float] | None, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """The channels that answer a photo, all of it or a spot (across, down) in pixels."""
    photo = components.require_photo(photo)
    recipe = ChannelRecipe(**knobs)
    stream = stream_top_channels(work, photo, recipe, spot, TOP_CHANNELS)
    while not (update := next(stream)).response:
        yield {"status": update.status}
    response, top_channels = update.response
    place = "at that spot" if spot else "in all of it"
    text = f"What {recipe.layer} sees {place}, by how strongly it answers."
    captions = {each.channel: f"{each.channel} · {each.strength:.1f}" for each in top_channels}
    recipes = [recipe.with_changes(channel=channel) for channel in captions]
    maps = tuple(write_heatmap(response, channel) for channel in captions)
    yield {"where": _heatmap_update(top_channels[0].channel, maps[0])}
    yield from _stream_gallery(stream, recipes, text, captions, photo, maps)


def _stream_gallery(
    stream: Iterator[RenderUpdate],
    recipes: Sequence[ChannelRecipe],
    text: str,
    captions: Mapping[int, str] | None = None,
    photo: str | None = None,
    maps: tuple[str, ...] = (),
) -> Iterator[dict[str, Any]]:
    """The gallery, and what is said of it, while the pictures form."""
    channels = tuple(recipe.channel for recipe in recipes)
    is_cleared = False
    for grid in stream_grid(stream, recipes):
        status = grid.update.status
        if grid.done:
            silent = silent_channels_message(recipes[0].layer, grid.silent) if grid.silent else ""
            status = status_line.status_html(f"{text} {status_line.to_sentence(silent)}")
        if grid.update.frame and not is_cleared:
            # What was enlarged gives way to the first one.
            yield {"gallery": [], **_select_first(recipes[0], channels, photo, maps)}
            is_cleared = True
        gallery = {"gallery": _gallery_items(grid.files, captions)} if is_cleared else {}
        yield {**gallery, "status": status}


def _show_cached_grid(engine: Engine, **knobs: Any) -> Iterator[dict[str, Any]]:
    """The grid of a layer just chosen, where it is kept; else what to press for it."""
    recipe = ChannelRecipe(**knobs)
    files, text = _cached_files(engine, recipe)
    status = status_line.status_html(text)
    yield {
        "gallery": _gallery_items(files),
        "status": status,
        **_select_first(recipe, tuple(files)),
    }


def _cached_files(engine: Engine, recipe: ChannelRecipe) -> tuple[dict[int, str], str]:
    """The files of a layer's channels if they were made before, and what is to be said."""
    recipes = [engine.settle(each) for each in channel_recipes(recipe, "")]
    images = engine.cached_channels(recipes)
    if not images:
        return {}, f"Press the button to see {len(recipes)} channels of {recipe.layer}."
    folder = new_output_folder()
    files = {}
    for image, recipe in zip(images, recipes, strict=True):
        path = folder / f"{recipe.file_stem()}.png"
        save_image(image, path, recipe)
        files[recipe.channel] = str(path)
    return files, _caption(recipes)


def _caption(recipes: Sequence[ChannelRecipe]) -> str:
    many = f"{len(recipes)} channels" if len(recipes) > 1 else f"channel {recipes[0].channel}"
    return f"{many} of {recipes[0].layer}. Click one to enlarge it."


def _gallery_items(
    files: Mapping[int, str], captions: Mapping[int, str] | None = None
) -> list[tuple[str, str]]:
    """What the gallery shows: each file with its caption, by default the channel."""
    return [(path, (captions or {}).get(channel, str(channel))) for channel, path in files.items()]


def _select_first(
    recipe: ChannelRecipe,
    channels: tuple[int, ...],
    photo: str | None = None,
    maps: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The first of these channels as the one that is chosen."""
    first = channels[0] if channels else None
    return {
        "shown": asdict(
            GalleryState(
                *(recipe.model, recipe.layer, channels, first),
                *(upload_name(photo), [upload_name(path) for path in maps]),
            )
        ),
        "carry": _carry_button_update(first),
        "where": gr.skip() if photo else gr.update(visible=False),
    }


def _select_channel(shown: GalleryState, index: int) -> dict[str, Any]:
    """A channel chosen in the gallery, and where in the photo it answers, if there is one."""
    if index >= len(shown.channels):
        return {}  # It was shown a moment ago.
    channel = shown.channels[index]
    changes = {
        "shown": asdict(replace(shown, selected=channel)),
        "carry": _carry_button_update(channel),
    }
    return (
        {**changes, "where": _heatmap_update(channel, _find_upload(shown.heatmaps[index]))}
        if shown.heatmaps
        else changes
    )


def _heatmap_update(channel: int, path: str) -> dict[str, Any]:
    return gr.update(
        value=path, visible=True, interactive=False, label=f"Where channel {channel} answers"
    )


def _carry_button_update(channel: int | None) -> dict[str, Any]:
    which = "this channel" if channel is None else f"channel {channel}"
    return gr.update(value=f"Dream my photo with {which}", interactive=channel is not None)
