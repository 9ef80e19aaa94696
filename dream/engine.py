"""The engine: the only state there is, made once and shared by every request."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from dream import render, weights, zoo
from dream.device import pick_device, precision
from dream.errors import WeightsError
from dream.network import Network
from dream.picture import check_picture
from dream.recipe import DreamRecipe
from dream.render import Frame
from dream.weights import Download

CACHE_GB = 4.0


class Engine:
    """A device and the networks loaded on it. Safe to share between threads.

    `device` is a name that torch knows; None picks the best there is (see `pick_device`). `files`
    names weights of one's own by model. Networks least recently used go when their weights together
    take more than `DREAM_MODEL_CACHE_GB` (4 by default).

    Raises:
        DeviceError: if the device is not there.
    """

    def __init__(
        self, device: str | None = None, files: Mapping[str, str | os.PathLike[str]] | None = None
    ) -> None:
        self.device = pick_device(device)
        self.dtype = precision(self.device)
        self.files = {model: Path(path) for model, path in (files or {}).items()}
        self.cache_bytes = float(os.environ.get("DREAM_MODEL_CACHE_GB", CACHE_GB)) * 1e9
        self._networks: OrderedDict[tuple[str, bool], Network] = OrderedDict()
        self._loading: dict[tuple[str, bool], threading.Lock] = {}
        self._lock = threading.Lock()
        if self.device.type == "cuda":
            # Without it the same seed gives slightly different pictures from run to run.
            torch.backends.cudnn.deterministic = True

    def network(self, model: str, *, head: bool = False) -> Network:
        """That network, with its head or without; fetched and loaded on first use.

        Raises:
            RecipeError: if there is no such model.
            WeightsError: if its weights cannot be had (`WeightsUnavailable`) or do not fit.
        """
        loading = self._load(model, head)
        while True:
            try:
                next(loading)
            except StopIteration as done:
                network: Network = done.value
                return network

    def prepare(self, recipe: DreamRecipe) -> Iterator[Download]:
        """Have the network of a recipe ready; yields how far the download is, if there is one.

        Raises:
            WeightsError: as `network`.
        """
        yield from self._load(recipe.model, self._head(recipe))

    def _load(self, model: str, head: bool) -> Generator[Download, None, Network]:
        card = zoo.card(model)
        key = (model, head and bool(card.head))
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                if key in self._networks:
                    self._networks.move_to_end(key)
                    return self._networks[key]
            path = self.files.get(model)
            if path and card.source is None:
                raise WeightsError(
                    f"{model} brings its own weights; name the network of {path.name}"
                )
            if path is None and card.source:
                path = yield from weights.fetch(card)
            network = Network(card, self.device, self.dtype, path, head)
            with self._lock:
                self._networks[key] = network
                while len(self._networks) > 1 and self._bytes() > self.cache_bytes:
                    self._networks.popitem(last=False)
            return network

    def _bytes(self) -> int:
        return sum(network.bytes for network in self._networks.values())

    def _head(self, recipe: DreamRecipe) -> bool:
        layers = tuple(layer for layer, _ in recipe.layers())
        return zoo.card(recipe.model).needs_head(layers)

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
            WeightsError: at the first frame, if the weights cannot be had or do not fit.
        """
        recipe = self.settle(recipe or DreamRecipe())
        image = check_picture(image)
        render.dream_sizes(image, recipe)
        return self._dream(image, recipe)

    def _dream(self, image: Tensor, recipe: DreamRecipe) -> Iterator[Frame]:
        network = self.network(recipe.model, head=self._head(recipe))
        yield from render.dream(network, image.to(self.device), recipe)
