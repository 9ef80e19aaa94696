"""State dicts: read the tensors of a weights file and check that they fit a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dream.errors import WeightsError, first_line
from dream.networks.architecture import build_on_meta
from dream.networks.model_card import ModelCard

# Tensors of torchvision's files that dreams do not use.
UNUSED_KEYS = re.compile(r"AuxLogits\.|aux[12]\.")


def load_network(card: ModelCard, path: Path, *, with_head: bool) -> nn.Module:
    """Load a network from a weights file, of any number of classes, in float32.

    Raises:
        WeightsError: if the file does not fit; the message names the first tensors of each fault.
    """
    tensors = _read_tensors(path, card.source.key_prefixes)
    last = f"{card.last_weight_layer}.weight"
    shape = tensors[last].shape if last in tensors else ()
    network = build_on_meta(card.build, **({"num_classes": shape[0]} if shape else {}))
    if card.head and not with_head:
        setattr(network, card.head, nn.Identity())
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):  # Some files lack these counters.
            tensors.setdefault(name, torch.zeros_like(tensor, device="cpu"))
    if faults := _describe_faults(card, tensors, expected):
        raise WeightsError(f"{path.name} does not fit {card.name}: {faults}")
    state = {name: tensors[name].reshape(tensor.shape) for name, tensor in expected.items()}
    network.load_state_dict(
        {name: each.float() if each.is_floating_point() else each for name, each in state.items()},
        assign=True,
    )
    return network.eval()


def _read_tensors(path: Path, key_prefixes: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """Return a file's tensors by torchvision's names, mapped into memory, so read when used."""
    try:
        if path.exists() and not path.is_file():  # Opening a pipe would block.
            raise ValueError("it is not a regular file")
        if path.suffix == ".pth":
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        else:
            tensors = load_file(path)
        # Other values than tensors have no `detach`.
        return {_torchvision_key(name, key_prefixes): tensors[name].detach() for name in tensors}
    except Exception as error:  # The readers raise almost any error on a damaged file.
        raise WeightsError(f"{path.name} is not a weights file: {first_line(error)}") from error


def _torchvision_key(name: str, key_prefixes: tuple[tuple[str, str], ...]) -> str:
    for old, new in key_prefixes:
        if name.startswith(old):
            return new + name.removeprefix(old)
    # Torchvision's original names of DenseNet's layers.
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2", name)


def _describe_faults(
    card: ModelCard, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> str:
    """Return which tensors are missing, unexpected or of a wrong shape, or ""."""
    head = rf"|{re.escape(card.head)}\." if card.head else ""
    ignored = re.compile(UNUSED_KEYS.pattern + head)
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected and not ignored.match(name)]
    # A fully connected layer may be stored as an equivalent convolution.
    wrong = [
        f"{name} ({_format_shape(tensors[name])} for {_format_shape(tensor)})"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].numel() != tensor.numel()
    ]
    faults = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong}
    return "; ".join(f"{fault}: {_format_names(names)}" for fault, names in faults.items() if names)


def _format_shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _format_names(names: list[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
