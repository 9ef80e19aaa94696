"""The "Channel visualization" tab: channels of a layer, and the most active ones in a photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.files.image import save_image
from dream.networks.channel_looks import channel_looks
from dream.page import channel_stream, status_line
from dream.page.blocks import FILE_GONE_MESSAGE, is_uploaded, upload_name, upload_path
from dream.page.image_stream import RenderUpdate, new_output_folder, stream_render
from dream.page.tabs.deep_dream import DreamTab
from dream.page.widgets import components
from dream.page.widgets.components import Updates
from dream.page.widgets.layer_picker import LayerPicker, picker_updates
from dream.page.widgets.run import RunButtons, show_errors
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


class ChannelTab:
    """The tab; a channel can be sent to the Deep Dream tab."""

    def __init__(self, runner: JobRunner, tabs: gr.Tabs, dream_tab: DreamTab) -> None:
        self.runner = runner
        self.first = runner.engine.settle(ChannelRecipe())
        components.build_columns(self._build_inputs, self._build_outputs)
        self.outputs = [self.gallery, self.status, self.shown, self.carry_button, self.heatmap]
        self._connect_runs()
        self._connect_gallery()
        components.send_to_dream_tab(
            self.carry_button.click,
            _channel_to_dream,
            self.shown,
            [tabs, *dream_tab.components_set_by_tabs],
        )

    def _build_inputs(self) -> None:
        first = self.first
        gr.Markdown("Each channel of a layer detects one kind of pattern.")
        self.picker = LayerPicker(
            first.model, first.layer, "Layer to show", "The gallery shows its channels."
        )
        self.numbers = gr.Textbox(
            label="Channels",
            placeholder=f"{channel_stream.GRID_COUNT} channels spread over the layer",
            info="For example 3,7,12 or 0-15. Leave empty for a selection.",
            elem_id="numbers",
        )
        with components.foot():
            self.go, self.stop = components.go_and_stop_buttons(
                "Show channels", "show", "stop-show"
            )
        gr.Markdown("**Most active channels in a photo**")
        self.photo = components.photo_input(
            value=str(EXAMPLE_PHOTO),
            sources=["upload", "clipboard"],
            label="Click a spot in the photo",
            elem_id="seen",
        )
        components.privacy_line()
        self.whole_photo_button = gr.Button(
            "Most active channels in the whole photo", elem_id="see"
        )
        self.layer_inputs = {"model": self.picker.model, "layer": self.picker.layer}
        with gr.Accordion("Advanced", open=False):
            self.layer_inputs |= components.knob_controls(first, *ADVANCED_KNOBS)

    def _build_outputs(self) -> None:
        files, text = _cached_files(self.runner.engine, self.first)
        state = _select_first(self.first, files)
        self.gallery = components.thumbnail_gallery(
            value=_gallery_items(files, _captions(self.first, files)),
            columns=4,
            label="Channels",
            allow_preview=True,
            buttons=["download", "fullscreen"],
            elem_id="channels",
        )
        self.status = components.status_field("show-status", text)
        carry = _carry_button_update(state.selected)
        self.carry_button = gr.Button(
            carry["value"], interactive=carry["interactive"], elem_id="carry"
        )
        label = "Where it is active"
        self.heatmap = gr.Image(
            label=label, visible=False, interactive=False, buttons=[], elem_id="where"
        )
        self.shown = gr.JSON(asdict(state), visible=False)

    def recipe_updates(self, recipe: ChannelRecipe) -> Updates:
        """Return the updates that set the controls to a recipe."""
        picker = picker_updates(recipe.model, recipe.layer)
        return {
            **components.recipe_updates(recipe, self.layer_inputs),
            **dict(zip(self.picker.components, picker, strict=True)),
            self.numbers: str(recipe.channel),
        }

    def _connect_runs(self) -> None:
        """Connect the buttons that show channels, and Stop."""
        run_buttons = RunButtons(self.go, self.stop, [self.whole_photo_button], self.status)
        inputs, outputs = self.layer_inputs, self.outputs
        grid_inputs = {"numbers": self.numbers, **inputs}
        run_buttons.start_on(
            self.go.click, self.show_channels, grid_inputs, outputs, _requested_recipes
        )
        spot = gr.State(None)
        photo_inputs = {"photo": self.photo, "spot": spot, **inputs}
        check = partial(components.check_recipe, ChannelRecipe)
        for chosen in (
            self.whole_photo_button.click(lambda: None, None, spot, **components.IMMEDIATE_EVENT),
            self.photo.select(_clicked_spot, None, spot, **components.IMMEDIATE_EVENT),
        ):
            run_buttons.start_on(chosen.then, self.show_top_channels, photo_inputs, outputs, check)
        run_buttons.connect_stop()

    def _connect_gallery(self) -> None:
        """Show the cached channels of a chosen layer, and the heatmap of a clicked channel."""

        def show_cached(**knobs: Any) -> Updates:
            return next(show_errors(self.cached_channels(**knobs), self.status))

        def select_channel(event: gr.SelectData, shown: Any) -> Updates:
            state, index = _read_gallery_state(shown), int(event.index)
            if index >= len(state.channels):
                return {self.shown: gr.skip()}  # The click was on an older gallery.
            return self._selection_updates(replace(state, selected=state.channels[index]))

        # Stop the run and clear the gallery when another layer is chosen.
        clear = self.picker.on_change(
            lambda: [], None, self.gallery, js=STOP_SCRIPT, **components.IMMEDIATE_EVENT
        )
        clear.then(
            show_cached,
            None,
            self.outputs,
            inputs_kwargs=self.layer_inputs,
            **components.SLOW_EVENT,
        )
        self.gallery.select(select_channel, self.shown, self.outputs, **components.IMMEDIATE_EVENT)

    def cached_channels(self, **knobs: Any) -> Iterator[Updates]:
        """Yield the cached channels of a layer, at once."""
        recipe = ChannelRecipe(**knobs)
        files, text = _cached_files(self.runner.engine, recipe)
        yield {
            self.gallery: _gallery_items(files, _captions(recipe, files)),
            self.status: status_line.status_html(text),
            **self._selection_updates(_select_first(recipe, files)),
        }

    def show_channels(self, numbers: str, **knobs: Any) -> Iterator[Updates]:
        """Yield the channels of a layer as they form."""
        recipes = _requested_recipes(numbers, **knobs)
        stream = stream_render(self.runner, recipes, use_cache=True)
        channels = [recipe.channel for recipe in recipes]
        state, captions = _select_first(recipes[0], channels), _captions(recipes[0], channels)
        yield from self._stream_gallery(stream, recipes, _caption(recipes), state, captions)

    def show_top_channels(
        self, photo: str | None, spot: tuple[float, float] | None, **knobs: Any
    ) -> Iterator[Updates]:
        """Yield the most active channels in the photo, or at a spot (across, down) in pixels."""
        photo = components.require_photo(photo)
        recipe = ChannelRecipe(**knobs)
        stream = channel_stream.stream_top_channels(
            self.runner, photo, recipe, spot, channel_stream.TOP_COUNT
        )
        while not (update := next(stream)).response:
            yield {self.status: update.status}
        where = "at this spot" if spot else "in the whole photo"
        layer = recipe.card.layer_label(recipe.layer)
        text = f"{layer}: most active channels {where}, strongest first."
        strengths = {each.channel: each.strength for each in update.top_channels}
        captions = _captions(recipe, strengths, strengths)
        recipes = [recipe.with_changes(channel=channel) for channel in strengths]
        heatmaps = [
            upload_name(channel_stream.write_heatmap(update.response, channel))
            for channel in strengths
        ]
        state = _select_first(recipe, strengths, upload_name(photo), heatmaps)
        yield {self.heatmap: self._selection_updates(state)[self.heatmap]}
        yield from self._stream_gallery(stream, recipes, text, state, captions)

    def _stream_gallery(
        self,
        stream: Iterator[RenderUpdate],
        recipes: Sequence[ChannelRecipe],
        text: str,
        state: GalleryState,
        captions: Mapping[int, str],
    ) -> Iterator[Updates]:
        """Yield the gallery and its status while the images form; at the end, `text`."""
        is_cleared = False
        for grid in channel_stream.stream_grid(stream, recipes):
            status = grid.update.status
            if grid.done:
                layer = recipes[0].card.layer_label(recipes[0].layer)
                silent = silent_channels_message(layer, grid.silent) if grid.silent else ""
                status = status_line.status_html(f"{text} {status_line.to_sentence(silent)}")
            if grid.update.frame and not is_cleared:
                # An enlarged image of the last run would stay, so clear the gallery first.
                yield {self.gallery: [], **self._selection_updates(state)}
                is_cleared = True
            gallery = {self.gallery: _gallery_items(grid.files, captions)} if is_cleared else {}
            yield {**gallery, self.status: status}

    def _selection_updates(self, state: GalleryState) -> Updates:
        """Return the updates for the selected channel, with its heatmap if there is one."""
        channel, heatmap = state.selected, gr.update(visible=False)
        if state.heatmaps and channel is not None:
            heatmap = gr.update(
                value=_find_upload(state.heatmaps[state.channels.index(channel)]),
                visible=True,
                interactive=False,
                label=f"Where channel {channel} is active",
            )
        return {
            self.shown: asdict(state),
            self.carry_button: _carry_button_update(channel),
            self.heatmap: heatmap,
        }


def _select_first(
    recipe: ChannelRecipe, channels: Iterable[int], photo: str = "", heatmaps: Sequence[str] = ()
) -> GalleryState:
    channels = list(channels)
    first = channels[0] if channels else None
    return GalleryState(recipe.model, recipe.layer, channels, first, photo, heatmaps)


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


def _requested_recipes(numbers: str, **knobs: Any) -> list[ChannelRecipe]:
    return channel_stream.channel_recipes(ChannelRecipe(**knobs), numbers)


def _cached_files(engine: Engine, recipe: ChannelRecipe) -> tuple[dict[int, str], str]:
    """Return the files of a layer's cached channels, if any, and the status text."""
    recipes = [engine.settle(each) for each in channel_stream.channel_recipes(recipe, "")]
    images = engine.cached_channels(recipes)
    if not images:
        label = recipe.card.layer_label(recipe.layer)
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
    return f"{first.card.layer_label(first.layer)}: {count}. Click one to enlarge it."


def _gallery_items(files: Mapping[int, str], captions: Mapping[int, str]) -> list[tuple[str, str]]:
    """Return each file with its caption."""
    return [(path, captions[channel]) for channel, path in files.items()]


def _captions(
    recipe: ChannelRecipe, channels: Iterable[int], strengths: Mapping[int, float] | None = None
) -> dict[int, str]:
    """Return a caption per channel: its number, its strength if given, and its looks if known."""
    looks = channel_looks(recipe.model, recipe.layer)
    values = {channel: f"{each:.1f}" for channel, each in (strengths or {}).items()}
    return {
        each: " · ".join(filter(None, (str(each), values.get(each), looks.get(each))))
        for each in channels
    }


def _carry_button_update(channel: int | None) -> dict[str, Any]:
    which = "this channel" if channel is None else f"channel {channel}"
    return gr.update(value=f"Dream my photo with {which}", interactive=channel is not None)
