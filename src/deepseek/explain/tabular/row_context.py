"""What stands beside the explained rows of a table's bundle: the nearest training rows, and the least other row.

contexts, notes = build_row_context(runtime, table, 5, others=data, training=None, fixed=("age",))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Record
from deepseek.data import Table
from deepseek.engines import Runtime
from deepseek.engines.parity import spread_indices
from deepseek.errors import InputError
from deepseek.explain.records import CounterfactualReport, NearestRow
from deepseek.explain.tabular.dependence import MIN_ROWS, find_groups
from deepseek.explain.tabular.neighbors import ColumnKind, Counterfactual, counterfactual, nearest

NUM_NEAREST = 3
MAX_NEAREST_COLUMNS = 12  # whose values stand beside a nearest row
MAX_TRAINING_ROWS = 5_000  # rows that are looked at
MAX_CANDIDATE_ROWS = 300  # rows whose values a counterfactual may take
MAX_COLUMNS = 200  # above them a counterfactual would ask the model too often
_NUM_CANDIDATES_TRIED = 5


@dataclass(frozen=True, slots=True)
class RowContext:
    """What stands beside one explained row."""

    nearest: tuple[NearestRow, ...] | None  # None where there is no training data
    counterfactual: CounterfactualReport | None  # None where no change was found, or the model has no classes


def build_row_context(
    runtime: Runtime,
    table: Table,
    num_rows: int,
    *,
    others: Table | None = None,
    training: Table | None = None,
    fixed: Sequence[str] = (),
) -> tuple[list[RowContext], list[str]]:
    """(the context of each of the first `num_rows` rows of `table`, notes).

    Nearest rows are those of `training`; a counterfactual takes its values from rows of `training`, else of `others`,
    and leaves `fixed` columns as they are.
    """
    kinds = column_kinds(runtime)
    rows = table.take(np.arange(num_rows)).records()
    notes: list[str] = []
    seen: Sequence[Record] = ()
    if training is not None:
        seen = _subsample(training, MAX_TRAINING_ROWS).records()
        if len(seen) < training.num_rows:
            notes.append(f"nearest rows were looked for among {len(seen):,} of {training.num_rows:,} training rows")
    neighbors = [_nearest_rows(row, seen, kinds, runtime.manifest.target) if seen else None for row in rows]
    source = training if training is not None else others
    changes: list[CounterfactualReport | None] = [None] * len(rows)
    if source is not None:
        changes = _counterfactuals(runtime, rows, source, kinds, fixed, notes)
    return [RowContext(*pair) for pair in zip(neighbors, changes, strict=True)], notes


def check_fixed_columns(runtime: Runtime, fixed: Sequence[str]) -> None:
    """InputError for a fixed column that is not there."""
    kinds = column_kinds(runtime)
    for name in fixed:
        if name not in kinds:
            raise InputError(
                f"there is no column {name!r} to fix", expected=", ".join(list(kinds)[:20]), fix="name one of these"
            )


def column_kinds(runtime: Runtime) -> dict[str, ColumnKind]:
    """The kind of each column that the model reads."""
    return {
        column.name: "number" if column.kind == "numeric" else "category" for column in runtime.preprocessor.columns
    }


def _subsample(table: Table, most: int) -> Table:
    return table.take(spread_indices(table.num_rows, most)) if table.num_rows > most else table


def _nearest_rows(
    row: Record, training: Sequence[Record], kinds: Mapping[str, ColumnKind], target: str
) -> tuple[NearestRow, ...]:
    """The training rows nearest to one; `target` is the column of the answers."""
    names = list(kinds)[:MAX_NEAREST_COLUMNS]
    return tuple(
        NearestRow(place, distance, training[place].get(target), {name: training[place].get(name) for name in names})
        for place, distance in nearest(row, training, kinds, count=NUM_NEAREST)
    )


def _counterfactuals(
    runtime: Runtime,
    rows: Sequence[Record],
    source: Table,
    kinds: Mapping[str, ColumnKind],
    fixed: Sequence[str],
    notes: list[str],
) -> list[CounterfactualReport | None]:
    """For each row the fewest changes that give another class; `notes` gets why there are none."""
    if not runtime.labels:
        notes.append("no counterfactual: the model predicts a value, not a class")
        return [None] * len(rows)
    if len(kinds) > MAX_COLUMNS:
        notes.append(f"no counterfactual: {len(kinds):,} columns are more than {MAX_COLUMNS}")
        return [None] * len(rows)
    names = list(kinds)
    dependence_rows = _subsample(source, MAX_TRAINING_ROWS).records()
    groups = find_groups(dependence_rows, kinds) if len(dependence_rows) >= MIN_ROWS else None
    if groups is None:
        notes.append(
            f"which columns belong together cannot be told from {len(dependence_rows)} rows: a counterfactual may "
            "change one without the other; give the training rows"
        )
    candidates = [{name: one.get(name) for name in names} for one in _subsample(source, MAX_CANDIDATE_ROWS).records()]
    known: list[list[str]] = []

    def predict(records: Sequence[Record]) -> list[str]:
        if records is candidates:
            if not known:
                known.append(_predict_labels(runtime, candidates))
            return known[0]
        return _predict_labels(runtime, records)

    reports: list[CounterfactualReport | None] = []
    for row in rows:
        own = {name: row.get(name) for name in names}
        change = counterfactual(
            predict, own, candidates, kinds, fixed=fixed, groups=groups or (), num_tried=_NUM_CANDIDATES_TRIED
        )
        holds = change is not None
        if change is None and groups:  # better one that may not hold together, and says so, than none
            change = counterfactual(predict, own, candidates, kinds, fixed=fixed, num_tried=_NUM_CANDIDATES_TRIED)
        reports.append(None if change is None else _counterfactual_report(change, groups, holds=holds))
    return reports


def _counterfactual_report(
    change: Counterfactual, groups: Sequence[Sequence[str]] | None, *, holds: bool
) -> CounterfactualReport:
    """The changes, with the groups of columns that changed together; unless these `holds`, what stayed although it
    belongs to a change."""
    moved = [[name for name in group if name in change.changes] for group in groups or ()]
    stayed = [
        (names[0], name)
        for names, group in zip(moved, groups or (), strict=True)
        for name in group
        if names and name not in change.changes and not holds
    ]
    return CounterfactualReport(
        changes={name: list(pair) for name, pair in change.changes.items()}, from_class=change.old_answer,
        to_class=change.answer, num_predicted=change.num_predicted,
        together=None if groups is None else tuple(tuple(names) for names in moved if len(names) > 1),
        doubtful=tuple(stayed) or None,
    )  # fmt: skip


def _predict_labels(runtime: Runtime, records: Sequence[Record]) -> list[str]:
    batch = runtime.preprocessor.rows(records)
    prediction = runtime.decide(runtime.score(batch.features), batch.flags)
    return [] if prediction.labels is None else [str(label) for label in prediction.labels.tolist()]
