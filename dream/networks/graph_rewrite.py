"""Optimisation of traced networks: the same layers and gradients in fewer operations, frozen."""

from __future__ import annotations

import copy
import math
import operator
from typing import Any
from weakref import WeakValueDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dream.networks.convolution import FrozenConv, freeze_convolution, merge_pointwise

# A convolution and the batch norm after it, or None; those of all convolutions if merged.
SourceModules = tuple[nn.Module | None, ...]
# Optimised modules by their sources; an entry disappears with the last extractor that uses it.
ModuleCache = WeakValueDictionary[SourceModules, nn.Module]

_RELU_TARGETS = (torch.relu, torch.relu_, F.relu, "relu", "relu_")


def optimise_graph(
    extractor: fx.GraphModule, module_cache: ModuleCache, redirect_relus: bool
) -> None:
    """Freeze and merge convolutions in place, and redirect the ReLUs or fuse them."""
    _disable_inplace(extractor)
    source_modules = _freeze_convolutions(extractor, module_cache)
    if redirect_relus:
        _redirect_relus(extractor)
    else:
        _fuse_relus(extractor)
    _merge_pointwise_convolutions(extractor, module_cache, source_modules)
    extractor.delete_all_unused_submodules()
    extractor.recompile()


def _node_module(extractor: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return extractor.get_submodule(str(node.target)) if node.op == "call_module" else None


def _only_user(node: fx.Node) -> fx.Node | None:
    (user, *others) = node.users
    return None if others else user


def _is_relu(extractor: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(_node_module(extractor, node), nn.ReLU) or node.target in _RELU_TARGETS


def _disable_inplace(extractor: fx.GraphModule) -> None:
    """Disable in-place functions, which would change the activations of the previous layer."""
    for node in extractor.graph.nodes:
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}


def _freeze_convolutions(
    extractor: fx.GraphModule, module_cache: ModuleCache
) -> dict[fx.Node, SourceModules]:
    """Replace each convolution by a frozen one, and return the source modules of each node.

    A batch norm that alone reads the convolution is folded into it, in float32. The modules of the
    network stay unchanged.
    """
    source_modules: dict[fx.Node, SourceModules] = {}
    for node in list(extractor.graph.nodes):
        convolution = _node_module(extractor, node)
        if not isinstance(convolution, nn.Conv2d):
            continue
        user = _only_user(node)
        norm = _node_module(extractor, user) if user else None
        if user and isinstance(norm, nn.BatchNorm2d):
            _replace_node(user, node)
        else:
            norm = None
        source_modules[node] = key = (convolution, norm)
        if not (frozen := module_cache.get(key)):
            folded = _fold_batch_norm(convolution, norm) if norm else convolution
            frozen = module_cache[key] = freeze_convolution(folded)
        extractor.add_submodule(node.target, frozen)
    return source_modules


def _fold_batch_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    folded = fuse_conv_bn_eval(copy.deepcopy(convolution).float(), copy.deepcopy(norm).float()).to(
        convolution.weight.dtype
    )
    return folded.requires_grad_(False).to(memory_format=torch.channels_last)


def _replace_node(node: fx.Node, other: fx.Node) -> None:
    """Erase a node; its users read the other one."""
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)


def _fuse_relus(extractor: fx.GraphModule) -> None:
    """Let frozen convolutions compute the ReLU, if it alone reads them."""
    for node in list(extractor.graph.nodes):
        user = _only_user(node) if isinstance(_node_module(extractor, node), FrozenConv) else None
        if user and _is_relu(extractor, user):
            node.kwargs = {"relu": True}
            _replace_node(user, node)


def _merge_pointwise_convolutions(
    extractor: fx.GraphModule,
    module_cache: ModuleCache,
    source_modules: dict[fx.Node, SourceModules],
) -> None:
    """Merge frozen 1 x 1 convolutions of the same input, as in Inception blocks."""
    groups: dict[tuple[object, ...], dict[fx.Node, FrozenConv]] = {}
    for node in source_modules:
        module = _node_module(extractor, node)
        # A `FrozenStridedConv` is a subclass, whose input is unshuffled.
        if type(module) is FrozenConv and module.weight.shape[2:] == (1, 1):
            group = (*node.args, bool(node.kwargs), module.bias is None)
            groups.setdefault(group, {})[node] = module
    for nodes in groups.values():
        if len(nodes) == 1:
            continue
        key = tuple(module for node in nodes for module in source_modules[node])
        if not (merged := module_cache.get(key)):
            merged = module_cache[key] = merge_pointwise(list(nodes.values()))
        first, name = next(iter(nodes)), "-".join(str(node.target) for node in nodes)
        name = name.replace(".", "_")
        extractor.add_submodule(name, merged)
        with extractor.graph.inserting_before(first):
            call = extractor.graph.call_module(name, first.args, first.kwargs)
            for index, node in enumerate(nodes):
                output = extractor.graph.call_function(operator.getitem, (call, index))
                node.replace_all_uses_with(output)
        for node in nodes:
            extractor.graph.erase_node(node)


class RedirectedReLU(torch.autograd.Function):
    """ReLU whose gradient passes if the ordinary gradient of a sample is zero everywhere.

    A channel that the start noise does not excite would stay grey, because its gradient stops at a
    ReLU. For such a sample this passes the gradient where it does not push values out of range
    further; for others it is the ordinary one. It is Lucid's `redirected_relu_grad`, per sample.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        """Return x (N, …) clamped to [0, ceiling]."""
        ctx.save_for_backward(x)
        ctx.ceiling = ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the redirected gradient of x."""
        (x,) = ctx.saved_tensors
        ordinary: Tensor = torch.ops.aten.threshold_backward(gradient, x, 0)
        if ctx.ceiling < math.inf:
            ordinary = ordinary.masked_fill(x >= ctx.ceiling, 0)
        is_blocked = ~ordinary.any(tuple(range(1, x.dim())))
        # On a GPU, waiting for this answer would take longer than computing the unneeded gradient.
        if x.device.type == "cpu" and not is_blocked.any():
            return ordinary, None
        outward = ((x < 0) & (gradient < 0)) | ((x >= ctx.ceiling) & (gradient > 0))
        is_blocked = is_blocked.view(-1, *[1] * (x.dim() - 1))
        return torch.where(is_blocked, gradient.masked_fill(outward, 0), ordinary), None


def redirected_relu(x: Tensor, ceiling: float) -> Tensor:
    """Apply `RedirectedReLU`; torch.fx needs a function with a name."""
    output: Tensor = RedirectedReLU.apply(x, ceiling)
    return output


def _redirect_relus(extractor: fx.GraphModule) -> None:
    """Replace each ReLU and ReLU6 by a `RedirectedReLU`."""
    for node in list(extractor.graph.nodes):
        is_relu6 = isinstance(_node_module(extractor, node), nn.ReLU6) or node.target is F.relu6
        if is_relu6 or _is_relu(extractor, node):
            with extractor.graph.inserting_after(node):
                redirected = extractor.graph.call_function(
                    redirected_relu, (node.args[0], 6.0 if is_relu6 else math.inf)
                )
            _replace_node(node, redirected)
