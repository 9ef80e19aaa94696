"""Shared by measurements: timing, random weights, and the similarity of images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from dream.networks import architecture
from dream.networks.model_card import ModelCard


def min_seconds(work: Callable[[], object], tries: int = 4) -> float:
    """Return the seconds of the fastest try."""
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def save_random_weights(card: ModelCard, path: Path) -> None:
    """Write random weights of a network, which run as long as trained ones.

    They keep the scale of activations from layer to layer (He et al. 2015).
    """
    network = architecture.build_on_meta(card).to_empty(device="cpu")
    for name, tensor in network.state_dict().items():
        if "var" in name:
            tensor.fill_(1.0)
        elif tensor.is_floating_point():
            tensor.normal_(0, math.sqrt(2 / max(1, tensor[0].numel())))
        else:
            tensor.zero_()
    safetensors.torch.save_file(network.state_dict(), path)


def correlation(one: Tensor, other: Tensor, start: Tensor) -> float:
    """Correlate the changes of two images from a start, all (N, 3, H, W).

    Returns:
        1 where the changes differ by their strength alone, 0 where they are unrelated.
    """
    changes = torch.stack([(each - start).flatten() for each in (one, other)])
    return float(torch.corrcoef(changes)[0, 1])
