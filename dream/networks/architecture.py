"""Networks as their builders make them, their layers laid open; and bare, without the weights."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import fx, nn

# A trace patches nn.Module for the whole process, so there is one at a time; and a fork waits for
# it, as its child would else keep the patches, and a lock that stays shut.
TRACE_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=TRACE_LOCK.acquire,
        after_in_parent=TRACE_LOCK.release,
        after_in_child=TRACE_LOCK.release,
    )


class Buildable(Protocol):
    """What says how a network is built, as a `ModelCard` does."""

    @property
    def name(self) -> str: ...
    @property
    def builder(self) -> str: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


def build(card: Buildable, **changes: Any) -> nn.Module:
    """The network that the card's builder makes, its options changed."""
    module, _, function = (card.builder or f"torchvision.models:{card.name}").partition(":")
    network: nn.Module = getattr(import_module(module), function)(**{**card.options, **changes})
    return network


def build_on_meta(card: Buildable, **changes: Any) -> nn.Module:
    """The same on torch's meta device: built in milliseconds, to be filled by assignment."""
    with torch.device("meta"):
        return build(card, **changes)


def build_with_zero_weights(card: Buildable, **changes: Any) -> nn.Module:
    """The same with weights that are one zero each, seen as many: it takes batches of no pictures.

    What comes out has the shapes of the real ones, and nothing is computed. (On the meta device the
    first picture has torch import its compiler, which takes a second.)
    """
    network = build_on_meta(card, **changes).eval()
    weights = network.state_dict()
    zeros = {name: torch.zeros((), dtype=each.dtype) for name, each in weights.items()}
    network.load_state_dict(
        {name: zeros[name].expand(each.shape) for name, each in weights.items()}, assign=True
    )
    return network


class LayerTracer(fx.Tracer):
    """Traces a network and keeps in `made` what each module makes, by its path.

    Of a module that is called several times it is what the first call makes. What other threads run
    meanwhile comes by here too, and is let through.
    """

    def __init__(self) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]
        self.thread = threading.get_ident()
        self.outputs: dict[str, Any] = {}

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        made = super().call_module(m, forward, args, kwargs)
        self.outputs.setdefault(self.path_of_module(m), self.create_arg(made))
        return made

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def create_extractor(network: nn.Module, layers: tuple[str, ...]) -> fx.GraphModule:
    """The network as far as those layers, with what they make by name.

    Raises:
        ValueError: if no picture passes one of them, as those of training only.
    """
    tracer = LayerTracer()
    with TRACE_LOCK:
        graph = tracer.trace(network)
    del tracer.root  # Circles within fx keep the tracer a while; the network need not stay for it.
    if missing := [layer for layer in layers if layer not in tracer.outputs]:
        raise ValueError(f"no picture passes {missing[0]}")
    (output,) = graph.find_nodes(op="output")
    output.args = ({layer: tracer.outputs[layer] for layer in layers},)
    for node in graph.nodes:  # Else fx wraps each function anew, and keeps the frames around that.
        node.meta.pop("is_wrapped", None)
    made = fx.GraphModule(network, graph)
    graph.eliminate_dead_code()
    made.delete_all_unused_submodules()
    made.recompile()
    return made


@lru_cache(maxsize=16)
def module_names(card: Buildable) -> tuple[str, ...]:
    """The path of every module of a network, as `features.22`."""
    return tuple(name for name, _ in build_on_meta(card).named_modules() if name)


@lru_cache(maxsize=256)
def channel_count(card: Buildable, layer: str, classes: int | None = None) -> int:
    """How many channels a layer has, without its weights; where these know so many classes.

    Raises:
        ValueError: if no picture passes it, or what it makes is no batch of pictures or vectors.
    """
    changes = {"num_classes": classes} if classes else {}
    network = create_extractor(build_with_zero_weights(card, **changes), (layer,))
    with torch.no_grad():
        made = network(torch.empty(0, 3, 224, 224))[layer]
    if not isinstance(made, torch.Tensor) or made.dim() not in (2, 4):
        raise ValueError(f"{layer} makes no channels")
    return made.shape[1]
