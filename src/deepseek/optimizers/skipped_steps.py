"""What AdaptiveOptimizer says of steps that it does not take, of the 1st, 10th, 100th, ..., so that a log stays short;
and of steps past the end of a training.

    warn_of_skipped(num_skipped, slices)            # gradients that are not finite
    warn_of_zeros(num_zero)                         # gradients that are all 0
    warn_of_end(num_steps, total_steps)             # a training that is longer than it was to be
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from deepseek.optimizers.slices import ParameterSlice

_CALLER = 5  # frames up to whoever called step(), which torch wraps twice


def warn_of_skipped(count: int, slices: Iterable[ParameterSlice]) -> None:
    """Say of the 1st, 10th, 100th, ... step that its gradients were not finite. The sums are of all ranks, so all of
    them skip."""
    if not _is_power_of_ten(count):
        return
    grads = [(grad, param) for part in slices for grad, param in zip(part.grads, part.whole, strict=True)]
    shapes = [tuple(param.shape) for grad, param in grads if not grad.isfinite().all()]
    where = "the gradients are too long for float32, or those of another rank are not finite"
    if shapes:
        where = f"{len(shapes)} of {len(grads)} gradients are not finite, first that of a parameter of {shapes[0]}"
    warnings.warn(
        f"{where}: the step was skipped and nothing was changed. Look at the batch, or lower initial_lr; "
        f"num_skipped_steps counts such steps: {count} so far.",
        stacklevel=_CALLER,
    )


def warn_of_zeros(count: int) -> None:
    """Say of the 10th, 100th, ... step in a row that its gradients were all 0. One such step is nothing unusual."""
    if count > 1 and _is_power_of_ten(count):
        warnings.warn(
            f"the gradients of {count} steps in a row were all 0, or too small for their squares in float32: nothing "
            "was changed. Look whether the loss depends on the parameters, and is not scaled down.",
            stacklevel=_CALLER,
        )


def warn_of_end(num_steps: int, total_steps: int | None) -> None:
    """Say of the 1st, 10th, 100th, ... step past the end that the rate is as low as it gets."""
    if total_steps is not None and num_steps > total_steps and _is_power_of_ten(num_steps - total_steps):
        warnings.warn(
            f"step {num_steps} of a training of {total_steps}: the rate has fallen to its end and stays there. Set "
            "optimizer.total_steps to the new length, or to None.",
            stacklevel=_CALLER,
        )


def _is_power_of_ten(count: int) -> bool:
    return str(count).strip("0") == "1"
