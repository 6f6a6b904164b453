"""Figures of a bundle on rows with known answers, by the engine that serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from deepseek.automl.constraints import row_weights
from deepseek.automl.evidence import segment_figures, small_sample_warnings
from deepseek.contracts import Float32, Float64, Task
from deepseek.data import Table, encode_target, read_table
from deepseek.data.samples.preparer import BrokenPolicy, Fault
from deepseek.engines import MultimodalRuntime, Runtime, open_runtime
from deepseek.errors import MissingError
from deepseek.train.tabular.decide import threshold_curve
from deepseek.train.tabular.metrics import measure_figures

CHUNK_ROWS = 50_000  # rows scored at once
MAX_MASKED_LISTED = 20  # files that were masked, by name


def evaluate_bundle(
    path: str | Path,
    data: Any,
    *,
    by: tuple[str, ...] = (),
    seed: int = 0,
    files: str | Path | None = None,
    broken: BrokenPolicy = "fail",
    key: str | Path | None = None,
) -> dict[str, Any]:
    """The object that `evaluate --json` prints: {"bundle", "digest", "num_rows", "metrics"}, for two classes the rates
    at the bundle's threshold, for values the share inside their intervals, figures by group of the columns `by`, and
    "warnings". Where the bundle was made with sample weights and the data has their column, metrics and rates are
    weighted, and the column is named; groups never are.

    `files` is the folder that paths of a bundle of several modalities lie below, by default that of the data; with
    `broken` "mask" a file that cannot be read counts as missing, and "num_masked" says how many did.

    `key` is the public key (a PEM file) that must have signed the bundle; IntegrityError when it has not.

    InputError when the target is not among the columns, or an answer is not a known class; NonFiniteError, which names
    the row, where the model gives NaN or an infinite number: such an answer would count as one of the classes.
    """
    table = read_table(data)
    with open_runtime(path, key=None if key is None else Path(key)) as runtime:
        manifest = runtime.manifest
        if manifest.target not in table.names:
            raise MissingError(
                f"the data has no column {manifest.target!r}, the target of the bundle",
                expected=f"a column {manifest.target!r} with the true answers",
                fix="add the true answers, or use predict",
            )
        task = cast("Task", manifest.task)
        target = encode_target(table, manifest.target, manifest.labels)
        asked = manifest.lineage.config.get("weights")
        column = asked if asked in table.names else None
        weight = row_weights(table, column)
        faults: list[Fault] = []
        root = files_root(data, files)
        output = _outputs(runtime, table.drop([manifest.target]), root, broken, faults).astype(np.float64)
        answer: dict[str, Any] = {
            "bundle": str(path),
            "digest": runtime.bundle.digest,
            "num_rows": table.num_rows,
            "warnings": [
                *small_sample_warnings(table, by),
                *(f"masked: {fault.message}" for fault in faults[:MAX_MASKED_LISTED]),
            ],
            "metrics": {
                name: f.to_dict() for name, f in measure_figures(task, target, output, weight, seed=seed).items()
            },
        }
        if column:
            answer["weights"] = column
        if isinstance(runtime, MultimodalRuntime):
            answer["num_masked"] = len(faults)
        if manifest.task == "binary":
            threshold = 0.5 if manifest.threshold is None else manifest.threshold
            answer["threshold"] = _threshold_rates(target, output, weight, threshold)
        if manifest.task == "regression" and (interval := _interval_coverage(runtime, target, output)):
            answer["interval"] = interval
        if by:
            answer["segments"] = segment_figures(task, table, by, target, output)
        return answer


def _interval_coverage(runtime: Runtime | MultimodalRuntime, target: Any, output: Float64) -> dict[str, float]:
    """Half the width of the bundle's interval, and the share of answers inside; {} where it has none."""
    intervals = runtime.decision.apply(output[:1].astype(np.float32), ()).intervals
    if intervals is None:
        return {}
    half = float(intervals[0, 1] - intervals[0, 0]) / 2
    return {"half_width": half, "coverage": float(np.mean(np.abs(output[:, 0] - target) <= half))}


def files_root(data: Any, files: str | Path | None) -> Path | None:
    """The folder that paths in `data` lie below: the one that is named, else that of the data's own file."""
    if files is not None:
        return Path(files)
    return Path(data).parent if isinstance(data, (str, Path)) else None


def _outputs(
    runtime: Runtime | MultimodalRuntime, table: Table, root: Path | None, broken: BrokenPolicy, faults: list[Fault]
) -> Float32:
    """(N, C) or (N, 1). `faults` is given what was masked."""
    if isinstance(runtime, MultimodalRuntime):
        return runtime.outputs(table, root=root, broken=broken, faults=faults)[0]
    starts = range(0, table.num_rows, CHUNK_ROWS)
    pieces = [np.arange(start, min(start + CHUNK_ROWS, table.num_rows)) for start in starts]
    return np.concatenate([runtime.outputs(table.take(rows), first_row=int(rows[0])) for rows in pieces])


def _threshold_rates(target: Any, output: Any, weight: Any, threshold: float) -> dict[str, float]:
    """Recall, false-positive rate and precision when deciding at `threshold`."""
    values, recall, fpr, precision = threshold_curve(target, output[:, 1], weight)
    index = int(np.searchsorted(-values, -threshold, side="right")) - 1
    return {
        "value": threshold,
        "recall": float(recall[index]),
        "false_positive_rate": float(fpr[index]),
        "precision": float(precision[index]),
    }
