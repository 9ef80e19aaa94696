"""A frozen network: reads layers, and says how a picture must change to raise an objective."""

from __future__ import annotations

import copy
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dream.errors import RecipeError
from dream.networks import architecture
from dream.networks.convolution import freeze
from dream.networks.model_card import ModelCard
from dream.networks.state import load

Activations = Mapping[str, Tensor]
ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]
# The picture itself, as the network is given it: its mean taken away, in units of its deviation.
PICTURE = "picture"

# Extractors kept of one network: sets of layers are as many as visitors like.
LAYER_SETS = 8
# By the convolution and the batch norm behind it; they go with the last extractor that uses them.
Convolutions = WeakValueDictionary[tuple[nn.Module, nn.Module | None], nn.Module]

_RELUS = (torch.relu, torch.relu_, F.relu, F.relu6, "relu", "relu_")


class Objective(Protocol):
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
        grown: Callable[[], None] = lambda: None,
    ) -> None:
        network = load(card, weights, head=head)
        network.eval().requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
        for module in network.modules():
            if hasattr(module, "inplace"):  # It would change what is read of the layer before.
                module.inplace = False  # type: ignore[assignment]
        self.card = card
        self.dtype = dtype
        self.network = network
        self.mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(card.std, device=device).view(1, 3, 1, 1)
        means = weights.parent / card.means
        self.means = load_file(means, str(device)) if means.is_file() else {}
        self._grown = grown
        self._extractors: OrderedDict[tuple[tuple[str, ...], bool], nn.Module] = OrderedDict()
        self._frozen: Convolutions = WeakValueDictionary()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """The memory that the weights take, frozen ones too."""
        modules = (self.network, *list(self._extractors.values()))
        tensors = [tensor for module in modules for tensor in module.state_dict().values()]
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())

    @property
    def class_count(self) -> int:
        """How many classes its weights know."""
        return int(self.network.state_dict()[f"{self.card.logits}.weight"].shape[0])

    def extractor(self, layers: tuple[str, ...], redirected: bool = False) -> nn.Module:
        """The network as far as those layers; the sets of layers read last are kept.

        They share the weights, frozen ones too.
        """
        key = (layers, redirected)
        with self._lock:
            if found := self._extractors.get(key):
                self._extractors.move_to_end(key)
                return found
            made = self._extractors[key] = self._extracted(layers, redirected)
            if len(self._extractors) > LAYER_SETS:
                self._extractors.popitem(last=False)
        self._grown()
        return made

    def _extracted(self, layers: tuple[str, ...], redirected: bool) -> nn.Module:
        try:
            extractor = architecture.extractor(self.network, layers)
        except ValueError as error:
            raise RecipeError(
                f"no picture passes {' or '.join(layers)} in {self.card.name}; try another"
            ) from error
        _read_only(extractor)
        _freeze(extractor, self._frozen)
        if redirected:
            _redirect_relus(extractor)
        extractor.recompile()
        extractor.graph.owning_module = None  # A circle, which would keep it after its last use.
        return extractor

    def activations(
        self, picture: Tensor, layers: tuple[str, ...], *, redirected: bool = False
    ) -> dict[str, Tensor]:
        """What those layers make of the picture, or of each in a batch, by name, in `dtype`.

        The layer `PICTURE` is what the network is given, in float32. `redirected` changes gradients
        alone: a ReLU that would stop all of one passes it on.
        """
        view = (picture - self.mean) / self.std
        activations = {PICTURE: view} if PICTURE in layers else {}
        if inner := tuple(layer for layer in layers if layer != PICTURE):
            extractor = self.extractor(inner, redirected)
            activations |= extractor(view.to(self.dtype, memory_format=torch.channels_last))
        return activations

    def value_and_grad(self, objective: Objective, *, redirected: bool = False) -> ValueAndGrad:
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


def _read_only(extractor: fx.GraphModule) -> None:
    """Keep functions from working in place: they would change what is read of the layer before."""
    for node in extractor.graph.nodes:
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}


def _freeze(extractor: fx.GraphModule, frozen: Convolutions) -> None:
    """Put a frozen convolution in the place of each, and of the batch norm behind it.

    Frozen, the two are one convolution, if nothing else reads what is between them. It is worked
    out in float32; the network keeps its own. Those in `frozen` are used again.
    """
    modules = dict(extractor.named_modules())
    for node in list(extractor.graph.nodes):
        convolution = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(convolution, nn.Conv2d):
            continue
        (after, *others) = node.users
        norm = modules.get(str(after.target)) if after.op == "call_module" else None
        if others or not isinstance(norm, nn.BatchNorm2d):
            norm = None
        if not (made := frozen.get((convolution, norm))):
            made = freeze(_folded(convolution, norm) if norm else convolution)
            frozen[convolution, norm] = made
        extractor.add_submodule(node.target, made)
        if norm:
            after.replace_all_uses_with(node)
            extractor.graph.erase_node(after)
    extractor.delete_all_unused_submodules()


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    folded = fuse_conv_bn_eval(copy.deepcopy(convolution).float(), copy.deepcopy(norm).float()).to(
        convolution.weight.dtype
    )
    return folded.requires_grad_(False).to(memory_format=torch.channels_last)


class RedirectedReLU(torch.autograd.Function):
    """A ReLU through which a gradient finds its way even where it is shut all over.

    A channel that nothing in the start noise excites would stay grey for ever: its gradient stops
    at a ReLU. Where the ordinary gradient of a sample is zero all over, this lets through whatever
    does not push values that are out of range further out; elsewhere it is the ordinary one. As
    Lucid's `redirected_relu_grad`, but sample by sample.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ceiling = ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        plain: Tensor = torch.ops.aten.threshold_backward(gradient, x, 0)
        if ctx.ceiling < math.inf:
            plain = plain.masked_fill(x >= ctx.ceiling, 0)
        shut = ~plain.any(tuple(range(1, x.dim())))
        if shut.any():
            x, gradient = x[shut], gradient[shut]
            outward = ((x < 0) & (gradient < 0)) | ((x >= ctx.ceiling) & (gradient > 0))
            plain[shut] = gradient.masked_fill(outward, 0)
        return plain, None


def redirected_relu(x: Tensor, ceiling: float) -> Tensor:
    """`RedirectedReLU` as a function, which torch.fx can name."""
    made: Tensor = RedirectedReLU.apply(x, ceiling)
    return made


def _redirect_relus(extractor: fx.GraphModule) -> None:
    """Put a `RedirectedReLU` in the place of each ReLU and ReLU6."""
    modules = dict(extractor.named_modules())
    for node in list(extractor.graph.nodes):
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.ReLU | nn.ReLU6) or node.target in _RELUS:
            six = isinstance(module, nn.ReLU6) or node.target is F.relu6
            with extractor.graph.inserting_after(node):
                redirected = extractor.graph.call_function(
                    redirected_relu, (node.args[0], 6.0 if six else math.inf)
                )
            node.replace_all_uses_with(redirected)
            extractor.graph.erase_node(node)
