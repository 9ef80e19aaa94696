"""Networks as their builders make them, their layers laid open; and bare, without the weights."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import fx, nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops.misc import Conv2dNormActivation

# While torch.fx traces a network it patches nn.Module.__call__ for the whole process: a forward in
# another thread would fail ("module is not installed as a submodule"). So one waits for the other;
# and so does a fork, whose copy of the lock would else stay shut for ever.
FORWARD = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=FORWARD.acquire, after_in_parent=FORWARD.release, after_in_child=FORWARD.release
    )


class Buildable(Protocol):
    """What says how a network is built, as a `ModelCard` does."""

    @property
    def builder(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


def build(card: Buildable, **changes: Any) -> nn.Module:
    """The network that the card's builder makes, its options changed."""
    module, _, function = card.builder.partition(":")
    network: nn.Module = getattr(import_module(module), function)(**{**card.options, **changes})
    # torchvision traces its own blocks closed; as plain sequences their layers can be read.
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Conv2dNormActivation):
                setattr(parent, name, nn.Sequential(*child))
    return network


def skeleton(card: Buildable, **changes: Any) -> nn.Module:
    """The same on torch's meta device: built in milliseconds, to be filled by assignment."""
    with torch.device("meta"):
        return build(card, **changes)


def extractor(network: nn.Module, layers: tuple[str, ...]) -> fx.GraphModule:
    """The network as far as those layers, with what they make by name.

    Raises:
        ValueError: if no picture passes one of them, as those of training only.
    """
    with FORWARD:
        try:
            made: fx.GraphModule = create_feature_extractor(
                network, {each: each for each in layers}
            )
            return made
        finally:
            network.eval()  # It is traced in training mode too, and left so by an error.


@lru_cache(maxsize=16)
def module_names(card: Buildable) -> tuple[str, ...]:
    """The path of every module of a network, as `features.22`."""
    return tuple(name for name, _ in skeleton(card).named_modules() if name)


@lru_cache(maxsize=256)
def channel_count(card: Buildable, layer: str) -> int:
    """How many channels a layer has, without its weights.

    Raises:
        ValueError: if no picture passes it, or what it makes is no batch of pictures or vectors.
    """
    network = extractor(skeleton(card).to("meta").eval(), (layer,))
    with FORWARD:
        made = network(torch.empty(1, 3, 224, 224, device="meta"))[layer]
    if not isinstance(made, torch.Tensor) or made.dim() not in (2, 4):
        raise ValueError(f"{layer} makes no channels")
    return made.shape[1]
