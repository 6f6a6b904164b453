"""What stands beside the explained rows of a table's bundle: the nearest training rows, and the least other row.

found, notes = build_row_context(runtime, table, 5, others=data, training=None, fixed=("age",))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deepseek.contracts import Record
from deepseek.data import Table
from deepseek.engines import Runtime
from deepseek.engines.parity import spread_indices
from deepseek.errors import InputError
from deepseek.explain.tabular.neighbors import ColumnKind, counterfactual, nearest

NUM_NEAREST = 3
MAX_TRAINING_ROWS = 5_000  # rows that are looked at
MAX_CANDIDATE_ROWS = 300  # rows whose values a counterfactual may take
MAX_COLUMNS = 200  # above them a counterfactual would ask the model too often
_NUM_CANDIDATES_TRIED = 5


def build_row_context(
    runtime: Runtime,
    table: Table,
    num_rows: int,
    *,
    others: Table | None = None,
    training: Table | None = None,
    fixed: Sequence[str] = (),
) -> tuple[list[dict[str, Any]], list[str]]:
    """({"nearest", "counterfactual"} of each of the first `num_rows` rows of `table`, notes).

    "nearest": [{"row", "distance", "answer", "values"}] of `training`, None where it is not given; "answer" is what the
    target was there. "counterfactual": {"changes": {column: [old, new]}, "from", "to", "num_predicted"}; None where
    there is none among the values of training rows, else of `others`, or the model has no classes.
    """
    kinds = column_kinds(runtime)
    rows = table.take(np.arange(num_rows)).records()
    notes: list[str] = []
    seen: Sequence[Record] = ()
    if training is not None:
        seen = _subsample(training, MAX_TRAINING_ROWS).records()
        if len(seen) < training.num_rows:
            notes.append(f"nearest rows were looked for among {len(seen):,} of {training.num_rows:,} training rows")
    near = [_nearest_rows(row, seen, kinds, runtime.manifest.target) if seen else None for row in rows]
    source = training if training is not None else others
    changed = [None] * len(rows) if source is None else _counterfactuals(runtime, rows, source, kinds, fixed, notes)
    return [{"nearest": one, "counterfactual": other} for one, other in zip(near, changed, strict=True)], notes


def check_fixed_columns(runtime: Runtime, fixed: Sequence[str]) -> None:
    """InputError for a fixed column that is not there."""
    kinds = column_kinds(runtime)
    for name in fixed:
        if name not in kinds:
            raise InputError(
                f"there is no column {name!r} to fix", expected=", ".join(list(kinds)[:20]), fix="name one of these"
            )


def column_kinds(runtime: Runtime) -> dict[str, ColumnKind]:
    """Of each column that the model reads."""
    return {
        column.name: "number" if column.kind == "numeric" else "category" for column in runtime.preprocessor.columns
    }


def _subsample(table: Table, most: int) -> Table:
    return table.take(spread_indices(table.num_rows, most)) if table.num_rows > most else table


def _nearest_rows(
    row: Record, seen: Sequence[Record], kinds: dict[str, ColumnKind], target: str
) -> list[dict[str, Any]]:
    return [
        {
            "row": place, "distance": distance, "answer": seen[place].get(target),
            "values": {name: seen[place].get(name) for name in list(kinds)[:12]},
        }
        for place, distance in nearest(row, seen, kinds, count=NUM_NEAREST)
    ]  # fmt: skip


def _counterfactuals(
    runtime: Runtime,
    rows: Sequence[Record],
    source: Table,
    kinds: dict[str, ColumnKind],
    fixed: Sequence[str],
    notes: list[str],
) -> list[dict[str, Any] | None]:
    if not runtime.labels:
        notes.append("no counterfactual: the model predicts a value, not a class")
        return [None] * len(rows)
    if len(kinds) > MAX_COLUMNS:
        notes.append(f"no counterfactual: {len(kinds):,} columns are more than {MAX_COLUMNS}")
        return [None] * len(rows)
    names = list(kinds)
    candidates = [{name: one.get(name) for name in names} for one in _subsample(source, MAX_CANDIDATE_ROWS).records()]
    known: list[list[str]] = []

    def predict(asked: Sequence[Record]) -> list[str]:
        if asked is candidates:
            if not known:
                known.append(_predict_labels(runtime, candidates))
            return known[0]
        return _predict_labels(runtime, asked)

    found: list[dict[str, Any] | None] = []
    for row in rows:
        own = {name: row.get(name) for name in names}
        best = counterfactual(predict, own, candidates, kinds, fixed=fixed, num_tried=_NUM_CANDIDATES_TRIED)
        told = best and {
            "changes": {name: list(pair) for name, pair in best["changes"].items()},
            "from": best["from"], "to": best["answer"], "num_predicted": best["num_predicted"],
        }  # fmt: skip
        found.append(told)
    return found


def _predict_labels(runtime: Runtime, records: Sequence[Record]) -> list[str]:
    batch = runtime.preprocessor.rows(records)
    prediction = runtime.decide(runtime.score(batch.features), batch.flags)
    return [] if prediction.labels is None else [str(label) for label in prediction.labels.tolist()]
