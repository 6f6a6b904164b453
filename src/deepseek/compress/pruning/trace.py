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
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepseek.contracts import Float64
from deepseek.errors import InputError
from deepseek.extras import need

#: Layers whose weights the pruner knows how to cut. What else holds weights is refused by name.
MATRICES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
VECTORS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.PReLU, nn.Embedding)
NUM_TIMINGS = 5  # forward passes in which layers are timed; the fastest counts


@dataclass
class Layer:
    """What a layer holds and costs when whole. A side without channels that can go is not in `sides`."""

    name: str
    weights: int  # in proportion to both sides
    biases: int  # in proportion to the output
    macs: float = 0.0  # multiply-adds for one row of the example
    seconds: float = 0.0  # of one forward pass of the example
    sides: dict[str, int] = field(default_factory=dict)  # "out" and "in" -> channels
    cuts: dict[str, dict[str, float]] = field(default_factory=dict)  # side -> group -> channels here per channel there

    def shares(self, left: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[float, float]:
        """What is left of the output and of the input, 0 to 1; `left` and `sizes` are channels by group."""
        found = []
        for side in ("out", "in"):
            gone = sum(per * (sizes[name] - left[name]) for name, per in self.cuts.get(side, {}).items())
            found.append(1 - gone / self.sides[side] if gone else 1.0)
        return found[0], found[1]


@dataclass(frozen=True)
class Group:
    """Channels that go together. Named by the first layer that puts them out."""

    name: str
    size: int  # channels
    layers: tuple[str, ...]  # that have a side in it
    num_matrices: int  # sides of convolutions and linear layers in it
    importance: Float64  # (size,), mean 1: to be compared within the group


@dataclass(frozen=True)
class Cost:
    """Of a whole network; the example's rows count as one."""

    params: float
    macs: float
    seconds: float


@dataclass
class Traced:
    """A private copy of the module with its groups. `graph` is torch_pruning's, over `module`."""

    module: nn.Module
    graph: Any
    groups: dict[str, Group]
    layers: dict[str, Layer]
    whole: tuple[str, ...] = ()  # groups that cannot give channels: they reach the output or are tied to others

    @property
    def sizes(self) -> dict[str, int]:
        return {name: group.size for name, group in self.groups.items()}

    def cost(self, left: Mapping[str, int], only: tuple[str, ...] | None = None) -> Cost:
        """With `left` channels in each group; of the layers in `only`, or of all."""
        params = macs = seconds = 0.0
        sizes = self.sizes
        for name in self.layers if only is None else only:
            layer = self.layers[name]
            out, into = layer.shares(left, sizes)
            params += layer.weights * out * into + layer.biases * out
            macs += layer.macs * out * into
            seconds += layer.seconds * out * into
        return Cost(params, macs, seconds)


def trace(module: nn.Module, example: Any, keep: tuple[str, ...] = (), *, timed: bool = False) -> Traced:
    """Groups and costs of a copy of `module`. `example` is a tensor (N, ...), a tuple for module(*example) or a dict
    for module(**example). `keep`: modules whose output channels stay. `timed`: measure the layers' seconds.

    Raises InputError for a module that cannot be copied, run on the example or followed, and for a layer of unknown
    type.
    """
    _check_layers(module)
    _check_shared(module)
    _check_names(module, keep)
    copied = _copied(module).eval()
    layers = {name: _layer(name, each) for name, each in copied.named_modules() if isinstance(each, MATRICES + VECTORS)}
    ran = _measure(copied, example, layers, timed)
    with _in_words():
        graph = _graph(copied, example)
    _check_all_seen(copied, graph, layers, ran)
    traced = Traced(copied, graph, {}, layers)
    with _in_words():
        _find_groups(traced, keep)
    return traced


def forward(module: nn.Module, example: Any) -> Any:
    """The output for an example of any of the three kinds."""
    if isinstance(example, Mapping):
        return module(**example)
    return module(*example) if isinstance(example, tuple | list) else module(example)


def _check_layers(module: nn.Module) -> None:
    """Weights only in layers that the pruner knows."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            "the module cannot be traced: it is a ScriptModule", expected="a plain torch.nn.Module",
            fix="give the module that was scripted",
        )  # fmt: skip
    for name, each in module.named_modules():
        if isinstance(each, MATRICES + VECTORS) or not list(each.parameters(recurse=False)):
            continue
        raise InputError(
            f"the pruner does not know the layer type {type(each).__name__} ({name or 'the module itself'})",
            expected=f"weights in {', '.join(kind.__name__ for kind in MATRICES + VECTORS)}",
            fix="build it of such layers, or leave pruning out of the plan",
        )


def _check_shared(module: nn.Module) -> None:
    """Each weight in one layer: cut in one of two, they would no longer be the same."""
    owners: dict[nn.Parameter, str] = {}
    for name, each in module.named_modules():
        for key, p in each.named_parameters(recurse=False):
            if p in owners:
                raise InputError(
                    f"{owners[p]!r} and {f'{name}.{key}'!r} are one and the same weight",
                    expected="a weight of its own for each layer", fix="give one of them a copy",
                )  # fmt: skip
            owners[p] = f"{name}.{key}"


def _check_all_seen(module: nn.Module, graph: Any, layers: Mapping[str, Layer], ran: list[str]) -> None:
    """Each layer runs, and gradients come back to it: else it would be left with channels that no longer fit."""
    idle = next((name for name in layers if name not in ran), None)
    if idle is not None:
        raise InputError(
            f"the layer {idle!r} does not run on the example", expected="an example that runs all layers in eval mode",
            fix="remove it, such as a head that only training uses, or give such an example",
        )  # fmt: skip
    unseen = next((name for name in ran if module.get_submodule(name) not in graph.module2node), None)
    if unseen is not None:
        raise InputError(
            f"the module cannot be traced: the way from {unseen!r} to the output is cut",
            expected="a forward pass through which gradients flow",
            fix="leave detach(), no_grad(), numpy and argmax out of forward",
        )


def _check_names(module: nn.Module, keep: tuple[str, ...]) -> None:
    names = dict(module.named_modules())
    missing = next((name for name in keep if name not in names), None)
    if missing is not None:
        raise InputError(
            f"prune.keep names {missing!r}, which is no module of this network",
            expected=f"names such as {', '.join(list(names)[1:4])}", fix="take one of module.named_modules()",
        )  # fmt: skip


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module).requires_grad_()
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"the module cannot be copied: {error}", expected="a module for copy.deepcopy",
            fix="leave out of it what cannot be copied, such as open files and tensors with a gradient history",
        ) from error  # fmt: skip


def _layer(name: str, module: nn.Module) -> Layer:
    biases = sum(p.numel() for p in module.parameters(recurse=False))
    if not isinstance(module, MATRICES):
        return Layer(name, 0, biases)
    weights = module.weight.numel()
    return Layer(name, weights, biases - weights)


def _measure(module: nn.Module, example: Any, layers: dict[str, Layer], timed: bool) -> list[str]:
    """Fill in operations and seconds of the layers; the names of those that run, in their order."""
    ran: list[str] = []
    with _watching(module, layers, lambda name, each, inputs, output: _count(ran, layers, name, each, inputs, output)):
        try:
            with torch.no_grad():
                forward(module, example)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"the module fails on the example of {_shape(example)}: {error}",
                expected="an example that the module can be called with, its rows in front",
                fix="give a tensor, a tuple of tensors or a dict of them in the shape that forward wants",
            ) from error
    if timed:
        _time(module, example, layers)
    return list(dict.fromkeys(ran))


def _count(ran: list[str], layers: dict[str, Layer], name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    ran.append(name)
    if not isinstance(module, MATRICES) or not isinstance(output, Tensor):
        return
    if isinstance(module, nn.Linear):
        places = output.numel() / module.out_features
    elif module.transposed:
        places = inputs[0].numel() / module.in_channels
    else:
        places = output.numel() / module.out_channels
    layers[name].macs += layers[name].weights * places / max(1, len(output))


def _time(module: nn.Module, example: Any, layers: dict[str, Layer]) -> None:
    """The fastest of a few passes, for what else runs on the machine only adds."""
    fastest: dict[str, float] = {}
    for _ in range(NUM_TIMINGS + 1):
        began: dict[str, float] = {}
        took: dict[str, float] = {}

        def start(name: str, *_: Any) -> None:
            began[name] = time.perf_counter()  # noqa: B023 - called within this pass

        def stop(name: str, *_: Any) -> None:
            took[name] = took.get(name, 0.0) + time.perf_counter() - began[name]  # noqa: B023

        with _watching(module, layers, stop, start), torch.no_grad():
            forward(module, example)
        for name, seconds in took.items():
            fastest[name] = min(seconds, fastest.get(name, seconds))
    for name, seconds in fastest.items():
        if layers[name].macs:  # engines fold the others into what stands before them
            layers[name].seconds = seconds


@contextmanager
def _watching(
    module: nn.Module, names: Mapping[str, Any], after: Callable[..., None], before: Callable[..., None] | None = None
) -> Iterator[None]:
    """Call after(name, module, inputs, output) and before(name, ...) around each of the named modules."""
    handles = []
    for name in names:
        each = module.get_submodule(name)
        if before is not None:
            handles.append(each.register_forward_pre_hook(lambda m, i, name=name: before(name, m, i)))
        handles.append(each.register_forward_hook(lambda m, i, o, name=name: after(name, m, i, o)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _shape(example: Any) -> str:
    if isinstance(example, Tensor):
        return f"shape {tuple(example.shape)}"
    if isinstance(example, Mapping):
        return "shapes " + ", ".join(f"{key}={_shape(value)[6:]}" for key, value in example.items())
    if isinstance(example, tuple | list):
        return "shapes " + ", ".join(_shape(each)[6:] for each in example)
    return f"type  {type(example).__name__}"


def _graph(module: nn.Module, example: Any) -> Any:
    pruning = need("torch_pruning", extra="compress")
    given = dict(example) if isinstance(example, Mapping) else example
    with torch.enable_grad():
        return pruning.DependencyGraph().build_dependency(module, given, verbose=False)


@contextmanager
def _in_words() -> Iterator[None]:
    """What torch_pruning stumbles over, as an error of ours."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError) as error:
        raise InputError(
            f"the module cannot be traced: {type(error).__name__}: {error}",
            expected="a forward pass of torch's operations through which gradients flow, that puts out tensors",
            fix="leave detach(), no_grad(), numpy and control flow by values out of forward",
        ) from error


def _find_groups(traced: Traced, keep: tuple[str, ...]) -> None:
    """Fill in the groups, and each layer's sides and cuts."""
    pruning = need("torch_pruning", extra="compress")
    names = {each: name for name, each in traced.module.named_modules()}
    score = pruning.importance.GroupMagnitudeImportance(p=1, group_reduction="mean", normalizer="mean")
    kept = {each for name in keep for each in traced.module.get_submodule(name).modules()}
    whole = []
    for found in traced.graph.get_all_groups(root_module_types=MATRICES):
        root = names[found[0].dep.target.module]
        if _is_whole(traced.graph, found, kept):
            whole.append(root)
            continue
        values = score(found)
        importance = np.asarray(values, np.float64) if values is not None else np.ones(len(found[0].idxs))
        sides = _add_cuts(traced, found, names, root, len(importance))
        layers = tuple(dict.fromkeys(sides))
        num_matrices = sum(isinstance(traced.module.get_submodule(name), MATRICES) for name in sides)
        traced.groups[root] = Group(root, len(importance), layers, num_matrices, importance)
    traced.whole = tuple(whole)


def _is_whole(graph: Any, group: Any, kept: set[nn.Module]) -> bool:
    """Whether the channels are the network's output, are kept, or are tied to their place by a grouped layer."""
    for dep, _ in group:
        module, puts_out = dep.target.module, graph.is_out_channel_pruning_fn(dep.handler)
        if puts_out and (module in kept or not dep.target.outputs):
            return True
        if isinstance(module, nn.GroupNorm) or 1 < getattr(module, "groups", 1) < getattr(module, "out_channels", 1):
            return True
    return False


def _add_cuts(traced: Traced, group: Any, names: Mapping[nn.Module, str], root: str, size: int) -> list[str]:
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
