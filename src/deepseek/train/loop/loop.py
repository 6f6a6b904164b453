"""The training loop: a stream of batches in, a trained module out.

    for epoch: for window of batches: forward -> backward -> check -> clip -> step -> average -> log -> checkpoint
               validate -> report to the optimizer -> stop early?

`fit` begins anew, `resume` goes on from the last good checkpoint; both change `model` in place and leave it in eval
mode. The same seed, data and configuration give the same weights to the bit on the same machine, number of threads and
of processes, also through any number of interruptions. Under torchrun it is the same call, with the model wrapped
(DistributedDataParallel, fully_shard) and each rank's share of the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import CheckError
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loggers import Sink
from deepseek.train.loop.optimizer import OptimizerFactory, SchedulerFactory
from deepseek.train.loop.progress_bar import ProgressBar
from deepseek.train.loop.run import TrainingRun
from deepseek.train.loop.signals import interruption
from deepseek.train.loop.state import FitResult
from deepseek.train.loop.stream import BatchTransform, Loss, Validation, batch_loss, describe_batch, to_device
from deepseek.train.loop.validate import validate
from deepseek.train.private.plan import StepPlan

__all__ = ["FitResult", "fit", "resume"]


def fit(
    model: nn.Module,
    data: Iterable[Any],
    config: TrainConfig | None = None,
    *,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    scheduler: SchedulerFactory | None = None,
    validation: Validation | None = None,
    sinks: Sequence[Sink] = (),
    checkpoints: str | Path | None = None,
    change: BatchTransform | None = None,
    private: StepPlan | None = None,
    progress: bool = True,
) -> FitResult:
    """Train `model` on `data`, an iterable of batches that can be read once an epoch (a DataLoader, a list, a stream).

    loss: called with the model's output and what the batch holds beside the inputs (see train/loop/stream.py); None
    where
        the model itself returns its loss.
    optimizer: a torch optimizer, a function of the parameters that makes one, or None for AdamW. One with a method
        `report(train_loss=, val_loss=)` hears of both after each validation; of one that gives no "loss" it hears the
        watched metric as val_loss, with a minus where more of it is better. AdaptiveOptimizer hears how many steps are
        to come, where the data has a length, there is no scheduler and config.schedule is "auto": its rate then falls
        at the end.
    scheduler: a function of the optimizer that makes a torch LR scheduler, stepped once a step
        (ReduceLROnPlateau: once a validation). It takes the place of config.schedule.
    validation: batches, on which the mean loss is measured as "loss", or a function of the model that returns a number
        or metrics by name.
    sinks: where figures go, such as TensorBoard("runs/a"); closed at the end.
    checkpoints: the folder to write them to, empty or new. With it Ctrl-C and SIGTERM save and raise KeyboardInterrupt.
    change: a function of a batch on its device that gives the batch to train on, such as nn.augment.Mix(...). What is
        random in it is torch's global generator, so that a run goes on to the bit.
    private: noised steps on rows that `data` draws by chance (train/private). No training loss is then measured or
        logged, and a run that was interrupted goes on with other noise.
    progress: a bar on stderr, when that is a terminal.

    Raises CheckError when a loss or a gradient is not finite, naming the epoch and the batch, before that step is
    taken; InputError for data, a configuration or a parameter that cannot be trained.

    >>> model = nn.Linear(1, 1)
    >>> data = [(torch.ones(8, 1), torch.full((8, 1), 3.0))] * 50
    >>> result = fit(model, data, TrainConfig(epochs=2, lr=0.1), loss=nn.functional.mse_loss)
    >>> result.num_steps, result.losses[1] < result.losses[0]
    (100, True)
    """
    parts = (loss, optimizer, scheduler, validation, sinks, checkpoints, change, private)
    run = TrainingRun(model, data, config or TrainConfig(), *parts)
    run.begin()
    return _run_loop(run, progress)


def resume(
    model: nn.Module,
    data: Iterable[Any],
    config: TrainConfig | None = None,
    *,
    checkpoints: str | Path,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    scheduler: SchedulerFactory | None = None,
    validation: Validation | None = None,
    sinks: Sequence[Sink] = (),
    change: BatchTransform | None = None,
    private: StepPlan | None = None,
    progress: bool = True,
) -> FitResult:
    """Go on from the last good checkpoint in `checkpoints`, or begin there when it holds none.

    The other arguments are those of `fit`, and the same as when the run began: the result is then bit-equal to that of
    a run that was never interrupted. A program that may be killed calls this from its start. A checkpoint that is not
    whole is passed over and named in the result's warnings. InputError when the checkpoint is of another model,
    configuration or optimizer; IntegrityError when none of them is whole.
    """
    parts = (loss, optimizer, scheduler, validation, sinks, checkpoints, change, private)
    run = TrainingRun(model, data, config or TrainConfig(), *parts)
    run.resume()
    return _run_loop(run, progress)


def _run_loop(run: TrainingRun, progress: bool) -> FitResult:
    with ExitStack() as stack:
        run.enter(stack)
        bar = stack.enter_context(ProgressBar(progress and run.is_first, run.num_steps, run.step))
        while run.epoch < run.config.epochs and not run.is_over:
            run.model.train()
            for window in run.windows():
                loss, norm = _take_step(run, window)
                run.after_step(window, loss, norm)
                bar.update(run.epoch, run.step, window, loss)
                if run.must_stop():
                    run.save()
                    run.flush()
                    raise interruption(run.step)
            run.after_epoch(validate(run) if run.is_validated() else None)
        run.finish()
    return run.result


def _take_step(run: TrainingRun, window: list[Any]) -> tuple[float, float]:
    """One step on the batches of a window: its mean loss and the norm of its gradient before clipping."""
    run.set_rate()
    if run.private_gradients is not None:
        run.private_gradients.compute(to_device(window[0], run.device))
        run.optimizer.step()
        run.after_update(taken=True)
        return math.nan, math.nan  # what was not noised is not measured
    if run.needs_closure:  # as LBFGS, which asks for the loss as often as it wants
        evaluations = []

        def closure() -> float:
            evaluations.append(_compute_gradient(run, window))
            return evaluations[-1][0]

        run.optimizer.step(closure)
        run.after_update(taken=True)
        return evaluations[0]
    loss, norm = _compute_gradient(run, window)
    run.after_update(taken=run.precision.step(run.optimizer, finite=math.isfinite(norm)))
    return loss, norm


def _compute_gradient(run: TrainingRun, window: list[Any]) -> tuple[float, float]:
    """Leave the clipped gradient of a window's mean loss on the parameters; the loss, and the norm before clipping."""
    run.optimizer.zero_grad(set_to_none=True)
    values = []
    for index, batch in enumerate(window):
        run.sync_gradients(index == len(window) - 1)
        with run.precision.forward():
            inputs = to_device(batch, run.device)
            value = batch_loss(run.model, run.change(inputs) if run.change else inputs, run.loss)
        run.precision.backward(value if len(window) == 1 else value / len(window))
        values.append(value.detach())
    total = values[0] if len(values) == 1 else torch.stack(values).mean()
    run.precision.unscale(run.optimizer)
    run.check_used()
    norm = nn.utils.clip_grad_norm_(run.parameters, run.config.clip_norm)
    whole = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of sharded parameters
    loss, size = float(total), float(whole)
    if not math.isfinite(loss) or not (math.isfinite(size) or run.precision.scaler):
        _raise_not_finite(run, window, values)
    return loss, size


def _raise_not_finite(run: TrainingRun, window: list[Any], values: list[Tensor]) -> None:
    """Name the batch, and the parameter where it is the gradient."""
    first = run.batch
    fix = f"look at that batch, or lower train.lr (now {run.config.lr})"
    for index, (batch, value) in enumerate(zip(window, values, strict=True), start=first):
        if not torch.isfinite(value):
            raise CheckError(
                f"the loss of batch {index} in epoch {run.epoch} is not finite ({float(value)}); the batch is "
                f"{describe_batch(batch)}",
                expected="finite numbers in the batch and a rate at which training is stable", fix=fix,
            )  # fmt: skip
    last = first + len(window) - 1
    where = f"batch {first}" if first == last else f"batches {first} to {last}"
    not_finite = [
        name
        for name, p in run.named_parameters.items()
        if p.grad is not None and not _local_part(p.grad).isfinite().all()
    ]
    raise CheckError(
        f"the gradient of {where} in epoch {run.epoch} is not finite"
        + (f", first in {not_finite[0]!r}" if not_finite else "; what this process holds of it is, its norm is not"),
        expected="finite numbers in the batch and a rate at which training is stable", fix=fix,
    )  # fmt: skip


def _local_part(tensor: Tensor) -> Tensor:
    """This rank's part of a sharded tensor: the other ranks may be elsewhere, so none is asked for its part."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part
