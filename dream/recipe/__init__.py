"""Recipes: all knobs of an image or a video as plain data, one class per kind of recipe."""

from dream.recipe.base import Recipe
from dream.recipe.channel import ChannelRecipe
from dream.recipe.class_image import ClassRecipe
from dream.recipe.dream import DreamRecipe
from dream.recipe.motion import LiveRecipe, VideoRecipe, ZoomRecipe

__all__ = [
    "ChannelRecipe",
    "ClassRecipe",
    "DreamRecipe",
    "LiveRecipe",
    "Recipe",
    "VideoRecipe",
    "ZoomRecipe",
]
