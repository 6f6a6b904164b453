"""Read and split, before `ship` looks at columns: all rows in one table, and which of them train, validate and test.

data = open_data("loans.csv", options)
data.development, data.test          # tables; data.info.task, data.labels
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.comparison.against import check_old
from deepseek.automl.comparison.models import Question
from deepseek.automl.constraints import check_classes, order_labels
from deepseek.automl.large import RowSample, memory_budget, read_rows
from deepseek.automl.naming import default_name
from deepseek.automl.options import ShipOptions
from deepseek.automl.search import Budget, choose_candidates
from deepseek.bundle import check_name, check_target
from deepseek.data import (
    Finding,
    Split,
    Table,
    TargetInfo,
    check_leaks,
    concat,
    drop_missing_target,
    infer_task,
    read_table,
    split_table,
)
from deepseek.data.table.table import unknown_column_error
from deepseek.errors import CheckError


@dataclass(frozen=True)
class SplitData:
    """Rows that were read and split."""

    source: Any  # what they were read from
    budget: Budget  # of the run; its clock began before the rows were read
    table: Table  # all rows: the data's, then the user's own validation and test rows
    split: Split
    info: TargetInfo
    labels: tuple[str, ...]  # classes in order, the positive one of two last; empty for regression
    hidden: tuple[str, ...]  # columns that are no inputs
    sample: RowSample | None = None  # of a large file: how many of its rows are used

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person must know of the rows and the target; first, whether rows were left out."""
        sampled = self.sample.warning() if self.sample else None
        return (*((sampled,) if sampled else ()), *self.table.notes, *self.info.notes)

    @cached_property
    def development(self) -> Table:
        """Rows to search and fit on: training, then the user's own validation rows."""
        return self.table.take(self.development_rows)

    @property
    def development_rows(self) -> NDArray[np.int64]:
        """Their indices in the table."""
        return np.concatenate([self.split.train, self.split.validation])

    @cached_property
    def test(self) -> Table:
        """Rows that are measured on once, at the end."""
        return self.table.take(self.split.test)


def open_data(source: Any, options: ShipOptions) -> SplitData:
    """Read and split. Whatever makes the run impossible is said first: a name, a folder or a class that cannot be."""
    budget = Budget(None if options.trials else options.budget_s)
    name = default_name(options, source)
    check_target(options.out or name, overwrite=options.overwrite, key=options.key)
    check_name(name)
    if options.progress:
        options.progress("reading", 0.0)
    choose_candidates(options.candidates)
    table, split, sample = _read_and_split(source, options)
    info = infer_task(table, options.target, task=options.task)
    labels = order_labels(info.labels, options.positive)
    if split is None:
        split = split_table(
            table, split=options.split, target=options.target, task=info.task, seed=options.seed, validation_share=0.0
        )
    method, _, group = options.split.partition(":")  # a column that groups rows: its values do not come again
    hidden = (*options.drop, *([options.weights] if options.weights else []), *([group] if method == "group" else []))
    data = SplitData(source, budget, table, split, info, labels, hidden, sample)
    check_classes(data.development, options.target, info.labels)
    if options.against is not None:
        check_old(options.against, Question(info.task, options.target, labels), data.test)
    return data


def _read_and_split(source: Any, options: ShipOptions) -> tuple[Table, Split | None, RowSample | None]:
    """All rows in one table, or as many as fit into memory; the user's own test rows set the split, else it is still to
    be made. Test and validation rows of the user's own are read whole."""

    def check_rows(rows: Table, name: str) -> Table:
        if options.target not in rows.columns:
            raise unknown_column_error(options.target, rows.names, where=name)
        return drop_missing_target(rows, options.target) if options.drop_missing_target else rows

    parts = (("data", source), ("validation", options.validation), ("test", options.test))
    names = [_source_name(*part) for part in parts]
    sample = None
    if isinstance(source, (str, os.PathLike)):
        memory_bytes = memory_budget(options.memory_bytes)
        rows, sample = read_rows(Path(source), target=options.target, seed=options.seed, memory_bytes=memory_bytes)
    else:
        rows = read_table(source)
    table = check_rows(rows, names[0])
    for column in (options.weights, options.fairness, *options.segments, *options.drop, *(options.monotone or {})):
        if column is not None and column not in table.columns:
            raise unknown_column_error(column, table.names, where=names[0])
    if options.test is None and options.validation is None:
        return table, None, sample
    tables = [table]
    for name, (_, own) in zip(names[1:], parts[1:], strict=True):
        tables.append(table.take(np.arange(0)) if own is None else check_rows(read_table(own), name))
    ends = np.cumsum([part.num_rows for part in tables])
    train, validation, test = (np.arange(end - part.num_rows, end) for end, part in zip(ends, tables, strict=True))
    if options.test is None:
        task = infer_task(table, options.target, task=options.task).task
        split = split_table(
            table, split=options.split, target=options.target, task=task, seed=options.seed, validation_share=0.0
        )
        train, test = split.train, split.test
    return concat(tables, names), Split(train, validation, test), sample


def _source_name(role: str, source: Any) -> str:
    """What errors call a table: the file where there is one."""
    if isinstance(source, (str, os.PathLike)):
        return f"the {role} file {source}"
    return "the data" if role == "data" else f"the table of {role} rows"


def find_leaks(options: ShipOptions, data: SplitData, kinds: dict[str, str]) -> list[Finding]:
    """What the leak checks of a table find in the columns of `kinds`."""
    return check_leaks(
        data.table, data.split, target=options.target, task=data.info.task, kinds=kinds, method=options.split,
        own_files=options.test is not None,
    )  # fmt: skip


def check_findings(options: ShipOptions, findings: Sequence[Finding]) -> list[str]:
    """Warnings of the leak checks; a finding that refuses is an error unless it is allowed by name."""
    for finding in findings:
        if finding.level == "refuse" and finding.name not in options.allow:
            accept = f"allow=[{finding.name!r}]; in the shell --allow {shlex.quote(finding.name)}"
            raise CheckError(
                finding.message, expected="rows and columns that do not give the answer away",
                fix=f"{finding.fix}; or accept it ({accept})",
            )  # fmt: skip
    known = {finding.name for finding in findings}
    idle = [
        f"allow names {name!r}, by which the leak check found nothing" for name in options.allow if name not in known
    ]
    return [f"{finding.message}; {finding.fix}" for finding in findings] + idle
