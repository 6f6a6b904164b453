"""Figures of a bundle on rows with known answers, by the engine that serves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.constraints import row_weights
from deepseek.automl.evidence import (
    GroupFigures,
    figures_to_dict,
    segment_figures,
    segments_to_dict,
    small_sample_warnings,
)
from deepseek.bundle.inspect import read_promises
from deepseek.bundle.promises import Promises
from deepseek.contracts import Figure, Flag, Float32, Float64, JsonObject, Task
from deepseek.data import Table, encode_target, read_table
from deepseek.data.samples.preparer import BrokenPolicy, Fault
from deepseek.data.table.formats import apply_formats
from deepseek.engines import MultimodalRuntime, Runtime, open_runtime
from deepseek.errors import MissingError
from deepseek.look.summary import (
    count_by_reason,
    fact_table,
    figure_table,
    flag_lines,
    format_value,
    operating_point_parts,
    render_text,
)
from deepseek.look.words import Text
from deepseek.operating_point import OperatingPoint
from deepseek.results import Result
from deepseek.train.tabular.decide import threshold_curve
from deepseek.train.tabular.metrics import measure_figures
from deepseek.train.tabular.operating_point import DecisionRule, measure_operating_point

CHUNK_ROWS = 50_000  # rows scored at once
MIN_ROWS_BY_FIFTH = 100
MAX_MASKED_LISTED = 20  # files that were masked, by name


@dataclass(frozen=True, slots=True)
class ThresholdRates:
    """What deciding at a threshold does on the rows; all shares are 0..1."""

    value: float  # the threshold itself
    recall: float
    false_positive_rate: float
    precision: float

    def to_dict(self) -> JsonObject:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class IntervalCoverage:
    """How many values lie inside the bundle's prediction interval."""

    half_width: float  # in units of the target; the mean, where it depends on the value
    coverage: float  # share of the rows, 0..1
    coverage_by_fifth: tuple[float, ...] = ()  # from the smallest predictions to the largest; () for too few rows

    def to_dict(self) -> JsonObject:
        by_fifth = {"coverage_by_fifth": list(self.coverage_by_fifth)} if self.coverage_by_fifth else {}
        return {"half_width": self.half_width, "coverage": self.coverage, **by_fifth}


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult(Result):
    """The figures that `evaluate --json` prints; what does not apply to a bundle is None and no key of the JSON."""

    bundle: Path | str
    digest: str
    num_rows: int
    warnings: tuple[str, ...]
    metrics: dict[str, Figure]
    weights: str | None = None  # the column of sample weights, where the bundle was made with one that the data has
    num_masked: int | None = None  # files that could not be read; of bundles of several modalities
    threshold: ThresholdRates | None = None  # of two classes
    interval: IntervalCoverage | None = None  # of regression, where the bundle has an interval
    segments: dict[str, list[GroupFigures]] | None = None  # by column
    operating_point: OperatingPoint | None = None  # of two classes: the threshold's rates with their intervals
    #: How many values were imputed or unseen, and how many are beyond training, by column and reason.
    flags: Mapping[tuple[str, str], int] = field(default_factory=dict)

    def to_dict(self) -> JsonObject:
        """The object that --json prints."""
        details: JsonObject = {
            "weights": self.weights,
            "num_masked": self.num_masked,
            "threshold": self.threshold and self.threshold.to_dict(),
            "interval": self.interval and self.interval.to_dict(),
            "segments": self.segments and segments_to_dict(self.segments),
            "operating_point": self.operating_point and self.operating_point.to_dict(),
        }
        return {
            "bundle": str(self.bundle),
            "digest": self.digest,
            "num_rows": self.num_rows,
            "warnings": list(self.warnings),
            "metrics": figures_to_dict(self.metrics),
            "flags": count_by_reason(self.flags),
            **{name: value for name, value in details.items() if value is not None},
        }

    def summary(self) -> str:
        """What `deepseek evaluate` prints: the figures, what the decision does, the groups."""
        return render_text(self.summary_parts())

    def summary_parts(self) -> list[object]:
        """The lines and tables of summary(), for a terminal that wraps them to its width."""
        parts: list[object] = [self._headline()]
        if self.num_masked:
            parts.append(f"{format_value(self.num_masked)} files could not be read and were masked")
        parts += flag_lines(self.flags)
        parts.append(figure_table(figures_to_dict(self.metrics), {}))
        parts += operating_point_parts(self.operating_point)
        if self.interval is not None:
            shares = self.interval.to_dict()
            parts.append(fact_table([("interval", ""), *((key.replace("_", " "), v) for key, v in shares.items())]))
        for column, groups in (self.segments or {}).items():
            for group in groups:
                parts.append(f"\n{column} = {group.group}: {format_value(group.num_rows)} rows")
                if group.metrics is None:
                    parts.append("  too few rows for figures")
                else:
                    parts.append(figure_table(figures_to_dict(group.metrics), {}))
        return parts

    def _repr_html_(self) -> str:
        from deepseek.look.notebook.card import card, lines
        from deepseek.look.notebook.figures import figure_table

        figures = figure_table(figures_to_dict(self.metrics), {})
        return card(Text("Evaluation", "评估"), self._headline(), lines(*self.warnings, cls="warn"), figures)

    def _headline(self) -> str:
        return f"{self.bundle} on {format_value(self.num_rows)} rows"


def evaluate_bundle(
    path: str | Path,
    data: Any,
    *,
    by: tuple[str, ...] = (),
    seed: int = 0,
    files: str | Path | None = None,
    broken: BrokenPolicy = "fail",
    key: str | Path | None = None,
) -> EvaluationResult:
    """Measure a bundle on rows that it has not seen, with 95 % bootstrap intervals.

    Where the bundle was made with sample weights and the data has their column, metrics and rates are weighted; groups
    never are.

    Args:
        path: The bundle.
        data: Rows with the target: a path (CSV, Parquet, Arrow), a pandas or polars frame, or a Table.
        by: Columns; figures for each group of their values.
        seed: Of the bootstrap.
        files: The folder that paths of a bundle of several modalities lie below; by default that of the data's file.
        broken: "fail" ends at a file that cannot be read, "mask" counts it as missing.
        key: The public key (a PEM file) that must have signed the bundle; IntegrityError when it has not.

    InputError when the target is not among the columns, or an answer is not a known class; NonFiniteError, which names
    the row, where the model gives NaN or an infinite number: such an answer would count as one of the classes.
    """
    with open_runtime(path, key=None if key is None else Path(key)) as runtime:
        table = apply_formats(read_table(data), runtime.formats)
        manifest = runtime.manifest
        if manifest.target not in table.names:
            raise MissingError(
                f"the data has no column {manifest.target!r}, the target of the bundle",
                expected=f"a column {manifest.target!r} with the true answers",
                fix="add the true answers, or use predict",
            )
        task = cast("Task", manifest.task)
        target = encode_target(table, manifest.target, manifest.labels)
        weights = manifest.lineage.config.get("weights")
        weights = weights if weights in table.names else None
        weight = row_weights(table, weights)
        inputs, faults, flags = table.drop([manifest.target]), list[Fault](), list[Flag]()
        output = score_table(runtime, inputs, files_root(data, files), broken, faults, flags).astype(np.float64)
        masked = (f"masked: {fault.message}" for fault in faults[:MAX_MASKED_LISTED])
        cut = 0.5 if manifest.threshold is None else manifest.threshold
        point = _operating_point(runtime, target, output, weight, cut) if task == "binary" else None
        return EvaluationResult(
            bundle=path,
            digest=runtime.bundle.digest,
            num_rows=table.num_rows,
            warnings=(*(text.en for text in Promises(point).warnings()), *small_sample_warnings(table, by), *masked),
            metrics=measure_figures(task, target, output, weight, seed=seed),
            weights=weights or None,
            num_masked=len(faults) if isinstance(runtime, MultimodalRuntime) else None,
            threshold=_threshold_rates(target, output, weight, cut) if task == "binary" else None,
            interval=_interval_coverage(runtime, target, output) if task == "regression" else None,
            segments=segment_figures(task, table, by, target, output) if by else None,
            operating_point=point,
            flags=Counter((flag.column, flag.what) for flag in flags),
        )


def _operating_point(
    runtime: Runtime | MultimodalRuntime, target: NDArray[Any], output: Float64, weight: Float64, threshold: float
) -> OperatingPoint:
    """What the bundle's threshold does to these rows, beside the limits that it was set by."""
    promised = read_promises(runtime.bundle).operating_point
    rule = DecisionRule(runtime.manifest.labels[1], threshold, "as the bundle has it")
    if promised is not None:
        rule = DecisionRule(
            promised.label, threshold, promised.rule, promised.max_fpr, promised.min_recall, promised.num_negatives_set,
            promised.max_alerts_per_day, promised.num_alarms_set,
        )  # fmt: skip
    decided = runtime.decision.classes(output.astype(np.float32))
    return measure_operating_point(target, decided, weight, rule)


def _interval_coverage(
    runtime: Runtime | MultimodalRuntime, target: NDArray[Any], output: Float64
) -> IntervalCoverage | None:
    """Half the width of the bundle's interval, and the share of answers inside; None where it has none."""
    intervals = runtime.decision.apply(output.astype(np.float32), ()).intervals
    if intervals is None:
        return None
    inside = (intervals[:, 0] <= target) & (target <= intervals[:, 1])
    half_width = float(np.mean(intervals[:, 1] - intervals[:, 0])) / 2
    if runtime.decision.half_width is not None and not runtime.decision.group_half_widths:
        half_width = runtime.decision.half_width
        inside = np.abs(output[:, 0] - target) <= half_width  # in float64, as the width was set
    by_fifth: list[float] = []
    if len(target) >= MIN_ROWS_BY_FIFTH:
        order = np.argsort(output[:, 0], kind="stable")
        by_fifth = [float(np.mean(inside[rows])) for rows in np.array_split(order, 5)]
    return IntervalCoverage(half_width, float(np.mean(inside)), tuple(by_fifth))


def files_root(data: Any, files: str | Path | None) -> Path | None:
    """The folder that paths in `data` lie below: the one that is named, else that of the data's own file."""
    if files is not None:
        return Path(files)
    return Path(data).parent if isinstance(data, (str, Path)) else None


def score_table(
    runtime: Runtime | MultimodalRuntime,
    table: Table,
    root: Path | None,
    broken: BrokenPolicy,
    faults: list[Fault],
    flags: list[Flag] | None = None,
) -> Float32:
    """Outputs (N, C) or (N, 1) of the engine that serves; what was masked is added to `faults`, and `flags` gets those
    of the rows."""
    if isinstance(runtime, MultimodalRuntime):
        output, row_flags = runtime.outputs(table, root=root, broken=broken, faults=faults)
        if flags is not None:
            flags += row_flags
        return output
    starts = range(0, table.num_rows, CHUNK_ROWS)
    pieces = [np.arange(start, min(start + CHUNK_ROWS, table.num_rows)) for start in starts]
    return np.concatenate([runtime.outputs(table.take(rows), first_row=int(rows[0]), flags=flags) for rows in pieces])


def _threshold_rates(target: NDArray[Any], output: Float64, weight: Float64, threshold: float) -> ThresholdRates:
    """Recall, false-positive rate and precision when deciding at `threshold`."""
    values, recall, fpr, precision = threshold_curve(target, output[:, 1], weight)
    index = int(np.searchsorted(-values, -threshold, side="right")) - 1
    return ThresholdRates(threshold, float(recall[index]), float(fpr[index]), float(precision[index]))
