"""A frozen network: reads layers, and says how a picture must change to raise an objective."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from dream.objective import Objective
from dream.zoo import ModelCard

ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]

# While torch.fx traces a network it patches nn.Module.__call__ for the whole process: a forward in
# another thread would fail ("module is not installed as a submodule"). So one waits for the other.
_FORWARD = threading.Lock()


class Network:
    """A network on a device, its weights frozen, shared by any number of threads.

    Pictures go in as RGB in [0, 1], float32, (1, 3, H, W); the normalisation is in here. It runs in
    `dtype` with channels-last memory, only as far as the deepest layer asked for.
    """

    def __init__(self, card: ModelCard, device: torch.device, dtype: torch.dtype) -> None:
        module, _, function = card.builder.partition(":")
        network: nn.Module = getattr(import_module(module), function)()
        self.card = card
        self.dtype = dtype
        network.eval().requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
        self.network = network
        self.mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(card.std, device=device).view(1, 3, 1, 1)
        # Extractors share the weights; they are small, but layer sets are as many as visitors like.
        self.extractor = lru_cache(maxsize=64)(self._extractor)

    def _extractor(self, layers: tuple[str, ...]) -> nn.Module:
        with _FORWARD:
            extractor: nn.Module = create_feature_extractor(
                self.network, {layer: layer for layer in layers}
            )
        return extractor

    def activations(self, picture: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """What those layers make of the picture, by name, in `dtype`."""
        extractor = self.extractor(layers)
        view = ((picture - self.mean) / self.std).to(self.dtype, memory_format=torch.channels_last)
        with _FORWARD:
            activations: dict[str, Tensor] = extractor(view)
        return activations

    def value_and_grad(self, objective: Objective) -> ValueAndGrad:
        """A function from a picture to the objective's value (a scalar) and its gradient there.

        The gradient is taken to the picture alone, on a leaf of its own (float32, (1, 3, H, W)).
        """

        def evaluate(picture: Tensor) -> tuple[Tensor, Tensor]:
            leaf = picture.detach().requires_grad_()
            with torch.enable_grad():
                value = objective(self.activations(leaf, objective.layers))
            (gradient,) = torch.autograd.grad(value, leaf)
            return value.detach(), gradient

        return evaluate
