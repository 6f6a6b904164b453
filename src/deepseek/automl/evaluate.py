"""Figures of a bundle on rows with known answers, by the engine that serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from deepseek.automl.demands import row_weights
from deepseek.automl.evidence import segments, too_few
from deepseek.contracts import Task
from deepseek.data import encode_target, read_table
from deepseek.engines import Runtime
from deepseek.errors import MissingError
from deepseek.train.decide import curve
from deepseek.train.metrics import figures

CHUNK = 50_000  # rows scored at once


def evaluate_bundle(path: str | Path, data: Any, *, by: tuple[str, ...] = (), seed: int = 0) -> dict[str, Any]:
    """The object that `evaluate --json` prints: {"bundle", "digest", "num_rows", "metrics"}, for two classes the rates
    at the bundle's threshold, for values the share inside their intervals, figures by group of the columns `by`, and
    "warnings". Where the bundle was made with sample weights and the data has their column, metrics and rates are
    weighted, and the column is named; groups never are.

    InputError when the target is not among the columns, or an answer is not a known class.
    """
    table = read_table(data)
    with Runtime.open(path) as runtime:
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
        inputs = table.drop([manifest.target])
        starts = range(0, table.num_rows, CHUNK)
        pieces = [np.arange(start, min(start + CHUNK, table.num_rows)) for start in starts]
        scores = [runtime.score(runtime.prepare_table(inputs.take(rows)).features) for rows in pieces]
        output = np.concatenate([found.output for found in scores]).astype(np.float64)
        answer: dict[str, Any] = {
            "bundle": str(path),
            "digest": runtime.bundle.digest,
            "num_rows": table.num_rows,
            "warnings": too_few(table, by),
            "metrics": {name: f.to_dict() for name, f in figures(task, target, output, weight, seed=seed).items()},
        }
        if column:
            answer["weights"] = column
        if manifest.task == "binary":
            threshold = 0.5 if manifest.threshold is None else manifest.threshold
            answer["threshold"] = _at_threshold(target, output, weight, threshold)
        if manifest.task == "regression":
            intervals = runtime.decide(scores[0]).intervals
            if intervals is not None:
                half = float(intervals[0, 1] - intervals[0, 0]) / 2
                answer["interval"] = {
                    "half_width": half,
                    "coverage": float(np.mean(np.abs(output[:, 0] - target) <= half)),
                }
        if by:
            answer["segments"] = segments(task, table, by, target, output)
        return answer


def _at_threshold(target: Any, output: Any, weight: Any, threshold: float) -> dict[str, float]:
    """Recall, false-positive rate and precision when deciding at `threshold`."""
    values, recall, fpr, precision = curve(target, output[:, 1], weight)
    index = int(np.searchsorted(-values, -threshold, side="right")) - 1
    return {
        "value": threshold,
        "recall": float(recall[index]),
        "false_positive_rate": float(fpr[index]),
        "precision": float(precision[index]),
    }
