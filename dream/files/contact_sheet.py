"""Contact sheets: labelled images in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from dream.recipe.dream import DreamRecipe

GAP, LABEL_HEIGHT = 6, 18  # Pixels.


def draw_contact_sheet(
    pictures: Sequence[tuple[str, Image.Image]], columns: int = 0
) -> Image.Image:
    """Draw images in a grid on white, each above its label; by default the grid is about square."""
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    width = max(image.width for _, image in pictures) + GAP
    height = max(image.height for _, image in pictures) + LABEL_HEIGHT + GAP
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for index, (label, image) in enumerate(pictures):
        left, top = GAP + index % columns * width, GAP + index // columns * height
        sheet.paste(image, (left, top))
        draw.text((left, top + image.height + 1), label, fill="black", font=font)
    return sheet


def recipe_label(recipe: DreamRecipe) -> str:
    """Return the label of a dream on a sheet."""
    return f"{recipe.layer}, intensity {recipe.intensity}"


def variations_sheet(recipes: Sequence[DreamRecipe], dreams: Sequence[Image.Image]) -> Image.Image:
    """Draw a labelled grid of dreams: a row for each layer, a column for each intensity.

    If only one of them differs, the grid is about square. There may be fewer dreams than recipes.
    """
    labelled = [
        (recipe_label(recipe), dream) for recipe, dream in zip(recipes, dreams, strict=False)
    ]
    columns = len({recipe.intensity for recipe in recipes})
    return draw_contact_sheet(labelled, columns if columns > 1 else 0)
