"""Checks of a module before pruning; each error names the layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from deepseek.compress.pruning.layers import MATRIX_LAYERS, VECTOR_LAYERS, Layer
from deepseek.errors import InputError


def check_module(module: nn.Module, keep: tuple[str, ...]) -> None:
    """InputError for a module that cannot be pruned with any example."""
    _check_layers(module)
    _check_shared(module)
    _check_names(module, keep)


def _check_layers(module: nn.Module) -> None:
    """InputError for a ScriptModule, and for weights in a layer type that the pruner does not know."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            "the module cannot be traced: it is a ScriptModule", expected="a plain torch.nn.Module",
            fix="give the module that was scripted",
        )  # fmt: skip
    for name, layer in module.named_modules():
        if isinstance(layer, MATRIX_LAYERS + VECTOR_LAYERS) or not list(layer.parameters(recurse=False)):
            continue
        raise InputError(
            f"the pruner does not know the layer type {type(layer).__name__} ({name or 'the module itself'})",
            expected=f"weights in {', '.join(kind.__name__ for kind in MATRIX_LAYERS + VECTOR_LAYERS)}",
            fix="build it of such layers, or leave pruning out of the plan",
        )


def _check_shared(module: nn.Module) -> None:
    """InputError for a weight that two layers share: cut in one of them, they would differ."""
    owners: dict[nn.Parameter, str] = {}
    for name, layer in module.named_modules():
        for key, parameter in layer.named_parameters(recurse=False):
            if parameter in owners:
                raise InputError(
                    f"{owners[parameter]!r} and {f'{name}.{key}'!r} are one and the same weight",
                    expected="a weight of its own for each layer", fix="give one of them a copy",
                )  # fmt: skip
            owners[parameter] = f"{name}.{key}"


def check_layers_traced(module: nn.Module, graph: Any, layers: Mapping[str, Layer], called: list[str]) -> None:
    """InputError unless each layer runs and gradients reach it: else its channels would no longer fit. `graph`:
    torch_pruning's; `called`: names of the layers that ran."""
    uncalled = next((name for name in layers if name not in called), None)
    if uncalled is not None:
        raise InputError(
            f"the layer {uncalled!r} does not run on the example",
            expected="an example that runs all layers in eval mode",
            fix="remove it, such as a head that only training uses, or give such an example",
        )  # fmt: skip
    untraced = next((name for name in called if module.get_submodule(name) not in graph.module2node), None)
    if untraced is not None:
        raise InputError(
            f"the module cannot be traced: the way from {untraced!r} to the output is cut",
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
