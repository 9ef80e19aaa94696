"""Deep Dream: change a photo so that it shows more of what a neural network detects in it.

>>> from dream import DreamRecipe, Engine, load_image, save_image
>>> engine, recipe = Engine(), DreamRecipe(layer="inception3b", iterations=2)
>>> for frame in engine.dream(load_image("examples/cat.jpg"), recipe):
...     if frame.step == frame.total:
...         print(f"step {frame.step} of {frame.total}", frame.picture().size)
step 10 of 10 (451, 300)
"""

from dream.engine import Engine
from dream.errors import (
    DeviceError,
    DreamError,
    OutOfTime,
    PictureError,
    RecipeError,
    WeightsError,
    WeightsUnavailable,
)
from dream.files.embedded_images import embed_guide, embed_mask
from dream.files.image import load_image, read_recipe, save_image
from dream.recipe import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    LiveRecipe,
    VideoRecipe,
    ZoomRecipe,
)
from dream.render.job_loop import Frame

__all__ = [
    "ChannelRecipe",
    "ClassRecipe",
    "DeviceError",
    "DreamError",
    "DreamRecipe",
    "Engine",
    "Frame",
    "LiveRecipe",
    "OutOfTime",
    "PictureError",
    "RecipeError",
    "VideoRecipe",
    "WeightsError",
    "WeightsUnavailable",
    "ZoomRecipe",
    "embed_guide",
    "embed_mask",
    "load_image",
    "read_recipe",
    "save_image",
]
