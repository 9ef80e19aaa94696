"""Recipes: all that decides a picture, as plain data.

A kind of picture has its knobs in one file; `recipe.Recipe` is what they share.
"""

from dream.recipe.base import Recipe
from dream.recipe.channel import ChannelRecipe
from dream.recipe.class_image import ClassRecipe
from dream.recipe.dream import DreamRecipe
from dream.recipe.live import LiveRecipe
from dream.recipe.video import VideoRecipe
from dream.recipe.zoom import ZoomRecipe

__all__ = [
    "ChannelRecipe",
    "ClassRecipe",
    "DreamRecipe",
    "LiveRecipe",
    "Recipe",
    "VideoRecipe",
    "ZoomRecipe",
]
