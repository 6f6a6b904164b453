"""What a checkpoint of a run holds, and a run put back to it.

Before anything is read into the run, the checkpoint is held against it: the model by its tensors, the configuration and
the optimizer by what they were made with, the data by its number of batches.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.train.checkpoint.state_tree import StateDict
from deepseek.train.distributed import ranks
from deepseek.train.loop import random_state
from deepseek.train.loop.optimizer import load_named_optimizer_state, named_optimizer_state
from deepseek.train.loop.state import FitResult, RankState, TrainingState
from deepseek.train.loop.stream import describe_batch

if TYPE_CHECKING:
    from deepseek.train.checkpoint.checkpoint import Checkpoint, RunMetadata

#: What may be another when a run goes on: it changes how long and how often, not what a step does.
CHANGEABLE_SETTINGS = (
    "epochs", "patience", "min_delta", "checkpoint_every", "checkpoint_wait", "keep", "log_every", "allow_unused",
)  # fmt: skip
_FIX_DIFFERENCE = "give the same, or begin anew in another folder"


class SharedState(TypedDict):
    """What a checkpoint holds once for all ranks; a tensor may be sharded (DTensor)."""

    model: StateDict
    optimizer: StateDict  # by the names of the parameters
    scheduler: StateDict | None
    scaler: StateDict | None  # of fp16
    num_skipped: int  # steps in a row that fp16 has left out
    average: dict[str, Tensor]  # averaged weights, if any
    best: StateDict  # the weights of the best validation, with train.patience
    result: StateDict  # the fields of FitResult so far
    position: list[int]  # epoch, batch, step
    num_waits: int  # validations since the best one


def run_metadata(run: TrainingState) -> RunMetadata:
    """What checkpoint.json says of the run, for a person and for check_metadata()."""
    return {
        "epoch": run.epoch,
        "batch": run.batch,
        "num_batches": run.num_batches,
        "config": asdict(run.config),
        "optimizer": {"kind": type(run.optimizer).__name__, "groups": run.settings},
        "scheduler": type(run.scheduler).__name__ if run.scheduler else None,
        "versions": {"torch": torch.__version__},
    }


def shared_state(run: TrainingState) -> SharedState:
    """What a checkpoint holds once for all ranks. The buffers of norms are the first rank's from here on, in all of
    them: a checkpoint holds one of each."""
    ranks.broadcast_buffers(run.net.buffers())
    scaler = run.precision.scaler
    return {
        "model": run.net.state_dict(),
        "optimizer": named_optimizer_state(run.optimizer, run.named_parameters),
        "scheduler": run.scheduler.state_dict() if run.scheduler else None,
        "scaler": scaler.state_dict() if scaler else None,
        "num_skipped": run.precision.num_skipped,
        "average": run.average.tensors,
        "best": run.best_weights,
        "result": asdict(run.result),
        "position": [run.epoch, run.batch, run.step],
        "num_waits": run.num_waits,
    }


def rank_state(run: TrainingState) -> RankState:
    """What a checkpoint holds of this rank alone."""
    return RankState(
        loss_sum=run.loss_sum,
        epoch_start=run.epoch_start if run.batch else None,
        now=random_state.capture(run.data, run.validation),
        data=run.data.state_dict() if random_state.is_stateful(run.data) else None,  # type: ignore[attr-defined]
    )


def restore_run(run: TrainingState, checkpoint: Checkpoint) -> None:
    """Put a new run to where a checkpoint was written."""
    assert run.checkpoints is not None  # noqa: S101 - only a run with checkpoints goes on
    check_metadata(run, checkpoint)
    contents = run.checkpoints.read(checkpoint, lambda name: _sharded_like(run, name))
    shared, saved = contents.shared, RankState.from_dict(contents.own)
    check_model(run.net.state_dict(), shared["model"], str(checkpoint.path))
    load_named_optimizer_state(run.optimizer, run.named_parameters, shared["optimizer"])
    run.net.load_state_dict(shared["model"])
    if run.scheduler is not None:
        run.scheduler.load_state_dict(shared["scheduler"])
    if run.precision.scaler is not None:
        run.precision.scaler.load_state_dict(shared["scaler"])
    run.precision.num_skipped = shared["num_skipped"]
    run.average.tensors = {name: value.to(run.device) for name, value in shared["average"].items()}
    run.best_weights = shared["best"] if run.config.patience else {}
    passed_over = run.result.warnings
    run.result = FitResult(**shared["result"])
    run.result.warnings.extend(passed_over)
    run.epoch, run.batch, run.step = shared["position"]
    run.saved_step = run.log_step = run.step
    run.announce_length()  # the run may go on for more epochs than it was begun with
    run.num_waits = shared["num_waits"]
    if run.config.patience and not run.best_weights:  # it had none before: the best from now on, whose weights are kept
        run.result.best, run.result.best_epoch, run.num_waits = None, None, 0
    run.is_over = run.result.stopped_early = 0 < run.config.patience <= run.num_waits
    run.loss_sum, run.epoch_start, run.restored_state = saved.loss_sum, saved.epoch_start, saved
    if run.batch == 0:
        random_state.restore(saved.now, run.data, run.validation)
    num_writers = checkpoint.metadata["num_ranks"]
    if not contents.is_own_rank or num_writers != ranks.num_ranks():
        run.warn(
            f"{checkpoint.path} was written by {num_writers} processes and is read by {ranks.num_ranks()}: "
            "the run goes on, but not bit-equal"
        )


def _sharded_like(run: TrainingState, name: str) -> Tensor | None:
    """The parameter after which a tensor of a checkpoint is sharded."""
    parts = name.split("/")
    if parts[0] != "state" or len(parts) < 3:
        return None
    return run.named_parameters.get(parts[-2] if parts[1] == "optimizer" else parts[-1])


def check_metadata(run: TrainingState, checkpoint: Checkpoint) -> None:
    """InputError when the configuration, the optimizer or the data are not those of the run in the folder."""
    folder, saved = checkpoint.path.parent, checkpoint.metadata
    settings = asdict(run.config)
    for key, before in saved["config"].items():
        if key in settings and key not in CHANGEABLE_SETTINGS and settings[key] != before:
            raise InputError(
                f"train.{key} is {settings[key]}, and the run in {folder} began with {before}",
                expected=f"another value only for {', '.join(CHANGEABLE_SETTINGS)}", fix=_FIX_DIFFERENCE,
            )  # fmt: skip
    kind, saved_optimizer = type(run.optimizer).__name__, saved["optimizer"]
    if kind != saved_optimizer["kind"]:
        raise InputError(
            f"the optimizer is {kind}, and the run in {folder} began with {saved_optimizer['kind']}",
            expected="the same optimizer", fix=_FIX_DIFFERENCE,
        )  # fmt: skip
    for index, (new, old) in enumerate(zip(run.settings, saved_optimizer["groups"], strict=False)):
        changed = [key for key in new if key in old and new[key] != old[key]]
        if changed:
            raise InputError(
                f"{changed[0]} of the optimizer's group {index} is {new[changed[0]]}, and the run in {folder} began "
                f"with {old[changed[0]]}",
                expected="the optimizer as it was made", fix=_FIX_DIFFERENCE,
            )  # fmt: skip
    scheduler = run_metadata(run)["scheduler"]
    before = saved.get("scheduler", scheduler)
    if scheduler != before:
        raise InputError(
            f"the scheduler is {scheduler or 'none'}, and the run in {folder} began with {before or 'none'}",
            expected="the same scheduler", fix=_FIX_DIFFERENCE,
        )  # fmt: skip
    if saved["num_batches"] != run.num_batches and saved["num_ranks"] == ranks.num_ranks():
        raise InputError(
            f"the data has {run.num_batches} batches, and that of the run in {folder} had {saved['num_batches']}",
            expected="the data of the run that goes on", fix=_FIX_DIFFERENCE,
        )  # fmt: skip


def check_model(now: StateDict, saved: StateDict, path: str) -> None:
    """InputError that names the first tensor in which a checkpoint and a model differ."""
    for name in (*saved, *now):
        if name not in now or name not in saved:
            what = f"has {name!r}, and this model has not" if name in saved else f"lacks {name!r} of this model"
        elif isinstance(now[name], Tensor) and isinstance(saved[name], Tensor):
            stored, expected = describe_batch(saved[name]), describe_batch(now[name])
            if stored == expected:
                continue
            what = f"has {name!r} as {stored}, and this model as {expected}"
        else:
            continue
        raise InputError(
            f"the checkpoint {path} is of another model: it {what}", expected="a checkpoint of this model",
            fix="build the model as it was, or begin anew in another folder",
        )  # fmt: skip
