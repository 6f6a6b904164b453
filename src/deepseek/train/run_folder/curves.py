"""The figures of a run as they were logged: a sink that keeps them on the disk, and curves.json at the end.

    sink = RunFolderSink(out, record, go_on=False)              # meets loop.loggers.Sink
    curves = Curves.of(losses, validations, sink.entries())
    curves.to_dict()                                            # curves.json

Each line of curves.jsonl is {"step": 20, "train/loss": 0.4, ...}, so that a run which was killed keeps what it logged.
A run that goes on from an earlier checkpoint takes steps again: what stood of these is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepseek.contracts import JsonObject
from deepseek.files import atomic_file
from deepseek.train.run_folder.record import RunRecord

LOG_FILE, CURVES_FILE = "curves.jsonl", "curves.json"
FORMAT = 1
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StepFigures:
    """Figures by name, as they were after so many steps; None for a number that was not finite."""

    step: int
    values: Mapping[str, float | None]


class RunFolderSink:
    """Writes run.json when the run begins, and keeps its figures in a file of JSON lines."""

    def __init__(self, folder: Path, record: RunRecord, *, go_on: bool) -> None:
        self._folder, self._record, self._go_on = folder, record, go_on
        self._path = folder / LOG_FILE
        self._entries: list[StepFigures] = []
        self._has_begun = False

    def start(self, config: Mapping[str, object]) -> None:
        """Only now: a folder that already holds a run is refused before, and stays as it is."""
        if not self._go_on:
            self._path.unlink(missing_ok=True)
        self._entries = read_log(self._path)
        self._record.write(self._folder)
        self._has_begun = True

    def stop(self, step: int | None) -> None:
        """Say in run.json that the run was stopped: after `step`, which is saved, or None where it ended at once."""
        if self._has_begun:
            replace(self._record, status="stopped", stopped_step=step).write(self._folder)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        entry = StepFigures(step, {name: float(v) if math.isfinite(v) else None for name, v in values.items()})
        if self._entries and self._entries[-1].step > step:  # these steps are taken again
            self._entries = [kept for kept in self._entries if kept.step < step]
            with atomic_file(self._path) as part:
                part.write_text("".join(map(_to_line, self._entries)))
        self._entries.append(entry)
        with self._path.open("a") as file:
            file.write(_to_line(entry))

    def close(self) -> None:
        """Every line is in the file already."""

    def entries(self) -> list[StepFigures]:
        """What was logged so far, by rising step."""
        return list(self._entries)


def read_log(path: Path) -> list[StepFigures]:
    """The entries of a file of JSON lines; none where it is absent. A last line that a kill has cut is left out."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text().splitlines():
        try:
            values = json.loads(line)
            entries.append(StepFigures(int(values.pop("step")), values))
        except (ValueError, KeyError, TypeError, AttributeError):
            break
    return entries


def _to_line(entry: StepFigures) -> str:
    return json.dumps({"step": entry.step, **entry.values}) + "\n"


@dataclass(frozen=True, slots=True)
class Curves:
    """The figures of a run: of each epoch, and of the steps that were logged."""

    epochs: tuple[Mapping[str, float | None], ...]  # "epoch" from 1 on, "train_loss", and "val_NAME" where validated
    steps: tuple[StepFigures, ...]

    @classmethod
    def of(
        cls, losses: Sequence[float], validations: Sequence[Mapping[str, float]], steps: Sequence[StepFigures]
    ) -> Curves:
        """From FitResult's losses (one an epoch) and validations (each with its "epoch", from 0), and the log."""
        epochs: list[dict[str, float | None]] = [
            {"epoch": epoch, "train_loss": loss if math.isfinite(loss) else None}
            for epoch, loss in enumerate(losses, start=1)
        ]
        for validation in validations:
            named = {f"val_{name}": value for name, value in validation.items() if name != "epoch"}
            epochs[int(validation["epoch"])] |= {k: v if math.isfinite(v) else None for k, v in named.items()}
        return cls(tuple(epochs), tuple(steps))

    def by_epoch(self, name: str) -> list[Point]:
        """(epoch, value) of the epochs that have one."""
        return [(float(row["epoch"] or 0), value) for row in self.epochs if (value := row.get(name)) is not None]

    def by_step(self, name: str) -> list[Point]:
        """(step, value) of the entries that have one."""
        return [(float(entry.step), value) for entry in self.steps if (value := entry.values.get(name)) is not None]

    def metrics(self) -> list[str]:
        """Names of the validation's metrics besides its loss, in order."""
        names = dict.fromkeys(name for row in self.epochs for name in row if name.startswith("val_"))
        return [name for name in names if name != "val_loss"]

    def to_dict(self) -> JsonObject:
        """curves.json."""
        steps = [{"step": entry.step, **entry.values} for entry in self.steps]
        return {"format": FORMAT, "epochs": [dict(row) for row in self.epochs], "steps": steps}
