"""What a risk officer reads: figures by segment, fairness gaps, the environment and the licenses of its parts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Figure, Float64, JsonObject, Task
from deepseek.data import Table
from deepseek.data.table.table import unknown_column_error
from deepseek.train.tabular.decide import threshold_curve
from deepseek.train.tabular.metrics import measure_figures

MIN_ROWS = 30  # a segment below this is listed without figures
MAX_GROUPS = 20
CURVE_POINTS = 200
PACKAGES = (
    "deepseek", "numpy", "safetensors", "pyarrow", "pandas", "scikit-learn", "xgboost-cpu", "xgboost", "torch",
    "optuna", "onnx", "onnxruntime", "cryptography", "click", "rich",
)  # fmt: skip


def rows_by_group(table: Table, column: str) -> dict[str, NDArray[np.int64]]:
    """Rows by the value of a column: its levels (beyond MAX_GROUPS the rarest together), or quarters of a number with
    many values."""
    if column not in table.names:
        raise unknown_column_error(column, table.names, where="the data")
    values = table.column(column)
    if values.dtype.kind == "f" and len(np.unique(values[~np.isnan(values)])) > MAX_GROUPS:
        cuts = np.unique(np.nanquantile(values, [0.25, 0.5, 0.75]))
        quarter = np.searchsorted(cuts, values, side="right")
        ends = ["-inf", *(f"{cut:.4g}" for cut in cuts), "inf"]
        names = np.array([f"{ends[i]} to {ends[i + 1]}" for i in range(len(cuts) + 1)], object)[quarter]
        names[np.isnan(values)] = "missing"
    else:
        names = np.array(["missing" if _is_missing(v) else _level_name(v) for v in values.tolist()], object)
    levels, counts = np.unique(names.astype(str), return_counts=True)
    by_size = levels[np.argsort(-counts, kind="stable")]
    num_kept = MAX_GROUPS if len(levels) <= MAX_GROUPS else MAX_GROUPS - 1
    groups = {str(name): np.flatnonzero(names == name) for name in by_size[:num_kept]}
    rare = by_size[num_kept:]
    if len(rare):
        groups[f"{len(rare)} other values"] = np.flatnonzero(np.isin(names.astype(str), rare))
    return groups


def _is_missing(value: object) -> bool:
    return value is None or value != value  # noqa: PLR0124 - NaN and NaT alone differ from themselves


def _level_name(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """The figures of one group of rows."""

    group: str
    num_rows: int
    metrics: dict[str, Figure] | None  # None below MIN_ROWS

    def to_dict(self) -> JsonObject:
        """As evidence/segments.json and `evaluate --json` hold it."""
        figures = {} if self.metrics is None else {"metrics": figures_to_dict(self.metrics)}
        return {"group": self.group, "num_rows": self.num_rows, **figures}


def segment_figures(
    task: Task, table: Table, columns: Sequence[str], target: NDArray[Any], output: Float64
) -> dict[str, list[GroupFigures]]:
    """Figures of each group of each named column."""
    return {
        column: [
            GroupFigures(
                name,
                len(rows),
                measure_figures(task, target[rows], output[rows]) if len(rows) >= MIN_ROWS else None,
            )
            for name, rows in rows_by_group(table, column).items()
        ]
        for column in columns
    }


def figures_to_dict(figures: Mapping[str, Figure]) -> dict[str, dict[str, float]]:
    """Figures by name, as evidence and --json hold them."""
    return {name: figure.to_dict() for name, figure in figures.items()}


def segments_to_dict(segments: Mapping[str, Sequence[GroupFigures]]) -> dict[str, list[JsonObject]]:
    """Figures of groups by column, as evidence and --json hold them."""
    return {column: [group.to_dict() for group in groups] for column, groups in segments.items()}


@dataclass(frozen=True, slots=True)
class GroupRates:
    """What the decision does in one group of rows."""

    group: str
    num_rows: int
    rates: dict[str, float | None]  # by name; empty below MIN_ROWS, None where a rate is undefined

    def to_dict(self) -> JsonObject:
        return {"group": self.group, "num_rows": self.num_rows, **self.rates}


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """Rates of the groups of a column, and the largest difference of each rate between them."""

    column: str
    groups: list[GroupRates]
    gaps: dict[str, float | None]  # None where fewer than two groups have the rate

    def to_dict(self) -> JsonObject:
        """evidence/fairness.json."""
        groups = [group.to_dict() for group in self.groups]
        return {"column": self.column, "groups": groups, "gaps": self.gaps, "min_rows": MIN_ROWS}


def fairness_gaps(
    task: Task, table: Table, column: str, target: NDArray[Any], output: Float64, decided: NDArray[Any]
) -> FairnessReport:
    """Gaps between the groups of a column. Classes: the share decided positive (demographic parity), recall (equal
    opportunity) and false-positive rate (with recall: equalized odds; Hardt et al. 2016); for more than two classes the
    accuracy. Regression: mean error. `decided` is the class number of the decision (N,), unused for regression."""
    groups = [
        GroupRates(
            name,
            len(rows),
            _group_rates(task, target[rows], output[rows], decided[rows]) if len(rows) >= MIN_ROWS else {},
        )
        for name, rows in rows_by_group(table, column).items()
    ]
    gaps = {}
    for measure in sorted({name for group in groups for name in group.rates}):
        values = [rate for group in groups if (rate := group.rates.get(measure)) is not None]
        gaps[measure] = max(values) - min(values) if len(values) > 1 else None
    return FairnessReport(column, groups, gaps)


def small_sample_warnings(table: Table, segments: Sequence[str], fairness: str | None = None) -> list[str]:
    """Warnings that say which figures of the test rows mean little, or are none for want of rows."""
    warnings = []
    if table.num_rows < MIN_ROWS:
        warnings.append(
            f"there are {table.num_rows} test rows: figures of fewer than {MIN_ROWS} may be far from those in use"
        )
    warnings += [
        f"no group of {column!r} has {MIN_ROWS} rows to test on: there are no figures by {column!r}"
        for column in segments
        if not _num_large_groups(table, column)
    ]
    if fairness and _num_large_groups(table, fairness) < 2:
        warnings.append(
            f"fewer than two groups of {fairness!r} have {MIN_ROWS} rows to test on: fairness was not judged"
        )
    return warnings


def _num_large_groups(table: Table, column: str) -> int:
    return sum(len(rows) >= MIN_ROWS for rows in rows_by_group(table, column).values())


def _group_rates(task: Task, target: NDArray[Any], output: Float64, decided: NDArray[Any]) -> dict[str, float | None]:
    if task == "regression":
        return {"mean_error": float(np.mean(output[:, 0] - target))}
    if task == "multiclass":
        return {"accuracy": float(np.mean(decided == target))}
    chosen, positive = decided == 1, target == 1
    return {
        "positive_share": float(chosen.mean()),
        "recall": float(chosen[positive].mean()) if positive.any() else None,
        "false_positive_rate": float(chosen[~positive].mean()) if (~positive).any() else None,
    }


def reliability_bins(target: NDArray[Any], output: Float64, *, num_bins: int = 10) -> list[dict[str, float]]:
    """Predicted against observed probability of the positive class (or of the likeliest one), in bins of equal
    counts."""
    binary = output.shape[1] == 2
    probability = output[:, 1] if binary else output.max(axis=1)
    hit = (target == 1) if binary else (output.argmax(axis=1) == target)
    bins = np.array_split(np.argsort(probability, kind="stable"), min(num_bins, len(probability)))
    return [
        {"predicted": float(probability[rows].mean()), "observed": float(hit[rows].mean()), "num_rows": len(rows)}
        for rows in bins
        if len(rows)
    ]


def diagnostic_curves(
    task: Task, target: NDArray[Any], output: Float64, decided: NDArray[np.int64], labels: Sequence[str]
) -> JsonObject:
    """What a person would rather look at: confusion counts, ROC and precision-recall points, or residuals."""
    if task == "regression":
        counts, edges = np.histogram(target - output[:, 0], bins=30)
        return {"residuals": {"edges": edges.tolist(), "counts": counts.tolist()}}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (target, decided), 1)
    curves: JsonObject = {"reliability": reliability_bins(target, output)}
    if len(labels) <= MAX_GROUPS:
        curves["confusion"] = {"labels": list(labels), "counts": counts.tolist()}
    if task == "binary":
        _, recall, fpr, precision = threshold_curve(target, output[:, 1], np.ones(len(target)))
        at = len(np.unique(output[decided == 1, 1]))  # the first threshold of the curve flags no row
        points = curve_points(recall, at)
        curves["roc"] = np.stack([fpr, recall], axis=1)[points].tolist()
        curves["precision_recall"] = np.stack([recall, precision], axis=1)[points].tolist()
    return curves


def curve_points(recall: Float64, kept: int) -> NDArray[np.int64]:
    """Which thresholds of a curve are drawn, rising: close together where few rows are flagged, for there limits are
    set and precision moves, and evenly in recall; always the first, the last and number `kept`.

    >>> curve_points(np.linspace(0, 1, 5), 2).tolist()
    [0, 1, 2, 3, 4]
    """
    last = len(recall) - 1
    close = np.geomspace(1, last + 1, CURVE_POINTS // 2).round().astype(np.int64) - 1
    even = np.searchsorted(recall, np.linspace(0, 1, CURVE_POINTS // 2) * recall[-1])
    return np.unique(np.clip(np.concatenate([close, even, [0, kept, last]]), 0, last))


def environment(command: str | None) -> JsonObject:
    """Where and how this was made: platform, versions and licenses of the parts, the exact command."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "num_cores": os.cpu_count(),
        "command": command,
        "interpreter": Path(sys.executable).name,
        "packages": {name: {"version": v, "licence": license_name} for name, v, license_name in _packages()},
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the parts."""
    return {name: version for name, version, _ in _packages()}


def _packages() -> list[tuple[str, str, str]]:
    """Name, version and license of each part that is installed."""
    packages = []
    for name in PACKAGES:
        try:
            meta: Any = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        license_name = meta.get("License-Expression") or _license_names(meta.get_all("Classifier") or [])
        packages.append((name, meta["Version"], license_name or "see the package"))
    return packages


def _license_names(classifiers: list[str]) -> str:
    """'MIT License' from 'License :: OSI Approved :: MIT License'."""
    return ", ".join(c.rsplit(" :: ", 1)[1] for c in classifiers if c.startswith("License ::"))
