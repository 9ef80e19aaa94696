"""The endpoints /visualize_channel and /top_channels, on fields of their own that no page shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import gradio as gr

from dream.errors import RecipeError
from dream.files.picture import load_image
from dream.page import parts
from dream.page.grid import answers, map_file, recipes_for, visualized
from dream.page.work import Work
from dream.recipe.channel import ChannelRecipe
from dream.recipe.knob import Knob

TOP = 8
TOP_LIMIT = 32
SPOT = Knob("", 0, 30_000, automatic="the whole photo", kind=float)
COUNT = Knob("", 1, TOP_LIMIT, kind=int)


def endpoints(work: Work) -> None:
    """The endpoints /visualize_channel and /top_channels, on fields that no page shows."""
    engine, default = work.engine, ChannelRecipe()

    def visualize_channel(
        model: str = default.model,
        layer: str | None = None,
        channels: str = "0",
        size: int | None = None,
        steps: int | None = None,
        image: str | None = None,
        seed: int = default.seed,
        objective: str = default.objective,
        canvas: str = default.canvas,
    ) -> Iterator[tuple[list[tuple[str, str]], dict[str, Any] | None]]:
        """Show what channels of a neural network look for, at most 64, from noise or in a photo.

        Sends previews (JPEG) first; the last answer is a PNG for each channel, which carries its
        recipe inside, and as JSON those recipes and the channels that stayed silent: nothing in
        their picture excites them.

        Args:
            model: The network to look into: dreamlet comes with the app; others are fetched once.
            layer: The layer, as inception4c, relu4_3 or features.22; empty for the network's own.
            channels: As 7 or 3,7,12 or 0-15; top for 8 that answer the image; empty for 16 of all.
            size: Side of the pictures, 32 to 1024 pixels; empty for 160, or 448 on an image.
            steps: Steps of the ascent, 0 to 400; empty for 128, or 48 on an image.
            image: A photo to raise the channels in; empty to start from noise.
            seed: The same seed gives the same picture, 0 to 2147483647; by default 0.
            objective: channel to raise it all over the picture, neuron in its middle alone.
            canvas: What noise is made of: fourier, or pixels for comparison.
        """
        given: dict[str, Any] = {
            "model": model,
            "layer": layer,
            "size": size,
            "steps": steps,
            "seed": seed,
            "objective": objective,
            "canvas": canvas,
        }
        recipe = ChannelRecipe(**given)
        photo = load_image(image) if image else None
        channels = (channels or "").strip()
        if channels != "top":
            recipes = recipes_for(recipe, channels)
        elif photo is None:
            raise RecipeError("top needs an image; give one, or channels as 3,7,12")
        else:
            for _ in parts.fetching(engine.fetch(recipe.model)):
                yield [], None
            _, found = answers(work, photo, recipe, None, TOP)
            recipes = [recipe.but(channel=each.channel) for each in found]
        for _ in parts.fetching(engine.fetch(recipe.model)):
            yield [], None
        with tempfile.TemporaryDirectory() as folder:
            name = parts.stem(image) if image else ""
            for moment in visualized(work, recipes, folder, photo, name):
                items = [(path, str(channel)) for channel, path in moment.files.items()]
                made = None
                if moment.frame.done == 1:
                    made = {
                        "recipes": [engine.settle(each, photo).to_dict() for each in recipes],
                        "silent": list(moment.silent),
                    }
                yield items, made

    def top_channels(
        image: str,
        model: str = default.model,
        layer: str | None = None,
        x: float | None = None,
        y: float | None = None,
        count: int = TOP,
        size: int | None = None,
        steps: int | None = None,
    ) -> Iterator[tuple[list[tuple[str, str]], str | None, list[dict[str, Any]] | None]]:
        """Say which channels of a layer answer a photo most strongly, and show what they look for.

        The last answer is a PNG for each channel, the strongest first; the photo marked where the
        strongest answers; and channels and strengths as JSON.

        Args:
            image: The photo: PNG, JPEG, WebP, BMP, GIF or TIFF of at most 40 megapixels.
            model: The network to look into: dreamlet comes with the app; others are fetched once.
            layer: The layer, as inception4c, relu4_3 or features.22; empty for the network's own.
            x: The spot to look at, in pixels from the left; empty for the whole photo.
            y: The spot to look at, in pixels from the top; empty for the whole photo.
            count: How many channels, 1 to 32.
            size: Side of the pictures, 32 to 1024 pixels; empty for 160.
            steps: Steps of the ascent, 0 to 400; empty for 128.
        """
        given: dict[str, Any] = {
            "model": model,
            "layer": layer,
            "size": size,
            "steps": steps,
        }
        recipe = ChannelRecipe(**given)
        x, y, count = SPOT.check("x", x), SPOT.check("y", y), COUNT.check("count", count)
        if (x is None) != (y is None):
            raise RecipeError("a spot needs both x and y; give both, or none for all of it")
        photo = load_image(image)
        for _ in parts.fetching(engine.fetch(recipe.model)):
            yield [], None, None
        spot = None if x is None or y is None else (x, y)
        response, found = answers(work, photo, recipe, spot, count)
        recipes = [recipe.but(channel=each.channel) for each in found]
        with tempfile.TemporaryDirectory() as folder:
            where = map_file(response, found[0].channel, folder)
            for moment in visualized(work, recipes, folder):
                items = [(path, str(channel)) for channel, path in moment.files.items()]
                done = moment.frame.done == 1
                yield items, where, [asdict(each) for each in found] if done else None

    def field(name: str) -> Any:
        return parts.hidden_field(ChannelRecipe, name)

    def pictures(label: str) -> gr.Gallery:
        return gr.Gallery(label=label, visible=False)

    gr.Button(visible=False).click(
        visualize_channel,
        [
            field("model"),
            field("layer"),
            gr.Textbox("0", label="channels", visible=False),
            field("size"),
            field("steps"),
            parts.photo_input(label="image", visible=False),
            field("seed"),
            field("objective"),
            field("canvas"),
        ],
        [pictures("channels"), gr.JSON(label="recipes", visible=False)],
        api_name="visualize_channel",
        **parts.WORK,
    )
    gr.Button(visible=False).click(
        top_channels,
        [
            parts.photo_input(label="image", visible=False),
            field("model"),
            field("layer"),
            parts.Number(None, label="x", visible=False),
            parts.Number(None, label="y", visible=False),
            parts.Number(TOP, label="count", precision=0, visible=False),
            field("size"),
            field("steps"),
        ],
        [
            pictures("channels"),
            gr.Image(label="where", visible=False),
            gr.JSON(label="answers", visible=False),
        ],
        api_name="top_channels",
        **parts.WORK,
    )
