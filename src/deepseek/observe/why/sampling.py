"""Rows of the window and of its past as arrays: all of them, or a weighted part where there are very many.

Rows that failed, were refused or were wrong are rare and say most: of them more are taken than of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.observe.reading.names import is_consequence
from deepseek.observe.reading.ndjson import quote_name
from deepseek.observe.reading.tables import Logs
from deepseek.observe.why.badness import SLOW_SHARE, Badness
from deepseek.observe.why.baseline import residuals
from deepseek.observe.why.coding import CodedField, code_columns
from deepseek.observe.why.windows import Window

MAX_ROWS = 120_000  # of the window, of its past, and of bad and other rows in each
MAX_PARTS = 24  # of the past
RARE_KINDS = frozenset(["failed", "refused", "wrong", "flagged", "slow", "chosen"])
#: What no cause is looked for in: what happened, and what names a single row.
NOT_FIELDS = frozenset(
    ["time", "request_id", "row", "status", "duration_s", "prediction", "value", "confidence", "label", "flags"]
)


@dataclass(frozen=True, slots=True)
class Sample:
    """N rows. `part`: which part of the past a row is in, 0..T - 1, or T for the window. `bad`: of each kind, 1, 0, or
    -1 where a row cannot say."""

    fields: tuple[CodedField, ...]
    part: NDArray[np.int64]
    weight: Float64
    bad: dict[str, NDArray[np.int8]]  # by the SQL of the kind
    time_s: Float64
    num_parts: int

    @property
    def in_window(self) -> NDArray[np.bool_]:
        rows: NDArray[np.bool_] = self.part == self.num_parts
        return rows


def take_sample(logs: Logs, window: Window, kinds: Sequence[Badness]) -> Sample:
    """The rows, coded. Deterministic: which ones are taken depends on the rows alone."""
    rare = " OR ".join(f"COALESCE({kind.sql}, false)" for kind in kinds if kind.kind in RARE_KINDS) or "false"
    strata = {
        (part, is_rare): logs.count(f"SELECT count(*) FROM rows WHERE {sql} AND {is_rare} ({rare})")
        for part, sql in (("now", window.sql), ("past", window.past_sql))
        for is_rare in ("", "NOT")
    }
    shares = {key: min(1.0, MAX_ROWS / max(1, count)) for key, count in strata.items()}
    chosen = [name for name in logs.columns if name not in NOT_FIELDS and not is_consequence(name)]
    columns = "".join(f", {quote_name(name)}" for name in chosen)
    columns += ', duration_s AS "duration s"' if "duration_s" in logs.columns else ""
    bads = "".join(f', CAST({kind.sql} AS TINYINT) AS "bad {index}"' for index, kind in enumerate(kinds))
    selects = [
        f'SELECT time AS "time s", CAST({1 / share!r} AS DOUBLE) AS "row weight"{bads}{columns} FROM rows '
        f"WHERE {window.sql if part == 'now' else window.past_sql} AND {is_rare} ({rare}) "
        f"AND hash(rowid) % 1000000 < {round(share * 1e6)}"
        for (part, is_rare), share in shares.items()
        if strata[part, is_rare]
    ]
    table = logs.table(" UNION ALL ".join(selects))
    time_s = table["time s"].to_numpy()
    num_parts = max(1, min(MAX_PARTS, int((window.start_s - window.past_start_s) / (window.end_s - window.start_s))))
    part_s = (window.start_s - window.past_start_s) / num_parts
    part = np.where(
        time_s >= window.start_s,
        num_parts,
        np.clip((time_s - window.past_start_s) // part_s, 0, num_parts - 1),
    ).astype(np.int64)
    bad = {kind.sql: table[f"bad {index}"].fill_null(-1).to_numpy().astype(np.int8) for index, kind in enumerate(kinds)}
    fields, weight = code_columns(table.select(chosen), part < num_parts, time_s), table["row weight"].to_numpy()
    for kind in kinds:
        if kind.kind == "slow":
            duration_s = table["duration s"].cast("double").to_numpy()
            bad[kind.sql] = slower_than_usual(fields, duration_s, part < num_parts, weight)
    return Sample(tuple(fields), part, weight, bad, time_s, num_parts)


def slower_than_usual(
    fields: Sequence[CodedField], duration_s: Float64, is_past: NDArray[np.bool_], weight: Float64
) -> NDArray[np.int8]:
    """Which rows (N,) took longer than 99 of 100 like them did in the past; -1 for those without a duration."""
    excess = residuals(fields, np.log(np.maximum(duration_s, 1e-9)), is_past, weight)
    known = np.isfinite(excess)
    past = np.flatnonzero(is_past & known)
    if not len(past):
        return np.full(len(excess), -1, np.int8)
    order = past[np.argsort(excess[past])]
    reached = np.cumsum(weight[order])
    limit = excess[order[np.searchsorted(reached, SLOW_SHARE * reached[-1])]]
    return np.where(known, excess > limit, -1).astype(np.int8)
