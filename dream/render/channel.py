"""Channel visualizations: optimised from noise in batches, or in a photo as a dream."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dream.networks.network import Network
from dream.recipe.base import Recipe
from dream.recipe.channel import ChannelRecipe
from dream.recipe.dream import DreamRecipe
from dream.render import dream
from dream.render.ascent import Adam, Ascent, redirect_first_steps
from dream.render.canvas import CANVASES
from dream.render.objective import Objective, batch, channel, neuron
from dream.render.plan import FrameStages, Job, Stage
from dream.render.transform import random_affine
from dream.tensors import Size

# Adam's, for the variables of a canvas.
LEARNING_RATE = 0.05
# Pixels of a batch: enough to keep two cores or a GPU busy; more gain nothing.
BATCH_PIXELS = 8 * 160 * 160
# The dream that amplifies a channel in a photo; the recipe's steps are spread over its octaves.
PHOTO_KNOBS: dict[str, Any] = {"octaves": 4, "step": 1.6, "keep_colours": 0, "quiet": 0}
OBJECTIVES = {"channel": channel, "neuron": neuron}


def plan(recipe: ChannelRecipe, size: Size | None) -> FrameStages:
    """Plan one stage from noise, or the octaves of a dream in a photo of that (height, width)."""
    if size:
        return dream.plan(as_dream_recipe(recipe), size)
    assert recipe.size  # It is settled.
    assert recipe.steps is not None
    stage = Stage(recipe.model, (recipe.size, recipe.size), recipe.steps, (recipe.layer,))
    return ((stage,),)


def split_batches(recipes: Sequence[Recipe]) -> Iterator[tuple[Recipe, ...]]:
    """Yield batches of settled recipes from noise: neighbours that differ only in their channel."""
    for _, group in itertools.groupby(recipes, lambda recipe: {**recipe.to_dict(), "channel": 0}):
        alike, count = tuple(group), 1
        if isinstance(alike[0], ChannelRecipe):
            assert alike[0].size  # It is settled.
            count = max(1, BATCH_PIXELS // alike[0].size ** 2)
        for start in range(0, len(alike), count):
            yield alike[start : start + count]


def ascents(
    network: Network, job: Job[ChannelRecipe], image: Tensor | None, deadline: float
) -> Iterator[Ascent]:
    """Yield the ascent of a batch from noise, or those of a channel in an image (1, 3, H, W).

    In a batch all images start from the same noise and get the same random transforms, so that each
    is the image it would be if made alone.
    """
    recipes, stages = job.recipes, job.stages
    recipe = recipes[0]
    network.check_channels(recipe.layer, (each.channel for each in recipes))
    if image is not None:
        as_dream, objective = as_dream_recipe(recipe), channel_objective(recipe)
        yield from dream.dream_ascents(network, as_dream, image, stages, deadline, objective)
        return
    generator = torch.Generator().manual_seed(recipe.seed)
    canvas = CANVASES[recipe.canvas](stages[0].size, network.mean.device)
    noise = canvas.random_variables(generator)
    objective = batch([channel_objective(each) for each in recipes])
    yield Ascent(
        noise.expand(len(recipes), *noise.shape[1:]),
        redirect_first_steps(partial(network.value_and_grad, objective), itertools.count()),
        Adam(LEARNING_RATE),
        canvas.to_image,
        partial(random_affine, generator=generator),
        canvas.to_image,
    )


def channel_objective(recipe: ChannelRecipe) -> Objective:
    """Return the objective of a visualization."""
    return OBJECTIVES[recipe.objective](recipe.layer, recipe.channel)


def as_dream_recipe(recipe: ChannelRecipe) -> DreamRecipe:
    """Return the dream recipe that amplifies the channel in a photo."""
    dream_recipe = DreamRecipe(
        model=recipe.model,
        layer=recipe.layer,
        channels=str(recipe.channel),
        seed=recipe.seed,
        max_side=recipe.size,
        **PHOTO_KNOBS,
    )
    assert recipe.steps is not None  # It is settled.
    return dream_recipe.with_changes(iterations=math.ceil(recipe.steps / dream_recipe.octaves))


def silent_channels_message(layer: str, channel_numbers: Sequence[int]) -> str:
    """Return a message that names the silent channels, the cause and what to do."""
    numbers = ", ".join(map(str, channel_numbers))
    channels, stay = ("channel", "stays") if len(channel_numbers) == 1 else ("channels", "stay")
    return (
        f"{channels} {numbers} of {layer} {stay} silent: nothing in the image activates "
        f"{'it' if len(channel_numbers) == 1 else 'them'}, so there is no gradient to follow; "
        "try another seed or a larger size, or start from a photo"
    )
