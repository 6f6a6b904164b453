"""One run of the loop, moved forward: windows of batches, steps, epochs and checkpoints. state.py holds what it knows.

A checkpoint lies between two steps, so it may lie in the
middle of an epoch: the order of the data is then drawn again from the generators as they stood at the epoch's start,
the batches that were used are read past, and the generators are set as they stood at the checkpoint.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.checkpoint.state_tree import StateDict
from deepseek.train.distributed import ranks
from deepseek.train.loop import random_state
from deepseek.train.loop.optimizer import (
    current_rate,
    set_rates,
)
from deepseek.train.loop.snapshot import rank_state, restore_run, run_metadata, shared_state
from deepseek.train.loop.state import TrainingState
from deepseek.train.loop.stream import num_rows

STOP_PERIOD_STEPS = 10  # steps between two looks at whether any rank was told to stop: that costs a message


class TrainingRun(TrainingState):
    """A run that moves forward: begin() or resume(), an epoch of windows(), after_step(), after_epoch(); finish()."""

    # ---- the beginning and the end

    def begin(self) -> None:
        """Begin anew; the folder of the checkpoints must hold none."""
        if self.checkpoints is None:
            return
        self.checkpoints.begin()
        existing = self.checkpoints.names()
        if existing:
            raise InputError(
                f"{self.checkpoints.folder} already holds the checkpoints of a run, up to {existing[-1]}",
                expected="an empty folder for a new run",
                fix="go on with that run (resume, or --resume), or give another folder",
            )

    def resume(self) -> None:
        """Go on from the last good checkpoint, or begin where there is none."""
        assert self.checkpoints is not None  # noqa: S101 - resume() gives a folder
        self.checkpoints.begin()
        checkpoint = self.checkpoints.last_good()
        for problem in self.checkpoints.refused.values():
            self.warn(f"{problem}; it is passed over")
        if checkpoint is not None:
            restore_run(self, checkpoint)

    def enter(self, stack: ExitStack) -> None:
        """Start the sinks and the handling of signals; `stack` ends them, the groups and the checkpoints' thread."""
        self.sinks.start(asdict(self.config), stack)
        stack.callback(ranks.destroy_group, self.group)
        if self.checkpoints is not None:
            stack.callback(ranks.destroy_group, self.checkpoints.group)
            stack.callback(self.checkpoints.close)
        stack.enter_context(self._stop.handle_signals(self.checkpoints is not None))

    def finish(self) -> None:
        """The last checkpoint is on the disk, and the model has the weights that the caller wants."""
        self.save()
        self.flush()
        if self._sets_total_steps:  # the optimizer may be used again
            self.optimizer.total_steps = None  # type: ignore[attr-defined]
        if self.best_weights:
            self.net.load_state_dict(self.best_weights)
        else:
            self.average.copy()
        self.model.eval()

    # ---- the data

    def windows(self) -> Iterator[list[Any]]:
        """The rest of this epoch, as lists of the batches of one step."""
        random_state.set_epoch(self.data, self.epoch)
        batches = self._replay_epoch() if self.restored_state else self._begin_epoch()
        while window := list(itertools.islice(batches, self.config.accumulate)):
            yield window
        if self.batch == 0:
            raise InputError(
                "there are no batches to train on", expected="at least one", fix="give a loader that yields rows"
            )

    def _begin_epoch(self) -> Iterator[Any]:
        if self.checkpoints is not None:
            self.epoch_start = random_state.capture(self.data, self.validation)
        return iter(self.data)

    def _replay_epoch(self) -> Iterator[Any]:
        """The batches of the epoch that a checkpoint lies in, from the first that was not used."""
        assert self.restored_state is not None  # noqa: S101 - see windows()
        saved, self.restored_state = self.restored_state, None
        if saved.data is not None:
            if not random_state.is_stateful(self.data):
                raise InputError(
                    f"the data is a {type(self.data).__name__}, and the run began with data that kept its own place",
                    expected="the data of the run that goes on, with load_state_dict()",
                    fix="give that data, or begin anew in another folder",
                )
            self.data.load_state_dict(saved.data)  # type: ignore[attr-defined]
        if self.batch == 0:
            return self._begin_epoch()
        assert self.epoch_start is not None  # noqa: S101 - a checkpoint inside an epoch has it
        random_state.restore(self.epoch_start, self.data, self.validation)
        batches = iter(self.data)
        if saved.data is None:
            num_read = sum(1 for _ in itertools.islice(batches, self.batch))
            if num_read < self.batch:
                raise InputError(
                    f"the data ends after {num_read} batches, and the checkpoint is at batch {self.batch}",
                    expected="the data of the run that goes on", fix="give that data, or begin anew in another folder",
                )  # fmt: skip
        random_state.restore(saved.now, self.data, self.validation)
        return batches

    # ---- one step

    def set_rate(self) -> None:
        """Set the rate of this step, where config.schedule does and no scheduler."""
        if self._is_cosine and self.num_steps is not None:
            set_rates(self.optimizer, self.peak_rates, self.config.rate(self.step, self.num_steps))

    def sync_gradients(self, wanted: bool) -> None:
        """Leave the exchange between ranks to the last batch of a window."""
        if self.config.accumulate == 1 or not ranks.is_distributed():
            return
        if isinstance(self.model, nn.parallel.DistributedDataParallel):
            self.model.require_backward_grad_sync = wanted
        elif hasattr(self.model, "set_requires_gradient_sync"):  # fully_shard; its module takes half a second to import
            self.model.set_requires_gradient_sync(wanted)  # type: ignore[operator]

    def check_used(self) -> None:
        """Once: every parameter that should be trained has a gradient."""
        if self._are_all_used:
            return
        unused = [name for name, p in self.named_parameters.items() if p.grad is None]
        if unused:
            raise InputError(
                f"the parameter {unused[0]!r} has no gradient after the first step"
                + (f", nor have {len(unused) - 1} others" if len(unused) > 1 else ""),
                expected="a loss that depends on every parameter that is trained",
                fix="call requires_grad_(False) on it, or set train.allow_unused where this is meant",
            )
        self._are_all_used = True

    def after_update(self, *, taken: bool) -> None:
        """Right after the optimizer's step, or after it was left out."""
        if not taken:
            return
        if self.scheduler is not None and not _waits_for_metric(self.scheduler):
            self.scheduler.step()
        self.average.update()

    def after_step(self, window: list[Any], loss: float, norm: float) -> None:
        """Count, log, and write a checkpoint where one is due."""
        self.step += 1
        self.batch += len(window)
        self.loss_sum += 0.0 if self.private_gradients else loss * len(window)
        self.result.num_steps = self.step
        if self.sinks:
            self._log_sum += loss
            self._log_rows += sum(map(num_rows, window))
            if self.step % self.config.log_every == 0:
                self._log(norm)
        if self.config.checkpoint_every and self.step % self.config.checkpoint_every == 0:
            self.save()

    def _log(self, norm: float) -> None:
        now_s = time.monotonic()
        if self.private_gradients is not None:  # losses, gradients and even numbers of rows would tell of the rows
            self.sinks.log(self.step, {"train/lr": current_rate(self.optimizer)})
            return
        values = {
            "train/loss": self._log_sum / (self.step - self.log_step),
            "train/lr": current_rate(self.optimizer),
            "train/grad_norm": norm,
            "train/rows_per_s": self._log_rows / max(1e-9, now_s - self._log_s),
        }
        self.sinks.log(self.step, values)
        self._log_sum, self._log_rows, self._log_s, self.log_step = 0.0, 0, now_s, self.step

    def must_stop(self) -> bool:
        """Whether this process, or any rank, was told to stop."""
        if self.group is None:
            return self._stop.is_requested
        return (
            self.step % STOP_PERIOD_STEPS == 0
            and ranks.sum_over_ranks((float(self._stop.is_requested),), self.group)[0] > 0
        )

    # ---- one epoch

    def is_validated(self) -> bool:
        """Whether this epoch ends with a validation."""
        due = (self.epoch + 1) % self.config.validate_every == 0 or self.epoch + 1 == self.config.epochs
        return self.validation is not None and due

    def after_epoch(self, metrics: dict[str, float] | None) -> None:
        """Record the epoch and its validation, decide whether the run ends early, and write a checkpoint."""
        total, num_batches = ranks.sum_over_ranks((self.loss_sum, float(self.batch)), self.group)
        train_loss = math.nan if self.private_gradients else total / num_batches
        self.result.losses.append(train_loss)
        if metrics is not None:
            self._record_validation(metrics, train_loss)
        self.epoch += 1
        self.batch, self.loss_sum = 0, 0.0
        if not self.config.checkpoint_every:
            self.save()

    def _record_validation(self, metrics: dict[str, float], train_loss: float) -> None:
        self.result.validations.append({"epoch": self.epoch, **metrics})
        watched = metrics[self.config.metric]
        self.sinks.log(self.step, {f"val/{name}": value for name, value in metrics.items()})
        if _waits_for_metric(self.scheduler):
            self.scheduler.step(watched)  # type: ignore[union-attr, arg-type]
        if hasattr(self.optimizer, "report"):
            instead = watched if self.config.goal == "min" else -watched  # AdaptiveOptimizer asks only for the order
            self.optimizer.report(train_loss=train_loss, val_loss=metrics.get("loss", instead))
        if self.config.is_better(watched, self.result.best):
            self.result.best, self.result.best_epoch, self.num_waits = watched, self.epoch, 0
            if self.config.patience:
                with self.average.swap_in():
                    self.best_weights = _copy_state(self.net.state_dict())
        else:
            self.num_waits += 1
            self.is_over = self.result.stopped_early = 0 < self.config.patience <= self.num_waits

    # ---- checkpoints

    def save(self) -> None:
        """A checkpoint of this step, unless there is one."""
        if self.checkpoints is None or self.saved_step == self.step:
            return
        self.checkpoints.save(self.step, run_metadata(self), shared_state(self), rank_state(self).to_dict())
        self.saved_step = self.step
        if self.config.checkpoint_wait:
            self.flush()

    def flush(self) -> None:
        """Return when the last checkpoint is on the disk."""
        if self.checkpoints is not None:
            self.checkpoints.wait()


def _copy_state(state: StateDict) -> StateDict:
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in state.items()}


def _waits_for_metric(scheduler: object) -> bool:
    return isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
