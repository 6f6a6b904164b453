"""Validation inside the loop: a mean loss over batches, or whatever a function of the model measures.

It is measured with the averaged weights where there are some, in eval mode, without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from deepseek.errors import CheckError, InputError
from deepseek.plugins import did_you_mean
from deepseek.train.distributed import ranks
from deepseek.train.loop.stream import batch_loss, num_rows, to_device

if TYPE_CHECKING:
    from deepseek.train.loop.run import TrainingRun

Validation = Iterable[Any] | Callable[[nn.Module], float | Mapping[str, float]]


def validate(run: TrainingRun) -> dict[str, float]:
    """Metrics by name, the watched one among them and finite."""
    run.model.eval()
    with torch.no_grad(), run.average.applied():
        found = run.validation(run.model) if callable(run.validation) else {"loss": _mean_loss(run)}
    named = found if isinstance(found, Mapping) else {"loss": found}
    try:
        metrics = {name: float(value) for name, value in named.items()}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the validation gives {found!r}", expected="a number, or numbers by name", fix="return such values"
        ) from error
    watched = run.config.metric
    if watched not in metrics:
        raise InputError(
            f"the validation gives no {watched!r}.{did_you_mean(watched, metrics)}",
            expected=f"one of {', '.join(metrics)}", fix="set train.metric to one of these",
        )  # fmt: skip
    if not math.isfinite(metrics[watched]):
        raise CheckError(
            f"the validation's {watched} after epoch {run.epoch} is {metrics[watched]}",
            expected="a finite number", fix="look at the validation rows, or lower train.lr",
        )  # fmt: skip
    return metrics


def _mean_loss(run: TrainingRun) -> float:
    """By rows, over the batches of all ranks."""
    total, count = 0.0, 0
    for batch in run.validation:  # type: ignore[union-attr]
        with run.precision.forward():
            value = batch_loss(run.model, to_device(batch, run.device), run.loss)
        total += float(value) * num_rows(batch)
        count += num_rows(batch)
    total, rows = ranks.sum_over_ranks((total, count), run.group)
    if not rows:
        raise InputError(
            "there are no batches to validate on", expected="at least one", fix="give a loader that yields rows"
        )
    return total / rows
