"""The command line: `python -m dream image PHOTO -o OUT.png`, `channel`, `class`, …"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from PIL import Image
from torch import Tensor

from dream.engine import Engine
from dream.errors import DreamError, RecipeError, printable
from dream.files.embedded import with_pictures
from dream.files.film import FORMATS, Film, digest
from dream.files.picture import check_destination, load_image, read_recipe, save_image
from dream.files.sheet import contact_sheet, sheet
from dream.files.video import load_video
from dream.networks import catalogue, weights
from dream.networks.device import repeat_exactly
from dream.networks.download import Download
from dream.paint.channel import silence
from dream.paint.class_image import Verdict
from dream.paint.frames import Frame, to_tensors
from dream.paint.making import FPS, SECONDS, Making, formed, making_size
from dream.paint.reel import Reel, filmed, video_reel, zoom_reel
from dream.paint.response import COUNT
from dream.recipe import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    Recipe,
    VideoRecipe,
    ZoomRecipe,
    classes,
)
from dream.recipe.channel import channel_numbers, spread_channels
from dream.recipe.knob import Knob, knobs
from dream.recipe.presets import preset, preset_names
from dream.recipe.recipe import MODEL, AnyRecipe
from dream.recipe.variations import listed, numbers, variations
from dream.tensors import size_of, to_tensor

BAR_WIDTH = 30


class Stopped(Exception):
    """It was interrupted, and what there is was written."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, 2 for bad input, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = given.command
    repeat_exactly()
    try:
        if hasattr(given, "out"):
            check_destination(given.out, *given.endings)
        command(given)
    except DreamError as error:
        print(f"python -m dream: {error}", file=sys.stderr)
        return 2
    except Stopped:
        return 130
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _parser() -> Parser:
    parser = Parser(prog="python -m dream", description="Deep dreams of your photos.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, about, options, command in COMMANDS:
        one = commands.add_parser(name, help=about)
        options(one)
        one.set_defaults(command=command)
    return parser


def _recipe_options(
    parser: argparse.ArgumentParser,
    kind: type[Recipe],
    skip: Sequence[str] = (),
    out: str | None = None,
    endings: Sequence[str] = (),
) -> None:
    where = "where to write" + (f"; {out} by default" if out else "")
    name = "OUT" + "|".join(endings or (".png",))
    parser.add_argument(
        "-o", dest="out", metavar=name, default=out, required=out is None, help=where
    )
    parser.set_defaults(endings=endings)
    if kind is DreamRecipe:
        names = ", ".join(preset_names())
        parser.add_argument("--preset", metavar="NAME", help=f"start from a preset: {names}")
    parser.add_argument(
        "--recipe", metavar="FILE", help="start from the recipe in what was made here, or in JSON"
    )
    _weights_option(parser)
    for name, knob in knobs(kind).items():
        if name in skip:
            continue
        option = f"--{name.replace('_', '-')}"
        if knob.kind is bool:
            parser.add_argument(
                option, default=None, action=argparse.BooleanOptionalAction, help=knob.help
            )
            continue
        parser.add_argument(
            option,
            default=argparse.SUPPRESS,
            type=str if knob.kind is str else _number,
            metavar=_metavar(knob),
            help=f"{knob.help} Default: {knob.usual}.",
        )


def _weights_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", metavar="FILE.safetensors", help="weights of your own that fit the network"
    )


def _number(text: str) -> float | str:
    """A number where it is one; what else was typed is left to the recipe to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _metavar(knob: Knob) -> str:
    if knob.kind is str:
        return "|".join(knob.choices) or ("FILE" if knob.picture else "NAME")
    return f"{knob.low:g}..{knob.high:g}"


def _recipe(given: argparse.Namespace, kind: type[AnyRecipe]) -> AnyRecipe:
    """The recipe that the options describe."""
    names = [name for name in knobs(kind) if getattr(given, name, None) is not None]
    changes = with_pictures(kind, {name: getattr(given, name) for name in names})
    name = getattr(given, "preset", None)
    if name and given.recipe:
        raise RecipeError("give one of --preset and --recipe")
    if name:
        chosen = preset(name)
        return chosen.but(**changes) if isinstance(chosen, kind) else kind(**changes)
    return read_recipe(given.recipe, kind).but(**changes) if given.recipe else kind(**changes)


def _engine(given: argparse.Namespace, model: str) -> Engine:
    return Engine(files={model: given.weights} if given.weights else None)


def _painted(
    engine: Engine, recipes: Sequence[Recipe], photo: Tensor | None = None, kept: bool = False
) -> Iterator[Frame]:
    """The frames of those recipes; how far they are is shown, and the weights are fetched first."""
    # Checks the photo before anything is downloaded.
    jobs = engine.plan(recipes, None if photo is None else size_of(photo), kept=kept)
    _show(engine.fetch(recipes[0].model))
    remark = ""
    for frame in engine.paint(jobs, photo):
        if frame.remark != remark:
            print(frame.remark, file=sys.stderr)
            remark = frame.remark
        where = f"octave {frame.octave} of {frame.octaves}, " if frame.octaves > 1 else ""
        _bar(frame.done, f"{where}step {frame.step} of {frame.total}")
        yield frame


def _finished(frames: Iterator[Frame]) -> Iterator[tuple[Recipe, Image.Image, Frame]]:
    """The finished pictures, each with its recipe and the frame that it is of."""
    for frame in frames:
        if frame.finished:
            for recipe, picture in zip(frame.recipes, frame.pictures(), strict=True):
                yield recipe, picture, frame


def _image_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")
    _recipe_options(parser, DreamRecipe)


def _image(given: argparse.Namespace) -> None:
    recipe = _recipe(given, DreamRecipe)
    photo = load_image(given.photo)
    start = time.perf_counter()
    for made, picture, _ in _finished(_painted(_engine(given, recipe.model), [recipe], photo)):
        _write(given, picture, f"{recipe.layer}, seed {recipe.seed}", start, made)


def _sheet_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")
    parser.add_argument("--layers", metavar="LIST", default="", help="as inception3b,inception4c")
    parser.add_argument("--intensities", metavar="LIST", default="", help="as 3,5,8")
    _recipe_options(parser, DreamRecipe, skip=("layer", "intensity"), out="sheet.png")


def _sheet(given: argparse.Namespace) -> None:
    recipe = _recipe(given, DreamRecipe)
    recipes = variations(recipe, listed(given.layers), numbers(given.intensities))
    photo = load_image(given.photo)
    start = time.perf_counter()
    dreams = _finished(_painted(_engine(given, recipe.model), recipes, photo))
    made = sheet(recipes, [picture for _, picture, _ in dreams])
    _write(given, made, f"{len(recipes)} dreams, seed {recipe.seed}", start)


def _channel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="PHOTO", help="raise it in this photo, not from noise")
    parser.add_argument(
        "--grid", metavar="N", type=_number, help="so many channels of the layer, on one sheet"
    )
    parser.add_argument(
        "--channels", metavar="LIST", help="these channels, as 3,7,12 or 0-15, on one sheet"
    )
    _recipe_options(parser, ChannelRecipe)


def _channel(given: argparse.Namespace) -> None:
    recipe = _recipe(given, ChannelRecipe)
    if given.grid is not None or given.channels is not None:
        _grid(given, recipe)
        return
    photo = load_image(given.image) if given.image else None
    start = time.perf_counter()
    for made, picture, frame in _finished(_painted(_engine(given, recipe.model), [recipe], photo)):
        about = f"channel {recipe.channel} of {recipe.layer}, seed {recipe.seed}"
        _write(given, picture, about, start, made)
        _warn_of_silence(recipe, frame.silent)


def _grid(given: argparse.Namespace, recipe: ChannelRecipe) -> None:
    if given.image or (given.grid is not None and given.channels is not None):
        raise RecipeError("give one of --grid, --channels and --image")
    if given.channels is not None:
        channels = channel_numbers(given.channels, recipe.model, recipe.layer)
    else:
        channels = spread_channels(given.grid, recipe.model, recipe.layer)
    recipes = [recipe.but(channel=channel) for channel in channels]
    start = time.perf_counter()
    pictures: dict[int, Image.Image] = {}
    silent: dict[int, None] = {}
    frames = _painted(_engine(given, recipe.model), recipes, kept=True)
    for made, picture, frame in _finished(frames):
        assert isinstance(made, ChannelRecipe)
        pictures[made.channel] = picture
        silent |= dict.fromkeys(frame.silent)
    _warn_of_silence(recipe, tuple(silent))
    grid = contact_sheet([(str(channel), pictures[channel]) for channel in channels])
    _write(given, grid, f"{len(channels)} channels of {recipe.layer}, seed {recipe.seed}", start)


def _top_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")
    parser.add_argument("--model", default=MODEL, metavar="NAME")
    parser.add_argument("--layer", metavar="NAME", help="Default: the network's own.")
    parser.add_argument("--count", metavar="N", type=_number, default=8, help="Default: 8.")
    parser.add_argument(
        "--spot",
        metavar="SHARE",
        nargs=2,
        type=float,
        help="where to look, in shares of the width and the height: 0.5 0.5 is the middle",
    )
    _weights_option(parser)


def _top(given: argparse.Namespace) -> None:
    COUNT.check("count", given.count)
    engine = _engine(given, given.model)
    recipe = ChannelRecipe(model=given.model, layer=given.layer)
    photo = load_image(given.photo)
    _show(engine.fetch(recipe.model))
    response = engine.response(photo, recipe.model, recipe.layer)
    for answer in response.top(given.count, given.spot):
        print(f"channel {answer.channel:5}   {answer.strength:8.2f}")


def _class_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "target", metavar="CLASS", nargs="?", help="by name, part of it, or number; see classes"
    )
    parser.add_argument("--image", metavar="PHOTO", help="start from this photo, not from noise")
    _recipe_options(parser, ClassRecipe, skip=("target",))


def _class(given: argparse.Namespace) -> None:
    recipe = _recipe(given, ClassRecipe)
    if given.target is None and not given.recipe:
        raise RecipeError("name a class, as goldfish; python -m dream classes lists them")
    photo = load_image(given.image) if given.image else None
    engine = _engine(given, recipe.model)
    start = time.perf_counter()
    frames = _painted(engine, [recipe], photo)
    first = next(frames)
    before = engine.verdict(first.tensor, recipe)
    for made, picture, _ in _finished(itertools.chain([first], frames)):
        _write(given, picture, f"{recipe.target}, seed {recipe.seed}", start, made)
        after = engine.verdict(to_tensor(picture), recipe)
    print(f"{after.target}: {_score(before)} before, {_score(after)} now; {recipe.model} sees")
    for name, share in after.seen:
        print(f"  {share:6.1%}  {name}")


def _score(verdict: Verdict) -> str:
    rank = f"rank {verdict.rank}"
    return f"logit {verdict.logit:.1f}, probability {verdict.probability:.1%}, {rank}"


def _zoom_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")
    _recipe_options(parser, ZoomRecipe, endings=[*FORMATS])


def _zoom(given: argparse.Namespace) -> None:
    recipe = _recipe(given, ZoomRecipe)
    photo = load_image(given.photo)
    engine = _engine(given, recipe.model)
    (job,) = engine.plan([recipe], size_of(photo))
    _film(given, engine, zoom_reel(job, photo), given.photo)


def _video_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="IN", help="a video: MP4, MOV, WebM or GIF")
    _recipe_options(parser, VideoRecipe, endings=[*FORMATS])


def _video(given: argparse.Namespace) -> None:
    recipe = _recipe(given, VideoRecipe)
    video = load_video(given.video)
    engine = _engine(given, recipe.model)
    (job,) = engine.plan([recipe], video.size)
    _film(given, engine, video_reel(job, video), given.video)


def _film(given: argparse.Namespace, engine: Engine, reel: Reel, source: str) -> None:
    """Make a video, or go on with one that was broken off; what is there is kept in any case."""
    (recipe,) = reel.job.recipes
    _show(engine.fetch(recipe.model))
    about = {"source": digest(source), "weights": engine.networks.weights_id(recipe.model)}
    film = Film(given.out, recipe, reel.size, reel.rate, reel.time_base, about)
    start = time.perf_counter()
    shots = filmed(reel, lambda job, given: engine.paint([job], to_tensors(given)), film)
    done = film.done
    try:
        for shot in shots:
            done = shot.done
            _bar(shot.done / shot.total, f"frame {shot.done} of {shot.total}")
    except (KeyboardInterrupt, DreamError) as error:
        shots.close()
        if film.finish(reel.video):
            lasts = float(reel.times[done])
            print(f"{given.out} has what there is, {lasts:.1f} seconds; the same again goes on")
        if isinstance(error, DreamError):
            raise
        raise Stopped from error
    film.finish(reel.video)
    film.drop()
    seconds, size = time.perf_counter() - start, f"{reel.size[1]} x {reel.size[0]}"
    print(printable(f"{given.out}: {size}, {reel.frames} frames, {seconds:.1f} s"))


def _making_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")
    for name, knob in (("--seconds", SECONDS), ("--fps", FPS)):
        parser.add_argument(
            name,
            type=_number,
            default=knob.default,
            metavar=_metavar(knob),
            help=f"{knob.help} Default: {knob.usual}.",
        )
    parser.add_argument("--loop", action="store_true", help="and back to the photo, to be repeated")
    _recipe_options(parser, DreamRecipe, endings=[*FORMATS])


def _making(given: argparse.Namespace) -> None:
    recipe, making = _recipe(given, DreamRecipe), Making(given.seconds, given.fps, given.loop)
    photo = load_image(given.photo)
    engine = _engine(given, recipe.model)
    start = time.perf_counter()
    (job,) = engine.plan([recipe], size_of(photo))
    size = making_size(job.stages[-1].size)
    film = Film(given.out, job.recipes[0], size, making.rate, 1 / making.rate)
    try:
        for _ in formed(_painted(engine, [recipe], photo), making, film):
            pass
        film.finish()
    finally:
        film.drop()
    seconds, side = time.perf_counter() - start, f"{size[1]} x {size[0]}"
    print(printable(f"{given.out}: {side}, {len(making.order)} frames, {seconds:.1f} s"))


def _classes_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", metavar="WORD", nargs="?", default="")


def _classes(given: argparse.Namespace) -> None:
    for number, name in enumerate(classes.names()):
        if given.word.lower() in name.lower():
            print(f"{number:4}  {name}")


def _write(
    given: argparse.Namespace,
    picture: Image.Image,
    about: str,
    start: float,
    recipe: Recipe | None = None,
) -> None:
    # Of a sheet, or a channel or a class raised in it.
    photo = bool(getattr(given, "photo", None) or getattr(given, "image", None))
    save_image(picture, given.out, recipe, photo=photo)
    seconds = time.perf_counter() - start
    print(printable(f"{given.out}: {picture.width} x {picture.height}, {about}, {seconds:.1f} s"))


def _warn_of_silence(recipe: ChannelRecipe, silent: Sequence[int]) -> None:
    if silent:
        print(silence(recipe.layer, silent), file=sys.stderr)


def _show(downloads: Iterator[Download]) -> None:
    for each in downloads:
        share = each.done / each.total if each.total else 0
        _bar(share, f"{each.model} from {each.source}, {each.megabytes}")


def _bar(done: float, where: str) -> None:
    """How far the work is, on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        bar = ("#" * round(done * BAR_WIDTH)).ljust(BAR_WIDTH, "-")
        print(f"\r[{bar}] {where} ", end="\n" if done == 1 else "", file=sys.stderr, flush=True)


def _no_options(parser: argparse.ArgumentParser) -> None:
    pass


def _models(given: argparse.Namespace) -> None:
    for card in catalogue.CARDS.values():
        path = weights.find(card)
        if path:
            here = f"{path.stat().st_size / 1e6:.0f} MB, here"
        else:
            here = f"{card.source.megabytes:.0f} MB, to fetch"
        print(f"{card.name:15}{here:18}{card.licence:14}{card.about}")


def _layers_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default=MODEL)


def _layers(given: argparse.Namespace) -> None:
    card = catalogue.card(given.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:22}{layer.alias:10}{layer.kind:12}{layer.brings}{default}")


def _fetch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")


def _fetch(given: argparse.Namespace) -> None:
    card = catalogue.card(given.model)
    _show(weights.fetch(card))
    print(printable(f"{card.name}: {weights.find(card)}"))


COMMANDS = (
    ("image", "dream a photo", _image_options, _image),
    ("sheet", "dream a photo in several ways, side by side", _sheet_options, _sheet),
    ("channel", "show what the channels of a layer look for", _channel_options, _channel),
    ("top", "list the channels that answer a photo most strongly", _top_options, _top),
    ("class", "show what a network takes for a class", _class_options, _class),
    ("zoom", "zoom into a photo that dreams, without end", _zoom_options, _zoom),
    ("video", "dream a video", _video_options, _video),
    ("making-of", "show how a dream comes about, as a video", _making_options, _making),
    ("classes", "list the classes, all or those with a word", _classes_options, _classes),
    ("models", "list the networks, and which are here already", _no_options, _models),
    ("layers", "list the layers of a network", _layers_options, _layers),
    ("fetch", "download the weights of a network ahead of time", _fetch_options, _fetch),
)


if __name__ == "__main__":
    sys.exit(main())
