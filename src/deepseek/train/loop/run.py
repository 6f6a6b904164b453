"""One run of the loop: its parts, how far it is, and what a checkpoint of it holds.

Position: `epoch`, `batch` (read in this epoch) and `step`. A checkpoint lies between two steps, so it may lie in the
middle of an epoch: the order of the data is then drawn again from the generators as they stood at the epoch's start,
the batches that were used are read past, and the generators are set as they stood at the checkpoint.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.distributed import ranks
from deepseek.train.loop import random_state
from deepseek.train.loop.average import WeightAverage
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loggers import Sink, SinkGroup
from deepseek.train.loop.optimizer import (
    OptimizerFactory,
    SchedulerFactory,
    current_rate,
    group_settings,
    make_optimizer,
    needs_closure,
    set_rates,
)
from deepseek.train.loop.precision import Precision
from deepseek.train.loop.signals import StopSignal
from deepseek.train.loop.snapshot import checkpoint_metadata, rank_state, restore_run, shared_state
from deepseek.train.loop.stream import BatchTransform, Loss, num_rows
from deepseek.train.loop.validate import Validation

if TYPE_CHECKING:
    from deepseek.train.checkpoint.checkpoint import CheckpointManager

STOP_PERIOD_STEPS = 10  # steps between two looks at whether any rank was told to stop: that costs a message


@dataclass
class FitResult:
    """What happened."""

    losses: list[float] = field(default_factory=list)  # the mean training loss of each epoch
    num_steps: int = 0
    validations: list[dict[str, float]] = field(default_factory=list)  # "epoch" and the metrics by name
    best: float | None = None  # of the watched metric
    best_epoch: int | None = None
    stopped_early: bool = False
    warnings: list[str] = field(default_factory=list)


class TrainingRun:
    """See the module. `begin` or `go_on`, then `windows` once an epoch, `after_step`, `after_epoch`, `finish`."""

    def __init__(
        self,
        model: nn.Module,
        data: Iterable[Any],
        config: TrainConfig,
        loss: Loss | None,
        optimizer: torch.optim.Optimizer | OptimizerFactory | None,
        scheduler: SchedulerFactory | None,
        validation: Validation | None,
        sinks: Sequence[Sink],
        checkpoints: str | Path | None,
        change: BatchTransform | None = None,
    ) -> None:
        _seed_rank(config.seed, ranks.rank())  # what is random inside the module, such as dropout
        self.model, self.data, self.config, self.loss, self.validation = model, data, config, loss, validation
        self.net = unwrap_model(model)
        self.named = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        self.optimizer = make_optimizer(optimizer, self.named, config)
        self.change, self.device = change, self.parameters[0].device
        self.precision = Precision(config.precision, self.device)
        self.needs_closure = needs_closure(self.optimizer)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.scheduler = scheduler(self.optimizer) if scheduler else None
        self.settings = group_settings(self.optimizer)
        self.average = WeightAverage(self.named, config.ema_decay)
        self.group = ranks.cpu_group()
        self.is_first = ranks.rank() == 0
        self.sinks = SinkGroup(sinks if self.is_first else (), self.warn)
        self.checkpoints = _open_checkpoints(Path(checkpoints), config.keep) if checkpoints else None
        self.result = FitResult()
        self.epoch = self.batch = self.step = 0
        self.num_waits = 0  # validations since the best one
        self.is_over = False
        self._is_cosine = scheduler is None and (
            config.schedule == "cosine" or (config.schedule == "auto" and optimizer is None)
        )
        self.total = 0.0  # of the losses of this epoch's steps
        self.best_weights: dict[str, Tensor] = {}
        self.start: dict[str, Any] = {}  # the generators at the start of this epoch
        self.restored: dict[str, Any] | None = None  # what the rank's part of a checkpoint said
        self.saved_at = -1
        self._stop, self._are_all_used = StopSignal(), config.allow_unused
        self._log_sum, self._log_rows, self._log_s, self.log_step = 0.0, 0, time.monotonic(), 0
        self._check_data(optimizer)

    def _check_data(self, optimizer: object) -> None:
        self.num_batches = len(self.data) if isinstance(self.data, Sized) else None
        self._check_shares()
        if self.num_batches == 0:
            raise InputError(
                "there are no batches to train on", expected="at least one", fix="give a loader that yields rows"
            )
        if self.config.epochs > 1 and isinstance(self.data, Iterator):
            raise InputError(
                f"the data is a {type(self.data).__name__}, which can be read once, and train.epochs is "
                f"{self.config.epochs}",
                expected="an iterable that begins anew each epoch", fix="give a list, a DataLoader or a stream",
            )  # fmt: skip
        per_epoch = math.ceil(self.num_batches / self.config.accumulate) if self.num_batches else None
        self.num_steps = self.config.epochs * per_epoch if per_epoch else None
        if self._is_cosine and self.num_steps is None:
            raise InputError(
                "the data does not say how many batches it has, and the cosine schedule must know",
                expected="data with a length", fix="give it __len__, or set train.schedule to constant",
            )  # fmt: skip
        if self.needs_closure and self.precision.scaler is not None:
            raise InputError(
                f"{type(self.optimizer).__name__} asks for the loss several times a step, which fp16 cannot scale",
                expected="fp32 or bf16", fix="set train.precision to bf16",
            )  # fmt: skip

    def _check_shares(self) -> None:
        """A rank with fewer batches would leave the others waiting for it in the step after its last."""
        place, num_ranks = ranks.rank(), ranks.num_ranks()
        mine = -1 if self.num_batches is None else self.num_batches
        counts = ranks.sum_over_ranks([float(mine) if rank == place else 0.0 for rank in range(num_ranks)], self.group)
        if len(set(counts)) > 1 and min(counts) >= 0:
            raise InputError(
                f"the ranks have {', '.join(f'{count:.0f}' for count in counts)} batches", expected="as many on each",
                fix="share the rows out with DistributedSampler(drop_last=True) or ArrayStream(share=...)",
            )  # fmt: skip

    # ---- the beginning and the end

    def begin(self) -> None:
        """Begin anew; the folder of the checkpoints must hold none."""
        if self.checkpoints is None:
            return
        self.checkpoints.begin()
        there = self.checkpoints.names()
        if there:
            raise InputError(
                f"{self.checkpoints.folder} already holds the checkpoints of a run, up to {there[-1]}",
                expected="an empty folder for a new run",
                fix="go on with that run (resume, or --resume), or give another folder",
            )

    def go_on(self) -> None:
        """Go on from the last good checkpoint, or begin where there is none."""
        assert self.checkpoints is not None  # noqa: S101 - resume() gives a folder
        self.checkpoints.begin()
        found = self.checkpoints.last_good()
        for problem in self.checkpoints.refused.values():
            self.warn(f"{problem}; it is passed over")
        if found is not None:
            restore_run(self, found)

    def hold(self, held: ExitStack) -> None:
        """Enter what must be left in any case."""
        self.sinks.start(asdict(self.config), held)
        held.callback(ranks.destroy_group, self.group)
        if self.checkpoints is not None:
            held.callback(ranks.destroy_group, self.checkpoints.group)
            held.callback(self.checkpoints.close)
        held.enter_context(self._stop.watching(self.checkpoints is not None))

    def finish(self) -> None:
        """The last checkpoint is on the disk, and the model has the weights that the caller wants."""
        self.save()
        self.flush()
        if self.best_weights:
            self.net.load_state_dict(self.best_weights)
        else:
            self.average.copy()
        self.model.eval()

    # ---- the data

    def windows(self) -> Iterator[list[Any]]:
        """The rest of this epoch, as lists of the batches of one step."""
        random_state.set_epoch(self.data, self.epoch)
        batches = self._replayed() if self.restored else self._from_start()
        while window := list(itertools.islice(batches, self.config.accumulate)):
            yield window
        if self.batch == 0:
            raise InputError(
                "there are no batches to train on", expected="at least one", fix="give a loader that yields rows"
            )

    def _from_start(self) -> Iterator[Any]:
        if self.checkpoints is not None:
            self.start = random_state.capture(self.data, self.validation)
        return iter(self.data)

    def _replayed(self) -> Iterator[Any]:
        """An iterator that stands where the checkpoint stood."""
        assert self.restored is not None  # noqa: S101 - see windows()
        own, self.restored = self.restored, None
        if own["data"] is not None:
            if not random_state.is_stateful(self.data):
                raise InputError(
                    f"the data is a {type(self.data).__name__}, and the run began with data that kept its own place",
                    expected="the data of the run that goes on, with load_state_dict()",
                    fix="give that data, or begin anew in another folder",
                )
            self.data.load_state_dict(own["data"])  # type: ignore[attr-defined]
        if self.batch == 0:
            return self._from_start()
        random_state.restore(self.start, self.data, self.validation)
        batches = iter(self.data)
        if own["data"] is None:
            num_read = sum(1 for _ in itertools.islice(batches, self.batch))
            if num_read < self.batch:
                raise InputError(
                    f"the data ends after {num_read} batches, and the checkpoint is at batch {self.batch}",
                    expected="the data of the run that goes on", fix="give that data, or begin anew in another folder",
                )  # fmt: skip
        random_state.restore(own["here"], self.data, self.validation)
        return batches

    # ---- one step

    def set_rate(self) -> None:
        if self._is_cosine and self.num_steps is not None:
            set_rates(self.optimizer, self.peaks, self.config.rate(self.step, self.num_steps))

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
        unused = [name for name, p in self.named.items() if p.grad is None]
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
        self.total += loss * len(window)
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
            return self._stop.asked
        return (
            self.step % STOP_PERIOD_STEPS == 0 and ranks.sum_over_ranks((float(self._stop.asked),), self.group)[0] > 0
        )

    # ---- one epoch

    def is_validated(self) -> bool:
        due = (self.epoch + 1) % self.config.validate_every == 0 or self.epoch + 1 == self.config.epochs
        return self.validation is not None and due

    def after_epoch(self, metrics: dict[str, float] | None) -> None:
        total, num_batches = ranks.sum_over_ranks((self.total, float(self.batch)), self.group)
        train_loss = total / num_batches
        self.result.losses.append(train_loss)
        if metrics is not None:
            self._look_at(metrics, train_loss)
        self.epoch += 1
        self.batch, self.total = 0, 0.0
        if not self.config.checkpoint_every:
            self.save()

    def _look_at(self, metrics: dict[str, float], train_loss: float) -> None:
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
                with self.average.applied():
                    self.best_weights = _copy_state(self.net.state_dict())
        else:
            self.num_waits += 1
            self.is_over = self.result.stopped_early = 0 < self.config.patience <= self.num_waits

    # ---- checkpoints

    def save(self) -> None:
        """A checkpoint of this step, unless there is one."""
        if self.checkpoints is None or self.saved_at == self.step:
            return
        self.checkpoints.save(self.step, checkpoint_metadata(self), shared_state(self), rank_state(self))
        self.saved_at = self.step
        if self.config.checkpoint_wait:
            self.flush()

    def flush(self) -> None:
        """Until it is on the disk."""
        if self.checkpoints is not None:
            self.checkpoints.wait()

    def warn(self, message: str) -> None:
        self.result.warnings.append(message)
        if self.is_first:
            warnings.warn(message, stacklevel=4)


def _copy_state(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in state.items()}


def _seed_rank(seed: int, rank: int) -> None:
    """Each rank has draws of its own: with equal ones dropout would leave out the same of the rows of all ranks."""
    torch.manual_seed(seed)
    if rank:
        torch.manual_seed(int(torch.randint(2**62, (rank,))[-1]))


def _open_checkpoints(folder: Path, keep: int) -> CheckpointManager:
    from deepseek.train.checkpoint.checkpoint import (
        CheckpointManager,  # torch's part of it takes half a second to import
    )

    return CheckpointManager(folder, keep, ranks.cpu_group())


def unwrap_model(model: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel and torch.compile, whose names a checkpoint has."""
    while True:
        inner = (
            model.module
            if isinstance(model, nn.parallel.DistributedDataParallel)
            else getattr(model, "_orig_mod", None)
        )
        if inner is None:
            return model
        model = inner


def _waits_for_metric(scheduler: object) -> bool:
    return isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
