"""Contact sheets: labelled pictures side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from dream.recipe.dream import DreamRecipe

GAP = 6
LABEL_HEIGHT = 18


def draw_contact_sheet(
    pictures: Sequence[tuple[str, Image.Image]], columns: int = 0
) -> Image.Image:
    """The pictures in rows on white, each with its label below; about a square by default."""
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    width = max(image.width for _, image in pictures) + GAP
    height = max(image.height for _, image in pictures) + LABEL_HEIGHT + GAP
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for place, (label, image) in enumerate(pictures):
        left, top = GAP + place % columns * width, GAP + place // columns * height
        sheet.paste(image, (left, top))
        draw.text((left, top + image.height + 1), label, fill="black", font=font)
    return sheet


def recipe_label(recipe: DreamRecipe) -> str:
    """What is written below a dream on a sheet."""
    return f"{recipe.layer}, intensity {recipe.intensity}"


def variations_sheet(recipes: Sequence[DreamRecipe], dreams: Sequence[Image.Image]) -> Image.Image:
    """The dreams of `variations`, labelled: a row for each layer, a column for each intensity.

    Where one of the two alone is compared they stand about in a square; the last ones may lack.
    """
    labelled = [
        (recipe_label(recipe), dream) for recipe, dream in zip(recipes, dreams, strict=False)
    ]
    columns = len({recipe.intensity for recipe in recipes})
    return draw_contact_sheet(labelled, columns if columns > 1 else 0)
