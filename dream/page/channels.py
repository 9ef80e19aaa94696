"""The tab "What it sees": the channels of a layer as pictures, and those that answer a photo."""

from __future__ import annotations

import html
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.files.picture import load_image
from dream.page import deep_dream, parts
from dream.page.grid import GRID, answers, channel_file, map_file, recipes_for, visualized
from dream.page.layers import choose_layer, chosen
from dream.page.work import Work
from dream.paint.channel import silence
from dream.paint.response import Response
from dream.recipe.channel import ChannelRecipe
from dream.recipe.knob import knobs

TOP = 8
PHOTO = parts.EXAMPLES / "cat.jpg"
OUTPUTS = ("gallery", "status", "shown", "carry", "where")
CONTROLS = [name for name in knobs(ChannelRecipe) if name not in ("model", "layer", "channel")]


@dataclass(frozen=True)
class Shown:
    """What a visitor's gallery shows, and the photo it answers, if any."""

    model: str
    layer: str
    channels: tuple[int, ...]
    selected: int | None
    photo: str | None = None


def tab(work: Work, tabs: gr.Tabs, dreams: deep_dream.Inputs) -> None:
    """The tab; a channel of it can be carried over to the one that dreams."""
    first = work.engine.settle(ChannelRecipe())
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            choice = choose_layer(
                first.model, first.layer, "Which layer to look into", "Its channels are shown."
            )
            numbers = gr.Textbox(
                label="Channels",
                placeholder=f"{GRID} spread over the layer",
                info="As 3,7,12 or 0-15; empty for some of every kind.",
                elem_id="numbers",
            )
            go = gr.Button(
                "Show its channels", variant="primary", elem_id="show", elem_classes="go"
            )
            stop = gr.Button(
                "Stop", variant="stop", visible=False, elem_id="stop-show", elem_classes="stop"
            )
            gr.Markdown("**What does it see in my photo?**")
            photo = parts.photo_input(
                value=str(PHOTO),
                sources=["upload", "clipboard"],
                label="Click on a spot",
                height=230,
                buttons=[],
                elem_id="seen",
            )
            see = gr.Button("What does it see in all of it?", elem_id="see")
            with gr.Accordion("Advanced", open=False):
                controls = [
                    parts.control(ChannelRecipe, name, getattr(first, name)) for name in CONTROLS
                ]
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            with tempfile.TemporaryDirectory() as folder:
                files, about = _kept(work.engine, first, folder)
                opening = _choosing(first, tuple(files))
                gallery = gr.Gallery(
                    _items(files),
                    columns=4,
                    height="auto",
                    object_fit="cover",
                    label="Channels",
                    show_label=False,
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="channels",
                )
            status = gr.HTML(parts.status(about), elem_id="show-status", elem_classes="status")
            carry = gr.Button(
                opening["carry"]["value"],
                interactive=opening["carry"]["interactive"],
                elem_id="carry",
            )
            where = gr.Image(
                label="Where it answers",
                visible=False,
                interactive=False,
                buttons=[],
                elem_id="where",
            )
    shown = gr.State(opening["shown"])
    outputs = [gallery, status, shown, carry, where]
    layer = [choice.model, choice.layer]

    def show(model: str, layer: str, numbers: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from _told(_show(work, model, layer, numbers, values))

    def see_all(photo: str | None, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from _told(_see(work, photo, None, *values))

    def see_spot(event: gr.SelectData, photo: str | None, *values: Any) -> Iterator[Any]:
        yield from _told(_see(work, photo, event.index, *values))

    def peek(model: str, layer: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        yield from _told(_peek(work.engine, model, layer, values))

    def select(event: gr.SelectData, shown: Shown) -> Iterator[tuple[Any, ...]]:
        yield from _told(_select(work, shown, int(event.index)))

    def carried(shown: Shown) -> tuple[Any, ...]:
        return (
            gr.Tabs(selected="dream"),
            *chosen(shown.model, shown.layer),
            str(shown.selected),
            shown.photo or gr.skip(),
            None,
        )

    buttons = [go, see, stop]
    runs: list[Any] = []
    for event, handler, inputs in (
        (go.click, show, [*layer, numbers, *controls]),
        (see.click, see_all, [photo, *layer, *controls]),
        (photo.select, see_spot, [photo, *layer, *controls]),
    ):
        event(lambda: _busy(True), None, buttons, **parts.AT_ONCE)
        run = event(
            handler,
            inputs,
            outputs,
            show_progress="minimal",
            show_progress_on=status,
            api_visibility="private",
            **parts.WORK,
        )
        runs.append(run)
    parts.stops(stop, runs, lambda: _busy(False), buttons, status)
    for event in choice.events:
        event.then(peek, [*layer, *controls], outputs, **parts.GLANCE)
    gallery.select(select, shown, outputs, **parts.GLANCE)
    target = [tabs, *dreams.choice.components, dreams.channels, dreams.photo, dreams.guide]
    carry.click(carried, shown, target, **parts.AT_ONCE).then(
        None, js="() => document.querySelector('#go').click()", api_visibility="private"
    )


def _show(
    work: Work, model: str, layer: str, numbers: str, values: Sequence[Any]
) -> Iterator[tuple[Any, ...]]:
    """The channels of a layer, as they form."""
    recipes = recipes_for(_recipe(model, layer, values), numbers)
    yield from _forming(work, recipes, _about(recipes))


def _see(
    work: Work,
    photo: str | None,
    spot: tuple[float, float] | None,
    model: str,
    layer: str,
    *values: Any,
) -> Iterator[tuple[Any, ...]]:
    """The channels that answer a photo, all of it or a spot (across, down) in pixels."""
    if not photo:
        raise DreamError("Drop a photo first.")
    recipe = _recipe(model, layer, values)
    for text in parts.fetching(work.engine.fetch(recipe.model)):
        yield _but(status=text)
    response, found = answers(work, load_image(photo), recipe, spot, TOP)
    place = "at that spot" if spot else "in all of it"
    about = f"What {recipe.layer} sees {place}, by how strongly it answers."
    captions = {each.channel: f"{each.channel} · {each.strength:.1f}" for each in found}
    recipes = [recipe.but(channel=channel) for channel in captions]
    with tempfile.TemporaryDirectory() as folder:
        yield _but(where=_map(response, found[0].channel, folder))
        yield from _forming(work, recipes, about, captions, photo)


def _forming(
    work: Work,
    recipes: Sequence[ChannelRecipe],
    about: str,
    captions: Mapping[int, str] | None = None,
    photo: str | None = None,
) -> Iterator[tuple[Any, ...]]:
    """The gallery, and what is said of it, while the pictures form."""
    for text in parts.fetching(work.engine.fetch(recipes[0].model)):
        yield _but(status=text)
    # What was enlarged gives way to the first one.
    channels = tuple(recipe.channel for recipe in recipes)
    yield _but(gallery=[], **_choosing(recipes[0], channels, photo))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for moment in visualized(work, recipes, folder):
            status = parts.progress(moment.frame, time.monotonic() - start)
            if moment.frame.done == 1:
                silent = silence(recipes[0].layer, moment.silent) if moment.silent else ""
                status = parts.status(f"{about} {parts.sentence(silent)}")
            yield _but(gallery=_items(moment.files, captions), status=status)


def _peek(
    engine: Engine, model: str, layer: str, values: Sequence[Any]
) -> Iterator[tuple[Any, ...]]:
    """The grid of a layer just chosen, where it is kept; else what to press for it."""
    recipe = _recipe(model, layer, values)
    yield _but(gallery=[])
    with tempfile.TemporaryDirectory() as folder:
        files, about = _kept(engine, recipe, folder)
        yield _but(
            gallery=_items(files), status=parts.status(about), **_choosing(recipe, tuple(files))
        )


def _kept(engine: Engine, recipe: ChannelRecipe, folder: str) -> tuple[dict[int, str], str]:
    """The files of a layer's channels if they were made before, and what is to be said."""
    recipes = [engine.settle(each) for each in recipes_for(recipe, "")]
    images = engine.kept(recipes)
    if not images:
        return {}, f"Press the button to see {len(recipes)} channels of {recipe.layer}."
    files = {
        recipe.channel: channel_file(image, recipe, folder)
        for image, recipe in zip(images, recipes, strict=True)
    }
    return files, _about(recipes)


def _about(recipes: Sequence[ChannelRecipe]) -> str:
    many = f"{len(recipes)} channels" if len(recipes) > 1 else f"channel {recipes[0].channel}"
    return f"{many} of {recipes[0].layer}. Click one to enlarge it."


def _items(
    files: Mapping[int, str], captions: Mapping[int, str] | None = None
) -> list[tuple[str, str]]:
    """What the gallery shows: each file with its caption, by default the channel."""
    return [(path, (captions or {}).get(each, str(each))) for each, path in files.items()]


def _choosing(
    recipe: ChannelRecipe, channels: tuple[int, ...], photo: str | None = None
) -> dict[str, Any]:
    """The first of these channels as the one that is chosen."""
    first = channels[0] if channels else None
    return {
        "shown": Shown(recipe.model, recipe.layer, channels, first, photo),
        "carry": _carry(first),
        "where": gr.skip() if photo else gr.update(visible=False),
    }


def _select(work: Work, shown: Shown, place: int) -> Iterator[tuple[Any, ...]]:
    """A channel chosen in the gallery, and where in the photo it answers, if there is one."""
    channel = shown.channels[place]
    shown = replace(shown, selected=channel)
    if not shown.photo:
        yield _but(shown=shown, carry=_carry(channel))
        return
    recipe = ChannelRecipe(model=shown.model, layer=shown.layer)
    response = work.response(load_image(shown.photo), recipe)
    with tempfile.TemporaryDirectory() as folder:
        yield _but(shown=shown, carry=_carry(channel), where=_map(response, channel, folder))


def _recipe(model: str, layer: str, values: Sequence[Any]) -> ChannelRecipe:
    given = dict(zip(CONTROLS, values, strict=True))
    return ChannelRecipe(model=model, layer=layer, **given)


def _map(response: Response, channel: int, folder: str) -> dict[str, Any]:
    path = map_file(response, channel, folder)
    return gr.update(
        value=path, visible=True, interactive=False, label=f"Where channel {channel} answers"
    )


def _carry(channel: int | None) -> dict[str, Any]:
    which = "this channel" if channel is None else f"channel {channel}"
    return gr.update(value=f"Dream my photo with {which}", interactive=channel is not None)


def _busy(busy: bool) -> tuple[Any, ...]:
    """How the buttons show, see and stop look while pictures form, and else."""
    return gr.update(visible=not busy), gr.update(interactive=not busy), gr.update(visible=busy)


def _but(**changes: Any) -> tuple[Any, ...]:
    """What the tab puts out, only that changed."""
    return tuple(changes.get(name, gr.skip()) for name in OUTPUTS)


def _told(answers: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Those answers; what goes wrong is said in the status."""
    try:
        yield from answers
    except DreamError as error:
        said = parts.sentence(error)
        gr.Warning(html.escape(said), title="This cannot be shown")
        yield _but(status=parts.status(said))
