"""Rewrites a network that was laid open: the same layers and gradients, in fewer steps, frozen."""

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

# A convolution, and the batch norm behind it; of several that are one, those of each.
SourceModules = tuple[nn.Module | None, ...]
# What was made of them. It goes with the last extractor that uses it.
ModuleCache = WeakValueDictionary[SourceModules, nn.Module]

_RELU_TARGETS = (torch.relu, torch.relu_, F.relu, "relu", "relu_")


def optimise_graph(extractor: fx.GraphModule, parts: ModuleCache, redirected: bool) -> None:
    """Freeze it, and have its ReLUs `redirected` or be part of the convolutions before them.

    What is in `parts` is used again.
    """
    _disable_inplace(extractor)
    made_of = _freeze_convolutions(extractor, parts)
    if redirected:
        _redirect_relus(extractor)
    else:
        _fuse_relus(extractor)
    _merge_pointwise_convolutions(extractor, parts, made_of)
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
    """Keep functions from working in place: they would change what is read of the layer before."""
    for node in extractor.graph.nodes:
        if node.kwargs.get("inplace"):
            node.kwargs = {**node.kwargs, "inplace": False}


def _freeze_convolutions(
    extractor: fx.GraphModule, parts: ModuleCache
) -> dict[fx.Node, SourceModules]:
    """Put a frozen convolution in the place of each, and of the batch norm behind it.

    Frozen, the two are one convolution, if nothing else reads what is between them. It is worked
    out in float32; the network keeps its own.
    """
    made_of: dict[fx.Node, SourceModules] = {}
    for node in list(extractor.graph.nodes):
        convolution = _node_module(extractor, node)
        if not isinstance(convolution, nn.Conv2d):
            continue
        after = _only_user(node)
        norm = _node_module(extractor, after) if after else None
        if after and isinstance(norm, nn.BatchNorm2d):
            _replace_node(after, node)
        else:
            norm = None
        made_of[node] = key = (convolution, norm)
        if not (made := parts.get(key)):
            made = parts[key] = freeze_convolution(
                _fold_batch_norm(convolution, norm) if norm else convolution
            )
        extractor.add_submodule(node.target, made)
    return made_of


def _fold_batch_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    folded = fuse_conv_bn_eval(copy.deepcopy(convolution).float(), copy.deepcopy(norm).float()).to(
        convolution.weight.dtype
    )
    return folded.requires_grad_(False).to(memory_format=torch.channels_last)


def _replace_node(node: fx.Node, other: fx.Node) -> None:
    """Have what read that node read the other."""
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)


def _fuse_relus(extractor: fx.GraphModule) -> None:
    """Have frozen convolutions end in the ReLU that alone reads them."""
    for node in list(extractor.graph.nodes):
        after = _only_user(node) if isinstance(_node_module(extractor, node), FrozenConv) else None
        if after and _is_relu(extractor, after):
            node.kwargs = {"relu": True}
            _replace_node(after, node)


def _merge_pointwise_convolutions(
    extractor: fx.GraphModule, parts: ModuleCache, made_of: dict[fx.Node, SourceModules]
) -> None:
    """Make one of the frozen convolutions of 1 x 1 that read the same, as in Inception's blocks."""
    alike: dict[tuple[object, ...], dict[fx.Node, FrozenConv]] = {}
    for node in made_of:
        each = _node_module(extractor, node)
        # The first of a network is another type, and reads squares of pixels.
        if type(each) is FrozenConv and each.weight.shape[2:] == (1, 1):
            alike.setdefault((*node.args, bool(node.kwargs), each.bias is None), {})[node] = each
    for nodes in alike.values():
        if len(nodes) == 1:
            continue
        key = tuple(part for node in nodes for part in made_of[node])
        if not (made := parts.get(key)):
            made = parts[key] = merge_pointwise(list(nodes.values()))
        first, name = next(iter(nodes)), "-".join(str(node.target) for node in nodes)
        name = name.replace(".", "_")
        extractor.add_submodule(name, made)
        with extractor.graph.inserting_before(first):
            one = extractor.graph.call_module(name, first.args, first.kwargs)
            for place, node in enumerate(nodes):
                part = extractor.graph.call_function(operator.getitem, (one, place))
                node.replace_all_uses_with(part)
        for node in nodes:
            extractor.graph.erase_node(node)


class RedirectedReLU(torch.autograd.Function):
    """A ReLU through which a gradient finds its way even where it is shut all over.

    A channel that nothing in the start noise excites would stay grey for ever: its gradient stops
    at a ReLU. Where the ordinary gradient of a sample is zero all over, this lets through whatever
    does not push values that are out of range further out; elsewhere it is the ordinary one. As
    Lucid's `redirected_relu_grad`, but sample by sample.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ceiling = ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        plain: Tensor = torch.ops.aten.threshold_backward(gradient, x, 0)
        if ctx.ceiling < math.inf:
            plain = plain.masked_fill(x >= ctx.ceiling, 0)
        shut = ~plain.any(tuple(range(1, x.dim())))
        # A GPU would stop to answer, for longer than it takes to work out what nobody needs.
        if x.device.type == "cpu" and not shut.any():
            return plain, None
        outward = ((x < 0) & (gradient < 0)) | ((x >= ctx.ceiling) & (gradient > 0))
        each = shut.view(-1, *[1] * (x.dim() - 1))
        return torch.where(each, gradient.masked_fill(outward, 0), plain), None


def redirected_relu(x: Tensor, ceiling: float) -> Tensor:
    """`RedirectedReLU` as a function, which torch.fx can name."""
    made: Tensor = RedirectedReLU.apply(x, ceiling)
    return made


def _redirect_relus(extractor: fx.GraphModule) -> None:
    """Put a `RedirectedReLU` in the place of each ReLU and ReLU6."""
    for node in list(extractor.graph.nodes):
        six = isinstance(_node_module(extractor, node), nn.ReLU6) or node.target is F.relu6
        if six or _is_relu(extractor, node):
            with extractor.graph.inserting_after(node):
                redirected = extractor.graph.call_function(
                    redirected_relu, (node.args[0], 6.0 if six else math.inf)
                )
            _replace_node(node, redirected)
