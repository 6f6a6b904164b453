"""A module and an example -> which channels must go together, and what each layer costs.

    net = trace(module, example)         # net.groups, net.layers
    net.cost({"conv1": 16})              # parameters and operations with 16 of the channels of group conv1 left

Channels that are added to each other, normalised, concatenated or read by the next layer belong together: that is read
off the autograd graph of one forward pass by torch_pruning's dependency graph (Fang et al. 2023, DepGraph, section 3).
A layer has two sides, what it puts out and what it reads; its weights and operations are in proportion to the
product of the channels left on both.

Importance of a channel: the L1 norm of all weights that go with it (Li et al. 2017, section 3.1), the mean over the
layers of its group.
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
    """Channels that go together. Named by the first layer that puts them out."""

    name: str
    size: int  # channels
    layers: tuple[str, ...]  # that have a side in it
    num_matrices: int  # sides of convolutions and linear layers in it
    importance: Float64  # (size,), mean 1: to be compared within the group


@dataclass(frozen=True)
class NetworkCost:
    """Of a whole network; the example's rows count as one."""

    params: float
    macs: float
    seconds: float


@dataclass
class TracedModule:
    """A private copy of the module with its groups. `graph` is torch_pruning's, over `module`."""

    module: nn.Module
    graph: Any
    groups: dict[str, ChannelGroup]
    layers: dict[str, Layer]
    whole: tuple[str, ...] = ()  # groups that cannot give channels: they reach the output or are tied to others

    @property
    def sizes(self) -> dict[str, int]:
        return {name: group.size for name, group in self.groups.items()}

    def cost(self, left: Mapping[str, int], only: tuple[str, ...] | None = None) -> NetworkCost:
        """With `left` channels in each group; of the layers in `only`, or of all."""
        params = macs = seconds = 0.0
        sizes = self.sizes
        for name in self.layers if only is None else only:
            layer = self.layers[name]
            out, into = layer.shares(left, sizes)
            params += layer.weights * out * into + layer.biases * out
            macs += layer.macs * out * into
            seconds += layer.seconds * out * into
        return NetworkCost(params, macs, seconds)


def trace_module(module: nn.Module, example: Any, keep: tuple[str, ...] = (), *, timed: bool = False) -> TracedModule:
    """Groups and costs of a copy of `module`. `example` is a tensor (N, ...), a tuple for module(*example) or a dict
    for module(**example). `keep`: modules whose output channels stay. `timed`: measure the layers' seconds.

    Raises InputError for a module that cannot be copied, run on the example or followed, and for a layer of unknown
    type.
    """
    check_module(module, keep)
    copied = _copy_module(module).eval()
    layers = layers_of(copied)
    ran = measure_layers(copied, example, layers, timed)
    with _translate_errors():
        graph = _dependency_graph(copied, example)
    check_layers_traced(copied, graph, layers, ran)
    traced = TracedModule(copied, graph, {}, layers)
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
    given = dict(example) if isinstance(example, Mapping) else example
    with torch.enable_grad():
        return pruning.DependencyGraph().build_dependency(module, given, verbose=False)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """What torch_pruning stumbles over, as an error of ours."""
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
    names = {each: name for name, each in traced.module.named_modules()}
    score = pruning.importance.GroupMagnitudeImportance(p=1, group_reduction="mean", normalizer="mean")
    kept = {each for name in keep for each in traced.module.get_submodule(name).modules()}
    whole = []
    for found in traced.graph.get_all_groups(root_module_types=MATRIX_LAYERS):
        root = names[found[0].dep.target.module]
        if _is_uncuttable(traced.graph, found, kept):
            whole.append(root)
            continue
        values = score(found)
        importance = np.ones(len(found[0].idxs)) if values is None else values.double().cpu().numpy()
        sides = _add_cuts(traced, found, names, root, len(importance))
        layers = tuple(dict.fromkeys(sides))
        num_matrices = sum(isinstance(traced.module.get_submodule(name), MATRIX_LAYERS) for name in sides)
        traced.groups[root] = ChannelGroup(root, len(importance), layers, num_matrices, importance)
    traced.whole = tuple(whole)


def _is_uncuttable(graph: Any, group: Any, kept: set[nn.Module]) -> bool:
    """Whether the channels are the network's output, are kept, or are tied to their place by a grouped layer."""
    for dep, _ in group:
        module, puts_out = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
        if puts_out and (module in kept or not dep.target.outputs):
            return True
        if isinstance(module, nn.GroupNorm) or 1 < getattr(module, "groups", 1) < getattr(module, "out_channels", 1):
            return True
    return False


def _add_cuts(traced: TracedModule, group: Any, names: Mapping[nn.Module, str], root: str, size: int) -> list[str]:
    """Write the group into its layers; their names, once for each side."""
    sides = []
    for dep, idxs in group:
        module = dep.target.module
        name = names.get(module) if isinstance(module, nn.Module) else None
        if name not in traced.layers:
            continue  # an operation without weights
        layer = traced.layers[name]
        side = "out" if traced.graph.is_out_channel_pruning_fn(dep.handler) else "in"
        count = traced.graph.get_out_channels(module) if side == "out" else traced.graph.get_in_channels(module)
        layer.sides[side] = count
        layer.cuts.setdefault(side, {})[root] = len(idxs) / size
        sides.append(name)
    return sides
