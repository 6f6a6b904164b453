"""The layers of a module: what each holds, its operations and its time on an example.

layers = layers_of(module)
ran = measure(module, example, layers, timed=True)       # fills in layers[name].macs and .seconds
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError

#: Layers whose weights the pruner knows how to cut. What else holds weights is refused by name.
MATRIX_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
VECTOR_LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.PReLU, nn.Embedding)
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


def call_module(module: nn.Module, example: Any) -> Any:
    """The output for an example of any of the three kinds."""
    if isinstance(example, Mapping):
        return module(**example)
    return module(*example) if isinstance(example, tuple | list) else module(example)


def layers_of(module: nn.Module) -> dict[str, Layer]:
    """By name, in the module's order."""
    return {
        name: _layer_entry(name, each)
        for name, each in module.named_modules()
        if isinstance(each, MATRIX_LAYERS + VECTOR_LAYERS)
    }


def _layer_entry(name: str, module: nn.Module) -> Layer:
    biases = sum(p.numel() for p in module.parameters(recurse=False))
    if not isinstance(module, MATRIX_LAYERS):
        return Layer(name, 0, biases)
    weights = module.weight.numel()
    return Layer(name, weights, biases - weights)


def measure_layers(module: nn.Module, example: Any, layers: dict[str, Layer], timed: bool) -> list[str]:
    """Fill in operations and seconds of the layers; the names of those that run, in their order."""
    ran: list[str] = []
    with _layer_hooks(
        module, layers, lambda name, each, inputs, output: _count_macs(ran, layers, name, each, inputs, output)
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
    return list(dict.fromkeys(ran))


def _count_macs(
    ran: list[str], layers: dict[str, Layer], name: str, module: nn.Module, inputs: Any, output: Any
) -> None:
    ran.append(name)
    if not isinstance(module, MATRIX_LAYERS) or not isinstance(output, Tensor):
        return
    if isinstance(module, nn.Linear):
        places = output.numel() / module.out_features
    elif module.transposed:
        places = inputs[0].numel() / module.in_channels
    else:
        places = output.numel() / module.out_channels
    layers[name].macs += layers[name].weights * places / max(1, len(output))


def _time_layers(module: nn.Module, example: Any, layers: dict[str, Layer]) -> None:
    """The fastest of a few passes, for what else runs on the machine only adds."""
    fastest: dict[str, float] = {}
    for _ in range(NUM_TIMINGS + 1):
        began: dict[str, float] = {}
        took: dict[str, float] = {}

        def start(name: str, *_: Any) -> None:
            began[name] = time.perf_counter()  # noqa: B023 - called within this pass

        def stop(name: str, *_: Any) -> None:
            took[name] = took.get(name, 0.0) + time.perf_counter() - began[name]  # noqa: B023

        with _layer_hooks(module, layers, stop, start), torch.no_grad():
            call_module(module, example)
        for name, seconds in took.items():
            fastest[name] = min(seconds, fastest.get(name, seconds))
    for name, seconds in fastest.items():
        if layers[name].macs:  # engines fold the others into what stands before them
            layers[name].seconds = seconds


@contextmanager
def _layer_hooks(
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


def _describe_shape(example: Any) -> str:
    if isinstance(example, Tensor):
        return f"shape {tuple(example.shape)}"
    if isinstance(example, Mapping):
        return "shapes " + ", ".join(f"{key}={_describe_shape(value)[6:]}" for key, value in example.items())
    if isinstance(example, tuple | list):
        return "shapes " + ", ".join(_describe_shape(each)[6:] for each in example)
    return f"type  {type(example).__name__}"
