"""A run of the loop as a file says it: which module, which data, which settings. `deepseek train` is this.

    loss = "torch.nn:CrossEntropyLoss"
    [model]
    build = "net.py:build"                  # FILE.py:NAME beside this file, or an installed MODULE:NAME
    args = {width = 64}
    [data]
    train = "rows.npz"                      # .npz, .parquet, or FILE.py:NAME of a function that returns batches
    validation = "later.npz"
    [train]
    epochs = 20                             # the fields of TrainConfig
    [mix]
    mixup = 0.2                             # of batches (images, labels), with num_classes; off by default
    [dp]
    epsilon = 3.0                           # the fields of PrivacyBudget; off by default
    delta = 1e-6

The weights are written as DIR/model.safetensors, the checkpoints to DIR/checkpoints; run.json, curves.json and
report.html say how it went (train/run_folder).
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.config import build_dataclass, merge_settings, read_toml
from deepseek.errors import InputError
from deepseek.files import atomic_file
from deepseek.results import Result
from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.object_loader import Arguments, load_object
from deepseek.train.private.budget import PrivacyBudget
from deepseek.train.run_folder.curves import CURVES_FILE, Curves, RunFolderSink
from deepseek.train.run_folder.record import (
    CHECKPOINTS,
    REPORT_FILE,
    WEIGHTS_FILE,
    RunRecord,
    relative_home,
    without_none,
)

if TYPE_CHECKING:
    from torch import nn

    from deepseek.contracts import JsonObject
    from deepseek.train.loop.state import FitResult
    from deepseek.train.private.plan import PrivacySpent


@dataclass(frozen=True)
class ModelSection:
    """Which module is trained."""

    build: str  # FILE.py:NAME or MODULE:NAME of a function or class that gives the nn.Module
    args: Arguments = field(default_factory=dict)


@dataclass(frozen=True)
class DataSection:
    """Which batches it is trained and validated on."""

    train: str  # a .npz or .parquet file, or FILE.py:NAME of a function that gives batches
    validation: str | None = None
    target: str = "y"  # the array or column that is predicted
    batch_size: int = 64  # rows, at least 1; of files
    shuffle: bool = True  # the training rows of a file, anew each epoch
    args: Arguments = field(default_factory=dict)  # of the function
    validation_args: Arguments | None = None  # of the validation's function; the same where there are none

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"data.batch_size is {self.batch_size}", expected="at least 1", fix="give such a value")


@dataclass(frozen=True)
class OptimizerSection:
    """Which optimizer takes the steps."""

    build: str | None = None  # such as "torch.optim:SGD" or "deepseek.optimizers:AdaptiveOptimizer"; AdamW by default
    args: Arguments = field(default_factory=dict)


@dataclass(frozen=True)
class MixSection:
    """Batches of (images, labels) that are mixed in training, as nn.augment.Mix does it."""

    num_classes: int = 0  # needed where something is mixed
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        if (self.mixup or self.cutmix) and self.num_classes < 2:
            raise InputError(f"mix.num_classes is {self.num_classes}", expected="2 or more", fix="say how many")


@dataclass(frozen=True)
class Job:
    """A whole run as its file says it."""

    model: ModelSection
    data: DataSection
    optimizer: OptimizerSection
    train: TrainConfig
    loss: str | None = None  # such as "torch.nn:CrossEntropyLoss"; without one the model returns its loss
    loss_args: Arguments = field(default_factory=dict)  # of a class
    mix: MixSection = field(default_factory=MixSection)
    out: str | None = None
    device: str = "cpu"
    track: tuple[str, ...] = ()  # tensorboard, mlflow
    dp: PrivacyBudget | None = None  # what the run may tell of each training row


@dataclass(frozen=True, slots=True, eq=False)
class TrainReport(Result):
    """What a finished run was: the weights that it wrote and the figures that it ended with."""

    weights: Path  # model.safetensors
    digest: str  # sha256 of the weights
    target: str | None  # the array or column that is predicted; None where a function gives the batches
    model: str  # FILE.py:NAME or MODULE:NAME, as the job names it
    metrics: dict[str, float]  # train_loss, and val_NAME of the last validation; the first not under a privacy budget
    num_steps: int
    num_epochs: int
    stopped_early: bool
    size_bytes: int
    cpu_s: float
    wall_s: float
    seed: int
    warnings: list[str]
    report: Path  # the page of the run
    curves: Path  # its figures by epoch and step
    versions: dict[str, str]  # of torch
    privacy: PrivacySpent | None = None  # of the training rows

    def to_dict(self) -> JsonObject:
        """As `deepseek train --json` prints it. No interval: there is none on a single run."""
        figures = {name: {"value": value, "low": None, "high": None} for name, value in self.metrics.items()}
        return {
            "bundle": None, "weights": str(self.weights), "digest": self.digest, "task": None, "target": self.target,
            "model": self.model, "engine": "torch", "metrics": figures, "baseline": {}, "num_steps": self.num_steps,
            "num_epochs": self.num_epochs, "stopped_early": self.stopped_early, "size_bytes": self.size_bytes,
            "cpu_s": self.cpu_s, "wall_s": self.wall_s, "seed": self.seed, "warnings": self.warnings,
            "report": str(self.report), "curves": str(self.curves), "versions": self.versions,
            "privacy": None if self.privacy is None else asdict(self.privacy),
        }  # fmt: skip

    def summary(self) -> str:
        """The weights and the figures in one line."""
        figures = ", ".join(f"{name} {value:.6g}" for name, value in self.metrics.items())
        return f"{self.weights}: {self.model} after {self.num_epochs} epochs, {figures}"


def read_job(path: Path, settings: tuple[str, ...]) -> Job:
    """The job in a TOML file with KEY=VALUE settings put over it, checked. torch is not imported."""
    job = build_dataclass(Job, merge_settings(read_toml(path), settings))
    unknown = [name for name in job.track if name not in ("tensorboard", "mlflow")]
    if unknown:
        raise InputError(f"track has {unknown[0]!r}", expected="tensorboard, mlflow", fix="take some of these")
    return job


def run_job(
    job: Job, home: Path, out: Path, *, go_on: bool, progress: bool = True, command: str | None = None
) -> TrainReport | None:
    """Train, write the weights to `out` and report. `home` is the folder against which the job's paths stand; `command`
    is the shell's, for the run's page.

    Under torchrun every process calls this; the first gets the report, the others None.
    """
    from deepseek.train.distributed.launch import joined_process_group
    from deepseek.train.loop.stream import find_device

    with joined_process_group("gloo" if find_device(job.device).type == "cpu" else "cpu:gloo,cuda:nccl"):
        return _train_job(job, home, out, go_on=go_on, progress=progress, command=command)


def launch_job(
    job: Job, home: Path, out: Path, *, go_on: bool, num_processes: int, max_restarts: int, command: str | None = None
) -> TrainReport | None:
    """run_job() in processes of this machine, which all go on from the last checkpoint after one of them has died."""
    from deepseek.train.distributed.launch import launch

    report: TrainReport | None = launch(
        _attempt, (job, home, out, go_on, command), num_processes=num_processes, max_restarts=max_restarts
    )
    return report


def _attempt(job: Job, home: Path, out: Path, go_on: bool, command: str | None) -> TrainReport | None:
    return run_job(job, home, out, go_on=go_on, command=command)


def _is_automatic_restart(out: Path) -> bool:
    """Whether the elastic agent starts this run again, with the command line that began it. The first attempt leaves a
    mark where it finds no checkpoints; in the folder of another run there is none, which stays refused. Each rank
    answers alike, as only the first attempt changes what they look at."""
    from deepseek.train.distributed import ranks
    from deepseek.train.distributed.launch import restart_count

    mark, is_empty = out / ".begun", not any((out / "checkpoints").glob("step-*"))
    if restart_count() == 0 and ranks.rank() == 0:
        mark.unlink(missing_ok=True)
    if is_empty and ranks.rank() == 0:
        mark.touch()
    return restart_count() > 0 and (is_empty or mark.exists())


def _train_job(
    job: Job, home: Path, out: Path, *, go_on: bool, progress: bool, command: str | None
) -> TrainReport | None:
    import torch

    from deepseek.train.distributed import ranks
    from deepseek.train.loop.loop import fit, resume
    from deepseek.train.loop.stream import find_device
    from deepseek.train.private.run_plan import plan_of_run, withdrawn_without_a_step

    start_s, start_cpu_s = time.monotonic(), time.process_time()
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(job.train.seed)  # of the weights with which the module begins
    net = load_model(job, home).to(find_device(job.device))
    model = torch.nn.parallel.DistributedDataParallel(net) if ranks.num_ranks() > 1 else net
    go_on = _is_automatic_restart(out) or go_on
    train = resume if go_on else fit
    rows = None if job.dp is None else load_data(job, home, is_training=True)
    private, spent = plan_of_run(job.dp, out, rows, job.train.epochs, what=job.model.build, go_on=go_on)
    record = RunRecord("running", relative_home(home, out), without_none(asdict(job)), command)
    own_sink = RunFolderSink(out, record, go_on=go_on)
    # In this order: a function of the user's may draw from torch's generator.
    with _stops_recorded(own_sink), withdrawn_without_a_step(out, job.dp):
        result = train(
            loss=_load_loss(job, home),
            optimizer=_optimizer_factory(job, home),
            validation=load_data(job, home, is_training=False),
            sinks=[own_sink, *_open_sinks(job, out)],
            change=_batch_transform(job),
            data=rows or load_data(job, home, is_training=True),
            model=model,
            config=job.train,
            checkpoints=out / CHECKPOINTS,
            private=private,
            progress=progress,
        )
    if ranks.rank() > 0:
        return None
    weights = out / WEIGHTS_FILE
    report = TrainReport(
        weights=weights,
        digest=_write_weights(net, weights),
        target=job.data.target if job.data.train.endswith((".npz", ".parquet")) else None,
        model=job.model.build,
        metrics=_final_metrics(result),
        num_steps=result.num_steps,
        num_epochs=len(result.losses),
        stopped_early=result.stopped_early,
        size_bytes=weights.stat().st_size,
        cpu_s=time.process_time() - start_cpu_s,
        wall_s=time.monotonic() - start_s,
        seed=job.train.seed,
        warnings=result.warnings,
        report=out / REPORT_FILE,
        curves=out / CURVES_FILE,
        versions={"torch": torch.__version__},
        privacy=spent,
    )
    _write_run_folder(report, record, Curves.of(result.losses, result.validations, own_sink.entries()), out)
    return report


def _final_metrics(result: FitResult) -> dict[str, float]:
    metrics = {"train_loss": result.losses[-1]} if math.isfinite(result.losses[-1]) else {}
    last = result.validations[-1] if result.validations else {}
    return metrics | {f"val_{name}": value for name, value in last.items() if name != "epoch"}


@contextmanager
def _stops_recorded(sink: RunFolderSink) -> Iterator[None]:
    """Pass on to `sink` that the run was stopped, with the step that the loop has saved."""
    try:
        yield
    except KeyboardInterrupt as stop:
        sink.stop(stop.args[0] if stop.args else None)
        raise


def _write_run_folder(report: TrainReport, record: RunRecord, curves: Curves, out: Path) -> None:
    """curves.json, report.html, and last the run.json of a finished run."""
    from deepseek.train.run_folder.report import write_report

    finished = replace(record, status="finished", report=report.to_dict())
    with atomic_file(report.curves) as part:
        part.write_text(json.dumps(curves.to_dict(), indent=1) + "\n")
    write_report(report.report, finished, curves)
    finished.write(out)


def _write_weights(model: nn.Module, path: Path) -> str:
    """Write the weights of a module as safetensors. Returns the sha256 of the file."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    content = save(tensors)
    with atomic_file(path) as part:
        part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_model(job: Job, home: Path) -> Any:
    """The untrained module of a job. InputError where what it names gives none."""
    from torch import nn

    model = load_object("model.build", job.model.build, home, call=True, args=job.model.args)
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model.build {job.model.build} gives a {type(model).__name__}", expected="a torch nn.Module",
            fix="let it return the module",
        )  # fmt: skip
    return model


def _load_loss(job: Job, home: Path) -> Any:
    if job.loss is None:
        return None
    loss = load_object("loss", job.loss, home)
    return loss(**job.loss_args) if isinstance(loss, type) else loss


def _batch_transform(job: Job) -> Any:
    from deepseek.nn.augment import Mix, MixShape

    shape = MixShape(job.mix.mixup, job.mix.cutmix)
    return Mix(shape, job.mix.num_classes) if shape else None


def _optimizer_factory(job: Job, home: Path) -> Any:
    if job.optimizer.build is None:
        return None
    kind = load_object("optimizer.build", job.optimizer.build, home)

    def make(parameters: list[Any]) -> Any:
        try:
            return kind(parameters, **job.optimizer.args)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{job.optimizer.build} refuses its arguments: {error}", expected="optimizer.args that it takes",
                fix="see its documentation",
            ) from error  # fmt: skip

    return make


def load_data(job: Job, home: Path, *, is_training: bool) -> Any:
    """The batches of a job, or what measures its validation; None without a validation."""
    name = job.data.train if is_training else job.data.validation
    if name is None:
        return None
    key = "data.train" if is_training else "data.validation"
    if not name.endswith((".npz", ".parquet")):
        own = None if is_training else job.data.validation_args
        return load_object(key, name, home, call=True, args=job.data.args if own is None else own)
    import torch

    from deepseek.train.distributed import ranks
    from deepseek.train.loop.arrays import read_arrays
    from deepseek.train.loop.stream import ArrayStream

    if is_training and job.dp is not None:
        from deepseek.train.private.stream import sample_rows

        return sample_rows(read_arrays(key, home / name, job.data.target), job.data.batch_size)
    share = (ranks.rank(), ranks.num_ranks()) if is_training else (0, 1)
    order = torch.Generator().manual_seed(job.train.seed) if is_training and job.data.shuffle else None
    return ArrayStream(read_arrays(key, home / name, job.data.target), job.data.batch_size, order, share)


def _open_sinks(job: Job, out: Path) -> list[Any]:
    from deepseek.train.distributed import ranks

    if ranks.rank() > 0:
        return []
    from deepseek.train.loop.loggers import MLflow, TensorBoard

    sinks: list[Any] = []
    if "tensorboard" in job.track:
        sinks.append(TensorBoard(out / "tensorboard"))
    if "mlflow" in job.track:
        sinks.append(MLflow(out.name))
    return sinks
