"""Settings of the GPU kit: device, size, folders and deadline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from dream import DreamRecipe, Engine, load_image
from dream.networks import catalogue, weights
from dream.tensors import Size, resize_clamped
from tools.gpu.cases import EXAMPLES
from tools.measure import save_random_weights

# The networks that are timed besides Dreamlet; on a CPU a small one.
CLASSICS, SMALL_CLASSICS = ("vgg16", "googlenet"), ("squeezenet1_1",)


@dataclass(frozen=True)
class Settings:
    """A device, folders for reports and weights, a deadline by `time.monotonic`, and the size.

    Small sizes are for a CPU, where the kit only shows that it runs.
    """

    device: torch.device
    folder: Path
    weights_folder: Path
    deadline: float
    is_small: bool

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a CUDA GPU."""
        return self.device.type == "cuda"

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() > self.deadline

    @property
    def classics(self) -> tuple[str, ...]:
        """The networks that are timed besides Dreamlet."""
        return SMALL_CLASSICS if self.is_small else CLASSICS

    @cached_property
    def weights(self) -> dict[str, Path]:
        """Weights of the classics: those in `DREAM_WEIGHTS_DIR`, else random ones."""
        found = {}
        for model in self.classics:
            path = weights.user_weights_file(model)
            if path is None:
                path = self.weights_folder / f"{model}.safetensors"
                save_random_weights(catalogue.get_card(model), path)
            found[model] = path
        return found

    def engine(self, precision: str = "", device: str = "") -> Engine:
        """Return an engine on the device, or another, whose Dreamlet runs in that precision."""
        with patch.dict(os.environ, {"DREAM_PRECISION": precision} if precision else {}):
            engine = Engine(device or str(self.device), self.weights)
            engine.network("dreamlet")  # Once loaded, its precision is fixed.
            engine.network("dreamlet", head=True)
        return engine

    def shorten(self, recipe: DreamRecipe) -> DreamRecipe:
        """Return the recipe, with few steps where sizes are small."""
        return recipe.with_changes(iterations=2) if self.is_small else recipe

    def photo(self, size: Size) -> Tensor:
        """Return the example photo at that (height, width)."""
        return resize_clamped(load_image(EXAMPLES / "cat.jpg"), size)

    def seconds(self, work: Callable[[], object]) -> float:
        """Measure the seconds of some work until the device has finished it."""
        self.synchronize()
        start = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - start

    def synchronize(self) -> None:
        """Wait until the device is idle."""
        if self.is_cuda:
            torch.cuda.synchronize(self.device)


@contextmanager
def cudnn(**settings: bool) -> Iterator[None]:
    """Set flags of cuDNN, such as `deterministic` or `benchmark`, until the block ends."""
    before = {name: getattr(torch.backends.cudnn, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(torch.backends.cudnn, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(torch.backends.cudnn, name, value)
