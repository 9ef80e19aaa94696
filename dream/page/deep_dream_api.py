"""The endpoints /deep_dream, /compare and /presets, on fields of their own that no page shows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from dream.files.embedded import with_pictures
from dream.files.picture import load_image
from dream.files.sheet import sheet
from dream.page import parts
from dream.page.work import Work
from dream.recipe import presets as library
from dream.recipe.dream import DreamRecipe
from dream.recipe.variations import listed, numbers, variations

IMAGE = "The photo: PNG, JPEG, WebP, BMP, GIF or TIFF of at most 40 megapixels."


def endpoints(work: Work) -> None:
    """The endpoints about dreams."""
    engine = work.engine

    def deep_dream(
        image: str, given: dict[str, Any]
    ) -> Iterator[tuple[str | None, dict[str, Any] | None]]:
        """Dream a photo: raise what a neural network sees in it, octave by octave.

        Low layers bring strokes (inception3b of dreamlet), middle ones eyes and faces
        (inception4c), high ones whole animals (inception5a). Sends nothing but signs of life while
        the network is fetched, then previews (JPEG, without a recipe); the last answer is the dream
        as PNG, which carries its recipe inside, and that recipe as JSON.
        """
        recipe = engine.settle(DreamRecipe(**with_pictures(DreamRecipe, given)))
        with tempfile.TemporaryDirectory() as folder:
            frames = work.paint([recipe], load_image(image))
            for _ in parts.fetching(engine.fetch(recipe.model)):
                yield None, None
            for frame in frames:
                if frame.finished:
                    yield parts.result(frame, recipe, image, folder), recipe.to_dict()
                else:
                    yield parts.preview(frame, image, folder), None

    def compare(
        image: str, layers: str, intensities: str, given: dict[str, Any]
    ) -> Iterator[tuple[str | None, list[dict[str, Any]] | None]]:
        """Dream a photo at several layers or intensities, on one labelled contact sheet.

        The last answer is the sheet (PNG) and the recipe of each picture on it, row by row.
        """
        recipe = DreamRecipe(**with_pictures(DreamRecipe, given))
        recipes = [
            engine.settle(each)
            for each in variations(recipe, listed(layers or ""), numbers(intensities or ""))
        ]
        with tempfile.TemporaryDirectory() as folder:
            frames = work.paint(recipes, load_image(image))
            for _ in parts.fetching(engine.fetch(recipe.model)):
                yield None, None
            pictures: list[Image.Image] = []
            for frame in frames:
                if frame.finished:
                    pictures.append(frame.picture())
                yield None, None
            path = Path(folder) / f"sheet-{parts.stem(image)}.png"
            sheet(recipes, pictures).save(path)
            yield str(path), [each.to_dict() for each in recipes]

    def presets() -> dict[str, dict[str, Any]]:
        """The presets: recipes with names.

        All in one of them but deepdream and kind are parameters of deep_dream; leave out what is
        empty or null.
        """
        return {name: recipe.to_dict() for name, recipe in library.presets().items()}

    photo = parts.photo_input(label="image", visible=False)
    takes, names = parts.with_knobs(deep_dream, DreamRecipe, {"image": IMAGE})
    gr.Button(visible=False).click(
        takes,
        [photo, *(parts.hidden_field(DreamRecipe, name) for name in names)],
        [
            gr.Image(format="png", label="dream", visible=False),
            gr.JSON(label="recipe", visible=False),
        ],
        api_name="deep_dream",
        **parts.WORK,
    )
    takes, names = parts.with_knobs(
        compare,
        DreamRecipe,
        {
            "image": IMAGE,
            "layers": "The layers, as inception3b,inception4c; empty for one alone.",
            "intensities": "The intensities, as 3,5,8; empty for one alone.",
        },
        skip=("layer", "intensity"),
    )
    gr.Button(visible=False).click(
        takes,
        [
            parts.photo_input(label="image", visible=False),
            gr.Textbox("", label="layers", visible=False),
            gr.Textbox("", label="intensities", visible=False),
            *(parts.hidden_field(DreamRecipe, name) for name in names),
        ],
        [
            gr.Image(format="png", label="sheet", visible=False),
            gr.JSON(label="recipes", visible=False),
        ],
        api_name="compare",
        **parts.WORK,
    )
    gr.api(presets, api_name="presets", queue=False)  # type: ignore[attr-defined]
