"""run.json: what a run was and how far it came, for who opens its folder later.

    RunRecord(status="running", home="..", job={...}).write(out)
    record = read_run(Path("runs/first"))          # MissingError for a folder of no run

`job` is the run's TOML file with its --set values, so that the module can be built again; `home` is the folder of that
file as seen from the run's.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from deepseek.bundle.fields import parse_value
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.files import atomic_file

RUN_FILE, WEIGHTS_FILE, CHECKPOINTS, REPORT_FILE = "run.json", "model.safetensors", "checkpoints", "report.html"
FORMAT = 1
Status = Literal["running", "stopped", "finished"]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The whole of run.json."""

    status: Status
    home: str  # relative to the run's folder
    job: JsonObject  # the fields of a Job, without those that are None; its reader checks them
    command: str | None = None  # of the shell that began it, or goes on with it
    stopped_step: int | None = None  # after which a run was stopped and saved
    report: JsonObject | None = None  # what `train --json` printed, of a finished run
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write run.json, whole or not at all."""
        with atomic_file(folder / RUN_FILE) as part:
            part.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False, default=str) + "\n")


def is_run_folder(folder: Path) -> bool:
    """Whether `train` has written there."""
    return (folder / RUN_FILE).is_file() or (folder / CHECKPOINTS).is_dir()


def read_run(folder: Path) -> RunRecord:
    """The record of the run in a folder. MissingError where there is none, IntegrityError for one that cannot be read,
    InputError for one of a newer version."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise MissingError(
            f"{folder} holds no run: there is no {RUN_FILE}", expected="a folder that `deepseek train` has written",
            fix="give the folder of train's --out; one of an older version needs `deepseek train ... --resume` once",
        )  # fmt: skip
    try:
        document = json.loads(path.read_bytes())
        if isinstance(document, dict) and document.get("format") != FORMAT:
            raise InputError(
                f"{path} is of the format {document.get('format')!r}", expected=str(FORMAT),
                fix="update the clone of this project",
            )  # fmt: skip
        record: RunRecord = parse_value(RunRecord, document, RUN_FILE)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{path} cannot be read: {str(error)[:200]}", expected=f"{RUN_FILE} as train wrote it",
            fix="train again, or take an unharmed copy",
        ) from error  # fmt: skip
    return record


@dataclass(frozen=True, slots=True)
class SavedStep:
    """The newest checkpoint of a run, by what its checkpoint.json says."""

    path: Path
    step: int
    epoch: int  # that it lies in, from 1 on
    num_epochs: int


def newest_checkpoint(folder: Path) -> SavedStep | None:
    """The newest checkpoint in the run's folder; None where there is none that can be read."""
    for path in sorted((folder / CHECKPOINTS).glob("step-*"), reverse=True):
        try:
            document = json.loads((path / "checkpoint.json").read_bytes())
            num_epochs = int(document["config"]["epochs"])
            return SavedStep(path, int(document["step"]), min(num_epochs, int(document["epoch"]) + 1), num_epochs)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def relative_home(home: Path, out: Path) -> str:
    """The folder of the run's file as seen from the run's own, so that both may move together."""
    return Path(os.path.relpath(home.resolve(), out.resolve())).as_posix()


def without_none(document: JsonObject) -> JsonObject:
    """The document without keys that are None, at any depth: a reader then takes its defaults."""
    return {
        key: without_none(value) if isinstance(value, dict) else value
        for key, value in document.items()
        if value is not None
    }
