"""Pruning of a module: module, example, Pruning -> a smaller copy and a report by group of channels.

The channels with the smallest importance are removed (trace.py), as many from each group as allocate.py decides. The
original module is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.compress.pruning.allocate import allocate_channels
from deepseek.compress.pruning.config import Pruning
from deepseek.compress.pruning.layers import call_module
from deepseek.compress.pruning.trace import TracedModule, trace_module
from deepseek.errors import InputError


@dataclass(frozen=True, slots=True)
class GroupReport:
    """Sizes of one group of channels that are removed together, before and after."""

    name: str  # first layer with these output channels
    layers: tuple[str, ...]  # that have these channels as outputs or inputs
    channels_before: int
    channels_after: int
    params_before: int  # of these layers; a layer that two groups cut counts in both
    params_after: int
    macs_before: int  # multiply-adds of these layers for one row of the example
    macs_after: int


@dataclass(frozen=True, slots=True)
class PruningReport:
    """What was removed. `macs`: multiply-adds of convolutions and linear layers for one row of the example."""

    groups: tuple[GroupReport, ...]
    uncut_groups: tuple[str, ...]  # groups that cannot be cut: network outputs, kept or grouped layers
    params_before: int
    params_after: int
    macs_before: int
    macs_after: int

    @property
    def channels_left(self) -> dict[str, int]:
        """Remaining channels by group, as prune_to() takes them."""
        return {group.name: group.channels_after for group in self.groups}

    @property
    def dropped(self) -> float:
        """Share of the parameters that was removed, 0 to 1."""
        return 1 - self.params_after / self.params_before

    def __str__(self) -> str:
        lines = [f"{'group':<32}{'channels':>14}{'params':>24}{'MMACs':>20}"]
        lines += [
            _table_line(group.name, f"{group.channels_before} -> {group.channels_after}", group)
            for group in self.groups
        ]
        return "\n".join([*lines, _table_line("all", "", self)])


def _table_line(name: str, channels: str, counts: GroupReport | PruningReport) -> str:
    params = f"{counts.params_before} -> {counts.params_after}"
    macs = f"{counts.macs_before / 1e6:.1f} -> {counts.macs_after / 1e6:.1f}"
    return f"{name:<32}{channels:>14}{params:>24}{macs:>20}"


@dataclass(frozen=True, slots=True)
class PruningResult:
    """The pruned module, in eval mode, and its report."""

    module: nn.Module
    report: PruningReport


def prune(
    module: nn.Module, example: Any, config: Pruning | None = None, *, sizes: Mapping[str, int] | None = None
) -> PruningResult:
    """A copy of `module` without its least important channels.

    example: a tensor (N, ...), a tuple for module(*example) or a dict for module(**example), in the shape and of the
        size of real use: the allocation depends on the time that layers take with it.
    sizes: {group: channels} that config.cap is a share of, where the module was pruned before.

    Raises InputError for a module that cannot be traced, a layer of a type that is not known, an example that does not
    fit, nothing to prune, or a `drop` that `cap` does not allow.

    >>> net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ...     nn.Linear(64, 10))
    >>> pruned = prune(net, torch.zeros(1, 3, 16, 16), Pruning(drop=0.5, allocation="flops"))
    >>> pruned.report.dropped >= 0.5, pruned.module(torch.zeros(2, 3, 16, 16)).shape
    (True, torch.Size([2, 10]))
    """
    config = config or Pruning()
    traced = trace_module(module, example, config.keep, timed=config.allocation == "latency")
    return _prune_traced(module, example, traced, allocate_channels(traced, config, sizes))


def prune_to(module: nn.Module, example: Any, channels_left: Mapping[str, int]) -> PruningResult:
    """Prune to given numbers of channels {group: channels that stay}, as in a report; other groups stay whole. This
    repeats a pruning exactly, whose allocation depended on measured time. InputError for an unknown group."""
    traced = trace_module(module, example)
    for name, channels in channels_left.items():
        size = traced.sizes.get(name, 0)
        if not 1 <= channels <= size:
            raise InputError(
                f"{channels} channels are to stay of the group {name!r}, which has {size or 'none'}",
                expected=f"groups among {', '.join(traced.groups)}, and a part of their channels",
                fix="give the numbers of a report about this network",
            )
    return _prune_traced(module, example, traced, {**traced.sizes, **channels_left})


def _prune_traced(
    module: nn.Module, example: Any, traced: TracedModule, channels_left: Mapping[str, int]
) -> PruningResult:
    report = _build_report(traced, channels_left)
    with torch.no_grad():
        shapes = _output_shapes(call_module(traced.module, example))
    _cut_channels(traced, channels_left)
    _check_output(traced.module, example, shapes)
    traced.module.zero_grad(set_to_none=True)
    flags = {name: p.requires_grad for name, p in module.named_parameters()}
    for name, p in traced.module.named_parameters():
        p.requires_grad_(flags[name])
    return PruningResult(traced.module, report)


def _cut_channels(traced: TracedModule, channels_left: Mapping[str, int]) -> None:
    for name, group in traced.groups.items():
        order = np.argsort(group.importance, kind="stable")
        indices = sorted(order[: group.size - channels_left[name]].tolist())
        if not indices:
            continue
        root = traced.module.get_submodule(name)
        prune_out = traced.graph.get_pruner_of_module(root).prune_out_channels
        traced.graph.get_pruning_group(root, prune_out, indices).prune()


def _check_output(module: nn.Module, example: Any, shapes: list[tuple[int, ...]]) -> None:
    """InputError unless the pruned network runs and its outputs have the original shapes."""
    fix = "name in prune.keep the module whose channels forward() relies on"
    try:
        with torch.no_grad():
            pruned_shapes = _output_shapes(call_module(module, example))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"the pruned network does not run: {error}", expected="a forward pass without fixed numbers of channels",
            fix=fix,
        ) from error  # fmt: skip
    if pruned_shapes != shapes:
        raise InputError(
            f"the pruned network puts out {pruned_shapes} instead of {shapes}", expected="outputs of the same shape",
            fix=fix,
        )  # fmt: skip


def _output_shapes(output: Any) -> list[tuple[int, ...]]:
    if isinstance(output, Tensor):
        return [tuple(output.shape)]
    values = list(output.values()) if isinstance(output, Mapping) else output
    return [shape for item in values for shape in _output_shapes(item)] if isinstance(values, tuple | list) else []


def _build_report(traced: TracedModule, channels_left: Mapping[str, int]) -> PruningReport:
    def counts(layers: tuple[str, ...] | None) -> tuple[int, int, int, int]:
        before, after = traced.cost(traced.sizes, layers), traced.cost(channels_left, layers)
        return round(before.params), round(after.params), round(before.macs), round(after.macs)

    groups = tuple(
        GroupReport(name, group.layers, group.size, channels_left[name], *counts(group.layers))
        for name, group in traced.groups.items()
    )
    return PruningReport(groups, traced.uncut_groups, *counts(None))
