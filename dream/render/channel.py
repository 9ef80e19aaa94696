"""What channels look for: a batch of pictures climbs from one noise, or a photo as a dream does."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from dream.networks.network import Network
from dream.recipe.channel import ChannelRecipe
from dream.recipe.dream import DreamRecipe
from dream.render import dream
from dream.render.ascent import Adam, redirect_first_steps
from dream.render.canvas import CANVASES
from dream.render.loop import Ascent, Ascents
from dream.render.objective import BatchObjective, Objective, channel, neuron
from dream.render.plan import Job, Stage
from dream.render.transform import random_affine
from dream.tensors import Size

# By how much Adam moves the variables of a canvas in a step.
LEARNING_RATE = 0.05
# So many pixels in a batch keep two cores or a GPU busy; more gain nothing.
BATCH_PIXELS = 8 * 160 * 160
OBJECTIVES = {"channel": channel, "neuron": neuron}


def plan(recipes: Sequence[ChannelRecipe], size: Size | None) -> list[Job[ChannelRecipe]]:
    """From noise those that differ in their channel alone climb in batches, at one size; in a photo
    of that (height, width) each climbs by itself, in the octaves of a dream.

    Raises:
        PictureError: if a side of the photo is smaller than the network reads.
    """
    if size:
        return [
            Job((recipe,), dream.plan_octaves(as_dream_recipe(recipe), size)) for recipe in recipes
        ]
    jobs = []
    for _, alike in itertools.groupby(recipes, lambda recipe: {**asdict(recipe), "channel": 0}):
        group = tuple(alike)
        side = group[0].size
        most = max(1, BATCH_PIXELS // side**2)
        for batch in (group[start : start + most] for start in range(0, len(group), most)):
            layers = (batch[0].layer,)
            stage = Stage(batch[0].model, (side, side), batch[0].steps, layers, len(batch))
            jobs.append(Job(batch, (stage,)))
    return jobs


def ascents(
    network: Network, job: Job[ChannelRecipe], image: Tensor | None, deadline: float
) -> Ascents:
    """A batch from noise; or one channel in a picture (1, 3, H, W) in [0, 1].

    From noise all start from the same noise and are seen through the same views, so that each
    picture is what it would be by itself.
    """
    recipes, stages = job.recipes, job.stages
    recipe = recipes[0]
    network.check_channels(recipe.layer, (each.channel for each in recipes))
    if image is not None:
        raised = channel_objective(recipe)
        yield from dream.dream_ascents(
            network, as_dream_recipe(recipe), image, stages, deadline, raised
        )
        return
    generator = torch.Generator().manual_seed(recipe.seed)
    canvas = CANVASES[recipe.canvas](stages[0].size, network.mean.device)
    noise = canvas.random_variables(generator)
    objective = BatchObjective(tuple(map(channel_objective, recipes)))
    redirected, plain = (
        network.value_and_grad(objective, redirected=each) for each in (True, False)
    )
    yield Ascent(
        noise.expand(len(recipes), *noise.shape[1:]),
        redirect_first_steps(redirected, plain, itertools.count()),
        Adam(LEARNING_RATE),
        canvas.to_image,
        partial(random_affine, generator=generator),
        canvas.to_image,
    )


def channel_objective(recipe: ChannelRecipe) -> Objective:
    """What a visualization raises."""
    return OBJECTIVES[recipe.objective](recipe.layer, recipe.channel)


def as_dream_recipe(recipe: ChannelRecipe) -> DreamRecipe:
    """The dream that raises a channel in a photo."""
    dreamed = DreamRecipe(
        model=recipe.model,
        layer=recipe.layer,
        channels=str(recipe.channel),
        seed=recipe.seed,
        max_side=recipe.size,
    )
    return dreamed.with_changes(iterations=math.ceil(recipe.steps / dreamed.octaves))


def silent_channels_message(layer: str, channel_numbers: Sequence[int]) -> str:
    """Which channels stayed silent, why, and what to do."""
    which = ", ".join(map(str, channel_numbers))
    channels, stay = ("channel", "stays") if len(channel_numbers) == 1 else ("channels", "stay")
    return (
        f"{channels} {which} of {layer} {stay} silent: nothing in the picture excites "
        f"{'it' if len(channel_numbers) == 1 else 'them'}, so no step knows where to go; "
        "try another seed, a larger size, or start from a photo"
    )
