"""One table cut into parties, as uneven as owners are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.data import Table
from deepseek.errors import InputError
from deepseek.privacy.rounds.answer import MIN_ROWS

Rows = NDArray[np.int64]


def split_parties(table: Table, split: str, num_parties: int, seed: int) -> dict[str, Rows]:
    """Row numbers of each party by name. `split`: "rows" deals rows, "by:COLUMN" all rows of a value to one party.

    As many parties as the column has values get one value each, under its name; else the largest party gets about
    num_parties times the values of the smallest. InputError where a party would have too few rows.
    """
    method, _, column = split.partition(":")
    rng = np.random.default_rng(seed)
    if method == "rows" and not column:
        owners: Rows = rng.permutation(_uneven_owners(table.num_rows, num_parties))
        names = [f"party-{number}" for number in range(1, num_parties + 1)]
    elif method == "by" and column:
        texts = np.array([str(value) for value in table.column(column).tolist()])
        values, codes = np.unique(texts, return_inverse=True)
        if len(values) < num_parties:
            raise InputError(
                f"the column {column!r} has {len(values)} values for {num_parties} parties",
                expected="at least one value a party",
                fix="ask for fewer parties, or split by another column",
            )
        if len(values) == num_parties:
            owners, names = codes.astype(np.int64), [f"{column}-{value}" for value in values]
        else:
            owners = rng.permutation(_uneven_owners(len(values), num_parties))[codes]
            names = [f"party-{number}" for number in range(1, num_parties + 1)]
    else:
        raise InputError(f"{split!r} is not a split", expected="rows or by:COLUMN", fix="write by:COLUMN")
    parts = {name: np.flatnonzero(owners == number) for number, name in enumerate(names)}
    smallest = min(parts, key=lambda name: len(parts[name]))
    if len(parts[smallest]) < MIN_ROWS:
        raise InputError(
            f"{smallest} would have {len(parts[smallest])} rows",
            expected=f"at least {MIN_ROWS} rows for each party",
            fix="ask for fewer parties, or bring more rows",
        )
    return parts


def _uneven_owners(num: int, num_parties: int) -> Rows:
    """The owner of each of `num` things: party k of n gets about k / (1 + 2 + ... + n) of them."""
    shares = np.arange(1, num_parties + 1)
    ends = np.round(np.cumsum(shares) / shares.sum() * num).astype(np.int64)
    return np.searchsorted(ends, np.arange(num), side="right").astype(np.int64)
