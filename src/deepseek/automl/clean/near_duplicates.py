"""Rows that are nearly the same: MinHash of their pieces (Broder 1997), then the pieces themselves are compared.

The pieces of a row are the runs of SHINGLE characters of its texts and its other cells; two rows are near where they
share THRESHOLD of them; without texts, all of them. Signatures of NUM_BANDS x BAND numbers bring together what may be
near: of two rows that share .8 of their pieces all but 2 in 10,000 pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deepseek.data.features.ngrams import normalize_text
from deepseek.data.split.row_hashes import value_bits
from deepseek.data.table.table import Table

SHINGLE, THRESHOLD = 5, 0.8
NUM_BANDS, BAND = 16, 4
MAX_PIECES = 2_000  # of a row, evenly chosen
MAX_GROUP = 50  # rows of one band that are compared each with each; of more, neighbors
Hashes = NDArray[np.uint64]
_ODD = np.uint64(0x9E3779B97F4A7C15)


def find_near(table: Table, kinds: Mapping[str, str], target: str | None) -> list[list[int]]:
    """Groups of rows (two at least, rising) that are near to each other, in the order of their first."""
    texts = [name for name, kind in kinds.items() if kind == "text" and name != target]
    cells = [name for name in table.names if name in kinds and name not in texts and name != target]
    columns = [_mix(value_bits(table.column(name)) ^ _place_bits(place)) for place, name in enumerate(cells)]
    matrix = np.stack(columns, axis=1) if columns else np.zeros((table.num_rows, 0), np.uint64)
    strings = [table.column(name).tolist() for name in texts]
    pieces = [_pieces(matrix[row], [values[row] for values in strings]) for row in range(table.num_rows)]
    least = THRESHOLD if texts else 1.0  # rows of a few cells are alike by chance: only copies count
    parent = list(range(table.num_rows))
    checked: set[tuple[int, int]] = set()
    for group in _groups(_signatures(pieces)):
        for one, other in _list_pairs(group):
            if (one, other) not in checked:
                checked.add((one, other))
                if _root(parent, one) != _root(parent, other) and _share(pieces[one], pieces[other]) >= least:
                    parent[_root(parent, other)] = _root(parent, one)
    members: dict[int, list[int]] = {}
    for row in range(table.num_rows):
        members.setdefault(_root(parent, row), []).append(row)
    return sorted(rows for rows in members.values() if len(rows) > 1)


def _pieces(cells: Hashes, texts: Sequence[object]) -> Hashes:
    parts = [cells]
    for place, text in enumerate(texts):
        if isinstance(text, str) and text.strip():
            parts.append(_shingles(" ".join(normalize_text(text).split()), place))
    pieces = np.unique(np.concatenate(parts))
    return pieces[:: max(1, len(pieces) // MAX_PIECES)] if len(pieces) > MAX_PIECES else pieces


def _shingles(text: str, place: int) -> Hashes:
    letters = np.frombuffer(text.ljust(SHINGLE).encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(letters, SHINGLE)
    mixed = np.full(len(windows), place + 1, np.uint64)
    for column in range(SHINGLE):
        mixed = (mixed ^ windows[:, column]) * _ODD
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _mix(bits: Hashes) -> Hashes:
    mixed = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(mixed ^ (mixed >> np.uint64(27)))


def _place_bits(place: int) -> np.uint64:
    """A number of its own for each column: equal cells of two columns are different pieces."""
    return np.uint64((place + 1) * 0x9E3779B97F4A7C15 % 2**64)


def _signatures(pieces: Sequence[Hashes]) -> Hashes:
    """(N, NUM_BANDS * BAND): of each of so many orders of all pieces, the first that a row has."""
    draw = np.random.default_rng(0)
    factors = draw.integers(0, 2**63, NUM_BANDS * BAND, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    shifts = draw.integers(0, 2**63, NUM_BANDS * BAND, dtype=np.uint64)
    signatures = np.zeros((len(pieces), NUM_BANDS * BAND), np.uint64)
    for row, own in enumerate(pieces):
        if len(own):
            signatures[row] = ((own[:, None] * factors + shifts) ^ (own[:, None] >> np.uint64(17))).min(axis=0)
    return signatures


def _groups(signatures: Hashes) -> list[NDArray[np.int64]]:
    """Rows with an equal band, of each band."""
    groups = []
    for band in range(NUM_BANDS):
        part = signatures[:, band * BAND : (band + 1) * BAND]
        mixed = np.zeros(len(part), np.uint64)
        for column in range(BAND):
            mixed = _mix(mixed ^ part[:, column]) * _ODD
        order = np.argsort(mixed, kind="stable")
        cuts = np.flatnonzero(np.diff(mixed[order]) != 0) + 1
        groups += [group for group in np.split(order, cuts) if len(group) > 1]
    return groups


def _list_pairs(group: NDArray[np.int64]) -> list[tuple[int, int]]:
    rows = sorted(group.tolist())
    if len(rows) > MAX_GROUP:
        return list(pairwise(rows))
    return [(one, other) for place, one in enumerate(rows) for other in rows[place + 1 :]]


def _share(one: Hashes, other: Hashes) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / max(len(one) + len(other) - both, 1)


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row
