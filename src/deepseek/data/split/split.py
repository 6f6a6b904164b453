"""Which rows teach, which choose and which judge: random (stratified), by time or by group. All set by the seed.

    split_table(table, split="time:when", target="fraud", task="binary", seed=0)   -> Split(train, validation, test)
    folds(table, split="group:customer", target="fraud", task="binary", seed=0)    -> [(train, validation), ...]

By time the later rows judge, and rows of one moment stay together. By group no group is on two sides. At random,
classes keep their shares, and a class of few rows is in the training part before any other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Task
from deepseek.data.features.kinds import find_kind
from deepseek.data.features.modality import ColumnProfile
from deepseek.data.table.table import Table, unknown_column_error
from deepseek.data.table.values import BadValueError, level_names, parse_timestamps
from deepseek.errors import InputError

Rows = NDArray[np.int64]
MAX_CELLS = 20_000_000  # groups x classes above which the groups are shared out by their rows alone
NUM_TRIES = 10  # orders of the groups that are tried for the one that keeps sizes and classes best


@dataclass(frozen=True, eq=False)
class Split:
    """The row numbers of each part of a table, rising."""

    train: Rows
    validation: Rows
    test: Rows


def split_table(
    table: Table,
    *,
    split: str = "random",
    target: str,
    task: Task,
    test_share: float = 0.2,
    validation_share: float = 0.2,
    seed: int = 0,
) -> Split:
    """Cut the rows by `split`: "random", "time:COLUMN" or "group:COLUMN". Shares are of all rows; 0: an empty part.

    InputError for a split that is not known, a column that is not there, shares that leave nothing to train on, a
    moment that is missing, or too few rows, moments or groups.
    """
    shares = (1 - test_share - validation_share, validation_share, test_share)
    if min(shares) < 0 or shares[0] < 1e-9:
        raise InputError(
            f"shares {test_share} and {validation_share} leave no rows to train on",
            expected="a sum below 1",
            fix="make them smaller",
        )
    num_parts = sum(share > 0 for share in shares)
    if table.num_rows < num_parts:
        raise InputError(
            f"{table.num_rows} rows cannot be cut into {num_parts} parts",
            expected=f"at least {num_parts} rows",
            fix="bring more rows",
        )
    method, column = parse_split(split, table)
    if method == "time":
        part = _split_by_time(_time_ranks(table, column), shares, column)
    elif method == "group":
        part = _split_by_group(_group_codes(table, column), _strata(table, target, task), shares, seed, column)
    else:
        part = _split_stratified(_strata(table, target, task), shares, np.random.default_rng(seed))
    return Split(*(np.flatnonzero(part == number) for number in range(3)))


def make_folds(
    table: Table, *, split: str = "random", target: str, task: Task, num_folds: int = 5, seed: int = 0
) -> list[tuple[Rows, Rows]]:
    """(train, validation) rows of each fold. By time the training part grows: fold i is judged on the moments after it.

    InputError as in split_table. Fewer folds come back when a table has fewer rows, moments or groups.
    """
    method, column = parse_split(split, table)
    if num_folds < 2:
        raise InputError(f"{num_folds} folds", expected="at least 2", fix="ask for more")
    if method == "time":
        return _time_folds(_time_ranks(table, column), num_folds, column)
    if method == "group":
        part = _group_folds(_group_codes(table, column), _strata(table, target, task), num_folds, seed, column)
    else:
        part = _random_folds(_strata(table, target, task), num_folds, np.random.default_rng(seed))
    return [(np.flatnonzero(part != fold), np.flatnonzero(part == fold)) for fold in np.unique(part[part >= 0])]


def parse_split(split: str, table: Table) -> tuple[str, str]:
    """("random", "") or ("time" | "group", COLUMN). InputError for anything else."""
    method, colon, column = split.partition(":")
    if method not in ("random", "time", "group") or bool(colon) != (method != "random"):
        raise InputError(
            f"{split!r} is not a way to split",
            expected="random, time, time:COLUMN or group:COLUMN",
            fix="choose one of these",
        )
    if colon and column not in table.columns:
        raise unknown_column_error(column, table.names)
    return method, column


def resolve_split(split: str, table: Table, *, hidden: Collection[str] = ()) -> str:
    """`split` as it is, but for "time" alone: that takes the one column of dates which is not `hidden`. InputError
    where there is none, or more than one.

    >>> table = Table({"when": np.array(["2020-01-01", "2020-01-02"], "M8[ms]")}, {"when": "datetime"})
    >>> resolve_split("time", table), resolve_split("random", table)
    ('time:when', 'random')
    """
    if split != "time":
        return split
    dates = [
        name for name in table.names
        if name not in hidden and find_kind(ColumnProfile.from_table(table, name)) == "datetime"
    ]  # fmt: skip
    if len(dates) == 1:
        return f"time:{dates[0]}"
    raise InputError(
        f"the split is by time, and {len(dates) or 'no'} columns hold dates",
        expected="one column of dates, or time:COLUMN",
        fix=f"name one of them: time:{dates[0]} or time:{dates[1]}"
        if dates
        else "name a column that orders the rows: time:COLUMN",
    )


def _strata(table: Table, target: str, task: Task) -> Rows:
    """The stratum of each row (N,), of which every part gets its share: its class; one stratum for regression."""
    if task == "regression":
        return np.zeros(table.num_rows, np.int64)
    return _value_codes(table.column(target))


def _value_codes(values: NDArray[Any]) -> Rows:
    """A whole number for each value (N,), equal for equal values; missing is a value of its own."""
    names = values.tolist() if values.dtype == object else None
    if names is None:
        return np.asarray(np.unique(values, return_inverse=True)[1], np.int64)
    number: dict[Any, int] = {name: code for code, name in enumerate(sorted({n for n in names if n is not None}), 1)}
    return np.array([0 if name is None else number[name] for name in names], np.int64)


def _split_stratified(strata: Rows, shares: Sequence[float], rng: np.random.Generator) -> Rows:
    """Part (N,) of each row: 0 train, 1 validation, 2 test. Rows in random order, strata spread evenly over it."""
    part = np.zeros(len(strata), np.int64)
    owed = np.zeros(3)  # rows that the strata so far have given too few of, so that the parts' sizes come out right
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        wanted = np.array(shares) * len(rows) + owed
        counts = _part_sizes(wanted, len(rows), shares)
        owed = wanted - counts
        part[rows] = np.repeat(np.arange(3), counts)
    for number in (2, 1):  # a part that is asked for is not empty
        if shares[number] > 0 and not (part == number).any():
            part[rng.choice(np.flatnonzero(part == 0))] = number
    return part


def _part_sizes(exact_sizes: NDArray[np.float64], num_rows: int, shares: Sequence[float]) -> Rows:
    """Whole rows for each part: training has at least one; from three rows on so has each part that is asked for."""
    least = np.array([1, *(int(share > 0 and num_rows >= 3) for share in shares[1:])])
    if num_rows == 2 and shares[2] > 0:
        least = np.array([1, 0, 1])
    counts: Rows = np.maximum(np.floor(exact_sizes).astype(np.int64), least)
    while counts.sum() < num_rows:
        counts[np.argmax(np.where(np.array(shares) > 0, exact_sizes - counts, -np.inf))] += 1
    while counts.sum() > num_rows:
        spare = np.where(counts > least, counts - exact_sizes, -np.inf)
        counts[np.argmax(spare)] -= 1
    return counts


def _time_ranks(table: Table, column: str) -> Rows:
    """Place of each row's moment among the different ones (N,). InputError when one is missing."""
    return np.asarray(np.unique(moments(table, column), return_inverse=True)[1], np.int64)


def moments(table: Table, column: str) -> NDArray[Any]:
    """Each row's moment (N,): dates or numbers, which have an order. InputError when one is missing or no date."""
    values = table.column(column)
    missing = table.missing_mask(column)
    if missing.any():
        raise InputError(
            f"column {column!r} is missing in {int(missing.sum())} rows, which have no place in time",
            expected="a moment in every row",
            fix="fill them or leave these rows out",
        )
    if values.dtype == object:
        try:
            values = parse_timestamps(values)
        except BadValueError as error:
            raise InputError(
                f"column {column!r}, row {error.row}: {str(error.value)[:80]!r} is no date",
                expected="dates or numbers",
                fix="mend the value, or split by another column",
            ) from error
    return values


def _split_by_time(ranks: Rows, shares: Sequence[float], column: str) -> Rows:
    num_parts = sum(share > 0 for share in shares)
    if ranks.max() + 1 < num_parts:
        raise _too_few_error(column, f"{ranks.max() + 1} different moments", num_parts)
    used = [number for number in range(3) if shares[number] > 0]
    cuts = _time_cuts(ranks, np.cumsum([shares[number] for number in used])[:-1])
    return np.array(used)[np.searchsorted(cuts, ranks, side="right")]


def _time_cuts(ranks: Rows, shares: Sequence[float] | NDArray[np.float64]) -> list[int]:
    """Ranks at which a new part starts, nearest to these shares of the rows; every part keeps at least one moment."""
    rows_before = np.concatenate([[0], np.cumsum(np.bincount(ranks))])  # rows before each rank
    num_moments = len(rows_before) - 1
    cuts: list[int] = []
    for index, share in enumerate(shares):
        earliest, latest = (cuts[-1] if cuts else 0) + 1, num_moments - (len(shares) - index)
        nearest = int(np.argmin(np.abs(rows_before - share * len(ranks))))
        cuts.append(min(max(nearest, earliest), latest))
    return cuts


def _time_folds(ranks: Rows, num_folds: int, column: str) -> list[tuple[Rows, Rows]]:
    num_folds = min(num_folds, int(ranks.max()))
    if num_folds < 1:
        raise _too_few_error(column, "one moment only", 2)
    cuts = _time_cuts(ranks, np.arange(1, num_folds + 1) / (num_folds + 1))
    block = np.searchsorted(cuts, ranks, side="right")
    return [(np.flatnonzero(block < number), np.flatnonzero(block == number)) for number in range(1, num_folds + 1)]


def _too_few_error(column: str, what: str, least: int) -> InputError:
    return InputError(
        f"column {column!r} has {what}", expected=f"at least {least}", fix="split by another column, or at random"
    )


def _group_codes(table: Table, column: str) -> Rows:
    """The group of each row, numbered (N,). Rows without a group are one group of their own."""
    values = table.column(column)
    if values.dtype == object:
        return _value_codes(np.array(level_names(values), object))
    return _value_codes(values)


def _split_by_group(groups: Rows, strata: Rows, shares: Sequence[float], seed: int, column: str) -> Rows:
    num_parts, num_groups = sum(share > 0 for share in shares), int(groups.max()) + 1
    if num_groups < num_parts:
        raise _too_few_error(column, f"{num_groups} groups", num_parts)
    tables = _group_tables(groups, strata)
    best = _best_assignment(tables, np.array(shares), seed)
    return best[groups]


def _group_folds(groups: Rows, strata: Rows, num_folds: int, seed: int, column: str) -> Rows:
    num_groups = int(groups.max()) + 1
    if num_groups < 2:
        raise _too_few_error(column, "one group only", 2)
    num_folds = min(num_folds, num_groups)
    best = _best_assignment(_group_tables(groups, strata), np.full(num_folds, 1 / num_folds), seed)
    return best[groups]


def _group_tables(groups: Rows, strata: Rows) -> NDArray[np.float64]:
    """Rows of each stratum in each group (G, S)."""
    codes = np.unique(strata, return_inverse=True)[1]
    num_groups, num_strata = int(groups.max()) + 1, int(codes.max()) + 1
    if num_groups * num_strata > MAX_CELLS:
        codes, num_strata = np.zeros_like(codes), 1
    counts = np.bincount(groups * num_strata + codes, minlength=num_groups * num_strata)
    return counts.reshape(num_groups, num_strata).astype(np.float64)


def _best_assignment(tables: NDArray[np.float64], shares: NDArray[np.float64], seed: int) -> Rows:
    """Part of each group (G,): the order of groups, of several, whose parts come nearest to their shares of rows and of
    each stratum."""
    tries = [_assign_groups(tables, shares, np.random.default_rng((seed, number))) for number in range(NUM_TRIES)]
    return min(tries, key=lambda scored: scored[0])[1]


def _assign_groups(
    tables: NDArray[np.float64], shares: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, Rows]:
    """Lay the groups in a row, in random order, and cut it by the shares; every part that is asked for gets a group."""
    total, sizes = tables.sum(), tables.sum(axis=1)
    order = rng.permutation(len(tables))
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    part = np.zeros(len(tables), np.int64)
    part[order] = np.searchsorted(np.cumsum(shares)[:-1] * total, middle, side="right")
    for number in np.flatnonzero(shares > 0):
        if not (part == number).any():
            part[np.flatnonzero(part == np.argmax(np.bincount(part)))[0]] = number
    filled = np.bincount(part, weights=sizes, minlength=len(shares))
    rows = np.zeros((len(shares), tables.shape[1]))
    np.add.at(rows, part, tables)
    gaps = np.abs(rows / np.maximum(tables.sum(axis=0), 1) - shares[:, None])
    return float(gaps.sum() + tables.shape[1] * np.abs(filled / total - shares).sum()), part


def _random_folds(strata: Rows, num_folds: int, rng: np.random.Generator) -> Rows:
    """Fold (N,) of each row: every stratum is dealt out like cards, going on where the last one stopped."""
    num_folds = min(num_folds, len(strata))
    if num_folds < 2:
        raise InputError(f"{len(strata)} rows cannot be cut into folds", expected="at least 2", fix="bring more rows")
    part = np.zeros(len(strata), np.int64)
    dealt = 0
    for stratum in np.unique(strata):
        rows = rng.permutation(np.flatnonzero(strata == stratum))
        part[rows] = (dealt + np.arange(len(rows))) % num_folds
        dealt += len(rows)
    return part
