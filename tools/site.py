"""Draw the page's own images (presets, favicon, link preview, tab "Live"): `make pictures`.

Favicon and link preview show the dream that the page opens on.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from dream import Engine, LiveRecipe, load_image, save_image
from dream.page.tabs.live import CPU_CAMERA_SIZE, EXAMPLE_IMAGE
from dream.page.widgets.recipe_sharing import preset_image
from dream.recipe.presets import presets
from dream.tensors import limit_size, resize_clamped, size_of
from tools.measure import live_dreamer

EXAMPLES = Path(__file__).parents[1] / "examples"
PHOTO = EXAMPLES / "coffee.jpg"
DREAMED = EXAMPLES / "dream-coffee-inception4c-i5-seed0.png"
EYE = (207, 241, 247, 281)  # On the saucer; recognisable at 16 pixels too.
SIDE = 64
CARD = (1200, 630)  # The size that sites with link previews ask for.
PANEL = 372
MARGIN = 36
PRESET_DREAM_SIDE, PRESET_SIDE = 384, 192


def favicon() -> Image.Image:
    """Crop an eye of the dream to a disc."""
    with Image.open(DREAMED) as dream:
        eye = dream.convert("RGBA").crop(EYE).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    disc = Image.new("L", (4 * SIDE, 4 * SIDE))
    ImageDraw.Draw(disc).ellipse((0, 0, 4 * SIDE - 1, 4 * SIDE - 1), fill=255)
    eye.putalpha(disc.resize(eye.size, Image.Resampling.LANCZOS))
    return eye


def card() -> Image.Image:
    """Combine the name, the photo and, large, its dream."""
    card = Image.new("RGB", CARD, "#14142b")
    with Image.open(DREAMED) as dream, Image.open(PHOTO) as photo:
        height, width = CARD[1], round(CARD[1] * dream.width / dream.height)
        large = dream.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        side = PANEL - 2 * MARGIN
        small = photo.convert("RGB").resize(
            (side, round(side * photo.height / photo.width)), Image.Resampling.LANCZOS
        )
    card.paste(large, (CARD[0] - width + 60, 0))
    draw = ImageDraw.Draw(card)
    draw.rectangle((0, 0, PANEL, CARD[1]), fill="#14142b")
    title = ImageFont.load_default(96)
    draw.text((MARGIN - 4, 24), "Deep\nDream", "white", title, spacing=6, stroke_width=2)
    line = ImageFont.load_default(27)
    words = "Watch a neural\nnetwork dream into\nyour photo."
    draw.text((MARGIN, 256), words, "#c7d2fe", line, spacing=8)
    card.paste(small, (MARGIN, CARD[1] - MARGIN - small.height))
    return card


def draw_presets() -> None:
    """Dream with each preset, and shrink the dreams: small dreams have no room for creatures."""
    engine, photo = Engine("cpu"), load_image(PHOTO)
    for name, recipe in presets().items():
        recipe = recipe.with_changes(max_side=PRESET_DREAM_SIDE)
        *_, frame = engine.dream(photo, recipe)
        small = resize_clamped(frame.tensor, limit_size(size_of(frame.tensor), PRESET_SIDE))
        save_image(small, preset_image(name), recipe, quality=85)


def live() -> Image.Image:
    """Dream four seconds of a camera that films a cat."""
    dreamer = live_dreamer(Engine("cpu"))
    with Image.open(EXAMPLES / "cat.jpg") as cat:
        camera_frame = cat.convert("RGB").crop((60, 12, 436, 294)).resize(CPU_CAMERA_SIZE)
    for _ in range(40):
        dream = dreamer.dream_frame(camera_frame, LiveRecipe(max_side=CPU_CAMERA_SIZE[0]))
    return dream


def main() -> None:
    draw_presets()
    favicon().save(EXAMPLES / "site" / "favicon.png", optimize=True)
    card().save(EXAMPLES / "site" / "card.jpg", quality=88)
    live().save(EXAMPLE_IMAGE, quality=90)


if __name__ == "__main__":
    main()
