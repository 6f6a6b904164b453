"""What a checkpoint of a run holds, and a run put back to it.

Before anything is read into the run, the checkpoint is held against it: the model by its tensors, the configuration and
the optimizer by what they were made with, the data by its number of batches.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.train.distributed import ranks
from deepseek.train.loop import random_state
from deepseek.train.loop.optimizer import load_named_optimizer_state, named_optimizer_state

if TYPE_CHECKING:
    from deepseek.train.checkpoint.checkpoint import Checkpoint
    from deepseek.train.loop.run import TrainingRun

#: What may be another when a run goes on: it changes how long and how often, not what a step does.
CHANGEABLE_SETTINGS = (
    "epochs",
    "patience",
    "min_delta",
    "checkpoint_every",
    "checkpoint_wait",
    "keep",
    "log_every",
    "allow_unused",
)
_FIX_DIFFERENCE = "give the same, or begin anew in another folder"


def checkpoint_metadata(run: TrainingRun) -> dict[str, Any]:
    """What checkpoint.json says of it, for a person and for `check_metadata`."""
    return {
        "epoch": run.epoch,
        "batch": run.batch,
        "num_batches": run.num_batches,
        "config": asdict(run.config),
        "optimizer": {"kind": type(run.optimizer).__name__, "groups": run.settings},
        "scheduler": type(run.scheduler).__name__ if run.scheduler else None,
        "versions": {"torch": torch.__version__},
    }


def shared_state(run: TrainingRun) -> dict[str, Any]:
    """The same on all ranks, or sharded. What norms remember is the first rank's from here on, in all of them: a
    checkpoint holds one rank's of each."""
    ranks.broadcast_buffers(run.net.buffers())
    scaler = run.precision.scaler
    return {
        "model": run.net.state_dict(),
        "optimizer": named_optimizer_state(run.optimizer, run.named),
        "scheduler": run.scheduler.state_dict() if run.scheduler else None,
        "scaler": scaler.state_dict() if scaler else None,
        "num_skipped": run.precision.num_skipped,
        "average": run.average.tensors,
        "best": run.best_weights,
        "result": asdict(run.result),
        "position": [run.epoch, run.batch, run.step],
        "num_waits": run.num_waits,
    }


def rank_state(run: TrainingRun) -> dict[str, Any]:
    """The rank's own."""
    return {
        "total": run.total,
        "start": run.start if run.batch else {},
        "here": random_state.capture(run.data, run.validation),
        "data": run.data.state_dict() if random_state.is_stateful(run.data) else None,  # type: ignore[attr-defined]
    }


def restore_run(run: TrainingRun, found: Checkpoint) -> None:
    """Put a new run to where a checkpoint was written."""
    assert run.checkpoints is not None  # noqa: S101 - only a run with checkpoints goes on
    check_metadata(run, found)
    shared, own, is_same_rank = run.checkpoints.read(found, lambda name: _sharded_like(run, name))
    check_model(run.net.state_dict(), shared["model"], str(found.path))
    load_named_optimizer_state(run.optimizer, run.named, shared["optimizer"])
    run.net.load_state_dict(shared["model"])
    if run.scheduler is not None:
        run.scheduler.load_state_dict(shared["scheduler"])
    if run.precision.scaler is not None:
        run.precision.scaler.load_state_dict(shared["scaler"])
    run.precision.num_skipped = shared["num_skipped"]
    run.average.tensors = {name: value.to(run.device) for name, value in shared["average"].items()}
    run.best_weights = shared["best"] if run.config.patience else {}
    passed_over = run.result.warnings
    run.result = type(run.result)(**shared["result"])
    run.result.warnings.extend(passed_over)
    run.epoch, run.batch, run.step = shared["position"]
    run.saved_at = run.log_step = run.step
    run.num_waits = shared["num_waits"]
    if run.config.patience and not run.best_weights:  # it had none before: the best from now on, whose weights are kept
        run.result.best, run.result.best_epoch, run.num_waits = None, None, 0
    run.is_over = run.result.stopped_early = 0 < run.config.patience <= run.num_waits
    run.total, run.start, run.restored = own["total"], own["start"], own
    if run.batch == 0:
        random_state.restore(own["here"], run.data, run.validation)
    if not is_same_rank or found.facts["num_ranks"] != ranks.num_ranks():
        run.warn(
            f"{found.path} was written by {found.facts['num_ranks']} processes and is read by {ranks.num_ranks()}: "
            "the run goes on, but not bit-equal"
        )


def _sharded_like(run: TrainingRun, name: str) -> Tensor | None:
    """The parameter after which a tensor of a checkpoint is sharded."""
    parts = name.split("/")
    if parts[0] != "state" or len(parts) < 3:
        return None
    return run.named.get(parts[-2] if parts[1] == "optimizer" else parts[-1])


def check_metadata(run: TrainingRun, found: Checkpoint) -> None:
    """InputError when the configuration, the optimizer or the data are not those of the run in the folder."""
    folder = found.path.parent
    now = asdict(run.config)
    for key, before in found.facts["config"].items():
        if key in now and key not in CHANGEABLE_SETTINGS and now[key] != before:
            raise InputError(
                f"train.{key} is {now[key]}, and the run in {folder} began with {before}",
                expected=f"another value only for {', '.join(CHANGEABLE_SETTINGS)}", fix=_FIX_DIFFERENCE,
            )  # fmt: skip
    kind, was = type(run.optimizer).__name__, found.facts["optimizer"]
    if kind != was["kind"]:
        raise InputError(
            f"the optimizer is {kind}, and the run in {folder} began with {was['kind']}",
            expected="the same optimizer", fix=_FIX_DIFFERENCE,
        )  # fmt: skip
    for index, (new, old) in enumerate(zip(run.settings, was["groups"], strict=False)):
        changed = [key for key in new if key in old and new[key] != old[key]]
        if changed:
            raise InputError(
                f"{changed[0]} of the optimizer's group {index} is {new[changed[0]]}, and the run in {folder} began "
                f"with {old[changed[0]]}",
                expected="the optimizer as it was made", fix=_FIX_DIFFERENCE,
            )  # fmt: skip
    scheduler = checkpoint_metadata(run)["scheduler"]
    before = found.facts.get("scheduler", scheduler)
    if scheduler != before:
        raise InputError(
            f"the scheduler is {scheduler or 'none'}, and the run in {folder} began with {before or 'none'}",
            expected="the same scheduler", fix=_FIX_DIFFERENCE,
        )  # fmt: skip
    if found.facts["num_batches"] != run.num_batches and found.facts["num_ranks"] == ranks.num_ranks():
        raise InputError(
            f"the data has {run.num_batches} batches, and that of the run in {folder} had {found.facts['num_batches']}",
            expected="the data of the run that goes on", fix=_FIX_DIFFERENCE,
        )  # fmt: skip


def check_model(now: dict[str, Any], saved: dict[str, Any], path: str) -> None:
    """InputError that names the first tensor in which a checkpoint and a model differ."""
    for name in (*saved, *now):
        if name not in now or name not in saved:
            what = f"has {name!r}, and this model has not" if name in saved else f"lacks {name!r} of this model"
        elif (
            isinstance(now[name], Tensor)
            and isinstance(saved[name], Tensor)
            and _describe_tensor(now[name]) != _describe_tensor(saved[name])
        ):
            what = f"has {name!r} as {_describe_tensor(saved[name])}, and this model as {_describe_tensor(now[name])}"
        else:
            continue
        raise InputError(
            f"the checkpoint {path} is of another model: it {what}", expected="a checkpoint of this model",
            fix="build the model as it was, or begin anew in another folder",
        )  # fmt: skip


def _describe_tensor(value: object) -> str:
    if not isinstance(value, Tensor):
        return "no tensor"
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
