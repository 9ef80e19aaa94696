"""Networks as their builders make them, and bare: all of the shapes, none of the weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torchvision.ops.misc import Conv2dNormActivation

if TYPE_CHECKING:
    from dream.zoo import ModelCard


def build(card: ModelCard, **changes: Any) -> nn.Module:
    """The network that the card's builder makes, its options changed."""
    module, _, function = card.builder.partition(":")
    network: nn.Module = getattr(import_module(module), function)(**{**card.options, **changes})
    # torchvision traces its own blocks closed; as plain sequences their layers can be read.
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Conv2dNormActivation):
                setattr(parent, name, nn.Sequential(*child))
    return network


def skeleton(card: ModelCard, **changes: Any) -> nn.Module:
    """The same on torch's meta device: built in milliseconds, to be filled by assignment."""
    with torch.device("meta"):
        return build(card, **changes)
