"""The tab "Zoom and video": a photo that one zooms into for ever, and a video that is dreamed."""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from dream.errors import DreamError
from dream.files.video import load_video
from dream.networks import catalogue
from dream.page import estimate, films, parts
from dream.page.blocks import upload_name, upload_path
from dream.page.call_limits import run_in_thread
from dream.page.layers import network_choice
from dream.page.run import Run
from dream.recipe import VideoRecipe, ZoomRecipe
from dream.recipe.knob import knobs
from dream.recipe.moving import MovingRecipe
from dream.service.work import Work

PHOTO = parts.EXAMPLES / "coffee.jpg"
FILMS = parts.EXAMPLES / "films"
MADE = FILMS / "zoom-coffee-inception4c-seed0.mp4"
EXAMPLES = {
    "Endless zoom": MADE,
    "A dreamed video": FILMS / "video-cat-inception4c-seed0.mp4",
    "How a dream came about": FILMS / "making-of-dream-coffee-inception4c-i5-seed0.mp4",
}
# What the slider goes up to.
LONGEST = 30
FORMATS = {"MP4": "mp4", "WebM": "webm", "GIF": "gif"}
SHOWN = ("picture", "film", "download")
# The knobs in reach; the others of a frame are folded.
MOVES = ("seconds", "zoom", "rotation")
FOLDED = ("right", "down", "fps")
DREAM = [name for name in knobs(MovingRecipe) if name not in ("model", "layer")]


def tab(work: Work) -> None:
    """The tab."""
    first = work.engine.settle(ZoomRecipe(model=work.engine.default_model()))
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=2, min_width=320):
            asked = _asking(work, first)
        with gr.Column(scale=3, min_width=320, elem_classes="result"):
            outputs = _showing()
    go, other, stop = asked.pop("go"), asked.pop("other"), asked.pop("stop")
    expected, priced = asked.pop("expected"), asked.pop("priced")
    dream = {name: asked[name] for name in ("model", "layer", *DREAM)}
    moves = {name: asked[name] for name in (*MOVES, *FOLDED)}
    given = {"ending": asked["ending"], "random_seed": asked["random_seed"], **dream}
    run = Run(go, stop, [other, outputs["download"]], outputs["status"])
    zoomed = {"photo": asked["photo"], **given, **moves}
    dreamed = {"video": asked["video"], "carry": asked["carry"], **given}
    run.on(go.click, partial(_zoom, work), zoomed, outputs, partial(parts.checked, ZoomRecipe))
    check = partial(parts.checked, VideoRecipe)
    run.on(other.click, partial(_video, work), dreamed, outputs, check)
    run.wire()
    told = [outputs[name] for name in (*SHOWN, "status")]
    stop.click(_stopped_video, [outputs["made"], outputs["download"]], told, **parts.HEAVY_LOOK)
    _price(work, expected, priced, asked, dream, moves, outputs["film"])


def _asking(work: Work, first: ZoomRecipe) -> dict[str, Any]:
    """What is asked for, by name, with the buttons and what is said beside them."""
    photo = parts.photo_input(value=str(PHOTO), elem_id="zoom-photo")
    go, stop = parts.go_and_stop("Zoom into this photo", "film", "stop-film")
    expected = gr.HTML(_zoom_price(work, first, str(PHOTO)), elem_classes="expected")
    controls = {name: parts.control(ZoomRecipe, name, getattr(first, name)) for name in MOVES}
    controls["seconds"].maximum = LONGEST
    controls["layer"] = gr.Textbox(
        first.layer,
        label="Layer, or layers along the way",
        info="As inception4c; in a zoom also by key frames, as 0 s: inception4c; 3 s: inception3b.",
        elem_id="zoom-layer",
    )
    with gr.Accordion("Dream a video", open=False, elem_id="dreaming-video"):
        video = parts.video_input(label="Your video", height=120, elem_id="video")
        other = gr.Button("Dream this video", elem_id="dream-video")
        priced = gr.HTML(f"<span>{films.TAKEN}</span>", elem_classes="expected")
        controls["carry"] = parts.control(VideoRecipe, "carry", knobs(VideoRecipe)["carry"].default)
    with gr.Accordion("Advanced", open=False):
        controls["model"] = network_choice(first.model)
        controls |= {
            name: parts.control(ZoomRecipe, name, getattr(first, name))
            for name in (*FOLDED, *DREAM)
        }
        random_seed = gr.Checkbox(False, label="Random seed")
        ending = gr.Radio(list(FORMATS.items()), value="mp4", label="Format")
    controls["model"].input(
        lambda model: catalogue.card(model).default_layer,
        controls["model"],
        controls["layer"],
        **parts.AT_ONCE,
    )
    asked = {"photo": photo, "video": video, "ending": ending, "random_seed": random_seed}
    buttons = {"go": go, "other": other, "stop": stop, "expected": expected, "priced": priced}
    return {**asked, **buttons, **controls}


def _showing() -> dict[str, Any]:
    """What is put out, by name."""
    picture = still("The frame that is dreamed", "frame")
    film = player(str(MADE), "The video", elem_id="player")
    words = parts.status("A zoom that was made here; press the button to make one of your photo.")
    status = gr.HTML(words, elem_id="film-status", elem_classes="status")
    download = gr.DownloadButton("Download", str(MADE), elem_id="film-download")
    with gr.Row(elem_classes="examples"):
        buttons = [gr.Button(name, size="sm", min_width=110) for name in EXAMPLES]
    shown = [picture, film, download, status]
    gr.on([button.click for button in buttons], _example, None, shown, **parts.AT_ONCE)
    return {
        "picture": picture,
        "film": film,
        "status": status,
        "download": download,
        "made": gr.Textbox(visible=False),
    }


def still(label: str, elem_id: str) -> gr.Image:
    """What shows a frame, or a GIF, in the place of a player; hidden as yet."""
    about: dict[str, Any] = {"interactive": False, "visible": False, "buttons": []}
    return gr.Image(type="filepath", label=label, elem_id=elem_id, **about)


def player(value: str | None, label: str, **about: Any) -> gr.Video:
    """What plays a video, again and again."""
    return gr.Video(
        value,
        label=label,
        interactive=False,
        autoplay=True,
        loop=True,
        buttons=[],
        **about,
    )


def _example(event: gr.EventData) -> tuple[Any, ...]:
    assert isinstance(event.target, gr.Button)
    name = str(event.target.value)
    path = str(EXAMPLES[name])
    return *played(path), path, parts.status(f"{name}, made here.")


def played(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The picture and the player with that video; a GIF is a picture to browsers."""
    is_gif = path.endswith(".gif")
    still = gr.update(visible=is_gif, **({"value": path} if is_gif else {}))
    return still, gr.update(visible=not is_gif, value=None if is_gif else path)


def _zoom(
    work: Work, photo: str | None, ending: str, random_seed: bool, **given: Any
) -> Iterator[dict[str, Any]]:
    recipe = ZoomRecipe(**_seeded(given, random_seed))
    yield from told(films.zoom(work, recipe, parts.needed(photo), ending))


def _video(
    work: Work, video: str | None, ending: str, random_seed: bool, **given: Any
) -> Iterator[dict[str, Any]]:
    if not video:
        raise DreamError("Drop a video first.")
    recipe = VideoRecipe(**_seeded(given, random_seed))
    yield from told(films.video(work, recipe, video, ending))


def _seeded(given: dict[str, Any], random_seed: bool) -> dict[str, Any]:
    return {**given, "seed": parts.random_seed()} if random_seed else given


def told(made: films.Films) -> Iterator[dict[str, Any]]:
    """What is put out as a video is made; what there is of one that fails, or the one before."""
    path = ""
    try:
        for moment in made:
            changes: dict[str, Any] = {"status": moment.words, "made": upload_name(moment.path)}
            if moment.picture:
                changes["picture"] = gr.update(value=moment.picture, visible=True)
                changes["film"] = gr.update(visible=False)
                path = moment.path
            if moment.done:
                changes |= show_video(moment.path)
            yield changes
    except Exception:  # Whatever went wrong, what is downloaded is what is shown.
        if path:
            yield (
                show_video(path)
                if Path(path).is_file()
                else {"picture": gr.update(visible=False), "film": gr.update(visible=True)}
            )
        raise


def show_video(path: str) -> dict[str, Any]:
    """What shows that video, and hands it over."""
    return dict(zip(SHOWN, (*played(path), path), strict=True))


async def _stopped_video(made: str, whole: str | None) -> tuple[Any, ...]:
    """What there is of a video that was stopped, to be played; else the `whole` one before."""
    path = upload_path(made)
    if path == whole or not (film := await films.wait_for_stopped_video(path)):
        return *played(whole or str(MADE)), gr.skip(), gr.skip()
    video = await run_in_thread(load_video, film)
    words = f"Stopped; {video.frames} frames, {float(video.times[-1]):.1f} seconds, are kept."
    return *played(film), film, parts.status(words)


def _zoom_price(work: Work, recipe: ZoomRecipe, photo: str | None) -> str:
    return estimate.said(work, recipe, estimate.size_of_photo(photo))


def _price(
    work: Work,
    expected: gr.HTML,
    priced: gr.HTML,
    asked: dict[str, Any],
    dream: dict[str, Any],
    moves: dict[str, Any],
    made: gr.Video,
) -> None:
    """What a zoom, or the video that was dropped, will take: said as it is chosen."""

    def zoom_price(photo: str | None, **given: Any) -> str:
        try:
            return _zoom_price(work, films.check_length(ZoomRecipe(**given)), photo)
        except DreamError:
            return ""  # The button says what is wrong.

    def video_price(video: str | None, **given: Any) -> str:
        try:
            if not video:
                return f"<span>{films.TAKEN}</span>"
            seen = load_video(video, films.LIMITS)
            return estimate.said(work, VideoRecipe(**given), seen.size, seen.frames)
        except DreamError as error:
            return f"<span>{html.escape(parts.sentence(error))}</span>"

    costly = [*dream.values(), *moves.values()]
    follow = {"photo": asked["photo"], **dream, **moves}
    gr.on(
        [asked["photo"].change, made.change, *(each.change for each in costly)],
        zoom_price,
        None,
        expected,
        inputs_kwargs=follow,
        trigger_mode="always_last",
        **parts.SLOW_LOOK,
    )
    gr.on(
        [asked["video"].change, *(each.change for each in dream.values())],
        video_price,
        None,
        priced,
        inputs_kwargs={"video": asked["video"], **dream},
        trigger_mode="always_last",
        **parts.HEAVY_LOOK,
    )
