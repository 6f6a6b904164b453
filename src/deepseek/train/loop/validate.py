"""Validation inside the loop: a mean loss over batches, or whatever a function of the model measures.

It is measured with the averaged weights where there are some, in eval mode, without gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from deepseek.errors import CheckError, InputError
from deepseek.plugins import did_you_mean
from deepseek.train.distributed import ranks
from deepseek.train.loop.state import TrainingState
from deepseek.train.loop.stream import batch_loss, num_rows, to_device


def validate(run: TrainingState) -> dict[str, float]:
    """The validation's metrics by name. InputError without config.metric, CheckError where that is not finite."""
    run.model.eval()
    with torch.no_grad(), run.average.swap_in():
        measured = run.validation(run.model) if callable(run.validation) else {"loss": _mean_loss(run)}
    named = measured if isinstance(measured, Mapping) else {"loss": measured}
    try:
        metrics = {name: float(value) for name, value in named.items()}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the validation gives {measured!r}", expected="a number, or numbers by name", fix="return such values"
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


def _mean_loss(run: TrainingState) -> float:
    """The mean loss of a row over the validation batches of all ranks."""
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
