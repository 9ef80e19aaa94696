"""The "Channel visualization" tab: channels of a layer, and the most active ones in a photo."""

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
    GRID_COUNT,
    TOP_COUNT,
    channel_recipes,
    stream_grid,
    stream_top_channels,
    write_heatmap,
)
from dream.page.image_stream import RenderUpdate, new_output_folder, stream_render
from dream.page.tabs import deep_dream
from dream.page.widgets import components
from dream.page.widgets.layer_picker import LayerPicker, build_layer_picker, picker_updates
from dream.page.widgets.run import RunButtons, fill_outputs, stream_outputs
from dream.recipe.channel import ChannelRecipe
from dream.recipe.knob import knobs
from dream.render.channel import silent_channels_message
from dream.service.job_runner import JobRunner

EXAMPLE_PHOTO = components.EXAMPLES_FOLDER / "cat.jpg"
STOP_SCRIPT = "() => { document.querySelector('#stop-show')?.click(); return []; }"
ADVANCED_KNOBS = [
    name for name in knobs(ChannelRecipe) if name not in ("model", "layer", "channel")
]


@dataclass(frozen=True)
class GalleryState:
    """What the gallery shows, and the photo with a heatmap file per channel, if there is one.

    The browser stores it, with files by their upload names, because the server may lose sessions.
    """

    model: str
    layer: str
    channels: Sequence[int]
    selected: int | None
    photo: str = ""
    heatmaps: Sequence[str] = ()


@dataclass(frozen=True)
class ChannelInputs:
    """The input components of the tab."""

    layer_picker: LayerPicker
    numbers: gr.Textbox
    go_button: gr.Button
    stop_button: gr.Button
    photo: gr.Image
    whole_photo_button: gr.Button
    controls: dict[str, Any]


def build_tab(runner: JobRunner, tabs: gr.Tabs, dream_inputs: deep_dream.DreamInputs) -> None:
    """Build the tab; a channel can be sent to the Deep Dream tab."""
    first = runner.engine.settle(ChannelRecipe())
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            inputs = _build_inputs(first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            outputs = _build_outputs(runner.engine, first)
    shown, carry, gallery = outputs["shown"], outputs["carry"], outputs["gallery"]
    all_outputs = list(outputs.values())
    picker = inputs.layer_picker
    layer_inputs = {"model": picker.model, "layer": picker.layer, **inputs.controls}
    go, stop = inputs.go_button, inputs.stop_button
    run_buttons = RunButtons(go, stop, [inputs.whole_photo_button], outputs["status"])
    show_channels, show_top = partial(_show_channels, runner), partial(_show_top_channels, runner)
    grid_inputs = {"numbers": inputs.numbers, **layer_inputs}
    run_buttons.start_on(go.click, show_channels, grid_inputs, outputs, _requested_recipes)
    spot = gr.State(None)
    photo_inputs = {"photo": inputs.photo, "spot": spot, **layer_inputs}
    whole_photo_clicked = inputs.whole_photo_button.click(
        lambda: None, None, spot, **components.IMMEDIATE_EVENT
    )
    spot_clicked = inputs.photo.select(_clicked_spot, None, spot, **components.IMMEDIATE_EVENT)
    check = partial(components.check_recipe, ChannelRecipe)
    for event in (whole_photo_clicked, spot_clicked):
        run_buttons.start_on(event.then, show_top, photo_inputs, outputs, check)
    run_buttons.connect_stop()

    def show_cached(**knobs: Any) -> tuple[Any, ...]:
        return next(stream_outputs(_show_cached_grid(runner.engine, **knobs), outputs))

    def select_channel(event: gr.SelectData, shown: Any) -> tuple[Any, ...]:
        return fill_outputs(_select_channel(_read_gallery_state(shown), int(event.index)), outputs)

    # Stop the run and clear the gallery when another layer is chosen.
    clear = picker.on_change(
        lambda: [], None, gallery, js=STOP_SCRIPT, **components.IMMEDIATE_EVENT
    )
    clear.then(show_cached, None, all_outputs, inputs_kwargs=layer_inputs, **components.SLOW_EVENT)
    gallery.select(select_channel, shown, all_outputs, **components.IMMEDIATE_EVENT)
    components.send_to_dream_tab(
        carry.click, _channel_to_dream, shown, [tabs, *dream_inputs.components_set_by_tabs]
    )


def _clicked_spot(event: gr.SelectData) -> Any:
    return event.index


def _read_gallery_state(saved: Any) -> GalleryState:
    """Return the gallery state that a browser sent; raise DreamError if it is invalid."""
    try:
        shown = GalleryState(**saved)
        for channel in [*shown.channels, shown.selected or 0]:
            ChannelRecipe(model=shown.model, layer=shown.layer, channel=channel)
    except TypeError as error:
        raise DreamError('these channels are unknown; press "Show channels" again') from error
    return shown


def _find_upload(name: str) -> str:
    """Return the path of an upload; raise DreamError if the file is gone."""
    if is_uploaded(path := upload_path(name)):
        return path
    raise DreamError(FILE_GONE_MESSAGE)


def _channel_to_dream(saved: Any) -> tuple[Any, ...]:
    """Open the Deep Dream tab with the selected channel, and its photo if there is one."""
    shown = _read_gallery_state(saved)
    layer = picker_updates(shown.model, shown.layer)
    channel, photo = str(shown.selected), _find_upload(shown.photo) if shown.photo else gr.skip()
    return gr.Tabs(selected="dream"), *layer, channel, photo, None


def _build_inputs(first: ChannelRecipe) -> ChannelInputs:
    gr.Markdown("Each channel of a layer detects one kind of pattern.")
    layer_picker = build_layer_picker(
        first.model, first.layer, "Layer to show", "The gallery shows its channels."
    )
    numbers = gr.Textbox(
        label="Channels",
        placeholder=f"{GRID_COUNT} channels spread over the layer",
        info="For example 3,7,12 or 0-15. Leave empty for a selection.",
        elem_id="numbers",
    )
    go, stop = components.go_and_stop_buttons("Show channels", "show", "stop-show")
    gr.Markdown("**Most active channels in a photo**")
    photo = components.photo_input(
        value=str(EXAMPLE_PHOTO),
        sources=["upload", "clipboard"],
        label="Click a spot in the photo",
        elem_id="seen",
    )
    whole_photo = gr.Button("Most active channels in the whole photo", elem_id="see")
    with gr.Accordion("Advanced", open=False):
        controls = {
            name: components.knob_control(ChannelRecipe, name, getattr(first, name))
            for name in ADVANCED_KNOBS
        }
    return ChannelInputs(layer_picker, numbers, go, stop, photo, whole_photo, controls)


def _build_outputs(engine: Engine, first: ChannelRecipe) -> dict[str, Any]:
    """Build the output components, by name."""
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
        label="Where it is active", visible=False, interactive=False, buttons=[], elem_id="where"
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


def _show_channels(runner: JobRunner, numbers: str, **knobs: Any) -> Iterator[dict[str, Any]]:
    """Yield the channels of a layer as they form."""
    recipes = _requested_recipes(numbers, **knobs)
    yield from _stream_gallery(
        stream_render(runner, recipes, use_cache=True), recipes, _caption(recipes)
    )


def _show_top_channels(
    runner: JobRunner, photo: str | None, spot: tuple[float, float] | None, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """Yield the most active channels in the photo, or at a spot (across, down) in pixels."""
    photo = components.require_photo(photo)
    recipe = ChannelRecipe(**knobs)
    stream = stream_top_channels(runner, photo, recipe, spot, TOP_COUNT)
    while not (update := next(stream)).response:
        yield {"status": update.status}
    response, top_channels = update.response, update.top_channels
    where = "at this spot" if spot else "in the whole photo"
    layer = status_line.layer_label(recipe.card, recipe.layer)
    text = f"{layer}: most active channels {where}, strongest first."
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
    """Yield the gallery and its status while the images form."""
    channels = tuple(recipe.channel for recipe in recipes)
    is_cleared = False
    for grid in stream_grid(stream, recipes):
        status = grid.update.status
        if grid.done:
            layer = status_line.layer_label(recipes[0].card, recipes[0].layer)
            silent = silent_channels_message(layer, grid.silent) if grid.silent else ""
            status = status_line.status_html(f"{text} {status_line.to_sentence(silent)}")
        if grid.update.frame and not is_cleared:
            # An enlarged image of the last run would stay, so clear the gallery first.
            yield {"gallery": [], **_select_first(recipes[0], channels, photo, maps)}
            is_cleared = True
        gallery = {"gallery": _gallery_items(grid.files, captions)} if is_cleared else {}
        yield {**gallery, "status": status}


def _show_cached_grid(engine: Engine, **knobs: Any) -> Iterator[dict[str, Any]]:
    """Yield the cached grid of a layer; without one, the status says which button to press."""
    recipe = ChannelRecipe(**knobs)
    files, text = _cached_files(engine, recipe)
    status = status_line.status_html(text)
    yield {
        "gallery": _gallery_items(files),
        "status": status,
        **_select_first(recipe, tuple(files)),
    }


def _cached_files(engine: Engine, recipe: ChannelRecipe) -> tuple[dict[int, str], str]:
    """Return the files of a layer's cached channels, if any, and the status text."""
    recipes = [engine.settle(each) for each in channel_recipes(recipe, "")]
    images = engine.cached_channels(recipes)
    if not images:
        label = status_line.layer_label(recipe.card, recipe.layer)
        return {}, f'{label}: press "Show channels" to see {len(recipes)} of them.'
    folder = new_output_folder()
    files = {}
    for image, recipe in zip(images, recipes, strict=True):
        path = folder / f"{recipe.file_stem()}.png"
        save_image(image, path, recipe)
        files[recipe.channel] = str(path)
    return files, _caption(recipes)


def _caption(recipes: Sequence[ChannelRecipe]) -> str:
    first = recipes[0]
    count = f"{len(recipes)} channels" if len(recipes) > 1 else f"channel {first.channel}"
    return f"{status_line.layer_label(first.card, first.layer)}: {count}. Click one to enlarge it."


def _gallery_items(
    files: Mapping[int, str], captions: Mapping[int, str] | None = None
) -> list[tuple[str, str]]:
    """Return each file with its caption, by default the channel number."""
    return [(path, (captions or {}).get(channel, str(channel))) for channel, path in files.items()]


def _select_first(
    recipe: ChannelRecipe,
    channels: tuple[int, ...],
    photo: str | None = None,
    maps: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the changes that select the first of these channels."""
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
    """Return the changes for a click in the gallery, with the channel's heatmap if there is one."""
    if index >= len(shown.channels):
        return {}  # The click was on an older gallery.
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
        value=path, visible=True, interactive=False, label=f"Where channel {channel} is active"
    )


def _carry_button_update(channel: int | None) -> dict[str, Any]:
    which = "this channel" if channel is None else f"channel {channel}"
    return gr.update(value=f"Dream my photo with {which}", interactive=channel is not None)
