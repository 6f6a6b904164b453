"""What each layer alone costs when it is quantised, so that the worst can stay as they are.

    found = scan(module, lambda net: accuracy(net, rows), QuantizeConfig("int4"))    # worst first
    keep = worst(found, most=0.002)                                                # ("encoder.layer.0.output", ...)
    fake_quantize(module, QuantizeConfig("int4", keep=keep)); pack(..., keep=keep) # those in bfloat16

Layers are looked at one by one: what two of them cost together is not known from it. The scan chooses on the rows that
it is given, so these are not to be the ones that the result is reported on.
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
    """One layer, quantised alone."""

    layer: str
    score: float  # what `evaluate` gave
    loss: float  # how much worse that is than without quantisation; below 0 where it is better
    num_weights: int


def scan(
    module: nn.Module,
    evaluate: Callable[[nn.Module], float],
    quantize: QuantizeConfig,
    *,
    goal: Literal["max", "min"] = "max",
) -> list[LayerSensitivity]:
    """Worst layer first. `evaluate(module)` gives a number, better the larger (`goal` "max") or the smaller ("min");
    it is called once for each layer and once before. `module` is as it was afterwards.

    InputError as of fake_quantize(); CheckError when `evaluate` gives no number without quantisation.
    """
    layers = [(name, layer, kind) for name, layer, kind in quantizable_weights(module, quantize)]
    was_training = module.training
    module.eval()
    base = float(evaluate(module))
    if not math.isfinite(base):
        raise CheckError(
            f"the evaluation gives {base} before anything is quantised", expected="a number", fix="look at its data"
        )
    found = []
    for name, layer, kind in layers:
        weight = getattr(layer, kind)
        before = weight.detach().clone()
        fake_quantize_layer(layer, kind, quantize)
        try:
            score = float(evaluate(module))
        finally:
            convert(layer)
            with torch.no_grad():
                getattr(layer, kind).copy_(before)
        worse = base - score if goal == "max" else score - base
        found.append(
            LayerSensitivity(_layer_of(name, kind), score, math.inf if math.isnan(worse) else worse, before.numel())
        )
    module.train(was_training)
    return sorted(found, key=lambda each: -each.loss)


def worst(found: Sequence[LayerSensitivity], *, most: float) -> tuple[str, ...]:
    """The layers that lose more than `most`, for `keep` of QuantizeConfig and of pack().

    >>> worst([LayerSensitivity("a", 0.80, 0.10, 9), LayerSensitivity("b", 0.89, 0.01, 9)], most=0.02)
    ('a',)
    """
    return tuple(each.layer for each in found if each.loss > most)


def _layer_of(name: str, kind: str) -> str:
    return name.removesuffix(kind).rstrip(".")
