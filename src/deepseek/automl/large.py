"""Rows for `ship` from a file that is larger than memory: as many as fit, drawn so that they stand for all of them.

    table, sample = read_rows(Path("loans.csv"), target="default", seed=0, memory_bytes=2 * 10**9)
    sample.warning()         # None where every row is used

The rows that are used keep their order, and come evenly from the whole file and from each class of the target: shares
and times stay as they are. Search, blend and last fit use these rows; what is used of how many is in the warnings and
in the evidence.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.data import Table, concat, read_table
from deepseek.data.batches import open_table
from deepseek.data.table.memory import free_bytes
from deepseek.data.table.table import unknown_column_error
from deepseek.errors import TooLargeError
from deepseek.look.numbers import count, size

FREE_MEMORY_SHARE = 0.7  # of the memory that is free: the rest is for libraries and for what else runs
#: A run takes this much beside its rows, and so many times what they take as a Table: the table and its parts, features
#: of development and test rows, the folds, a forest's or a booster's own copies.
FIXED_BYTES, MEMORY_COPIES = 500_000_000, 15
MAX_DECOMPRESSION_RATIO = 10  # a packed file, or one of Parquet, may hold so many times its size
MIN_ROWS = 1_000  # fewer of a large table tell nothing of it
MAX_STRATA = 1_000  # values of a target that are drawn from evenly; of one with more, rows are drawn alike


@dataclass(frozen=True, slots=True)
class RowSample:
    """How many rows of a large file are used."""

    num_used: int
    num_rows: int  # of the file
    memory_bytes: int  # of the budget
    #: Numbers of the used rows in the file, rising; empty where all are used.
    rows: NDArray[np.int64] = field(default_factory=lambda: np.arange(0), compare=False, repr=False)
    has_rest_fit: bool = False  # the last fit of boosted trees has the other rows as well (cluster/rest_rows.py)

    def warning(self) -> str | None:
        """The warning; None where all rows are used."""
        if self.num_used == self.num_rows:
            return None
        if self.has_rest_fit:
            return (
                f"{count(self.num_used)} of {count(self.num_rows)} rows are used for search and test, and for the last "
                f"fit of all but boosted trees (xgboost, of a table without texts), which has the others as well, over "
                f"the workers of the cluster: more do not fit into {size(self.memory_bytes)} of memory here"
            )
        return (
            f"{count(self.num_used)} of {count(self.num_rows)} rows are used, for search, last fit and test alike: "
            f"more do not fit into {size(self.memory_bytes)} of memory. They come evenly from the whole file and from "
            "each class; with more memory more are used"
        )

    def to_dict(self) -> dict[str, int]:
        """The entry "rows" of evidence/data.json."""
        return {"num_used": self.num_used, "num_rows": self.num_rows, "memory_bytes": self.memory_bytes}


def memory_budget(memory_bytes: float | None) -> int | None:
    """What was asked for, else a share of what is free; None where the system does not say."""
    if memory_bytes is not None:
        return int(memory_bytes)
    free = free_bytes()
    return None if free is None else int(FREE_MEMORY_SHARE * free)


def read_rows(path: Path, *, target: str, seed: int, memory_bytes: int | None) -> tuple[Table, RowSample | None]:
    """The rows of a file that fit into `memory_bytes`, and what share of it they are (None for a small file).

    The errors of read_table(); InputError for a target that is not there; TooLargeError where hardly a row fits.
    """
    try:
        small = (
            memory_bytes is None
            or path.stat().st_size * MAX_DECOMPRESSION_RATIO * MEMORY_COPIES + FIXED_BYTES < memory_bytes
        )
    except (OSError, ValueError):
        small = True  # read_table() says what is wrong with it
    if small or memory_bytes is None:
        return read_table(path), None
    with open_table(path) as file:
        parts = file.parts()
        first = next(parts)
        fitting = int((memory_bytes - FIXED_BYTES) / (MEMORY_COPIES * bytes_per_row(first)))
        if fitting < min(MIN_ROWS, file.num_rows):
            raise TooLargeError(
                f"{path.name} has {count(file.num_rows)} rows, of which {count(max(0, fitting))} fit into "
                f"{size(memory_bytes)} of memory",
                expected=f"memory for {count(MIN_ROWS)} rows at least",
                fix="give the run more memory, or leave columns out of the file",
            )
        if target not in first.columns:
            raise unknown_column_error(target, first.names, where=f"the data file {path}")
        if fitting < file.num_rows:
            draw = StratifiedDraw(fitting / file.num_rows, seed)
            samples, used, start = [], [], 0
            for part in chain([first], parts):
                drawn = draw.rows(part, target)
                samples.append(part.take(drawn))
                used.append(start + drawn)
                start += part.num_rows
            table = concat(samples, [path.name] * len(samples))
            return table, RowSample(table.num_rows, file.num_rows, memory_bytes, np.concatenate(used))
        num_rows = file.num_rows
    return read_table(path), RowSample(num_rows, num_rows, memory_bytes)


def bytes_per_row(table: Table) -> float:
    """What a row of a Table takes: 8 bytes a value, and the texts, of which equal ones are one object."""
    texts = [set(values.tolist()) for values in table.columns.values() if values.dtype == object]
    letters = sum(49 + 2 * len(text) for distinct in texts for text in distinct if text is not None)
    return 8 * len(table.columns) + letters / max(1, table.num_rows)


class StratifiedDraw:
    """A systematic sample of every class with a random start, from parts of a table: no class is lost, and each has its
    share of the rows to within one."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._start = float(np.random.default_rng(seed).random())
        self._seen: dict[object, int] = defaultdict(int)

    def rows(self, part: Table, target: str) -> NDArray[np.int64]:
        """The rows of the next part that are drawn, in their order."""
        values = part.column(target).astype(str)
        strata, stratum_of_row = np.unique(values, return_inverse=True)
        if len(self._seen.keys() | set(strata.tolist())) > MAX_STRATA:  # a number rather than a class
            strata, stratum_of_row = np.array([""]), np.zeros(part.num_rows, np.int64)
        chosen = np.zeros(part.num_rows, bool)
        for index, stratum in enumerate(strata.tolist()):
            rows = np.flatnonzero(stratum_of_row == index)
            numbers = self._seen[stratum] + np.arange(len(rows))
            upto = np.floor(numbers * self._share + self._start)
            before = np.floor((numbers - 1) * self._share + self._start)
            chosen[rows] = (upto > before) | (numbers == 0)
            self._seen[stratum] += len(rows)
        return np.flatnonzero(chosen)
