"""Folding batch normalisation into the convolution or linear layer before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

_FUSE: dict[tuple[type, type], Callable[..., nn.Module]] = {
    (nn.Conv2d, nn.BatchNorm2d): fuse_conv_bn_eval,
    (nn.Linear, nn.BatchNorm1d): fuse_linear_bn_eval,
}


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """The network with each batch norm after a convolution or linear layer folded into that layer.

    A network that `torch.fx` cannot trace (TorchScript, branches on values) is returned as it is.
    The given network is not changed; layers that are not folded are shared with it.

    Args:
        network: in evaluation mode.
    """
    if isinstance(network, torch.jit.ScriptModule):
        return network
    try:
        traced = fx.symbolic_trace(network)
    except (fx.proxy.TraceError, TypeError, RuntimeError):
        return network
    modules = dict(traced.named_modules())
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(before, fx.Node):
            continue
        if before.op != "call_module" or len(before.users) > 1 or calls[before.target] > 1:
            continue
        layer, norm = modules[str(before.target)], modules[str(node.target)]
        fuse = _FUSE.get((type(layer), type(norm)))
        # PyTorch folds only batch norms with weights and running statistics.
        if fuse is None or norm.weight is None or norm.running_mean is None:
            continue
        parent, _, name = str(before.target).rpartition(".")
        setattr(traced.get_submodule(parent), name, fuse(layer, norm))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
