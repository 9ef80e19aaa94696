"""What is known of a network before it is loaded, and what a recipe may name in it.

Torch is loaded only where a layer is asked for that is not listed, or a channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dream.errors import RecipeError, close_matches, describe_value

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Layer:
    """A place in a network worth dreaming at, what it brings in words, and its friendly name."""

    name: str
    kind: str
    effect: str
    alias: str = ""


@dataclass(frozen=True)
class Source:
    """Where the weights of a network are had, and how to know that they are the right ones.

    `file` lies in the hub's repository `repo`, or ships beside this module where none is named.
    `revision` is a full commit. Two could be had in short form only; they stand as `main`, and the
    sha256 of the file decides. Without a sha256 the hub is passed by. `url` is torchvision's own
    file, whose name ends in the first eight digits of its sha256. `keys` renames tensors by prefix
    to torchvision's names.
    """

    file: str
    megabytes: float
    sha256: str = ""
    repo: str = ""
    revision: str = ""
    url: str = ""
    key_prefixes: tuple[tuple[str, str], ...] = ()

    @property
    def is_shipped(self) -> bool:
        """Whether the file comes with the program."""
        return not self.repo

    @property
    def sha256_prefix(self) -> str:
        """How the sha256 of torchvision's file begins."""
        return self.url.rpartition("-")[2].removesuffix(".pth")


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a network before it is loaded.

    `builder` is `module:function`, called with `options` for a `torch.nn.Module`; left empty, it is
    torchvision's of that name. `head` is the part that only classes need and that is heavy;
    `logits` is the last layer with weights, `output` what follows it where that still changes the
    logits; `head_side` is the side in pixels of the pictures that the head depends on, 0 where it
    reads them of any size. `mean` and `std` normalise RGB in [0, 1]; `min_side` is the smallest
    side, in pixels, that it reads; `bands` is the Laplacian normalisation that becomes it; `heavy`
    is one that is slow on a CPU; `means` is a file beside the weights with the mean activations of
    its layers. `low` and `high` are to `default_layer` what their names say.
    """

    name: str
    description: str
    low_layer: str
    default_layer: str
    high_layer: str
    layers: tuple[Layer, ...]
    source: Source
    builder: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    licence: str = "BSD-3-Clause"  # Torchvision's.
    min_side: int = 32
    head: str = ""
    last_weight_layer: str = "fc"
    output: str = ""
    head_side: int = 0
    laplacian_bands: int = 1
    is_heavy: bool = False
    means_file: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def resolve_layer(self, name: str) -> str:
        """The module of that name, alias or path in the network.

        Raises:
            RecipeError: if the network has none; the message lists what is near.
        """
        listed = {layer.name: layer.name for layer in self.layers}
        listed |= {layer.alias: layer.name for layer in self.layers if layer.alias}
        if name in listed:
            return listed[name]
        modules = self.module_names
        if name in modules:
            return name
        like = [*close_matches(name, listed, 4, cutoff=0.5), *close_matches(name, modules, 2)]
        like = list(dict.fromkeys(like or [self.default_layer, *listed.values()]))
        raise RecipeError(
            f"layer {describe_value(name, 60)} is not in {self.name}; try {', '.join(like)}"
        )

    @property
    def module_names(self) -> tuple[str, ...]:
        """The path of every module of the network, as `features.22`."""
        from dream.networks.architecture import module_names

        return module_names(self)

    def channel_count(self, layer: str) -> int:
        """How many channels that module has.

        Raises:
            RecipeError: if no picture passes it, or what it makes has none.
        """
        from dream.networks.architecture import channel_count

        try:
            return channel_count(self, layer)
        except ValueError as error:
            raise RecipeError(
                f"{layer} of {self.name} has no channels to look at; try another"
            ) from error

    def resolve_channel(self, layer: str, channel: int | str) -> int:
        """The number of a channel of that module, given as a number or in writing.

        Raises:
            RecipeError: if it has no such channel.
        """
        count = self.channel_count(layer)
        text = str(channel).strip()
        if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) < count):
            raise RecipeError(
                f"{layer} has channels 0 to {count - 1}, not {describe_value(channel)}"
            )
        return int(text)

    @property
    def logit_layer(self) -> str:
        """The layer whose channels are the logits of the classes."""
        return self.output or self.last_weight_layer

    def needs_head(self, layers: tuple[str, ...]) -> bool:
        """Whether one of those layers lies in the head."""
        return bool(self.head) and any(layer.split(".")[0] == self.head for layer in layers)
