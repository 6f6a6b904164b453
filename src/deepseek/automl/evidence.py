"""What a risk officer reads: figures by segment, fairness gaps, the environment and the licences of its parts."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64, Task
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
        place = np.searchsorted(cuts, values, side="right")
        ends = ["-inf", *(f"{cut:.4g}" for cut in cuts), "inf"]
        names = np.array([f"{ends[i]} to {ends[i + 1]}" for i in range(len(cuts) + 1)], object)[place]
        names[np.isnan(values)] = "missing"
    else:
        names = np.array(["missing" if _is_missing(v) else _level_name(v) for v in values.tolist()], object)
    found, counts = np.unique(names.astype(str), return_counts=True)
    by_size = found[np.argsort(-counts, kind="stable")]
    num_kept = MAX_GROUPS if len(found) <= MAX_GROUPS else MAX_GROUPS - 1
    groups = {str(name): np.flatnonzero(names == name) for name in by_size[:num_kept]}
    rare = by_size[num_kept:]
    if len(rare):
        groups[f"{len(rare)} other values"] = np.flatnonzero(np.isin(names.astype(str), rare))
    return groups


def _is_missing(value: object) -> bool:
    return value is None or value != value  # noqa: PLR0124 - NaN and NaT alone differ from themselves


def _level_name(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def segment_figures(
    task: Task, table: Table, columns: Sequence[str], target: NDArray[Any], output: Float64
) -> dict[str, Any]:
    """Figures of each group of each named column."""
    report: dict[str, Any] = {}
    for column in columns:
        rows = []
        for name, index in rows_by_group(table, column).items():
            row: dict[str, Any] = {"group": name, "num_rows": len(index)}
            if len(index) >= MIN_ROWS:
                row["metrics"] = {
                    k: f.to_dict() for k, f in measure_figures(task, target[index], output[index]).items()
                }
            rows.append(row)
        report[column] = rows
    return report


def fairness_gaps(
    task: Task, table: Table, column: str, target: NDArray[Any], output: Float64, decided: NDArray[Any]
) -> dict[str, Any]:
    """Gaps between the groups of a column. Classes: the share decided positive (demographic parity), recall (equal
    opportunity) and false-positive rate (with recall: equalised odds; Hardt et al. 2016); for more than two classes the
    accuracy. Regression: mean error. `decided` is the class number of the decision (N,), unused for regression."""
    rows = []
    for name, index in rows_by_group(table, column).items():
        row: dict[str, Any] = {"group": name, "num_rows": len(index)}
        if len(index) >= MIN_ROWS:
            row |= _group_rates(task, target[index], output[index], decided[index])
        rows.append(row)
    measures = sorted({key for row in rows for key in row} - {"group", "num_rows"})
    gaps = {}
    for measure in measures:
        values = [row[measure] for row in rows if row.get(measure) is not None]
        gaps[measure] = max(values) - min(values) if len(values) > 1 else None
    return {"column": column, "groups": rows, "gaps": gaps, "min_rows": MIN_ROWS}


def small_sample_warnings(table: Table, segments: Sequence[str], fairness: str | None = None) -> list[str]:
    """Warnings that say which figures of the test rows mean little, or are none for want of rows."""
    found = []
    if table.num_rows < MIN_ROWS:
        found.append(
            f"there are {table.num_rows} test rows: figures of fewer than {MIN_ROWS} may be far from those in use"
        )
    found += [
        f"no group of {column!r} has {MIN_ROWS} rows to test on: there are no figures by {column!r}"
        for column in segments
        if not _num_large_groups(table, column)
    ]
    if fairness and _num_large_groups(table, fairness) < 2:
        found.append(f"fewer than two groups of {fairness!r} have {MIN_ROWS} rows to test on: fairness was not judged")
    return found


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
    """Predicted against observed chance of the positive class (or of the likeliest class), in bins of equal counts."""
    binary = output.shape[1] == 2
    chance = output[:, 1] if binary else output.max(axis=1)
    hit = (target == 1) if binary else (output.argmax(axis=1) == target)
    bins = np.array_split(np.argsort(chance, kind="stable"), min(num_bins, len(chance)))
    return [
        {"predicted": float(chance[b].mean()), "observed": float(hit[b].mean()), "num_rows": len(b)}
        for b in bins
        if len(b)
    ]


def diagnostic_curves(
    task: Task, target: NDArray[Any], output: Float64, decided: NDArray[np.int64], labels: Sequence[str]
) -> dict[str, Any]:
    """What a person would rather look at: confusion counts, ROC and precision-recall points, or residuals."""
    if task == "regression":
        counts, edges = np.histogram(target - output[:, 0], bins=30)
        return {"residuals": {"edges": edges.tolist(), "counts": counts.tolist()}}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(counts, (target, decided), 1)
    drawn: dict[str, Any] = {"reliability": reliability_bins(target, output)}
    if len(labels) <= MAX_GROUPS:
        drawn["confusion"] = {"labels": list(labels), "counts": counts.tolist()}
    if task == "binary":
        _, recall, fpr, precision = threshold_curve(target, output[:, 1], np.ones(len(target)))
        points = np.unique(np.linspace(0, len(recall) - 1, CURVE_POINTS).round().astype(np.int64))
        drawn["roc"] = np.stack([fpr, recall], axis=1)[points].tolist()
        drawn["precision_recall"] = np.stack([recall, precision], axis=1)[points].tolist()
    return drawn


def environment(command: str | None) -> dict[str, Any]:
    """Where and how this was made: platform, versions and licences of the parts, the exact command."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "num_cores": os.cpu_count(),
        "command": command,
        "interpreter": Path(sys.executable).name,
        "packages": {name: {"version": v, "licence": licence} for name, v, licence in _packages()},
    }


def package_versions() -> dict[str, str]:
    """Installed versions of the parts."""
    return {name: version for name, version, _ in _packages()}


def _packages() -> list[tuple[str, str, str]]:
    found = []
    for name in PACKAGES:
        try:
            meta: Any = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        licence = (
            meta.get("License-Expression") or _license_names(meta.get_all("Classifier") or []) or "see the package"
        )
        found.append((name, meta["Version"], licence))
    return found


def _license_names(classifiers: list[str]) -> str:
    """'MIT License' from 'License :: OSI Approved :: MIT License'."""
    return ", ".join(c.rsplit(" :: ", 1)[1] for c in classifiers if c.startswith("License ::"))
