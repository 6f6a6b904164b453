"""Costs of a module's layers: parameters, multiply-adds and time on an example.

layers = layers_of(module)
ran = measure(module, example, layers, timed=True)       # fills in layers[name].macs and .seconds
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError

#: Layers whose weights the pruner can cut; other layers with weights are refused by name.
MATRIX_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
VECTOR_LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.PReLU, nn.Embedding)
NUM_TIMINGS = 5  # forward passes in which layers are timed; the fastest counts


@dataclass
class Layer:
    """Size and cost of an unpruned layer. `sides` lacks a side none of whose channels can be removed."""

    name: str
    weights: int  # parameters in proportion to output and input channels
    biases: int  # parameters in proportion to output channels
    macs: float = 0.0  # multiply-adds for one row of the example
    seconds: float = 0.0  # of one forward pass of the example
    sides: dict[str, int] = field(default_factory=dict)  # "out" and "in" -> channels
    cuts: dict[str, dict[str, float]] = field(default_factory=dict)  # side -> group -> channels here per channel there

    def shares(self, channels_left: Mapping[str, int], sizes: Mapping[str, int]) -> tuple[float, float]:
        """Remaining shares (of output channels, of input channels), 0 to 1; `channels_left` and `sizes` are by
        group."""
        shares = []
        for side in ("out", "in"):
            num_cut = sum(per * (sizes[name] - channels_left[name]) for name, per in self.cuts.get(side, {}).items())
            shares.append(1 - num_cut / self.sides[side] if num_cut else 1.0)
        return shares[0], shares[1]


def call_module(module: nn.Module, example: Any) -> Any:
    """The module's output for an example: a tensor, a sequence of arguments or a mapping of keyword arguments."""
    if isinstance(example, Mapping):
        return module(**example)
    return module(*example) if isinstance(example, tuple | list) else module(example)


def layers_of(module: nn.Module) -> dict[str, Layer]:
    """A Layer for each layer that the pruner knows, by name, in the module's order."""
    return {
        name: _layer_entry(name, layer)
        for name, layer in module.named_modules()
        if isinstance(layer, MATRIX_LAYERS + VECTOR_LAYERS)
    }


def _layer_entry(name: str, module: nn.Module) -> Layer:
    biases = sum(p.numel() for p in module.parameters(recurse=False))
    if not isinstance(module, MATRIX_LAYERS):
        return Layer(name, 0, biases)
    weights = module.weight.numel()
    return Layer(name, weights, biases - weights)


def measure_layers(module: nn.Module, example: Any, layers: dict[str, Layer], timed: bool) -> list[str]:
    """Fill in the layers' multiply-adds and, if `timed`, seconds; the names of the layers that run, in their order."""
    called: list[str] = []
    with _layer_hooks(
        module, layers, lambda name, layer, inputs, output: _count_macs(called, layers, name, layer, inputs, output)
    ):
        try:
            with torch.no_grad():
                call_module(module, example)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"the module fails on the example of {_describe_shape(example)}: {error}",
                expected="an example that the module can be called with, its rows in front",
                fix="give a tensor, a tuple of tensors or a dict of them in the shape that forward wants",
            ) from error
    if timed:
        _time_layers(module, example, layers)
    return list(dict.fromkeys(called))


def _count_macs(
    called: list[str], layers: dict[str, Layer], name: str, module: nn.Module, inputs: Any, output: Any
) -> None:
    called.append(name)
    if not isinstance(module, MATRIX_LAYERS) or not isinstance(output, Tensor):
        return
    if isinstance(module, nn.Linear):
        positions = output.numel() / module.out_features
    elif module.transposed:
        positions = inputs[0].numel() / module.in_channels
    else:
        positions = output.numel() / module.out_channels
    layers[name].macs += layers[name].weights * positions / max(1, len(output))


def _time_layers(module: nn.Module, example: Any, layers: dict[str, Layer]) -> None:
    """Fill in the layers' seconds: the fastest of a few passes, for other load on the machine only adds."""
    fastest: dict[str, float] = {}
    for _ in range(NUM_TIMINGS + 1):
        started_s: dict[str, float] = {}
        elapsed_s: dict[str, float] = {}

        def start(name: str, *_: Any) -> None:
            started_s[name] = time.perf_counter()  # noqa: B023 - called within this pass

        def stop(name: str, *_: Any) -> None:
            elapsed_s[name] = elapsed_s.get(name, 0.0) + time.perf_counter() - started_s[name]  # noqa: B023

        with _layer_hooks(module, layers, stop, start), torch.no_grad():
            call_module(module, example)
        for name, seconds in elapsed_s.items():
            fastest[name] = min(seconds, fastest.get(name, seconds))
    for name, seconds in fastest.items():
        if layers[name].macs:  # engines fold the others into what stands before them
            layers[name].seconds = seconds


@contextmanager
def _layer_hooks(
    module: nn.Module, names: Iterable[str], after: Callable[..., None], before: Callable[..., None] | None = None
) -> Iterator[None]:
    """Call after(name, module, inputs, output) and before(name, ...) around each of the named modules."""
    handles = []
    for name in names:
        layer = module.get_submodule(name)
        if before is not None:
            handles.append(layer.register_forward_pre_hook(lambda m, i, name=name: before(name, m, i)))
        handles.append(layer.register_forward_hook(lambda m, i, o, name=name: after(name, m, i, o)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _describe_shape(example: Any) -> str:
    if isinstance(example, Tensor):
        return f"shape {tuple(example.shape)}"
    if isinstance(example, Mapping):
        return "shapes " + ", ".join(f"{key}={_describe_shape(value)[6:]}" for key, value in example.items())
    if isinstance(example, tuple | list):
        return "shapes " + ", ".join(_describe_shape(item)[6:] for item in example)
    return f"type  {type(example).__name__}"
