"""What a comparison says: differences with verdicts, by segment, rows on which the models disagree, size and speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Literal

from deepseek.compress.timing import Timing
from deepseek.contracts import Figure, JsonObject, Record, Task

#: "identical": the same model, or the same answer to every row. "unknown": the rows do not suffice for an interval, or
#: the metric is undefined on them.
Verdict = Literal["better", "worse", "noise", "identical", "unknown"]
#: Whether a model has learned from rows that it is measured on: from some of them, or maybe.
Exposure = Literal["some", "maybe"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of a model minus the reference's on the same rows, with its 95 % interval."""

    metric: str
    value: float
    low: float  # NaN where there is no interval
    high: float
    p_value: float  # of no difference; adjusted where several were asked of at once
    higher_is_better: bool
    verdict: Verdict

    def to_dict(self) -> JsonObject:
        """As --json and evidence hold it; null where there is no interval."""
        plain: JsonObject = {name: _null(getattr(self, name)) for name in ("value", "low", "high", "p_value")}
        return plain | {"higher_is_better": self.higher_is_better, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """The leading metric in one group of rows."""

    group: str
    num_rows: int
    num_differ: int  # rows that the two decide differently
    reference: Figure | None = None  # of the reference; None with `reason`
    model: Figure | None = None
    difference: Difference | None = None
    reason: str = ""  # why there are no figures

    def to_dict(self) -> JsonObject:
        """An entry of "segments"; without figures it says why."""
        document: JsonObject = {"group": self.group, "num_rows": self.num_rows, "num_differ": self.num_differ}
        if self.difference is None or self.reference is None or self.model is None:
            return document | {"reason": self.reason}
        return document | {
            "reference": figure_to_dict(self.reference),
            "model": figure_to_dict(self.model),
            "difference": self.difference.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class RowAnswer:
    """What one model answers to one row."""

    answer: str | float  # the class that it decides, or the value
    truth_probability: float | None  # that it gives the true class; None for regression

    def to_dict(self) -> JsonObject:
        return {"answer": self.answer, "truth_probability": self.truth_probability}


@dataclass(frozen=True, slots=True)
class DisagreementRow:
    """A row that the two answer differently."""

    row: int  # its place in the data, from 0
    truth: str | float
    reference: RowAnswer
    model: RowAnswer
    record: Record  # its values in the columns that one of the two reads

    def to_dict(self) -> JsonObject:
        return {
            "row": self.row, "truth": self.truth, "reference": self.reference.to_dict(), "model": self.model.to_dict(),
            "record": dict(self.record),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often decisions are right; of regression how often one value is nearer to the truth."""

    num_differ: int  # rows that are decided differently (regression: whose values differ)
    only_reference: int  # rows on which the reference alone is right (regression: nearer)
    only_model: int
    both_right: int | None  # None for regression
    both_wrong: int | None
    p_value: float | None  # McNemar's exact test; None for rows that are weighted or not independent

    def to_dict(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, eq=False)
class ModelFigures:
    """One model by itself."""

    name: str
    bundle: str  # its path
    digest: str
    metrics: dict[str, Figure]
    size_bytes: int | None = None
    speed: dict[int, Timing] = field(default_factory=dict)  # by rows of a call

    def to_dict(self) -> JsonObject:
        """An entry of "models"."""
        return {
            "name": self.name, "bundle": self.bundle, "digest": self.digest, "size_bytes": self.size_bytes,
            "metrics": {name: figure_to_dict(figure) for name, figure in self.metrics.items()},
            "speed": [{"num_rows": num_rows, **_timing_to_dict(timing)} for num_rows, timing in self.speed.items()],
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class ModelComparison:
    """One model against the reference."""

    model: str
    verdict: Verdict  # by the leading metric
    differences: dict[str, Difference]
    agreement: Agreement
    segments: dict[str, list[GroupDifference]]  # by column
    rows: list[DisagreementRow]  # to look at, the largest disagreement first

    def to_dict(self) -> JsonObject:
        """An entry of "comparisons"."""
        return {
            "model": self.model, "verdict": self.verdict,
            "differences": {name: difference.to_dict() for name, difference in self.differences.items()},
            "agreement": self.agreement.to_dict(),
            "segments": {column: [g.to_dict() for g in groups] for column, groups in self.segments.items()},
            "rows": [row.to_dict() for row in self.rows],
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Models on the same rows; the first is the reference of every difference."""

    task: Task
    target: str
    num_rows: int
    metric: str  # the leading one, by which verdicts speak
    higher_is_better: bool
    models: tuple[ModelFigures, ...]
    comparisons: tuple[ModelComparison, ...]  # of the models after the first
    warnings: tuple[str, ...] = ()
    group_by: str | None = None  # column whose rows were drawn together
    num_groups: int | None = None  # of its values
    weights: str | None = None  # column of sample weights
    undefined: tuple[str, ...] = ()  # metrics without a value on these rows
    learned_from: dict[str, Exposure] = field(default_factory=dict)  # models that these rows may flatter, by name

    @property
    def reference(self) -> ModelFigures:
        """What all others are compared with."""
        return self.models[0]

    def to_dict(self) -> JsonObject:
        """The object that --json prints."""
        return {
            "task": self.task, "target": self.target, "num_rows": self.num_rows, "metric": self.metric,
            "higher_is_better": self.higher_is_better, "reference": self.reference.name,
            "group_by": self.group_by, "num_groups": self.num_groups, "weights": self.weights,
            "models": [model.to_dict() for model in self.models],
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "undefined": list(self.undefined), "learned_from": dict(self.learned_from), "warnings": list(self.warnings),
        }  # fmt: skip


def figure_to_dict(figure: Figure) -> JsonObject:
    """value, low and high; null where there is no interval."""
    return {name: _null(value) for name, value in figure.to_dict().items()}


def difference_verdict(difference: Difference, *, limit: float = 0.05) -> Verdict:
    """Better or worse only where the interval excludes zero and the p-value is below `limit`."""
    if not isfinite(difference.low):
        return "unknown"
    if difference.low <= 0 <= difference.high or not difference.p_value < limit:
        return "noise"
    return "better" if (difference.value > 0) == difference.higher_is_better else "worse"


def adjust_verdicts(differences: Sequence[Difference], p_values: Sequence[float]) -> list[Difference]:
    """The same differences with adjusted p-values, and the verdicts that follow from them."""
    adjusted = [replace(each, p_value=p) for each, p in zip(differences, p_values, strict=True)]
    return [
        each if each.verdict == "identical" else replace(each, verdict=difference_verdict(each)) for each in adjusted
    ]


def _timing_to_dict(timing: Timing) -> JsonObject:
    return {
        "cpu_ms": timing.cpu_ms, "p50_ms": timing.p50_ms, "p99_ms": timing.p99_ms, "speedup": timing.speedup.to_dict()
    }  # fmt: skip


def _null(value: float) -> float | None:
    return value if isfinite(value) else None
