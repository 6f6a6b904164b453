"""The folder of a finished run, opened: its module with the weights that it ended with, and its job.

run = open_run(Path("runs/first"))
run.module(rows)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.config import build_dataclass
from deepseek.errors import CheckError, InputError, IntegrityError, MissingError
from deepseek.extras import need
from deepseek.train.loop.job import Job, load_model
from deepseek.train.run_folder.record import WEIGHTS_FILE, RunRecord, newest_checkpoint, read_run

#: Names under which torch and others save pickles.
PICKLE_SUFFIXES = frozenset([".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin", ".joblib"])


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRun:
    """A finished run."""

    folder: Path
    home: Path  # the folder of its TOML file, against which its paths stand
    record: RunRecord
    job: Job
    module: Any  # nn.Module on the CPU, in eval mode, without gradients


def open_run(folder: Path) -> TrainedRun:
    """Open the run in a folder. MissingError for what is not there, InputError for a run that is not finished, for a
    pickle and for a module that has changed since, IntegrityError for changed weights."""
    check_no_pickle(folder)
    if not folder.exists():
        raise MissingError(
            f"there is no run at {folder}", expected="a folder that `deepseek train` has written", fix="check the path"
        )
    record = read_run(folder)
    _check_finished(folder, record)
    weights = _read_weights(folder, record)
    job = build_dataclass(Job, record.job)
    _check_loss(job)
    home = folder / record.home
    module = load_model(job, home)
    try:
        module.load_state_dict(need("safetensors.torch", extra="train").load(weights))
    except RuntimeError as error:
        raise InputError(
            f"{job.model.build} builds another module than the run had: {' '.join(str(error).split())[:300]}",
            expected=f"the module whose weights are in {folder / WEIGHTS_FILE}",
            fix="put its code back as it was, or train again",
        ) from error
    return TrainedRun(folder, home, record, job, module.eval().requires_grad_(False))


def check_no_pickle(path: Path) -> None:
    """InputError for a file that may be a pickle, which is never opened."""
    if path.suffix.lower() in PICKLE_SUFFIXES and not path.is_dir():
        raise InputError(
            f"{path} may be a pickle by its name, and none is ever opened: it could run any program",
            expected="the folder of a run that `deepseek train` has written, with its weights as safetensors",
            fix="save the state_dict with safetensors.torch.save_file, or train with `deepseek train`",
        )


def _check_finished(folder: Path, record: RunRecord) -> None:
    if record.status == "finished":
        return
    saved = newest_checkpoint(folder)
    how_far = "" if saved is None else f", saved after step {saved.step} (epoch {saved.epoch} of {saved.num_epochs})"
    what = "was stopped" if record.status == "stopped" else "is under way or was killed"
    raise InputError(
        f"the run in {folder} is not finished: it {what}{how_far}", expected="a run that has come to its end",
        fix=f"deepseek train CONFIG --out {folder} --resume",
    )  # fmt: skip


def _read_weights(folder: Path, record: RunRecord) -> bytes:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in PICKLE_SUFFIXES)
        more = f"; {pickles[0]} may be a pickle, which is never opened" if pickles else ""
        raise MissingError(
            f"the run in {folder} has no {WEIGHTS_FILE}{more}", expected="the weights that train has written",
            fix=f"write them again: deepseek train CONFIG --out {folder} --resume",
        )  # fmt: skip
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != (record.report or {}).get("digest"):
        raise IntegrityError(
            f"{path} is not what the run wrote: its digest is another than run.json says", expected="the same bytes",
            fix=f"write them again: deepseek train CONFIG --out {folder} --resume",
        )  # fmt: skip
    return content


def _check_loss(job: Job) -> None:
    """A bundle turns a module's outputs into probabilities itself: one that gives these already would be squashed
    twice."""
    if job.loss is not None and job.loss.rpartition(":")[2] in ("BCELoss", "binary_cross_entropy"):
        raise CheckError(
            f"the run was trained with {job.loss}, so its module answers with probabilities",
            expected="a module that answers with logits",
            fix="leave the sigmoid out of the module, and train with torch.nn:BCEWithLogitsLoss",
        )
