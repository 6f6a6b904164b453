"""Metrics of federated studies, from the folders of their coordinators.

    STUDY/study.json                        what is agreed on
    STUDY/coordinator/TASK/record.json      a task that is over: kind, attempt, parties, dropped, messages

The coordinator itself answers nobody but parties with a certificate, so its records are read whenever Prometheus asks,
as runs are; one that was killed is still seen.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deepseek.observe.metrics_status import gauge_family

STUDY_FILE, COORDINATOR, RECORD = "study.json", "coordinator", "record.json"


@dataclass(frozen=True, slots=True)
class StudyFigures:
    """Where a study stands by its records."""

    num_rounds: int  # training rounds that are over
    num_parties: int  # whose answers are in the last task
    num_dropped: int
    num_attempts: int  # that the last task took
    num_bytes: int  # that the parties of the last task sent
    time_s: float  # when it was over, since 1970


def is_study_folder(folder: Path) -> bool:
    """Whether a coordinator of a federated study writes there."""
    return (folder / STUDY_FILE).is_file() and (folder / COORDINATOR).is_dir()


class StudyReader:
    """The records of one coordinator. What was read is not read again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / COORDINATOR
        self._num_rounds = 0
        self._next = 0
        self._last: StudyFigures | None = None

    def read(self) -> StudyFigures | None:
        """The figures now; None before the first task is over. A record that is being written is read the next time."""
        tasks = sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdecimal())
        for task in tasks:
            if task < self._next:
                continue
            path = self._folder / str(task) / RECORD
            try:
                record = json.loads(path.read_bytes())
                sizes = [int(message["num_bytes"]) for message in record["messages"]]
                self._num_rounds += record["kind"] == "training"
                self._last = StudyFigures(
                    self._num_rounds, len(record["parties"]), len(record["dropped"]), int(record["attempt"]) + 1,
                    sum(sizes), path.stat().st_mtime,
                )  # fmt: skip
            except (OSError, ValueError, KeyError, TypeError):
                break
            self._next = task + 1
        return self._last


class StudyCollector(Collector):
    """Studies by name."""

    def __init__(self, studies: Mapping[str, Path]) -> None:
        self._readers = {name: StudyReader(folder) for name, folder in studies.items()}

    def collect(self) -> Iterator[Metric]:
        families = {
            field: gauge_family(f"deepseek_federated_{name}")
            for field, name in (
                ("num_rounds", "rounds"), ("num_parties", "parties"), ("num_dropped", "dropped_parties"),
                ("num_attempts", "attempts"), ("num_bytes", "sent_bytes"), ("time_s", "task_timestamp_seconds"),
            )
        }  # fmt: skip
        for name, reader in self._readers.items():
            with contextlib.suppress(OSError):
                figures = reader.read()
                for field, family in families.items() if figures is not None else ():
                    family.add_metric([name], float(getattr(figures, field)))
        yield from families.values()
