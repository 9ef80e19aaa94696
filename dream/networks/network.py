"""A frozen network: reads layers, and says how a picture must change to raise an objective."""

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
# The picture itself, as the network is given it: its mean taken away, in units of its deviation.
INPUT_LAYER = "picture"

# Extractors kept of one network: sets of layers are as many as visitors like.
MAX_EXTRACTORS = 8
# As many as the cards have, by which recipes are checked.
IMAGENET_CLASSES = 1000


class ObjectiveProtocol(Protocol):
    """A number for each picture of a batch, worked out from what layers make of them."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer it reads, each once."""
        ...

    def __call__(self, activations: Activations) -> Tensor:
        """The numbers (N,)."""
        ...


class Network:
    """A network on a device, its weights frozen, shared by any number of threads.

    Pictures go in as RGB in [0, 1], float32, (1, 3, H, W); the normalisation is in here. It runs in
    `dtype` with channels-last memory, only as far as the deepest layer asked for. `weights` is the
    file to load; `head` says whether to load its head; `grown` is called when it takes more
    memory. `means` has the mean activations (C,) of layers, those that come with the weights and
    those that were measured since.

    Raises:
        WeightsError: if the file does not fit.
        RecipeError: when a layer is read that no picture passes, as those of training only.
    """

    def __init__(
        self,
        card: ModelCard,
        device: torch.device,
        dtype: torch.dtype,
        weights: Path,
        head: bool = False,
        on_growth: Callable[[], None] = lambda: None,
    ) -> None:
        network = load_network(card, weights, head=head)
        network.eval().requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
        for module in network.modules():
            if hasattr(module, "inplace"):  # It would change what is read of the layer before.
                module.inplace = False  # type: ignore[assignment]
        self.card = card
        self.dtype = dtype
        self.network = network
        self.mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(card.std, device=device).view(1, 3, 1, 1)
        means = weights.parent / card.means_file
        measured = load_file(means) if means.is_file() else {}
        self.means = {layer: mean.to(device) for layer, mean in measured.items()}
        self._on_growth = on_growth
        self._extractors: OrderedDict[tuple[tuple[str, ...], bool], nn.Module] = OrderedDict()
        self._module_cache: ModuleCache = WeakValueDictionary()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """The memory that the weights take, those that are frozen, and as oneDNN reads them."""
        modules = {
            module
            for network in (self.network, *list(self._extractors.values()))
            for module in network.modules()
        }
        kept = sum(module.cached_bytes for module in modules if isinstance(module, FrozenConv))
        tensors = [tensor for module in modules for tensor in module.state_dict().values()]
        return kept + sum({each.data_ptr(): int(each.nbytes) for each in tensors}.values())

    @property
    def class_count(self) -> int:
        """How many classes its weights know."""
        return int(self.network.state_dict()[f"{self.card.last_weight_layer}.weight"].shape[0])

    def check_channels(self, layer: str, channels: Iterable[int]) -> None:
        """Check channels of a layer that the card has: weights from a user's file may have fewer.

        Raises:
            RecipeError: if one is not there.
        """
        last = self.network.state_dict().get(f"{self.card.last_weight_layer}.weight")
        if last is None or len(last) == IMAGENET_CLASSES:
            return
        count, most = architecture.channel_count(self.card, layer, len(last)), max(channels)
        if most >= count:
            raise RecipeError(
                f"with these weights of {self.card.name} {layer} has channels 0 to {count - 1}, "
                f"not {most}"
            )

    def get_extractor(self, layers: tuple[str, ...], redirected: bool = False) -> nn.Module:
        """The network as far as those layers; the sets of layers read last are kept.

        They share the weights, frozen ones too.
        """
        key = (layers, redirected)
        with self._lock:
            if found := self._extractors.get(key):
                self._extractors.move_to_end(key)
                return found
            made = self._extractors[key] = self._create_extractor(layers, redirected)
            if len(self._extractors) > MAX_EXTRACTORS:
                self._extractors.popitem(last=False)
        self._on_growth()
        return made

    def _create_extractor(self, layers: tuple[str, ...], redirected: bool) -> nn.Module:
        try:
            extractor = architecture.create_extractor(self.network, layers)
        except ValueError as error:
            raise RecipeError(
                f"no picture passes {' or '.join(layers)} in {self.card.name}; try another"
            ) from error
        optimise_graph(extractor, self._module_cache, redirected)
        extractor.graph.owning_module = None  # A circle, which would keep it after its last use.
        return extractor

    def activations(
        self, image: Tensor, layers: tuple[str, ...], *, redirected: bool = False
    ) -> dict[str, Tensor]:
        """What those layers make of the picture, or of each in a batch, by name, in `dtype`.

        The layer `PICTURE` is what the network is given, in float32. `redirected` changes gradients
        alone: a ReLU that would stop all of one passes it on.
        """
        view = (image - self.mean) / self.std
        activations = {INPUT_LAYER: view} if INPUT_LAYER in layers else {}
        if inner := tuple(layer for layer in layers if layer != INPUT_LAYER):
            extractor = self.get_extractor(inner, redirected)
            activations |= extractor(view.to(self.dtype, memory_format=torch.channels_last))
        return activations

    def value_and_grad(
        self, objective: ObjectiveProtocol, *, redirected: bool = False
    ) -> ValueAndGrad:
        """A function from pictures (N, 3, H, W) to the objective's values (N,) and their gradients.

        The gradient is taken to the pictures alone, on a leaf of its own (float32, (N, 3, H, W)).
        """

        def evaluate(picture: Tensor) -> tuple[Tensor, Tensor]:
            leaf = picture.detach().requires_grad_()
            with torch.enable_grad():
                activations = self.activations(leaf, objective.layers, redirected=redirected)
                values = objective(activations)
                (gradient,) = torch.autograd.grad(values.sum(), leaf)
            return values.detach(), gradient

        return evaluate
