"""Shared by measurements: timing, random weights, live dreams and the similarity of images."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import safetensors.torch
import torch
from torch import Tensor

from dream import Engine, Frame
from dream.networks import architecture
from dream.networks.model_card import ModelCard
from dream.render.live import LiveDreamer


class Stopwatch:
    """The seconds of each call of timed functions, by a name of the part."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose calls are timed."""

        @wraps(work)
        def run(*given: Any, **about: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*given, **about)
            finally:
                self.seconds[part].append(time.perf_counter() - start)

        return run

    @contextmanager
    def time_calls(self, *functions: tuple[Any, str, str]) -> Iterator[None]:
        """Time the calls of (module or class, function's name, part) until the block ends."""
        with ExitStack() as patched:
            for where, name, part in functions:
                work = self.timed(part, getattr(where, name))
                patched.enter_context(patch.object(where, name, work))
            yield


def min_seconds(work: Callable[[], object], tries: int = 4) -> float:
    """Return the seconds of the fastest try."""
    watch = Stopwatch()
    for _ in range(tries):
        watch.timed("", work)()
    return min(watch.seconds[""])


def last_frame(frames: Iterator[Frame]) -> Frame:
    """Render all frames and keep the last alone, since each holds a tensor on the device."""
    return deque(frames, maxlen=1).pop()


def live_dreamer(engine: Engine) -> LiveDreamer:
    """Return a dreamer of a camera's frames on this engine."""
    return LiveDreamer(engine.render_images)


def save_random_weights(card: ModelCard, path: Path) -> None:
    """Write random weights of a network, which run as long as trained ones.

    They keep the scale of activations from layer to layer (He et al. 2015).
    """
    network = architecture.build_on_meta(card.build).to_empty(device="cpu")
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
