"""Quantisation-aware training: fold, round, train with deepseek.train.fit, convert; and the same without training.

done = train_quantized(module, loader, QuantizeConfig("int4"), TrainConfig(epochs=1, lr=5e-5), loss=loss,
                       validation=held_out)
done.weights["0.weight"].codes          # what an engine loads; `module` itself computes with the same values
done.is_kept, done.rounded, done.trained    # whether training was better there than rounding alone
quantize_weights(module, QuantizeConfig("int8"))    # post-training: no data, no training

Rounding to eight bits often costs less than what further training changes by chance. So where there is a validation,
the module is measured on it before the first step as well, rounded, and training that is no better there is undone.
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
    """What came of it."""

    weights: Mapping[str, QuantizedWeight]  # by the name of the weight
    fit: FitResult
    folded: tuple[str, ...]  # BatchNorm layers that went into the layer before
    is_kept: bool = True  # False: it was no better on the validation, and the weights are those given, rounded
    rounded: float | None = None  # the watched metric on the validation of the module as given, rounded
    trained: float | None = None  # and after training


def train_quantized(
    module: nn.Module,
    data: Iterable[Any],
    quantize: QuantizeConfig,
    config: TrainConfig | None = None,
    *,
    loss: Loss | None = None,
    validation: Validation | None = None,
    **given: Any,
) -> QatResult:
    """Train `module`, in place and best already trained, with its weights rounded; it then holds the rounded weights.

    BatchNorm layers are folded first. `given` goes on to fit(): optimizer, scheduler, sinks, checkpoints, progress.
    validation: as fit() takes it. The trained weights are kept where config.metric is better on it, by more than
        config.min_delta, than with the weights as given and rounded; else those are put back. None keeps them.

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
        result = fit(module, data, config, loss=loss, **given)
        return QatResult(convert(module), result, folded)
    before = {name: each.detach().clone() for name, each in module.state_dict().items()}
    rounded = _validate_weights(module, data, config, loss, validation)
    result = fit(module, data, config, loss=loss, validation=validation, **given)
    trained = _validate_weights(module, data, config, loss, validation)
    is_kept = config.is_better(trained, rounded)
    if not is_kept:
        module.load_state_dict(before)
    return QatResult(convert(module), result, folded, is_kept, rounded, trained)


def quantize_weights(module: nn.Module, quantize: QuantizeConfig) -> dict[str, QuantizedWeight]:
    """Round the weights of `module`, in place, without training; BatchNorm layers are folded first."""
    _fold_batchnorms(module)
    fake_quantize(module, quantize)
    return convert(module)


def _validate_weights(
    module: nn.Module, data: Iterable[Any], config: TrainConfig, loss: Loss | None, validation: Validation
) -> float:
    """The watched metric of the weights as they are, averages of a run put in their place already."""
    run = TrainingRun(module, data, replace(config, ema_decay=0.0), loss, None, None, validation, (), None)
    try:
        return validate(run)[config.metric]
    finally:
        ranks.destroy_group(run.group)


def _fold_batchnorms(module: nn.Module) -> tuple[str, ...]:
    return tuple(fold_batchnorm(module)) if has_batchnorm(module) else ()
