"""Read and split, before `ship` looks at columns: all rows in one table, and which of them train, validate and test.

data = open_data("loans.csv", options)
data.development, data.test          # tables; data.info.task, data.labels
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
from deepseek.data.features.target import MAX_NUMBER_CLASSES
from deepseek.data.split.split import parse_split, resolve_split
from deepseek.data.table.formats import apply_formats, read_formats
from deepseek.data.table.table import unknown_column_error
from deepseek.data.table.values import DAY_MS, parse_timestamps
from deepseek.errors import CheckError

ALLOW_ALL = "*"  # among the names of options.allow: every finding of the leak check is a warning
MIN_DAYS_SHARE = 0.9  # of the days from the first to the last that have rows, where a column dates them


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
    method: str  # how they were split: random, time:COLUMN or group:COLUMN
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
    table, split, sample, method = _read_and_split(source, options)
    info = infer_task(table, options.target, task=options.task)
    labels = order_labels(info.labels, options.positive)
    if split is None:
        split = split_table(
            table, split=method, target=options.target, task=info.task, seed=options.seed, validation_share=0.0
        )
    how, _, group = method.partition(":")  # a column that groups rows: its values do not come again
    hidden = (*options.drop, *([options.weights] if options.weights else []), *([group] if how == "group" else []))
    data = SplitData(source, budget, table, split, info, labels, hidden, method, sample)
    check_classes(data.development, options.target, info.labels)
    if options.against is not None:
        check_old(options.against, Question(info.task, options.target, labels), data.test)
    return data


def _read_and_split(source: Any, options: ShipOptions) -> tuple[Table, Split | None, RowSample | None, str]:
    """All rows in one table, or as many as fit into memory; the user's own test rows set the split, else it is still to
    be made, by the method that comes last. Test and validation rows of the user's own are read whole."""

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
        sample = sample and replace(sample, has_rest_fit=options.cluster is not None)
    else:
        rows = read_table(source)
    table = check_rows(_read_formats(rows, options), names[0])
    for column in (options.weights, options.fairness, *options.segments, *options.drop, *(options.monotone or {})):
        if column is not None and column not in table.columns:
            raise unknown_column_error(column, table.names, where=names[0])
    method = resolve_split(options.split, table, hidden=(options.target, *options.drop))
    if options.test is None and options.validation is None:
        return table, None, sample, method
    tables = [table]
    for name, (_, own) in zip(names[1:], parts[1:], strict=True):
        own_rows = None if own is None else check_rows(apply_own_formats(read_table(own), table, options), name)
        tables.append(table.take(np.arange(0)) if own_rows is None else own_rows)
    ends = np.cumsum([part.num_rows for part in tables])
    train, validation, test = (np.arange(end - part.num_rows, end) for end, part in zip(ends, tables, strict=True))
    if options.test is None:
        task = infer_task(table, options.target, task=options.task).task
        split = split_table(
            table, split=method, target=options.target, task=task, seed=options.seed, validation_share=0.0
        )
        train, test = split.train, split.test
    return concat(tables, names), Split(train, validation, test), sample, method


def _read_formats(table: Table, options: ShipOptions) -> Table:
    """The rows with texts that say numbers or dates read as such. What the user has called something else stays as it
    is, and so does a target of few values: its texts are the names of classes."""
    leave: list[str] = []
    if options.target in table.columns and options.task != "regression":
        values = set(table.column(options.target).tolist())
        leave += [options.target] if options.task is not None or len(values) <= MAX_NUMBER_CLASSES else []
    return read_formats(
        table, missing_words=options.missing, kinds=options.kinds, leave=leave, keep_numbers=[options.target]
    )


def apply_own_formats(own: Table, table: Table, options: ShipOptions) -> Table:
    """Rows of the user's own as those of `table` were read: a cell that cannot be read so counts as missing, and is
    told; one of the target stays, and is refused."""
    columns = {name: form for name, form in table.formats.items() if name != options.target}
    target = {name: form for name, form in table.formats.items() if name == options.target}
    return apply_formats(apply_formats(own, columns, by_force=True), target)


def _source_name(role: str, source: Any) -> str:
    """What errors call a table: the file where there is one."""
    if isinstance(source, (str, os.PathLike)):
        return f"the {role} file {source}"
    return "the data" if role == "data" else f"the table of {role} rows"


def find_leaks(options: ShipOptions, data: SplitData, kinds: dict[str, str]) -> list[Finding]:
    """What the leak checks of a table find in the columns of `kinds`."""
    return check_leaks(
        data.table, data.split, target=options.target, task=data.info.task, kinds=kinds, method=data.method,
        own_files=options.test is not None,
    )  # fmt: skip


def check_findings(options: ShipOptions, findings: Sequence[Finding]) -> list[str]:
    """Warnings of the leak checks; findings that refuse are one error, which names them all, unless each is allowed by
    name, or all by ALLOW_ALL."""
    if ALLOW_ALL in options.allow:
        return [f"{finding.message}; {finding.fix}" for finding in findings]
    refused = [finding for finding in findings if finding.level == "refuse" and finding.name not in options.allow]
    if refused:
        raise _leak_error(refused)
    known = {finding.name for finding in findings}
    idle = [
        f"allow names {name!r}, by which the leak check found nothing" for name in options.allow if name not in known
    ]
    return [f"{finding.message}; {finding.fix}" for finding in findings] + idle


def _leak_error(refused: Sequence[Finding]) -> CheckError:
    """One error for all findings: what gives the answer away, and the options that leave it out or accept it."""
    names = [finding.name for finding in refused]
    accept = f"allow={names!r}; in the shell {' '.join(f'--allow {shlex.quote(name)}' for name in names)}"
    ways = [refused[0].fix] if len(refused) == 1 else [finding.fix for finding in refused if finding.column is None]
    columns = [finding.column for finding in refused if finding.column is not None]
    if len(refused) > 1 and columns:
        shell = " ".join(f"--drop {shlex.quote(name)}" for name in columns)
        ways.insert(0, f"leave out what is known only after the target is (drop={columns!r}; in the shell {shell})")
    return CheckError(
        "; ".join(finding.message for finding in refused), expected="rows and columns that do not give the answer away",
        fix=f"{'; '.join(ways)}; or accept {'it' if len(refused) == 1 else 'them'} ({accept})",
    )  # fmt: skip


def rows_per_day(data: SplitData, kinds: Mapping[str, str]) -> float | None:
    """Rows of a day, over all days from the first to the last: by the column that the rows were split by, else by the
    one date among the columns where most days have rows. None where the rows have no such column, or one day alone."""
    how, column = parse_split(data.method, data.table)
    names = [column] if how == "time" else [name for name, kind in kinds.items() if kind == "datetime"]
    if len(names) != 1:
        return None
    values = data.table.column(names[0])[~data.table.missing_mask(names[0])]
    if kinds.get(names[0]) != "datetime" or not len(values):
        return None
    days = np.unique(parse_timestamps(values) // DAY_MS)
    num_days = int(days[-1] - days[0]) + 1
    if num_days < 2 or (how != "time" and len(days) < MIN_DAYS_SHARE * num_days):
        return None
    drawn = data.sample.num_rows / data.sample.num_used if data.sample else 1.0
    return data.table.num_rows * drawn / num_days
