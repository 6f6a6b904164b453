"""Quantization-aware training: fold, fake-quantize, train with deepseek.train.fit, convert; and the same untrained.

done = train_quantized(module, loader, QuantizeConfig("int4"), TrainConfig(epochs=1, lr=5e-5), loss=loss,
                       validation=held_out)
done.weights["0.weight"].codes          # what an engine loads; `module` itself computes with the same values
done.is_kept, done.rounded, done.trained    # whether training was better there than rounding alone
quantize_weights(module, QuantizeConfig("int8"))    # post-training: no data, no training

Rounding to eight bits often costs less than the noise of further training. So with a validation, the rounded
module is also validated before the first step, and training that does not improve on that is undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from deepseek.compress.quantize.fake import QuantizedWeight, convert, fake_quantize
from deepseek.compress.quantize.fold import fold_batchnorm, has_batchnorm
from deepseek.compress.quantize.grid import QuantizeConfig
from deepseek.train.distributed import ranks
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import FitResult, fit
from deepseek.train.loop.run import TrainingRun
from deepseek.train.loop.stream import Loss, Validation
from deepseek.train.loop.validate import validate


@dataclass(frozen=True)
class QatResult:
    """Quantized weights and what their training reported."""

    weights: Mapping[str, QuantizedWeight]  # by the name of the weight
    fit: FitResult
    folded: tuple[str, ...]  # names of BatchNorm layers that were folded into the layer before
    is_kept: bool = True  # False: training was no better on the validation and was undone
    rounded: float | None = None  # validation metric of the rounded weights before training
    trained: float | None = None  # validation metric after training


def train_quantized(
    module: nn.Module,
    data: Iterable[Any],
    quantize: QuantizeConfig,
    config: TrainConfig | None = None,
    *,
    loss: Loss | None = None,
    validation: Validation | None = None,
    **fit_options: Any,
) -> QatResult:
    """Train `module` (best already trained) with fake-quantized weights, in place; it then holds the rounded weights.

    BatchNorm layers are folded first. `fit_options` are passed on to fit(): optimizer, scheduler, sinks, checkpoints,
    progress.
    validation: as fit() takes it. The trained weights are kept where they improve config.metric by more than
        config.min_delta over rounding alone; else the rounded original weights are restored. None keeps them.

    Errors as of fold_batchnorm(), fake_quantize() and fit().

    >>> import torch
    >>> net, x = nn.Linear(4, 1), torch.eye(4)
    >>> data = [(x, x @ torch.tensor([[0.5], [-1.0], [0.25], [1.0]]))] * 200
    >>> done = train_quantized(net, data, QuantizeConfig("int8"), TrainConfig(epochs=1), loss=nn.functional.mse_loss)
    >>> done.fit.num_steps, list(done.weights), done.weights["weight"].codes.dtype
    (200, ['weight'], torch.int8)
    """
    config = config or TrainConfig()
    folded = _fold_batchnorms(module)
    fake_quantize(module, quantize)
    if validation is None:
        result = fit(module, data, config, loss=loss, **fit_options)
        return QatResult(convert(module), result, folded)
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    rounded_metric = _validate_weights(module, data, config, loss, validation)
    result = fit(module, data, config, loss=loss, validation=validation, **fit_options)
    trained_metric = _validate_weights(module, data, config, loss, validation)
    is_kept = config.is_better(trained_metric, rounded_metric)
    if not is_kept:
        module.load_state_dict(state)
    return QatResult(convert(module), result, folded, is_kept, rounded_metric, trained_metric)


def quantize_weights(module: nn.Module, quantize: QuantizeConfig) -> dict[str, QuantizedWeight]:
    """Round the weights of `module`, in place, without training; BatchNorm layers are folded first."""
    _fold_batchnorms(module)
    fake_quantize(module, quantize)
    return convert(module)


def _validate_weights(
    module: nn.Module, data: Iterable[Any], config: TrainConfig, loss: Loss | None, validation: Validation
) -> float:
    """config.metric of the current weights on the validation; no moving average of weights is applied."""
    run = TrainingRun(module, data, replace(config, ema_decay=0.0), loss, None, None, validation, (), None)
    try:
        return validate(run)[config.metric]
    finally:
        ranks.destroy_group(run.group)


def _fold_batchnorms(module: nn.Module) -> tuple[str, ...]:
    return tuple(fold_batchnorm(module)) if has_batchnorm(module) else ()
