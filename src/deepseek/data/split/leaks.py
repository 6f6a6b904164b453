"""What would make test figures too good: rows in two parts, a column that is the target, time that runs backwards.

    for finding in check_leaks(table, split, target="default", task="binary", kinds=kinds, method="random"):
        print(finding.level, finding.message)

"refuse" is for what is wrong without doubt, "warn" for what a person has to judge. Each names the column or the count,
and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Task
from deepseek.data.split.split import Rows, Split, parse_split
from deepseek.data.table.table import Table
from deepseek.data.table.values import format_timestamp, parse_timestamps

MIN_COPY_CORRELATION = 0.9999  # |correlation| with the target from which a column is taken for it
MIN_ROWS = 20  # below, a column may equal the target by chance
MIN_SEPARATION_ROWS = 200  # below, a number may separate the classes by chance
SAMPLE_ROWS = 4_000
MAX_LEVELS = 20  # of a column whose every level has one class
MAX_SHARED_ROWS_SHARE = 0.2  # of test rows that are training rows, beyond what rows repeat within the training part


@dataclass(frozen=True, slots=True)
class Finding:
    """`name` is the column, or what was compared."""

    level: Literal["refuse", "warn"]
    name: str
    message: str
    fix: str


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
    findings += [finding for name in kinds if (finding := _find_target_copy(table, name, target, task)) is not None]
    findings += _find_time_leaks(table, split, kinds, method, own_files) + _find_shared_groups(table, split, method)
    return sorted(findings, key=lambda finding: finding.level)


def _find_shared_rows(table: Table, split: Split, kinds: Mapping[str, str]) -> list[Finding]:
    """Findings on rows of the validation and test parts that equal training rows in every column that is read."""
    names = [name for name, kind in kinds.items() if kind not in ("identifier", "constant")]
    if not names:
        return []
    hashes = hash_rows(table, names)
    train = hashes[split.train]
    _, inverse, counts = np.unique(train, return_inverse=True, return_counts=True)
    repeats = float(np.mean(counts[inverse] > 1)) if len(train) else 0.0  # training rows that have a twin among them
    findings = []
    for part, rows in (("test", split.test), ("validation", split.validation)):
        num_same = int(np.isin(hashes[rows], train).sum())
        if not num_same:
            continue
        share = num_same / len(rows)
        level: Literal["refuse", "warn"] = "refuse" if share - repeats > MAX_SHARED_ROWS_SHARE else "warn"
        message = (
            f"{num_same} of {len(rows)} {part} rows ({share:.1%}) equal training rows in every column that is read"
        )
        findings.append(Finding(level, f"{part} rows", message, "remove the copies, or split by group:COLUMN"))
    return findings


def hash_rows(table: Table, names: list[str]) -> NDArray[np.uint64]:
    """One 64-bit number for each row (N,): equal for equal rows, and by chance once in 2^64."""
    mixed = np.full(table.num_rows, 0x9E3779B97F4A7C15, np.uint64)
    for name in names:
        mixed = _mix_bits(mixed ^ _value_bits(table.column(name)))
    return mixed


def _value_bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    if values.dtype == object:
        cells = values.tolist()
        number_of = {value: number for number, value in enumerate(dict.fromkeys(cells))}
        return np.array([number_of[value] for value in cells], np.uint64)
    if values.dtype.kind == "M":
        return values.astype(np.int64).view(np.uint64)
    return np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)


def _mix_bits(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every input bit changes every output bit."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _find_target_copy(table: Table, name: str, target: str, task: Task) -> Finding | None:
    """A finding if the target can be read off this column, else None."""
    if table.num_rows < MIN_ROWS or (
        table.num_rows > SAMPLE_ROWS and not _may_be_target_copy(table, name, target, task)
    ):
        return None
    fix = f"leave it out (drop=[{name!r}]; in the shell --drop {name}) unless it is known before the target is"
    if task == "regression":
        how = _describe_dependence(table, name, target)
        return Finding("refuse", name, f"column {name!r} {how} the target {target!r}", fix) if how else None
    if _separates_classes(table, name, target):
        message = f"column {name!r} alone separates the classes of {target!r} without an error"
        return Finding("warn", name, message, fix)
    column, classes = _value_bits(table.column(name)), _value_bits(table.column(target))
    num_values, num_classes = len(np.unique(column)), len(np.unique(classes))
    if not num_classes <= num_values <= max(MAX_LEVELS, num_classes):
        return None
    if len(np.unique(_mix_bits(column) ^ classes)) != num_values:  # some value has rows of two classes
        return None
    if num_values == num_classes:
        return Finding("refuse", name, f"column {name!r} is the target {target!r} under another name", fix)
    return Finding("warn", name, f"each value of column {name!r} has one class of {target!r} only", fix)


def _may_be_target_copy(table: Table, name: str, target: str, task: Task) -> bool:
    """Whether a sample of rows, spread over the table, leaves it possible; if not, nobody has to check all rows."""
    rows = np.linspace(0, table.num_rows - 1, SAMPLE_ROWS).astype(np.int64)
    few = Table(
        {key: table.column(key)[rows] for key in (name, target)}, {key: table.types[key] for key in (name, target)}
    )
    if task == "regression":
        return bool(_describe_dependence(few, name, target))
    num_values, num_classes = (len(np.unique(_value_bits(table.column(key)))) for key in (name, target))
    return num_values <= max(MAX_LEVELS, num_classes) or _separates_classes(few, name, target)


def _separates_classes(table: Table, name: str, target: str) -> bool:
    """Whether the numbers of each class lie in a range of their own, over many values."""
    values = table.column(name)
    if values.dtype.kind != "f" or table.num_rows < MIN_SEPARATION_ROWS:
        return False
    finite = np.isfinite(values)
    values, classes = values[finite], _value_bits(table.column(target))[finite]
    order = np.argsort(values, kind="stable")
    if len(np.unique(values)) <= MAX_LEVELS or len(np.unique(classes)) < 2:
        return False
    changes = np.flatnonzero(np.diff(classes[order].view(np.int64)) != 0)
    ties = values[order][changes] == values[order][changes + 1]
    return len(changes) + 1 == len(np.unique(classes)) and not ties.any()


def _describe_dependence(table: Table, name: str, target: str) -> str:
    """How a numeric column depends exactly on a numeric target, in words; "" when it does not."""
    x, y = table.column(name), table.column(target)
    if x.dtype.kind != "f" or y.dtype.kind != "f":
        return ""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < MIN_ROWS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return ""
    if np.array_equal(x, y):
        return "equals"
    with np.errstate(over="ignore", invalid="ignore"):
        if _correlation(x, y) > MIN_COPY_CORRELATION:
            return "is a straight line of"
    ranks = [np.unique(values, return_inverse=True)[1].astype(np.float64) for values in (x, y)]
    many = min(ranks[0].max(), ranks[1].max()) >= MAX_LEVELS
    return "rises and falls exactly with" if many and _correlation(*ranks) > MIN_COPY_CORRELATION else ""


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """|Pearson's r|; NaN where the numbers are too large for it."""
    return abs(float(np.corrcoef(x, y)[0, 1]))


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
            values = parse_timestamps(values).astype("datetime64[ms]")
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
    groups = _value_bits(table.column(column))
    later: Rows = np.concatenate([split.validation, split.test])
    num_shared = len(np.intersect1d(groups[split.train], groups[later]))
    if not num_shared:
        return []
    message = f"{num_shared} groups of {column!r} are in the training rows and in the rows that judge"
    return [Finding("refuse", column, message, "put all rows of a group into one file")]
