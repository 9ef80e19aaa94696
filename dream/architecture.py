"""Networks as bare architectures: all the shapes, none of the weights, no memory used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from dream.zoo import ModelCard


def build(card: ModelCard, **changes: Any) -> nn.Module:
    """The network that the card's builder makes, its options changed."""
    module, _, function = card.builder.partition(":")
    network: nn.Module = getattr(import_module(module), function)(**{**card.options, **changes})
    return network


def skeleton(card: ModelCard, **changes: Any) -> nn.Module:
    """The same on torch's meta device: built in milliseconds, to be filled by assignment."""
    with torch.device("meta"):
        return build(card, **changes)
