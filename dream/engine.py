"""The engine: the only state there is, made once and shared by every request."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from dream import render, zoo
from dream.device import pick_device, precision
from dream.network import Network
from dream.picture import check_picture
from dream.recipe import DreamRecipe
from dream.render import Frame


class Engine:
    """A device and the networks loaded on it. Safe to share between threads.

    `device` is a name that torch knows; None picks the best there is (see `pick_device`).

    Raises:
        DeviceError: if the device is not there.
    """

    def __init__(self, device: str | None = None) -> None:
        self.device = pick_device(device)
        self.dtype = precision(self.device)
        self._networks: dict[str, Network] = {}
        self._loading = threading.Lock()
        if self.device.type == "cuda":
            # Without it the same seed gives slightly different pictures from run to run.
            torch.backends.cudnn.deterministic = True

    def network(self, model: str) -> Network:
        """That network, loaded on first use.

        Raises:
            RecipeError: if there is no such model.
        """
        with self._loading:
            if model not in self._networks:
                self._networks[model] = Network(zoo.card(model), self.device, self.dtype)
            return self._networks[model]

    def settle(self, recipe: DreamRecipe) -> DreamRecipe:
        """The recipe with nothing left to choose: `max_side` as fits the device."""
        if recipe.max_side is not None:
            return recipe
        return recipe.but(max_side=640 if self.device.type == "cpu" else 1024)

    def dream(self, image: Tensor, recipe: DreamRecipe | None = None) -> Iterator[Frame]:
        """Dream a picture (1, 3, H, W), RGB in [0, 1]; yields a frame after each step.

        The first frame is the picture untouched, the last one the result. Picture and recipe are
        checked before this returns; the network is loaded when the first frame is asked for. Close
        the iterator to stop.

        Raises:
            PictureError: if it is no such picture, or too small for the network.
        """
        recipe = self.settle(recipe or DreamRecipe())
        image = check_picture(image)
        render.dream_sizes(image, recipe)
        return self._dream(image, recipe)

    def _dream(self, image: Tensor, recipe: DreamRecipe) -> Iterator[Frame]:
        yield from render.dream(self.network(recipe.model), image.to(self.device), recipe)
