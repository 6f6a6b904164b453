"""Channel dependencies of a module: which channels must be removed together, and what each layer costs.

    net = trace(module, example)         # net.groups, net.layers
    net.cost({"conv1": 16})              # parameters and operations with 16 of the channels of group conv1 left

Channels that are added, normalized, concatenated or read by the next layer belong together: torch_pruning's dependency
graph derives that from the autograd graph of one forward pass (Fang et al. 2023, DepGraph, section 3). A layer has two
sides, its output and its input channels; its weights and operations are in proportion to the product of the channels
left on both.

Importance of a channel: the L1 norm of all weights that are removed with it (Li et al. 2017, section 3.1), the mean
over the layers of its group.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from deepseek.compress.pruning.checks import check_layers_traced, check_module
from deepseek.compress.pruning.layers import MATRIX_LAYERS, Layer, layers_of, measure_layers
from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.extras import need


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are removed together, named by the first layer that outputs them."""

    name: str
    size: int  # channels
    layers: tuple[str, ...]  # that have a side in the group
    num_matrices: int  # sides of convolutions and linear layers in the group
    importance: Float64  # (size,), mean 1: to be compared within the group


@dataclass(frozen=True)
class NetworkCost:
    """Parameters, multiply-adds for one row of the example, and seconds of a network or of some of its layers."""

    params: float
    macs: float
    seconds: float


@dataclass
class TracedModule:
    """A private copy of a module with its channel groups. `graph` is torch_pruning's, over `module`."""

    module: nn.Module
    graph: Any
    groups: dict[str, ChannelGroup]
    layers: dict[str, Layer]
    uncut_groups: tuple[str, ...] = ()  # groups that cannot be cut: network outputs, kept or grouped layers

    @property
    def sizes(self) -> dict[str, int]:
        return {name: group.size for name, group in self.groups.items()}

    def cost(self, channels_left: Mapping[str, int], only: tuple[str, ...] | None = None) -> NetworkCost:
        """Cost with `channels_left` channels in each group, of the layers in `only` or of all."""
        params = macs = seconds = 0.0
        sizes = self.sizes
        for name in self.layers if only is None else only:
            layer = self.layers[name]
            out_share, in_share = layer.shares(channels_left, sizes)
            params += layer.weights * out_share * in_share + layer.biases * out_share
            macs += layer.macs * out_share * in_share
            seconds += layer.seconds * out_share * in_share
        return NetworkCost(params, macs, seconds)


def trace_module(module: nn.Module, example: Any, keep: tuple[str, ...] = (), *, timed: bool = False) -> TracedModule:
    """Channel groups and costs of a copy of `module`. `example`: a tensor (N, ...), a tuple for module(*example) or a
    dict for module(**example). `keep`: modules whose output channels stay. `timed`: measure the layers' seconds.

    Raises InputError for a module that cannot be copied, run on the example or followed, and for a layer of unknown
    type.
    """
    check_module(module, keep)
    private_copy = _copy_module(module).eval()
    layers = layers_of(private_copy)
    called = measure_layers(private_copy, example, layers, timed)
    with _translate_errors():
        graph = _dependency_graph(private_copy, example)
    check_layers_traced(private_copy, graph, layers, called)
    traced = TracedModule(private_copy, graph, {}, layers)
    with _translate_errors():
        _find_groups(traced, keep)
    return traced


def _copy_module(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module).requires_grad_()
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"the module cannot be copied: {error}", expected="a module for copy.deepcopy",
            fix="leave out of it what cannot be copied, such as open files and tensors with a gradient history",
        ) from error  # fmt: skip


def _dependency_graph(module: nn.Module, example: Any) -> Any:
    pruning = need("torch_pruning", extra="compress")
    inputs = dict(example) if isinstance(example, Mapping) else example
    with torch.enable_grad():
        return pruning.DependencyGraph().build_dependency(module, inputs, verbose=False)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turn errors of torch_pruning within the block into InputError."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError) as error:
        raise InputError(
            f"the module cannot be traced: {type(error).__name__}: {error}",
            expected="a forward pass of torch's operations through which gradients flow, that puts out tensors",
            fix="leave detach(), no_grad(), numpy and control flow by values out of forward",
        ) from error


def _find_groups(traced: TracedModule, keep: tuple[str, ...]) -> None:
    """Fill in the groups, and each layer's sides and cuts."""
    pruning = need("torch_pruning", extra="compress")
    names = {layer: name for name, layer in traced.module.named_modules()}
    score = pruning.importance.GroupMagnitudeImportance(p=1, group_reduction="mean", normalizer="mean")
    kept_modules = {layer for name in keep for layer in traced.module.get_submodule(name).modules()}
    uncut_groups = []
    for torch_group in traced.graph.get_all_groups(root_module_types=MATRIX_LAYERS):
        root = names[torch_group[0].dep.target.module]
        if _is_uncuttable(traced.graph, torch_group, kept_modules):
            uncut_groups.append(root)
            continue
        scores = score(torch_group)
        importance = np.ones(len(torch_group[0].idxs)) if scores is None else scores.double().cpu().numpy()
        sides = _add_cuts(traced, torch_group, names, root, len(importance))
        layers = tuple(dict.fromkeys(sides))
        num_matrices = sum(isinstance(traced.module.get_submodule(name), MATRIX_LAYERS) for name in sides)
        traced.groups[root] = ChannelGroup(root, len(importance), layers, num_matrices, importance)
    traced.uncut_groups = tuple(uncut_groups)


def _is_uncuttable(graph: Any, group: Any, kept_modules: set[nn.Module]) -> bool:
    """Whether a group cannot be cut: its channels are the network's output, are kept, or belong to a grouped layer."""
    for dep, _ in group:
        module, puts_out = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
        if puts_out and (module in kept_modules or not dep.target.outputs):
            return True
        if isinstance(module, nn.GroupNorm) or 1 < getattr(module, "groups", 1) < getattr(module, "out_channels", 1):
            return True
    return False


def _add_cuts(traced: TracedModule, group: Any, names: Mapping[nn.Module, str], root: str, size: int) -> list[str]:
    """Record the group `root` in its layers' `sides` and `cuts`; the layers' names, once for each side."""
    sides = []
    for dep, indices in group:
        module = dep.target.module
        name = names.get(module) if isinstance(module, nn.Module) else None
        if name not in traced.layers:
            continue  # an operation without weights
        layer = traced.layers[name]
        side = "out" if traced.graph.is_out_channel_pruning_fn(dep.handler) else "in"
        count = traced.graph.get_out_channels(module) if side == "out" else traced.graph.get_in_channels(module)
        layer.sides[side] = count
        layer.cuts.setdefault(side, {})[root] = len(indices) / size
        sides.append(name)
    return sides
