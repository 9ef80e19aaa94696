"""A frozen network: reads layers, and says how a picture must change to raise an objective."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.feature_extraction import create_feature_extractor

from dream.architecture import build
from dream.errors import RecipeError
from dream.objective import Objective
from dream.weights import load
from dream.zoo import ModelCard

ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]

# While torch.fx traces a network it patches nn.Module.__call__ for the whole process: a forward in
# another thread would fail ("module is not installed as a submodule"). So one waits for the other.
_FORWARD = threading.Lock()


class Network:
    """A network on a device, its weights frozen, shared by any number of threads.

    Pictures go in as RGB in [0, 1], float32, (1, 3, H, W); the normalisation is in here. It runs in
    `dtype` with channels-last memory, only as far as the deepest layer asked for. `weights` is the
    file to load, None for a network that brings its own; `head` says whether to load its head.

    Raises:
        WeightsError: if the file does not fit.
        RecipeError: when a layer is read that no picture passes, as those of training only.
    """

    def __init__(
        self,
        card: ModelCard,
        device: torch.device,
        dtype: torch.dtype,
        weights: Path | None = None,
        head: bool = False,
    ) -> None:
        network = load(card, weights, head=head) if weights else build(card)
        network.eval().requires_grad_(False).to(device, dtype).to(memory_format=torch.channels_last)
        for module in network.modules():
            if hasattr(module, "inplace"):  # It would change what is read of the layer before.
                module.inplace = False  # type: ignore[assignment]
        self.card = card
        self.dtype = dtype
        self.network = network
        self.mean = torch.tensor(card.mean, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(card.std, device=device).view(1, 3, 1, 1)
        # Extractors share the weights, but for what is folded; layer sets are as many as visitors
        # like.
        self.extractor = lru_cache(maxsize=8)(self._extractor)

    @property
    def bytes(self) -> int:
        """The memory that the weights take."""
        return sum(tensor.nbytes for tensor in self.network.state_dict().values())

    def _extractor(self, layers: tuple[str, ...]) -> nn.Module:
        nodes = {layer: layer for layer in layers}
        with _FORWARD:
            try:
                extractor: fx.GraphModule = create_feature_extractor(self.network, nodes)
            except ValueError as error:
                raise RecipeError(
                    f"no picture passes {' or '.join(layers)} in {self.card.name}; try another"
                ) from error
            finally:
                self.network.eval()  # It is traced in training mode too, and left so by an error.
        _read_only(extractor)
        _fold_batch_norm(extractor)
        extractor.recompile()
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


def _read_only(extractor: fx.GraphModule) -> None:
    """Keep functions from working in place: they would change what is read of the layer before."""
    for node in extractor.graph.nodes:
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}


def _fold_batch_norm(extractor: fx.GraphModule) -> None:
    """Fold each batch norm into the convolution before it, where nothing else reads that.

    Frozen, the two are one convolution. It is worked out in float32; the network keeps its own.
    """
    modules = dict(extractor.named_modules())
    for node in list(extractor.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        convolution = modules.get(str(before.target)) if before.op == "call_module" else None
        if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            folded = fuse_conv_bn_eval(
                copy.deepcopy(convolution).float(), copy.deepcopy(norm).float()
            ).to(convolution.weight.dtype)
            folded.requires_grad_(False).to(memory_format=torch.channels_last)
            extractor.add_submodule(before.target, folded)
            node.replace_all_uses_with(before)
            extractor.graph.erase_node(node)
    extractor.delete_all_unused_submodules()
