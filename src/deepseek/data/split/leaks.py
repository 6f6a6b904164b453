"""What would make test figures too good: rows in two parts, a column that is the target, time that runs backwards.

    for finding in check_leaks(table, split, target="default", task="binary", kinds=kinds, method="random"):
        print(finding.level, finding.message)

"refuse" is for what is wrong without doubt, "warn" for what a person has to judge. Each names the column or the count,
and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Task
from deepseek.data.features.datetimes import DatetimeEncoder
from deepseek.data.split.findings import Finding
from deepseek.data.split.row_hashes import hash_rows, value_bits
from deepseek.data.split.split import Rows, Split, parse_split
from deepseek.data.split.target_leaks import find_target_leaks
from deepseek.data.table.table import Table
from deepseek.data.table.values import BadValueError, format_timestamp, parse_timestamps
from deepseek.errors import InputError

NO_INPUTS = ("identifier", "constant", "text")  # kinds of columns that are left out of the features, or are content
LEAKING_PARTS = ("test rows", "validation rows")  # names of findings that are no column's
MIN_SHARED_ROWS, MIN_SHARED_ROWS_SHARE = 5, 0.005  # test rows that are training rows; fewer change no figure
MIN_REPEATS = 20  # rows for each different row, from which equal rows are what the table is made of
MAX_CHANCE_RATIO = 3.0  # times as many such rows as columns of few values make by chance
MAX_SHARED_ROWS_SHARE = 0.2  # of test rows that are training rows, beyond what rows repeat within the training part


def check_leaks(
    table: Table,
    split: Split,
    *,
    target: str,
    task: Task,
    kinds: Mapping[str, str],
    method: str = "random",
    own_files: bool = False,
) -> list[Finding]:
    """Findings over the parts of a table, refusals first. `kinds` names the columns that are read: those that a user
    drops are not in it. `method` is how the rows were split; `own_files` says that the user did it."""
    findings = _find_shared_rows(table, split, kinds)
    inputs = [name for name, kind in kinds.items() if kind not in NO_INPUTS]
    texts = [name for name, kind in kinds.items() if kind == "text"]
    findings += find_target_leaks(table, inputs, target=target, task=task, texts=texts)
    findings += _find_time_leaks(table, split, kinds, method, own_files) + _find_shared_groups(table, split, method)
    return sorted(findings, key=lambda finding: finding.level)


def _find_shared_rows(table: Table, split: Split, kinds: Mapping[str, str]) -> list[Finding]:
    """Findings on rows of the validation and test parts that equal training rows in every column that is read."""
    names = [name for name, kind in kinds.items() if kind not in ("identifier", "constant")]
    if not names:
        return []
    hashes = hash_rows(table, names)
    train = hashes[split.train]
    by_chance = _chance_of_equal_rows(table, names, hashes, len(train))
    _, inverse, counts = np.unique(train, return_inverse=True, return_counts=True)
    repeats = float(np.mean(counts[inverse] > 1)) if len(train) else 0.0  # training rows that have a twin among them
    findings = []
    for name, rows in zip(LEAKING_PARTS, (split.test, split.validation), strict=True):
        num_same = int(np.isin(hashes[rows], train).sum())
        if not num_same:
            continue
        share = num_same / len(rows)
        if num_same < MIN_SHARED_ROWS or share < MIN_SHARED_ROWS_SHARE or share <= MAX_CHANCE_RATIO * by_chance:
            continue
        level: Literal["refuse", "warn"] = "refuse" if share - repeats > MAX_SHARED_ROWS_SHARE else "warn"
        message = f"{num_same} of {len(rows)} {name} ({share:.1%}) equal training rows in every column that is read"
        findings.append(Finding(level, name, message, "remove the copies, or split by group:COLUMN"))
    return findings


def _chance_of_equal_rows(table: Table, names: list[str], hashes: NDArray[np.uint64], num_train: int) -> float:
    """How likely a new row equals one of the training rows because its columns have few values: each column drawn by
    itself from the values of the different rows."""
    different = np.unique(hashes, return_index=True)[1]
    if len(different) * MIN_REPEATS <= len(hashes):
        return 1.0
    equal = 1.0  # the chance that two rows are equal
    for name in names:
        counts = np.unique(value_bits(table.column(name)[different]), return_counts=True)[1].astype(np.float64)
        equal *= float((counts * (counts - 1)).sum()) / max(1, len(different) * (len(different) - 1))
    return -float(np.expm1(num_train * np.log1p(-min(equal, 1 - 1e-12))))


def _parse_dates(name: str, texts: NDArray[Any]) -> NDArray[Any]:
    """A column of texts that the user calls dates, datetime64[ms] (N,). InputError for a text that is none."""
    try:
        return parse_timestamps(texts).astype("datetime64[ms]")
    except BadValueError as error:
        raise InputError(
            f"column {name!r}, row {error.row}: {repr(error.value)[:80]} is not datetime",
            expected=DatetimeEncoder.expected, fix=f"mend the value, or give {name!r} another kind",
        ) from error  # fmt: skip


def _find_time_leaks(
    table: Table, split: Split, kinds: Mapping[str, str], method: str, own_files: bool
) -> list[Finding]:
    """Findings on training rows that are later than test rows."""
    if not len(split.test):
        return []
    how, column = parse_split(method, table)
    names = [column] if how == "time" else [name for name, kind in kinds.items() if kind == "datetime"]
    findings = []
    for name in names:
        by_time = f"split by time:{name} (in the shell --split time:{name})"
        values = table.column(name)
        if values.dtype == object:
            values = _parse_dates(name, values)
        is_present = ~table.missing_mask(name)
        train, test = (values[rows[is_present[rows]]] for rows in (split.train, split.test))
        num_later = int((train > test.min()).sum()) if len(train) and len(test) else 0
        if num_later and (how == "time" or own_files):
            first = (
                format_timestamp(int(test.min().astype(np.int64))) if values.dtype.kind == "M" else f"{test.min():g}"
            )
            message = f"{num_later} training rows are later in {name!r} than the first test row ({first})"
            level: Literal["refuse", "warn"] = "refuse" if how == "time" else "warn"
            findings.append(Finding(level, name, message, f"train on rows before the test rows, or {by_time}"))
        elif num_later and how == "random":
            message = f"rows are dated by {name!r}, but they are split at random: figures may promise too much"
            findings.append(Finding("warn", name, message, f"{by_time} to test on later rows, as in use"))
    return findings


def _find_shared_groups(table: Table, split: Split, method: str) -> list[Finding]:
    how, column = parse_split(method, table)
    if how != "group":
        return []
    groups = value_bits(table.column(column))
    later: Rows = np.concatenate([split.validation, split.test])
    num_shared = len(np.intersect1d(groups[split.train], groups[later]))
    if not num_shared:
        return []
    message = f"{num_shared} groups of {column!r} are in the training rows and in the rows that judge"
    return [Finding("refuse", column, message, "put all rows of a group into one file")]
