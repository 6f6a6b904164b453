"""Folding of BatchNorm into the preceding convolution or linear layer, before the weights are quantized.

    fold_batchnorm(net)    # ["features.1", ...]: these are Identity now, and the network computes what it did

W' = W g / sqrt(v + eps), b' = (b - m) g / sqrt(v + eps) + beta, by the running mean m and variance v (Jacob et al.
2018, https://arxiv.org/abs/1712.05877, section 3.2). Rounding W and folding later would round another weight than the
one that is served.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch import fx, nn
from torch.nn.utils import fusion

from deepseek.errors import InputError

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def has_batchnorm(module: nn.Module) -> bool:
    return any(isinstance(layer, _NORMS) for layer in module.modules())


def fold_batchnorm(module: nn.Module) -> list[str]:
    """Fold, in place, each BatchNorm whose only input is the output of one Conv or Linear layer; the BatchNorms' names.
    The module then computes as in eval mode: batch statistics are no longer used.

    InputError for a module whose calls torch.fx cannot trace.

    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    >>> fold_batchnorm(net), net[1]
    (['1'], Identity())
    """
    try:
        graph = fx.Tracer().trace(module)
    except (fx.proxy.TraceError, TypeError, RuntimeError, ValueError, AttributeError, NameError) as error:
        raise InputError(
            f"the calls of {type(module).__name__} cannot be traced: {str(error)[:200]}",
            expected="a forward() whose way does not depend on the values that it computes",
            fix="fold its BatchNorm layers by hand, or give the part that can be traced",
        ) from error
    layers = dict(module.named_modules(remove_duplicate=False))
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    folded = []
    for node in graph.nodes:
        before = _foldable_layer(node, layers, calls)
        if before is None:
            continue
        norm, layer = layers[str(node.target)], layers[before]
        fuse: Any = fusion.fuse_conv_bn_weights if isinstance(layer, _CONVS) else fusion.fuse_linear_bn_weights
        layer.weight, layer.bias = fuse(
            layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        parent, _, last = str(node.target).rpartition(".")
        setattr(module.get_submodule(parent), last, nn.Identity())
        folded.append(str(node.target))
    return folded


def _foldable_layer(node: fx.Node, layers: dict[str, nn.Module], calls: Counter[str]) -> str | None:
    """Name of the layer that the BatchNorm call `node` can be folded into, or None."""
    if node.op != "call_module" or not isinstance(layers[str(node.target)], _NORMS):
        return None
    norm, source = layers[str(node.target)], node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
        return None
    name = str(source.target)
    if not isinstance(layers[name], (*_CONVS, nn.Linear)) or norm.running_mean is None:
        return None
    return name if calls[name] == calls[str(node.target)] == 1 else None
