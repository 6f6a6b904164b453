"""What `ship` returns: the bundle that was made and its figures."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deepseek.automl.comparison.results import ComparisonResult
from deepseek.bundle.last_fit import LastFit
from deepseek.contracts import Figure, JsonObject, Task
from deepseek.data.table.readings import ColumnReading
from deepseek.data.view.readings_table import reading_parts
from deepseek.look import numbers
from deepseek.look.summary import (
    fact_table,
    figure_table,
    operating_point_parts,
    render_text,
)
from deepseek.operating_point import OperatingPoint
from deepseek.results import Result
from deepseek.train.private.plan import PrivacySpent


@dataclass(frozen=True, slots=True)
class RunClock:
    """When a run began, by both clocks of this process."""

    wall_start_s: float = field(default_factory=time.perf_counter)
    cpu_start_s: float = field(default_factory=time.process_time)

    def wall_s(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self.wall_start_s

    def cpu_s(self) -> float:
        """CPU seconds since then, of all threads."""
        return time.process_time() - self.cpu_start_s


@dataclass(frozen=True, slots=True, eq=False)
class ShipResult(Result):
    """The bundle of one run of `ship`, and the figures that `ship --json` prints. `result["metrics"]` reads the JSON
    object, `result.metrics["auc"].value` the typed fields."""

    path: Path
    digest: str
    task: Task
    target: str
    model: str  # the parts of the blend by name, or "fused" for rows of files
    engine: str  # the one that answers calls of a single row
    metrics: dict[str, Figure]  # on the test rows, by the exported model
    baseline: dict[str, Figure]  # the same rows by the plain way (evidence/metrics.json: baseline_name)
    size_bytes: int
    cpu_s: float
    wall_s: float
    seed: int
    num_trials: int  # trials of the search, or epochs of a net
    warnings: tuple[str, ...]
    against: ComparisonResult | None = None  # with an older bundle on the test rows, where one was named
    operating_point: OperatingPoint | None = None  # of two classes, on the test rows
    privacy: PrivacySpent | None = None  # of the rows, where the run had a budget
    columns: tuple[ColumnReading, ...] = ()  # how each column of the training rows was read
    last_fit: LastFit | None = None  # of a table: which rows the packed model was fitted on
    alarms: tuple[str, ...] = ()  # those warnings that say what the bundle does not keep; they lead the summary

    def to_dict(self) -> JsonObject:
        """The object that --json prints."""
        plain = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("path", "alarms", "against")
        }
        plain["bundle"] = str(self.path)
        plain["warnings"] = list(self.warnings)
        plain["columns"] = [reading.to_dict() for reading in self.columns]
        plain["operating_point"] = self.operating_point and self.operating_point.to_dict()
        for name in ("metrics", "baseline"):
            plain[name] = {metric: asdict(figure) for metric, figure in getattr(self, name).items()}
        plain["last_fit"] = self.last_fit and self.last_fit.to_dict()
        plain["privacy"] = None if self.privacy is None else asdict(self.privacy)
        if self.against is not None:
            plain["against"] = self.against.to_dict()
        return plain

    def summary(self) -> str:
        """What `deepseek ship` prints: one sentence, the figures, where they come from."""
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """The lines and tables of summary(), for a terminal that wraps them to its width."""
        json_object = self.to_dict()
        return [
            *(f"warning: {alarm}" for alarm in self.alarms),
            f"{self._headline()}; {numbers.size(self.size_bytes)}",
            *([line.en for line in self.against.headlines()] if self.against else []),
            figure_table(json_object["metrics"], json_object["baseline"]),
            *operating_point_parts(self.operating_point),
            *reading_parts(self.columns),
            fact_table(
                [
                    ("engine", self.engine),
                    ("CPU time", numbers.duration(self.cpu_s)),
                    ("wall time", numbers.duration(self.wall_s)),
                    ("seed", str(self.seed)),
                    ("trials", self.num_trials),
                    *([("last fit", self.last_fit.words().en)] if self.last_fit else []),
                    *([("privacy", self.privacy.words)] if self.privacy else []),
                    ("digest", self.digest),
                ]
            ),
        ]

    def _repr_html_(self) -> str:
        from deepseek.bundle.card import bundle_card
        from deepseek.bundle.read import open_bundle

        return bundle_card(open_bundle(self.path))

    def _headline(self) -> str:
        return f"{self.path}: {self.model} predicts {self.target} ({self.task})"
