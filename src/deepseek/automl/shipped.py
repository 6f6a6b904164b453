"""What `ship` returns: the bundle that was made and its figures."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deepseek.automl.comparison.results import ComparisonResult
from deepseek.contracts import Figure, JsonObject, Task
from deepseek.look import numbers
from deepseek.look.summary import fact_table, figure_rows, figure_table, html_table, render_text
from deepseek.results import Result


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
    baseline: dict[str, Figure]  # the same rows by HistGradientBoosting with its defaults, or by late fusion
    size_bytes: int
    cpu_s: float
    wall_s: float
    seed: int
    num_trials: int  # trials of the search, or epochs of a net
    warnings: tuple[str, ...]
    against: ComparisonResult | None = None  # with an older bundle on the test rows, where one was named

    def to_dict(self) -> JsonObject:
        """The object that --json prints."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("path", "against")}
        plain["bundle"] = str(self.path)
        plain["warnings"] = list(self.warnings)
        for name in ("metrics", "baseline"):
            plain[name] = {metric: asdict(figure) for metric, figure in getattr(self, name).items()}
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
            f"{self._headline()}; {numbers.size(self.size_bytes)}",
            *([line.en for line in self.against.headlines()] if self.against else []),
            figure_table(json_object["metrics"], json_object["baseline"]),
            fact_table(
                [
                    ("engine", self.engine),
                    ("CPU time", numbers.duration(self.cpu_s)),
                    ("wall time", numbers.duration(self.wall_s)),
                    ("seed", str(self.seed)),
                    ("trials", self.num_trials),
                    ("digest", self.digest),
                ]
            ),
        ]

    def _repr_html_(self) -> str:
        json_object = self.to_dict()
        return html_table(*figure_rows(json_object["metrics"], json_object["baseline"]), caption=self._headline())

    def _headline(self) -> str:
        return f"{self.path}: {self.model} predicts {self.target} ({self.task})"
