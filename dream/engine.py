"""The engine: the only state there is, made once and shared by every request."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from dream.errors import RecipeError, shown
from dream.files.cache import PictureCache
from dream.files.embedded import embed_guide, embed_mask
from dream.networks import catalogue, weights
from dream.networks.device import pick_device
from dream.networks.download import Fetching
from dream.networks.loaded import Networks
from dream.networks.network import Network
from dream.paint import class_image, render
from dream.paint.class_image import Verdict
from dream.paint.render import BATCH_PIXELS, Frame
from dream.paint.response import Response
from dream.recipe import variations
from dream.recipe.channel import ChannelRecipe
from dream.recipe.class_image import ClassRecipe
from dream.recipe.dream import DreamRecipe
from dream.recipe.knob import from_environment, is_embedded
from dream.recipe.recipe import Recipe
from dream.tensors import check_picture, limited, resize, to_tensor

CACHE_GB = 4.0
# The longest side of a photo in which channels are looked for or raised.
PHOTO_SIDE = 448
CLASS_PHOTO_SIDE = 320

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


class Engine:
    """A device and the networks loaded on it. Safe to share between threads.

    `device` is a name that torch knows; None picks the best there is (see `pick_device`). `files`
    names weights of one's own by model. Networks least recently used go when their weights together
    take more than `DREAM_MODEL_CACHE_GB` (4 by default). `shipped` are folders of visualizations
    made beforehand; others are kept in a `PictureCache`. On CUDA the same seed gives slightly
    different pictures from run to run, unless the program calls `networks.device.repeat_exactly`.

    Raises:
        DeviceError: if the device is not there, or `DREAM_PRECISION` names no precision.
        RecipeError: if `DREAM_MODEL_CACHE_GB` or `DREAM_CACHE_MB` is no such number.
    """

    def __init__(
        self,
        device: str | None = None,
        files: Mapping[str, str | os.PathLike[str]] | None = None,
        shipped: Sequence[Path] = (),
    ) -> None:
        self._wanted = device
        self.device = pick_device(device)
        self.files = {model: Path(path) for model, path in (files or {}).items()}
        limit = from_environment("DREAM_MODEL_CACHE_GB", CACHE_GB, 0, 10_000) * 1e9
        self.networks = Networks(self.device, self.files, limit)
        self.precision(DreamRecipe().model)  # What is wrong with it is said at once.
        self.cache = PictureCache(shipped)

    def another(self) -> Engine:
        """One like this that has nothing in common with it; for a process that was forked."""
        return Engine(self._wanted, self.files, self.cache.shipped)

    def default_model(self) -> str:
        """The network to begin with: the one that `DREAM_DEFAULT_MODEL` names; on a GPU one of the
        classics whose weights are there; else Dreamlet.

        Raises:
            RecipeError: if that variable names no network.
        """
        if name := os.environ.get("DREAM_DEFAULT_MODEL"):
            return catalogue.card(name).name
        if self.device.type != "cpu":
            for name in catalogue.CLASSICS:
                if name in self.files or weights.find(catalogue.card(name)):
                    return name
        return DreamRecipe().model

    def precision(self, model: str) -> torch.dtype:
        """In what that network runs here (see `device.precision`)."""
        return self.networks.precision(model)

    def network(self, model: str, *, head: bool = False) -> Network:
        """That network, with its head or without; fetched and loaded on first use.

        Raises:
            RecipeError: if there is no such model.
            WeightsError: if its weights cannot be had (`WeightsUnavailable`) or do not fit.
        """
        return self.networks.network(model, head=head)

    def fetch(self, model: str) -> Fetching:
        """Have the weights of a network on this machine; yields how far the download is, if any.

        Raises:
            WeightsError: as `network`, but for whether they fit.
        """
        return self.networks.fetch(model)

    def _network_for(self, recipe: Recipe) -> Network:
        return self.network(recipe.model, head=self._head(recipe))

    def _head(self, recipe: Recipe) -> bool:
        layers = tuple(layer for layer, _ in recipe.layers())
        return catalogue.card(recipe.model).needs_head(layers)

    def settle(
        self, recipe: AnyRecipe, image: Tensor | None = None, kind: type[Recipe] = Recipe
    ) -> AnyRecipe:
        """The recipe with nothing left to choose: sizes and steps as fit the device, the network
        and whether there is a photo; in the place of a guide's or mask's file what is in it.

        Raises:
            PictureError, RecipeError: if that file cannot be read, the mask is black all over, or
                it is no recipe of that kind.
        """
        if not isinstance(recipe, kind):
            raise RecipeError(f"a {kind.__name__} is needed here, not {shown(recipe)}")
        if isinstance(recipe, DreamRecipe):
            return recipe.but(
                max_side=recipe.max_side or (640 if self.device.type == "cpu" else 1024),
                guide=_inside(recipe.guide, embed_guide),
                mask=_inside(recipe.mask, embed_mask),
            )
        if isinstance(recipe, ChannelRecipe):
            return recipe.but(
                size=recipe.size or (160 if image is None else PHOTO_SIDE),
                steps=(128 if image is None else 48) if recipe.steps is None else recipe.steps,
            )
        if isinstance(recipe, ClassRecipe):
            steps = 64 if image is not None else class_image.MODES[recipe.mode].steps
            return recipe.but(
                size=recipe.size or (224 if image is None else CLASS_PHOTO_SIDE),
                steps=steps if recipe.steps is None else recipe.steps,
            )
        return recipe

    def dream(self, image: Tensor, recipe: DreamRecipe | None = None) -> Iterator[Frame]:
        """Dream a picture (1, 3, H, W), RGB in [0, 1]; yields a frame after each step.

        The first frame is the picture untouched, the last one the result. Picture and recipe are
        checked before this returns; the network is loaded when the first frame is asked for. Close
        the iterator to stop.

        Raises:
            PictureError: if it is no such picture, or too small for the network.
            WeightsError: at the first frame, if the weights cannot be had or do not fit.
        """
        recipe = self.settle(DreamRecipe() if recipe is None else recipe, kind=DreamRecipe)
        image = check_picture(image)
        render.check_dream(image, recipe)
        return self._dream(image, recipe)

    def variations(
        self, recipe: DreamRecipe, layers: Sequence[str] = (), intensities: Sequence[int] = ()
    ) -> list[DreamRecipe]:
        """Those of `variations.variations`, settled; a guide and a mask are read once for all.

        Raises:
            RecipeError: as `variations.variations`.
            PictureError, RecipeError: as `settle`.
        """
        recipes = variations.variations(recipe, layers, intensities)
        first = self.settle(recipes[0])
        return [self.settle(each.but(guide=first.guide, mask=first.mask)) for each in recipes]

    def dreams(
        self, image: Tensor, recipes: Sequence[DreamRecipe], until: float = math.inf
    ) -> Iterator[Frame]:
        """Dream a picture in several ways, one after the other; each ends in a finished frame.

        `step`, `total` and `done` count over all of them. Checked as `dream`, and raises so too.

        Raises:
            OutOfTime: within a step, if it is done in tiles and `time.monotonic()` is past `until`.
        """
        settled = [self.settle(recipe, kind=DreamRecipe) for recipe in recipes]
        image = check_picture(image)
        for recipe in settled:
            render.check_dream(image, recipe)
        return self._dreams(image, settled, until)

    def _dreams(
        self, image: Tensor, recipes: Sequence[DreamRecipe], until: float
    ) -> Iterator[Frame]:
        steps = [len(render.dream_sizes(image, recipe)) * recipe.iterations for recipe in recipes]
        for place, recipe in enumerate(recipes):
            before, total = sum(steps[:place]), sum(steps)
            for frame in self._dream(image, recipe, until):
                done = before + frame.done * steps[place]
                yield replace(
                    frame,
                    step=before + frame.step,
                    total=total,
                    done=done / total if total else (place + 1) / len(recipes),
                )

    def _dream(
        self, image: Tensor, recipe: DreamRecipe, until: float = math.inf
    ) -> Iterator[Frame]:
        network = self._network_for(recipe)
        yield from render.dream(network, image.to(self.device), recipe, until=until)

    def channel(self, recipe: ChannelRecipe, image: Tensor | None = None) -> Iterator[Frame]:
        """What a channel looks for, from noise, or in a picture (1, 3, H, W), RGB in [0, 1].

        Yields a frame after each step, first the start, last the result. It is worked out afresh,
        whatever the cache has. Checked as `dream`, and raises as it does.
        """
        (recipe,), image = self._checked([recipe], image)
        return self._visualize([recipe], image)

    def channels(
        self, recipes: Sequence[ChannelRecipe], image: Tensor | None = None
    ) -> Iterator[Frame]:
        """What many channels look for, from noise or in a picture; some in each frame.

        The recipes may differ in their channel alone. From noise, those in the cache come first, in
        a frame that is finished at once; the others are worked out in batches, and kept. In a
        picture it is one after the other. `step` and `done` count over all that is worked out.

        Raises:
            RecipeError: if the recipes differ in more.
            PictureError, WeightsError: as `dream`.
        """
        recipes, image = self._checked(recipes, image)
        return self._grid(recipes, image)

    def kept(self, recipes: Sequence[ChannelRecipe]) -> list[Image.Image]:
        """The visualizations of those recipes from the cache: all of them, or none."""
        weights = self.networks.weights_id(recipes[0].model)
        images = [self.cache.get(self.settle(recipe), weights) for recipe in recipes]
        return [image for image in images if image] if all(images) else []

    def _checked(
        self, recipes: Sequence[ChannelRecipe], image: Tensor | None
    ) -> tuple[list[ChannelRecipe], Tensor | None]:
        image = None if image is None else check_picture(image)
        settled = [self.settle(recipe, image, ChannelRecipe) for recipe in recipes]
        settled = list(dict.fromkeys(settled))
        if len({recipe.but(channel=0) for recipe in settled}) != 1:
            raise RecipeError("channels made together may differ in their number alone")
        if image is not None:
            render.dream_sizes(image, render.in_photo(settled[0]))
        return settled, image

    def _visualize(self, recipes: Sequence[ChannelRecipe], image: Tensor | None) -> Iterator[Frame]:
        network = self._network_for(recipes[0])
        if image is None:
            yield from render.channels(network, recipes)
        else:
            yield from render.channel_in_photo(network, image.to(self.device), recipes[0])

    def _grid(self, recipes: list[ChannelRecipe], image: Tensor | None) -> Iterator[Frame]:
        weights = self.networks.weights_id(recipes[0].model)
        there = {}
        if image is None:
            found = {recipe: self.cache.get(recipe, weights) for recipe in recipes}
            there = {recipe: picture for recipe, picture in found.items() if picture}
        missing = [recipe for recipe in recipes if recipe not in there]
        most = max(1, BATCH_PIXELS // (recipes[0].size or 1) ** 2) if image is None else 1
        batches = [missing[start : start + most] for start in range(0, len(missing), most)]
        if there:
            total, done = len(batches) * (recipes[0].steps or 0), 0.0 if batches else 1.0
            paint = partial(_tensors, list(there.values()))
            channels = tuple(recipe.channel for recipe in there)
            yield Frame(0, total, 1, 1, done, True, None, paint, channels)
        for place, batch in enumerate(batches):
            for frame in self._visualize(batch, image):
                yield replace(
                    frame,
                    step=place * frame.total + frame.step,
                    total=len(batches) * frame.total,
                    octave=1,
                    octaves=1,
                    done=(place + frame.done) / len(batches),
                )
            if image is None:
                for recipe, value, picture in zip(
                    batch, frame.values, frame.pictures(), strict=False
                ):
                    if value:  # The grey of a silent channel is not worth keeping.
                        self.cache.put(picture, recipe, weights)

    def class_image(self, recipe: ClassRecipe, image: Tensor | None = None) -> Iterator[Frame]:
        """What the network takes for a class, from noise or a picture (1, 3, H, W), RGB in [0, 1].

        Yields a frame after each step, first the start, last the result. Checked as `dream`, and
        raises as it does.

        Raises:
            RecipeError: at the first frame, if weights of one's own know fewer classes.
        """
        image = None if image is None else check_picture(image)
        recipe = self.settle(recipe, image, ClassRecipe)
        class_image.class_sizes(recipe, image)
        return self._class_image(recipe, image)

    def _class_image(self, recipe: ClassRecipe, image: Tensor | None) -> Iterator[Frame]:
        start = None if image is None else image.to(self.device)
        yield from class_image.class_image(self._network_for(recipe), recipe, start)

    def verdict(self, picture: Tensor, recipe: ClassRecipe) -> Verdict:
        """What the network of a recipe takes a picture (1, 3, H, W) in [0, 1] for, on its 8 bits.

        Raises:
            WeightsError: as `network`.
        """
        return class_image.verdict(self._network_for(recipe), picture.to(self.device), recipe)

    def response(
        self, image: Tensor, model: str = "dreamlet", layer: str | None = None
    ) -> Response:
        """What a layer answers to a picture (1, 3, H, W), RGB in [0, 1], shrunk to 448 pixels.

        Raises:
            PictureError: if it is no such picture, or too small for the network.
            RecipeError: if there is no such network or layer.
            WeightsError: as `network`.
        """
        recipe = ChannelRecipe(
            model=model, layer="" if layer is None else layer, size=PHOTO_SIDE, steps=0
        )
        image = check_picture(image)
        self._checked([recipe], image)
        image = resize(image, limited(image.shape[2:], PHOTO_SIDE)).clamp(0, 1)
        network = self._network_for(recipe)
        with torch.no_grad():
            activation = network.activations(image.to(self.device), (recipe.layer,))[recipe.layer]
        places = activation.shape[2:] or (1, 1)  # Logits have no place.
        return Response(image, activation.float().cpu().view(1, -1, *places))


def _inside(picture: str, embed: Callable[[str], str]) -> str:
    """A picture of a recipe as a data URI; none as none."""
    return embed(picture) if picture and not is_embedded(picture) else picture


def _tensors(images: Iterable[Image.Image]) -> Tensor:
    return torch.cat([to_tensor(image) for image in images])
