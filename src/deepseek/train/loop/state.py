"""The state of one run of the loop: its parts, how far it is, and what a checkpoint of it must hold.

Position: `epoch`, `batch` (read in this epoch) and `step`. run.py moves it forward, validate.py measures it,
snapshot.py writes it to a checkpoint and reads it back.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deepseek.errors import InputError
from deepseek.train.checkpoint.state_tree import StateDict
from deepseek.train.distributed import ranks
from deepseek.train.loop.average import WeightAverage
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loggers import Sink, SinkGroup
from deepseek.train.loop.optimizer import (
    OptimizerFactory,
    SchedulerFactory,
    group_settings,
    make_optimizer,
    needs_closure,
)
from deepseek.train.loop.precision import Precision
from deepseek.train.loop.random_state import RandomState
from deepseek.train.loop.signals import StopSignal
from deepseek.train.loop.stream import BatchTransform, Loss, Validation, batch_loss
from deepseek.train.private.gradients import PrivateGradients
from deepseek.train.private.plan import StepPlan
from deepseek.train.private.stream import SampledRows

if TYPE_CHECKING:
    from deepseek.train.checkpoint.checkpoint import CheckpointManager


@dataclass(frozen=True, slots=True)
class RankState:
    """What a checkpoint holds of one rank alone."""

    loss_sum: float  # over the batches of this epoch so far
    epoch_start: RandomState | None  # the generators at the start of this epoch; None between two epochs
    now: RandomState  # the generators at the checkpoint
    data: StateDict | None  # the place in the data, where the data keeps it itself

    def to_dict(self) -> StateDict:
        """The state as checkpoints hold it."""
        return {"total": self.loss_sum, "start": self.epoch_start or {}, "here": self.now, "data": self.data}

    @classmethod
    def from_dict(cls, saved: StateDict) -> RankState:
        """The state that to_dict() gave."""
        return cls(saved["total"], saved["start"] or None, saved["here"], saved["data"])


@dataclass
class FitResult:
    """How a training went."""

    losses: list[float] = field(default_factory=list)  # the mean training loss of each epoch
    num_steps: int = 0
    validations: list[dict[str, float]] = field(default_factory=list)  # "epoch" and the metrics by name
    best: float | None = None  # of the watched metric
    best_epoch: int | None = None
    stopped_early: bool = False
    warnings: list[str] = field(default_factory=list)

    def _repr_html_(self) -> str:
        """The curves of the loss, for a notebook."""
        from deepseek.look.notebook.answers import training_card

        validation = [(each["epoch"] + 1, each["loss"]) for each in self.validations if "loss" in each]
        losses = [loss for loss in self.losses if math.isfinite(loss)]  # of private steps none is measured
        return training_card(losses, validation, num_steps=self.num_steps, notes=self.warnings)


class TrainingState:
    """The parts of one run and its position; see the module."""

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
        private: StepPlan | None = None,
    ) -> None:
        _seed_rank(config.seed, ranks.rank())  # what is random inside the module, such as dropout
        self.model, self.data, self.config, self.loss, self.validation = model, data, config, loss, validation
        self.net = unwrap_model(model)
        self.named_parameters = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        self.parameters = list(self.named_parameters.values())
        self.optimizer = make_optimizer(optimizer, self.named_parameters, config)
        self.change, self.device = change, self.parameters[0].device
        self.precision = Precision(config.precision, self.device)
        self.needs_closure = needs_closure(self.optimizer)
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.scheduler = scheduler(self.optimizer) if scheduler else None
        self.settings = group_settings(self.optimizer)
        self.average = WeightAverage(self.named_parameters, config.ema_decay)
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
        self.loss_sum = 0.0  # over the batches of this epoch
        self.best_weights: dict[str, Tensor] = {}
        self.epoch_start: RandomState | None = None  # the generators at the start of this epoch
        self.restored_state: RankState | None = None  # this rank's part of the checkpoint that the run goes on from
        self.saved_step = -1
        self.private_gradients = None if private is None else self._make_private(private)
        self._stop, self._are_all_used = StopSignal(), config.allow_unused
        self._log_sum, self._log_rows, self._log_s, self.log_step = 0.0, 0, time.monotonic(), 0
        self._check_data()
        # A length that its maker has given it stays; a scheduler or a constant rate is what was asked for.
        self._sets_total_steps = (
            scheduler is None and config.schedule == "auto" and self.num_steps is not None
            and getattr(self.optimizer, "total_steps", 0) is None
        )  # fmt: skip
        self.announce_length()

    def announce_length(self) -> None:
        """Tell an optimizer that can use it (AdaptiveOptimizer) how many steps are to come."""
        if self._sets_total_steps and self.num_steps is not None and self.step < self.num_steps:
            self.optimizer.expect_steps(self.num_steps - self.step)  # type: ignore[attr-defined]

    def _make_private(self, plan: StepPlan) -> PrivateGradients:
        """InputError for settings under which a step would say more of a row than the plan counts."""
        for good, what, expected in (
            (isinstance(self.data, SampledRows), "the batches are not drawn by chance", "rows of a .npz or .parquet"),
            (self.config.accumulate == 1, "train.accumulate is above 1", "1: a larger data.batch_size does the same"),
            (self.config.precision == "fp32", f"train.precision is {self.config.precision}", "fp32"),
            (self.change is None, "batches are mixed or changed", "rows as they are"),
            (self.group is None, "there are several processes", "one process"),
            (not self.needs_closure, "the optimizer asks for the loss several times a step", "one such as SGD or Adam"),
            (not hasattr(self.optimizer, "report"), "the optimizer reads the training loss", "one such as SGD or Adam"),
        ):  # fmt: skip
            if not good:
                raise InputError(f"{what}, under a privacy budget", expected=expected, fix="change it, or leave out dp")
        return PrivateGradients(
            self.net, self.named_parameters, lambda module, batch: batch_loss(module, batch, self.loss), plan
        )

    def _check_data(self) -> None:
        """Count the batches and steps; InputError for data that these settings cannot be trained on."""
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

    def warn(self, message: str) -> None:
        """Keep a warning for the result, and raise it on the first rank."""
        self.result.warnings.append(message)
        if self.is_first:
            warnings.warn(message, stacklevel=4)


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
