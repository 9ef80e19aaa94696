"""Deep Dream: change a photo so that it shows more of what a neural network detects in it.

>>> from dream import DreamRecipe, Engine, load_image, save_image
>>> engine, recipe = Engine(), DreamRecipe(layer="inception3b", iterations=2)
>>> for frame in engine.dream(load_image("examples/cat.jpg"), recipe):
...     if frame.step == frame.total:
...         print(f"step {frame.step} of {frame.total}", frame.picture().size)
step 10 of 10 (451, 300)
"""

import importlib
from typing import TYPE_CHECKING, Any

from dream.errors import (
    DeviceError,
    DreamError,
    OutOfTime,
    PictureError,
    RecipeError,
    WeightsError,
    WeightsUnavailable,
)
from dream.recipe import (
    ChannelRecipe,
    ClassRecipe,
    DreamRecipe,
    LiveRecipe,
    VideoRecipe,
    ZoomRecipe,
)
from dream.version import __version__ as __version__

if TYPE_CHECKING:
    from dream.engine import Engine
    from dream.files.embedded_images import embed_guide, embed_mask
    from dream.files.image import load_image, read_recipe, save_image
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

# Modules that import torch, which takes seconds, so they are imported on first use.
_MODULES = {
    "Engine": "dream.engine",
    "Frame": "dream.render.job_loop",
    "embed_guide": "dream.files.embedded_images",
    "embed_mask": "dream.files.embedded_images",
    "load_image": "dream.files.image",
    "read_recipe": "dream.files.image",
    "save_image": "dream.files.image",
}

if not TYPE_CHECKING:  # With `__getattr__`, mypy would accept any attribute.

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(importlib.import_module(_MODULES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
