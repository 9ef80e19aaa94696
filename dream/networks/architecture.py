"""Build networks, with or without weights, and trace them with torch.fx."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn

Build = Callable[..., nn.Module]  # `ModelCard.build`.

# Tracing patches nn.Module for the whole process, so only one trace runs at a time. A fork waits
# for it: otherwise the child would inherit the patches and a locked lock.
TRACE_LOCK = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=TRACE_LOCK.acquire,
        after_in_parent=TRACE_LOCK.release,
        after_in_child=TRACE_LOCK.release,
    )


def build_on_meta(build: Build, **changes: Any) -> nn.Module:
    """Build a network on torch's meta device, in milliseconds; assign its weights later."""
    with torch.device("meta"):
        return build(**changes)


def build_with_zero_weights(build: Build, **changes: Any) -> nn.Module:
    """Build a network whose weights are zeros that take no memory, to learn its output shapes.

    Run it on empty batches, which compute nothing. (A meta network would make torch import its
    compiler, which takes a second.)
    """
    network = build_on_meta(build, **changes).eval()
    weights = network.state_dict()
    zeros = {name: torch.zeros((), dtype=weight.dtype) for name, weight in weights.items()}
    network.load_state_dict(
        {name: zeros[name].expand(weight.shape) for name, weight in weights.items()}, assign=True
    )
    return network


class LayerTracer(fx.Tracer):
    """Tracer that stores the output of each module in `outputs`, by the module's path.

    For a module that is called several times this is the output of the first call. Modules that
    other threads run meanwhile also pass through the patched methods, and run normally.
    """

    def __init__(self) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]
        self.thread = threading.get_ident()
        self.outputs: dict[str, Any] = {}

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """Trace a call of a module and store its output."""
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        output = super().call_module(m, forward, args, kwargs)
        self.outputs.setdefault(self.path_of_module(m), self.create_arg(output))
        return output

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return an attribute of a module, as a proxy in the tracing thread."""
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


def create_extractor(network: nn.Module, layers: tuple[str, ...]) -> fx.GraphModule:
    """Return the network up to those layers; it returns a dict of their outputs.

    Raises:
        ValueError: if the forward pass does not use a layer, such as one for training only.
    """
    tracer = LayerTracer()
    with TRACE_LOCK:
        graph = tracer.trace(network)
    del tracer.root  # Reference cycles in fx keep the tracer alive; it must not keep the network.
    if missing := [layer for layer in layers if layer not in tracer.outputs]:
        raise ValueError(f"the forward pass does not use {missing[0]}")
    (output,) = graph.find_nodes(op="output")
    output.args = ({layer: tracer.outputs[layer] for layer in layers},)
    for node in graph.nodes:
        # Otherwise fx wraps each function again, and keeps stack frames alive.
        node.meta.pop("is_wrapped", None)
    extractor = fx.GraphModule(network, graph)
    graph.eliminate_dead_code()
    extractor.delete_all_unused_submodules()
    extractor.recompile()
    return extractor


@lru_cache(maxsize=16)
def module_names(build: Build) -> tuple[str, ...]:
    """Return the path of every module of a network, such as `features.22`."""
    return tuple(name for name, _ in build_on_meta(build).named_modules() if name)


@lru_cache(maxsize=256)
def channel_count(build: Build, layer: str, classes: int | None = None) -> int:
    """Return the number of channels of a layer, for weights with that number of classes.

    Raises:
        ValueError: if the forward pass does not use the layer, or its output is not (N, C) or
            (N, C, H, W).
    """
    changes = {"num_classes": classes} if classes else {}
    network = create_extractor(build_with_zero_weights(build, **changes), (layer,))
    with torch.no_grad():
        output = network(torch.empty(0, 3, 224, 224))[layer]
    if not isinstance(output, torch.Tensor) or output.dim() not in (2, 4):
        raise ValueError(f"{layer} has no channels")
    return output.shape[1]
