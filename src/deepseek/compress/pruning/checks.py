"""What the pruner refuses, each by name and before any work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from deepseek.compress.pruning.layers import MATRIX_LAYERS, VECTOR_LAYERS, Layer
from deepseek.errors import InputError


def check_module(module: nn.Module, keep: tuple[str, ...]) -> None:
    """InputError for a module that cannot be cut, whatever the example."""
    _check_layers(module)
    _check_shared(module)
    _check_names(module, keep)


def _check_layers(module: nn.Module) -> None:
    """Weights only in layers that the pruner knows."""
    if isinstance(module, torch.jit.ScriptModule):
        raise InputError(
            "the module cannot be traced: it is a ScriptModule", expected="a plain torch.nn.Module",
            fix="give the module that was scripted",
        )  # fmt: skip
    for name, each in module.named_modules():
        if isinstance(each, MATRIX_LAYERS + VECTOR_LAYERS) or not list(each.parameters(recurse=False)):
            continue
        raise InputError(
            f"the pruner does not know the layer type {type(each).__name__} ({name or 'the module itself'})",
            expected=f"weights in {', '.join(kind.__name__ for kind in MATRIX_LAYERS + VECTOR_LAYERS)}",
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


def check_layers_traced(module: nn.Module, graph: Any, layers: Mapping[str, Layer], ran: list[str]) -> None:
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
