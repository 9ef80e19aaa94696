"""State dicts: the tensors of a weights file, and whether they fit a network."""

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

# Parts of torchvision's files that no dream uses.
UNUSED_KEYS = re.compile(r"AuxLogits\.|aux[12]\.")


class WeightsFile:
    """The tensors of a weights file under torchvision's names: shapes at once, tensors one by one.

    Raises:
        WeightsError: if it is no such file.
    """

    def __init__(self, path: Path, keys: tuple[tuple[str, str], ...] = ()) -> None:
        self.path = path
        try:
            if path.exists() and not path.is_file():  # Opening a pipe blocks until somebody writes.
                raise ValueError("it is no regular file")
            if path.suffix == ".pth":
                state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
                self._read: Callable[[str], Tensor] = state.__getitem__
                shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
            else:
                file: Any = safe_open(path, "pt")
                self._read = file.get_tensor
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        except Exception as error:  # Readers of damaged files raise almost anything.
            raise WeightsError(f"{path.name} is no weights file: {first_line(error)}") from error
        self._stored = {_torchvision_key(name, keys): name for name in shapes}
        self.shapes = {name: shapes[stored] for name, stored in self._stored.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._read(self._stored[name])


def _torchvision_key(name: str, keys: tuple[tuple[str, str], ...]) -> str:
    for old, new in keys:
        if name.startswith(old):
            return new + name.removeprefix(old)
    # DenseNet as torchvision first stored it.
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", name)


def load_network(card: ModelCard, path: Path, *, head: bool) -> nn.Module:
    """The network with the weights of that file, in float32; without its head unless asked for.

    Only the tensors that are needed are read. A file trained for another number of classes fits.

    Raises:
        WeightsError: if the file does not fit; the message names the first tensors of each kind.
    """
    tensors = WeightsFile(path, card.source.key_prefixes)
    last = tensors.shapes.get(f"{card.last_weight_layer}.weight")
    network = build_on_meta(card, **({"num_classes": last[0]} if last else {}))
    if card.head and not head:
        setattr(network, card.head, nn.Identity())
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state = dict(_matching_tensors(card, tensors, wanted))
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def _matching_tensors(
    card: ModelCard, tensors: WeightsFile, wanted: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, Tensor]]:
    passed_by = re.compile(
        rf"{UNUSED_KEYS.pattern}|{re.escape(card.head)}\." if card.head else UNUSED_KEYS
    )
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = [name for name in wanted if name not in tensors.shapes and name not in counters]
    unexpected = [
        name for name in tensors.shapes if name not in wanted and not passed_by.match(name)
    ]
    # A fully connected layer may be stored as the convolution that it equals.
    wrong = [
        f"{name} ({_format_shape(tensors.shapes[name])} for {_format_shape(shape)})"
        for name, shape in wanted.items()
        if name in tensors.shapes
        and torch.Size(tensors.shapes[name]).numel() != torch.Size(shape).numel()
    ]
    faults = [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
    if any(names for _, names in faults):
        said = "; ".join(f"{fault}: {_format_names(names)}" for fault, names in faults if names)
        raise WeightsError(f"{tensors.path.name} does not fit {card.name}: {said}")
    for name, shape in wanted.items():
        if name in tensors.shapes:
            tensor = tensors[name].reshape(shape)
            yield name, tensor.float() if tensor.is_floating_point() else tensor
        else:
            yield name, torch.zeros(shape, dtype=torch.long)


def _format_shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"


def _format_names(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
