"""State dicts: read the tensors of a weights file and check that they fit a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from dream.errors import WeightsError, first_line
from dream.networks.architecture import build_on_meta
from dream.networks.model_card import ModelCard

# Tensors of torchvision's files that dreams do not use.
UNUSED_KEYS = re.compile(r"AuxLogits\.|aux[12]\.")


class WeightsFile:
    """The tensors of a weights file, by torchvision's names; tensors are read on access.

    Raises:
        WeightsError: if it is not a weights file.
    """

    def __init__(self, path: Path, key_prefixes: tuple[tuple[str, str], ...] = ()) -> None:
        self.path = path
        try:
            if path.exists() and not path.is_file():  # Opening a pipe would block.
                raise ValueError("it is not a regular file")
            if path.suffix == ".pth":
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
                self._read: Callable[[str], Tensor] = state.__getitem__
                shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
            else:
                file: Any = safe_open(path, "pt")
                self._read = file.get_tensor
                names: list[str] = file.keys()
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        except Exception as error:  # The readers raise almost any error on a damaged file.
            raise WeightsError(f"{path.name} is not a weights file: {first_line(error)}") from error
        self._stored = {_torchvision_key(name, key_prefixes): name for name in shapes}
        self.shapes = {name: shapes[stored] for name, stored in self._stored.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._read(self._stored[name])


def _torchvision_key(name: str, key_prefixes: tuple[tuple[str, str], ...]) -> str:
    for old, new in key_prefixes:
        if name.startswith(old):
            return new + name.removeprefix(old)
    # Torchvision's original names of DenseNet's layers.
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", name)


def load_network(card: ModelCard, path: Path, *, with_head: bool) -> nn.Module:
    """Load a network from a weights file in float32, with or without its head.

    Only the needed tensors are read. The file may have another number of classes.

    Raises:
        WeightsError: if the file does not fit; the message names the first tensors of each fault.
    """
    tensors = WeightsFile(path, card.source.key_prefixes)
    last = tensors.shapes.get(f"{card.last_weight_layer}.weight")
    network = build_on_meta(card.build, **({"num_classes": last[0]} if last else {}))
    if card.head and not with_head:
        setattr(network, card.head, nn.Identity())
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state = dict(_matching_tensors(card, tensors, shapes))
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def _matching_tensors(
    card: ModelCard, tensors: WeightsFile, expected_shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the expected tensors, by name, or raise a `WeightsError`."""
    head = rf"|{re.escape(card.head)}\." if card.head else ""
    ignored = re.compile(UNUSED_KEYS.pattern + head)
    counters = {name for name in expected_shapes if name.endswith("num_batches_tracked")}
    available = {*tensors.shapes, *counters}
    missing = [name for name in expected_shapes if name not in available]
    unexpected = [
        name for name in tensors.shapes if name not in expected_shapes and not ignored.match(name)
    ]
    # A fully connected layer may be stored as an equivalent convolution.
    wrong = [
        f"{name} ({_format_shape(tensors.shapes[name])} for {_format_shape(shape)})"
        for name, shape in expected_shapes.items()
        if name in tensors.shapes
        and torch.Size(tensors.shapes[name]).numel() != torch.Size(shape).numel()
    ]
    faults = [("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong)]
    if any(names for _, names in faults):
        text = "; ".join(f"{fault}: {_format_names(names)}" for fault, names in faults if names)
        raise WeightsError(f"{tensors.path.name} does not fit {card.name}: {text}")
    for name, shape in expected_shapes.items():
        if name in tensors.shapes:
            tensor = tensors[name].reshape(shape)
            yield name, tensor.float() if tensor.is_floating_point() else tensor
        else:
            yield name, torch.zeros(shape, dtype=torch.long)


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def _format_names(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
