"""The tab "Channel visualization": a layer's channels, and those that answer a photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from dream.engine import Engine
from dream.errors import DreamError
from dream.files.picture import save_image
from dream.page import deep_dream, parts
from dream.page.answers import GRID, TOP, answered, map_file, recipes_for
from dream.page.blocks import NO_LONGER_HERE, is_uploaded, upload_name, upload_path
from dream.page.layers import LayerChoice, choose_layer, chosen
from dream.page.moments import Moment, fresh_folder, grids, moments
from dream.page.run import Run, changed, told
from dream.paint.channel import silence
from dream.recipe.channel import ChannelRecipe
from dream.recipe.knob import knobs
from dream.service.work import Work

PHOTO = parts.EXAMPLES / "cat.jpg"
STOP = "() => { document.querySelector('#stop-show')?.click(); return []; }"
CONTROLS = [name for name in knobs(ChannelRecipe) if name not in ("model", "layer", "channel")]


@dataclass(frozen=True)
class Shown:
    """What a visitor's gallery shows, and the photo it answers, if any: where, in a file each.

    The browser keeps it, with the files by their names as uploads: the server may forget.
    """

    model: str
    layer: str
    channels: Sequence[int]
    selected: int | None
    photo: str = ""
    maps: Sequence[str] = ()


@dataclass(frozen=True)
class Inputs:
    """What is asked for."""

    choice: LayerChoice
    numbers: gr.Textbox
    go: gr.Button
    stop: gr.Button
    photo: gr.Image
    everywhere: gr.Button
    controls: dict[str, Any]


def tab(work: Work, tabs: gr.Tabs, dreams: deep_dream.Inputs) -> None:
    """The tab; a channel of it can be carried over to the one that dreams."""
    first = work.engine.settle(ChannelRecipe())
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            asked = _asking(first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            outputs = _showing(work.engine, first)
    shown, carry, gallery = outputs["shown"], outputs["carry"], outputs["gallery"]
    every = list(outputs.values())
    given = {"model": asked.choice.model, "layer": asked.choice.layer, **asked.controls}
    run = Run(asked.go, asked.stop, [asked.everywhere], outputs["status"])
    show, see = partial(_show, work), partial(_see, work)
    run.on(asked.go.click, show, {"numbers": asked.numbers, **given}, outputs, _asked_for)
    spot = gr.State(None)
    seen = {"photo": asked.photo, "spot": spot, **given}
    everywhere = asked.everywhere.click(lambda: None, None, spot, **parts.AT_ONCE)
    there = asked.photo.select(_spot_of, None, spot, **parts.AT_ONCE)
    for event in (everywhere, there):
        run.on(event.then, see, seen, outputs, partial(parts.checked, ChannelRecipe))
    run.wire()

    def peek(**knobs: Any) -> tuple[Any, ...]:
        return next(told(_peek(work.engine, **knobs), outputs))

    def select(event: gr.SelectData, shown: Any) -> tuple[Any, ...]:
        return changed(_select(_read(shown), int(event.index)), outputs)

    # What forms, or was enlarged, gives way to the first one of another layer.
    emptied = asked.choice.then(lambda: [], None, gallery, js=STOP, **parts.AT_ONCE)
    emptied.then(peek, None, every, inputs_kwargs=given, **parts.SLOW_LOOK)
    gallery.select(select, shown, every, **parts.AT_ONCE)
    parts.dream_this(carry.click, _channel_to_dream, shown, [tabs, *dreams.carried])


def _spot_of(event: gr.SelectData) -> Any:
    return event.index


def _read(kept: Any) -> Shown:
    """What the gallery shows, as a browser says.

    Raises:
        DreamError: if it says something else.
    """
    try:
        shown = Shown(**kept)
        for channel in [*shown.channels, shown.selected or 0]:
            ChannelRecipe(model=shown.model, layer=shown.layer, channel=channel)
    except TypeError as error:
        raise DreamError("these channels are not known here; show them again") from error
    return shown


def _file(name: str) -> str:
    """The upload of that name.

    Raises:
        DreamError: if it is no longer here.
    """
    if is_uploaded(path := upload_path(name)):
        return path
    raise DreamError(NO_LONGER_HERE)


def _channel_to_dream(kept: Any) -> tuple[Any, ...]:
    """The tab that dreams, with the channel that is selected."""
    shown = _read(kept)
    layer = chosen(shown.model, shown.layer)
    channel, photo = str(shown.selected), _file(shown.photo) if shown.photo else gr.skip()
    return gr.Tabs(selected="dream"), *layer, channel, photo, None


def _asking(first: ChannelRecipe) -> Inputs:
    gr.Markdown("**What it sees:** each channel of a layer looks for one thing.")
    choice = choose_layer(
        first.model, first.layer, "Which layer to look into", "Its channels are shown."
    )
    numbers = gr.Textbox(
        label="Channels",
        placeholder=f"{GRID} spread over the layer",
        info="As 3,7,12 or 0-15; empty for some of every kind.",
        elem_id="numbers",
    )
    go, stop = parts.go_and_stop("Show its channels", "show", "stop-show")
    gr.Markdown("**What does it see in my photo?**")
    photo = parts.photo_input(
        value=str(PHOTO),
        sources=["upload", "clipboard"],
        label="Click on a spot",
        elem_id="seen",
    )
    everywhere = gr.Button("What does it see in all of it?", elem_id="see")
    with gr.Accordion("Advanced", open=False):
        controls = {
            name: parts.control(ChannelRecipe, name, getattr(first, name)) for name in CONTROLS
        }
    return Inputs(choice, numbers, go, stop, photo, everywhere, controls)


def _showing(engine: Engine, first: ChannelRecipe) -> dict[str, Any]:
    """What is put out, by name."""
    files, about = _kept(engine, first)
    opening = _choosing(first, tuple(files))
    gallery = parts.pictures(
        value=_items(files),
        columns=4,
        label="Channels",
        allow_preview=True,
        buttons=["download", "fullscreen"],
        elem_id="channels",
    )
    status = gr.HTML(parts.status(about), elem_id="show-status", elem_classes="status")
    label, known = opening["carry"]["value"], opening["carry"]["interactive"]
    carry = gr.Button(label, interactive=known, elem_id="carry")
    where = gr.Image(
        label="Where it answers", visible=False, interactive=False, buttons=[], elem_id="where"
    )
    return {
        "gallery": gallery,
        "status": status,
        "shown": gr.JSON(opening["shown"], visible=False),
        "carry": carry,
        "where": where,
    }


def _asked_for(numbers: str, **knobs: Any) -> list[ChannelRecipe]:
    return recipes_for(ChannelRecipe(**knobs), numbers)


def _show(work: Work, numbers: str, **knobs: Any) -> Iterator[dict[str, Any]]:
    """The channels of a layer, as they form."""
    recipes = _asked_for(numbers, **knobs)
    yield from _forming(moments(work, recipes, kept=True), recipes, _about(recipes))


def _see(
    work: Work, photo: str | None, spot: tuple[float, float] | None, **knobs: Any
) -> Iterator[dict[str, Any]]:
    """The channels that answer a photo, all of it or a spot (across, down) in pixels."""
    photo = parts.needed(photo)
    recipe = ChannelRecipe(**knobs)
    stream = answered(work, photo, recipe, spot, TOP)
    while not (moment := next(stream)).seen:
        yield {"status": moment.words}
    response, found = moment.seen
    place = "at that spot" if spot else "in all of it"
    about = f"What {recipe.layer} sees {place}, by how strongly it answers."
    captions = {each.channel: f"{each.channel} · {each.strength:.1f}" for each in found}
    recipes = [recipe.but(channel=channel) for channel in captions]
    maps = tuple(map_file(response, channel) for channel in captions)
    yield {"where": _map(found[0].channel, maps[0])}
    yield from _forming(stream, recipes, about, captions, photo, maps)


def _forming(
    stream: Iterator[Moment],
    recipes: Sequence[ChannelRecipe],
    about: str,
    captions: Mapping[int, str] | None = None,
    photo: str | None = None,
    maps: tuple[str, ...] = (),
) -> Iterator[dict[str, Any]]:
    """The gallery, and what is said of it, while the pictures form."""
    channels = tuple(recipe.channel for recipe in recipes)
    cleared = False
    for grid in grids(stream, recipes):
        status = grid.moment.words
        if grid.done:
            silent = silence(recipes[0].layer, grid.silent) if grid.silent else ""
            status = parts.status(f"{about} {parts.sentence(silent)}")
        if grid.moment.frame and not cleared:
            # What was enlarged gives way to the first one.
            yield {"gallery": [], **_choosing(recipes[0], channels, photo, maps)}
            cleared = True
        gallery = {"gallery": _items(grid.files, captions)} if cleared else {}
        yield {**gallery, "status": status}


def _peek(engine: Engine, **knobs: Any) -> Iterator[dict[str, Any]]:
    """The grid of a layer just chosen, where it is kept; else what to press for it."""
    recipe = ChannelRecipe(**knobs)
    files, about = _kept(engine, recipe)
    status = parts.status(about)
    yield {"gallery": _items(files), "status": status, **_choosing(recipe, tuple(files))}


def _kept(engine: Engine, recipe: ChannelRecipe) -> tuple[dict[int, str], str]:
    """The files of a layer's channels if they were made before, and what is to be said."""
    recipes = [engine.settle(each) for each in recipes_for(recipe, "")]
    images = engine.kept(recipes)
    if not images:
        return {}, f"Press the button to see {len(recipes)} channels of {recipe.layer}."
    folder = fresh_folder()
    files = {}
    for image, recipe in zip(images, recipes, strict=True):
        path = folder / f"{recipe.called()}.png"
        save_image(image, path, recipe)
        files[recipe.channel] = str(path)
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
    recipe: ChannelRecipe,
    channels: tuple[int, ...],
    photo: str | None = None,
    maps: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The first of these channels as the one that is chosen."""
    first = channels[0] if channels else None
    return {
        "shown": asdict(
            Shown(
                *(recipe.model, recipe.layer, channels, first),
                *(upload_name(photo), [upload_name(path) for path in maps]),
            )
        ),
        "carry": _carry(first),
        "where": gr.skip() if photo else gr.update(visible=False),
    }


def _select(shown: Shown, place: int) -> dict[str, Any]:
    """A channel chosen in the gallery, and where in the photo it answers, if there is one."""
    if place >= len(shown.channels):
        return {}  # It was shown a moment ago.
    channel = shown.channels[place]
    chosen = {"shown": asdict(replace(shown, selected=channel)), "carry": _carry(channel)}
    return {**chosen, "where": _map(channel, _file(shown.maps[place]))} if shown.maps else chosen


def _map(channel: int, path: str) -> dict[str, Any]:
    return gr.update(
        value=path, visible=True, interactive=False, label=f"Where channel {channel} answers"
    )


def _carry(channel: int | None) -> dict[str, Any]:
    which = "this channel" if channel is None else f"channel {channel}"
    return gr.update(value=f"Dream my photo with {which}", interactive=channel is not None)
