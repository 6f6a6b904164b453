"""Sensitivity of a module's layers to quantization, one at a time, so that the worst can stay exact.

    found = scan(module, lambda net: accuracy(net, rows), QuantizeConfig("int4"))    # worst first
    keep = worst(found, most=0.002)                                                # ("encoder.layer.0.output", ...)
    fake_quantize(module, QuantizeConfig("int4", keep=keep)); pack(..., keep=keep) # those in bfloat16

Layers are quantized one by one: the loss of two together does not follow from it. The scan selects layers by the rows
of `evaluate`, so do not report the result on the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from deepseek.compress.quantize.fake import convert, fake_quantize_layer, quantizable_weights
from deepseek.compress.quantize.grid import QuantizeConfig
from deepseek.errors import CheckError


@dataclass(frozen=True)
class LayerSensitivity:
    """Score of a module in which one layer alone is quantized."""

    layer: str
    score: float  # result of `evaluate`
    loss: float  # how much worse than without quantization; below 0 where it is better
    num_weights: int


def scan(
    module: nn.Module,
    evaluate: Callable[[nn.Module], float],
    quantize: QuantizeConfig,
    *,
    goal: Literal["max", "min"] = "max",
) -> list[LayerSensitivity]:
    """Sensitivities of all layers, the worst first. `evaluate(module)` returns a number that is better when larger
    (`goal` "max") or smaller ("min"); it is called once before and once for each layer. `module` is restored.

    InputError as of fake_quantize(); CheckError when `evaluate` returns no finite number without quantization.
    """
    layers = [(name, layer, kind) for name, layer, kind in quantizable_weights(module, quantize)]
    was_training = module.training
    module.eval()
    baseline = float(evaluate(module))
    if not math.isfinite(baseline):
        raise CheckError(
            f"the evaluation gives {baseline} before anything is quantised", expected="a number", fix="look at its data"
        )
    sensitivities = []
    for name, layer, kind in layers:
        weight = getattr(layer, kind)
        original = weight.detach().clone()
        fake_quantize_layer(layer, kind, quantize)
        try:
            score = float(evaluate(module))
        finally:
            convert(layer)
            with torch.no_grad():
                getattr(layer, kind).copy_(original)
        loss = baseline - score if goal == "max" else score - baseline
        sensitivities.append(
            LayerSensitivity(_layer_of(name, kind), score, math.inf if math.isnan(loss) else loss, original.numel())
        )
    module.train(was_training)
    return sorted(sensitivities, key=lambda sensitivity: -sensitivity.loss)


def worst(sensitivities: Sequence[LayerSensitivity], *, most: float) -> tuple[str, ...]:
    """Names of the layers that lose more than `most`, for `keep` of QuantizeConfig and of pack().

    >>> worst([LayerSensitivity("a", 0.80, 0.10, 9), LayerSensitivity("b", 0.89, 0.01, 9)], most=0.02)
    ('a',)
    """
    return tuple(sensitivity.layer for sensitivity in sensitivities if sensitivity.loss > most)


def _layer_of(name: str, kind: str) -> str:
    return name.removesuffix(kind).rstrip(".")
