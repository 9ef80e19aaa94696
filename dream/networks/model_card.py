"""Model cards: metadata of a network that is available before it is loaded.

Torch is imported only to check channels, and layers that a card does not list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dream.errors import RecipeError, ask_meaning, close_matches, describe_value

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Time from one layer of a default zoom to the next.
ZOOM_LAYER_SECONDS = 2
# In the place of the last keyframe's layer: the keyframes start anew.
REPEAT = "repeat"


@dataclass(frozen=True)
class Layer:
    """A layer worth dreaming at: its module, kind of features, effect in words, and an alias."""

    name: str
    kind: str
    effect: str
    alias: str = ""


@dataclass(frozen=True)
class Source:
    """Where to download the weights of a network, and how to verify them.

    `file` is in the hub's repository `repo`, if it has the network, or else next to this module.
    `revision` is a full commit; two were known in short form only, so these are `main`, and the
    file's sha256 decides. `url` is torchvision's file, whose name ends in the first eight digits of
    its sha256. `key_prefixes` maps prefixes of tensor names to those of torchvision.
    """

    megabytes: float
    file: str = ""
    sha256: str = ""
    repo: str = ""
    revision: str = ""
    url: str = ""
    key_prefixes: tuple[tuple[str, str], ...] = ()

    @property
    def is_shipped(self) -> bool:
        """Whether the file ships with the program."""
        return not self.url

    @property
    def sha256_prefix(self) -> str:
        """The first digits of the sha256 of torchvision's file."""
        return self.url.rpartition("-")[2].removesuffix(".pth")


@dataclass(frozen=True)
class ModelCard:
    """Metadata of a network, available before it is loaded.

    `builder` is `module:function`, called with `options` to build the module; if it is empty, the
    network is torchvision's of that name. `low_layer`, `default_layer` and `high_layer` are good
    layers of increasing depth. `head` is a large part that only classes need; `last_weight_layer`
    is the last layer with weights, `output` a layer after it that still changes the logits;
    `head_side` is the image side in pixels that the head requires, 0 for any. `mean` and `std`
    normalise RGB in [0, 1]; `min_side` is the smallest input in pixels; `laplacian_bands` suits the
    network; `zoom_layers` are those that a zoom passes through, by default the three good ones, the
    default first; `is_heavy` marks a network that is slow on a CPU; `means_file`, next to the
    weights, has the mean activations of layers.
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
    output_layer: str = ""
    head_side: int = 0
    laplacian_bands: int = 1
    zoom_layers: tuple[str, ...] = ()
    is_heavy: bool = False
    means_file: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def build(self, **changes: Any) -> nn.Module:
        """Build the network, with initial weights and changed options."""
        path = self.builder or f"torchvision.models:{self.name}"
        module, _, function = path.partition(":")
        network: nn.Module = getattr(import_module(module), function)(**{**self.options, **changes})
        return network

    @property
    def zoom_keyframes(self) -> str:
        """The layer of a zoom that passes through `zoom_layers`, over and over."""
        layers = self.zoom_layers or (self.default_layer, self.high_layer, self.low_layer)
        times = range(0, ZOOM_LAYER_SECONDS * len(layers) + 1, ZOOM_LAYER_SECONDS)
        pairs = zip(times, (*layers, REPEAT), strict=True)
        return "; ".join(f"{seconds} s: {layer}" for seconds, layer in pairs)

    def resolve_layer(self, name: str) -> str:
        """Return the path of a layer, given by its path or alias.

        A `RecipeError` suggests similar names if there is none.
        """
        listed = {layer.name: layer.name for layer in self.layers}
        listed |= {layer.alias: layer.name for layer in self.layers if layer.alias}
        if name in listed:
            return listed[name]
        modules = self.module_names
        if name in modules:
            return name
        similar = [*close_matches(name, listed, 4, cutoff=0.5), *close_matches(name, modules, 2)]
        others = ", ".join(dict.fromkeys([self.default_layer, *listed.values()]))
        advice = ask_meaning(dict.fromkeys(similar)) if similar else f"try {others}"
        raise RecipeError(f"layer {describe_value(name, 60)} is not in {self.name}; {advice}")

    @property
    def module_names(self) -> tuple[str, ...]:
        """The path of every module of the network, such as `features.22`."""
        from dream.networks.architecture import module_names

        return module_names(self.build)

    def layer_label(self, name: str) -> str:
        """Return the friendly name of a layer with its module: "Faces, wheels (inception4c)"."""
        for layer in self.layers:
            if name in (layer.name, layer.alias):
                return f"{layer.effect} ({layer.alias or layer.name})"
        return name

    def channel_count(self, layer: str, classes: int | None = None) -> int:
        """Return the number of channels of a layer, for weights with that number of classes.

        Raises:
            RecipeError: if the forward pass does not use the layer, or its output has no channels.
        """
        from dream.networks.architecture import channel_count

        try:
            return channel_count(self.build, layer, classes)
        except ValueError as error:
            raise RecipeError(
                f"layer {layer} of {self.name} has no channels; try another layer"
            ) from error

    def resolve_channel(self, layer: str, channel: int | str) -> int:
        """Return the index of a channel, given as a number or as text, or raise a `RecipeError`."""
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
        return self.output_layer or self.last_weight_layer

    def needs_head(self, layers: tuple[str, ...]) -> bool:
        """Return whether one of those layers is in the head."""
        return bool(self.head) and any(layer.split(".")[0] == self.head for layer in layers)
