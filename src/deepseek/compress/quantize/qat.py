"""Quantisation-aware training: fold, round, train with deepseek.train.fit, convert; and the same without training.

done = train_quantized(module, loader, QuantizeConfig("int4"), TrainConfig(epochs=1, lr=5e-5), loss=loss)
done.weights["0.weight"].codes          # what an engine loads; `module` itself computes with the same values
quantize_weights(module, QuantizeConfig("int8"))    # post-training: no data, no training
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from deepseek.compress.quantize.fake import Quantized, convert, fake_quantize
from deepseek.compress.quantize.fold import fold_batchnorm, has_batchnorm
from deepseek.compress.quantize.grid import QuantizeConfig
from deepseek.train.config import TrainConfig
from deepseek.train.loop import FitResult, fit
from deepseek.train.stream import Loss


@dataclass(frozen=True)
class QatResult:
    """What came of it."""

    weights: Mapping[str, Quantized]  # by the name of the weight
    fit: FitResult
    folded: tuple[str, ...]  # BatchNorm layers that went into the layer before


def train_quantized(
    module: nn.Module,
    data: Iterable[Any],
    quantize: QuantizeConfig,
    config: TrainConfig | None = None,
    *,
    loss: Loss | None = None,
    **given: Any,
) -> QatResult:
    """Train `module`, in place and best already trained, with its weights rounded; it then holds the rounded weights.

    BatchNorm layers are folded first. `given` goes on to fit(): optimizer, scheduler, validation, sinks, checkpoints,
    progress. Errors as of fold_batchnorm(), fake_quantize() and fit().

    >>> import torch
    >>> net, x = nn.Linear(4, 1), torch.eye(4)
    >>> data = [(x, x @ torch.tensor([[0.5], [-1.0], [0.25], [1.0]]))] * 200
    >>> done = train_quantized(net, data, QuantizeConfig("int8"), TrainConfig(epochs=1), loss=nn.functional.mse_loss)
    >>> done.fit.num_steps, list(done.weights), done.weights["weight"].codes.dtype
    (200, ['weight'], torch.int8)
    """
    folded = _folded(module)
    fake_quantize(module, quantize)
    result = fit(module, data, config, loss=loss, **given)
    return QatResult(convert(module), result, folded)


def quantize_weights(module: nn.Module, quantize: QuantizeConfig) -> dict[str, Quantized]:
    """Round the weights of `module`, in place, without training; BatchNorm layers are folded first."""
    _folded(module)
    fake_quantize(module, quantize)
    return convert(module)


def _folded(module: nn.Module) -> tuple[str, ...]:
    return tuple(fold_batchnorm(module)) if has_batchnorm(module) else ()
