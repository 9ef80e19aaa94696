"""A frozen network, which computes activations, and the gradient of an objective by the image."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dream.errors import RecipeError
from dream.networks import architecture
from dream.networks.convolution import FrozenConv
from dream.networks.graph_rewrite import ModuleCache, optimise_graph
from dream.networks.model_card import ModelCard
from dream.networks.state_dict import load_network

Activations = Mapping[str, Tensor]
ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]
# The name of the network's input, the normalised image, as a layer.
INPUT_LAYER = "picture"

# Cached extractors of a network: visitors can request any number of sets of layers.
MAX_EXTRACTORS = 8
# The number of classes of all networks in the catalogue.
IMAGENET_CLASS_COUNT = 1000


class ObjectiveProtocol(Protocol):
    """A function from activations to a number for each image of a batch."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that it reads, without duplicates."""

    def __call__(self, activations: Activations) -> Tensor:
        """Return the values (N,)."""


class Network:
    """A network with frozen weights on a device; any number of threads may share it.

    It takes images in [0, 1], float32, (N, 3, H, W), normalises them, and runs in `dtype` with
    channels-last memory up to the deepest requested layer. `mean_activations` has those (C,) of
    layers, shipped with the weights or measured later. `on_growth` is called when it takes more
    memory.

    Raises:
        WeightsError: if the file does not fit.
        RecipeError: by methods, if the forward pass does not use a requested layer.
    """

    def __init__(
        self,
        card: ModelCard,
        device: torch.device,
        dtype: torch.dtype,
        weights: Path,
        with_head: bool = False,
        on_growth: Callable[[], None] = lambda: None,
    ) -> None:
        network = load_network(card, weights, with_head=with_head)
        network.eval().requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
        for module in network.modules():
            if hasattr(module, "inplace"):  # It would change the activations of the previous layer.
                module.inplace = False  # type: ignore[assignment]
        self.card = card
        self.dtype = dtype
        self.network = network
        self.mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(card.std, device=device).view(1, 3, 1, 1)
        means_path = weights.parent / card.means_file
        shipped = load_file(means_path) if means_path.is_file() else {}
        self.mean_activations = {layer: mean.to(device) for layer, mean in shipped.items()}
        self._on_growth = on_growth
        self._extractors: OrderedDict[tuple[tuple[str, ...], bool], nn.Module] = OrderedDict()
        self._module_cache: ModuleCache = WeakValueDictionary()
        self._lock = threading.Lock()

    @property
    def memory_bytes(self) -> int:
        """The memory of all weights and of the copies of `FrozenConv` in oneDNN's layout."""
        modules = {
            module
            for network in (self.network, *list(self._extractors.values()))
            for module in network.modules()
        }
        cached = sum(module.cached_bytes for module in modules if isinstance(module, FrozenConv))
        tensors = [tensor for module in modules for tensor in module.state_dict().values()]
        return cached + sum({each.data_ptr(): int(each.nbytes) for each in tensors}.values())

    @property
    def class_count(self) -> int:
        """The number of classes of the weights."""
        return int(self.network.state_dict()[f"{self.card.last_weight_layer}.weight"].shape[0])

    def check_channels(self, layer: str, channels: Iterable[int]) -> None:
        """Raise a `RecipeError` for channels of the card that weights from a user's file lack."""
        last = self.network.state_dict().get(f"{self.card.last_weight_layer}.weight")
        if last is None or len(last) == IMAGENET_CLASS_COUNT:
            return
        count, highest = self.card.channel_count(layer, len(last)), max(channels)
        if highest >= count:
            raise RecipeError(
                f"with these weights of {self.card.name} {layer} has channels 0 to {count - 1}, "
                f"not {highest}"
            )

    def get_extractor(self, layers: tuple[str, ...], redirect_relus: bool = False) -> nn.Module:
        """Return the network up to those layers, cached; extractors share all weights."""
        key = (layers, redirect_relus)
        with self._lock:
            if extractor := self._extractors.get(key):
                self._extractors.move_to_end(key)
                return extractor
            extractor = self._extractors[key] = self._create_extractor(layers, redirect_relus)
            if len(self._extractors) > MAX_EXTRACTORS:
                self._extractors.popitem(last=False)
        self._on_growth()
        return extractor

    def _create_extractor(self, layers: tuple[str, ...], redirect_relus: bool) -> nn.Module:
        try:
            extractor = architecture.create_extractor(self.network, layers)
        except ValueError as error:
            raise RecipeError(
                f"the forward pass of {self.card.name} does not use {' or '.join(layers)}; "
                "try another layer"
            ) from error
        optimise_graph(extractor, self._module_cache, redirect_relus)
        extractor.graph.owning_module = None  # Break a cycle that would keep it after its last use.
        return extractor

    def activations(
        self, image: Tensor, layers: tuple[str, ...], *, redirect_relus: bool = False
    ) -> dict[str, Tensor]:
        """Return the activations of layers for images (N, 3, H, W) in [0, 1], by name, in `dtype`.

        The activation of `INPUT_LAYER` is the normalised image, in float32. With
        `redirect_relus` only gradients differ (see `RedirectedReLU`).
        """
        normalised = (image - self.mean) / self.std
        activations = {INPUT_LAYER: normalised} if INPUT_LAYER in layers else {}
        if inner := tuple(layer for layer in layers if layer != INPUT_LAYER):
            extractor = self.get_extractor(inner, redirect_relus)
            activations |= extractor(normalised.to(self.dtype, memory_format=torch.channels_last))
        return activations

    def value_and_grad(
        self, objective: ObjectiveProtocol, *, redirect_relus: bool = False
    ) -> ValueAndGrad:
        """Return a function from images (N, 3, H, W) to values (N,) and gradients by the images."""

        def evaluate(image: Tensor) -> tuple[Tensor, Tensor]:
            x = image.detach().requires_grad_()
            with torch.enable_grad():
                activations = self.activations(x, objective.layers, redirect_relus=redirect_relus)
                values = objective(activations)
                (gradient,) = torch.autograd.grad(values.sum(), x)
            return values.detach(), gradient

        return evaluate
