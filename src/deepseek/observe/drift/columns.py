"""Each column of the log against the data card: PSI, Kolmogorov and Smirnov's distance, chi-square, and missing values.

PSI is that of data.view.drift, over the card's own bins. The distance of Kolmogorov and
Smirnov is taken at the card's edges, where both shares are known: never above the true one, so its probability is never
too small. All columns together are bounded by Benjamini and Hochberg.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from deepseek.contracts import Float64
from deepseek.data.view.drift import psi
from deepseek.observe.drift.reference import ColumnReference
from deepseek.observe.reading.ndjson import quote_name, quote_text
from deepseek.observe.reading.tables import Logs
from deepseek.observe.why.scoring import bound_false_discoveries

FALSE_DISCOVERY_SHARE = 0.01
MIN_PSI = 0.02  # below it nobody would do anything, however many rows prove it
MIN_IMPACT = 0.1  # PSI of an average column that is worth a look
MIN_ROWS = 50  # with a value


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """A column now. `impact`: PSI weighed by the column's share of the attributions, times the number of columns: its
    PSI where it counts as much as an average column. None where the bundle says nothing of attributions."""

    name: str
    kind: str
    num_rows: int
    psi: float
    distance: float  # Kolmogorov and Smirnov's; of categories the total variation
    p_value: float
    missing_share: float
    past_missing_share: float
    unseen_share: float  # of levels that the card does not list, or of numbers beyond its first and last edge
    is_drifted: bool
    importance: float | None
    impact: float | None
    reference_shares: tuple[float, ...]
    shares: tuple[float, ...]
    bins: tuple[str, ...]

    @property
    def touches_answers(self) -> bool:
        """Whether the model looks at this column enough for the drift to matter."""
        return self.is_drifted and (self.impact is None or self.impact >= MIN_IMPACT)


def measure_columns(logs: Logs, where: str, references: Sequence[ColumnReference], prefix: str) -> list[ColumnDrift]:
    """The drift of each column among the rows that `where` (SQL) chooses; the largest impact first."""
    tested = [_measure_column(logs, where, each, prefix, len(references)) for each in references]
    limit = bound_false_discoveries(np.array([each.p_value for each in tested]), FALSE_DISCOVERY_SHARE)
    drifted = [replace(each, is_drifted=each.p_value <= limit and limit > 0 and each.psi >= MIN_PSI) for each in tested]
    return sorted(drifted, key=lambda each: (-(each.touches_answers + each.is_drifted), -(each.impact or 0), -each.psi))


def _measure_column(logs: Logs, where: str, reference: ColumnReference, prefix: str, num_columns: int) -> ColumnDrift:
    counts, num_missing, bins = _count_bins(logs, where, reference, prefix)
    total = counts.sum()
    expected = np.array(reference.shares)
    shares = counts / max(1.0, total)
    all_rows = total + num_missing
    missing = num_missing / max(1.0, all_rows)
    if total < MIN_ROWS and num_missing < MIN_ROWS:
        index, distance, p_value = 0.0, 0.0, 1.0
    else:
        now = np.append(shares * (1 - missing), missing)
        past = np.append(expected * (1 - reference.missing_share), reference.missing_share)
        index = psi(past * reference.num_rows, now * all_rows)
        gaps = np.abs(np.cumsum(shares - expected)) if reference.kind == "number" else np.abs(shares - expected) / 2
        distance = float(gaps.max() if reference.kind == "number" else gaps.sum()) if total else 0.0
        p_value = _p_value(now * all_rows, past, all_rows, reference, distance, total)
    impact = None if reference.importance is None else index * reference.importance * num_columns
    unseen = float(shares[-1]) if reference.kind == "category" else 0.0
    return ColumnDrift(
        reference.name, reference.kind, int(all_rows), index, distance, p_value, missing, reference.missing_share,
        unseen, False, reference.importance, impact, reference.shares, tuple(shares.tolist()), bins,
    )  # fmt: skip


def _count_bins(
    logs: Logs, where: str, reference: ColumnReference, prefix: str
) -> tuple[Float64, float, tuple[str, ...]]:
    """Rows of each bin (B,), rows without a value, and the bins' names."""
    column = quote_name(prefix + reference.name)
    if reference.kind == "category":
        listed = ", ".join(map(quote_text, reference.levels)) or "NULL"
        # The log holds whole numbers as floats: "1.0" is the level "1"
        text = f"regexp_replace(CAST({column} AS VARCHAR), '\\.0$', '')"
        code = f"COALESCE(list_position([{listed}], {text}), 0)"
        bins = (*reference.levels, "other")
        rows = logs.query(
            f"SELECT {code}, count({column}), count(*) FILTER ({column} IS NULL) FROM rows WHERE {where} GROUP BY 1"
        )
        counts = np.zeros(len(bins))
        for place, count, _ in rows:
            counts[(place or 0) - 1] += count
        return counts, float(sum(row[2] for row in rows)), bins
    number = f"TRY_CAST({column} AS DOUBLE)"
    steps = " + ".join(f"CAST({number} > CAST('{edge!r}' AS DOUBLE) AS INTEGER)" for edge in reference.edges)
    known = f"({number} IS NOT NULL AND NOT isnan({number}))"
    rows = logs.query(f"SELECT CASE WHEN {known} THEN {steps} ELSE -1 END, count(*) FROM rows WHERE {where} GROUP BY 1")
    counts = np.zeros(len(reference.edges) + 1)
    num_missing = 0.0
    for place, count in rows:
        if place < 0:
            num_missing += count
        else:
            counts[place] += count
    edges = [f"{edge:.4g}" for edge in reference.edges]
    bins = (
        f"≤ {edges[0]}",
        *(f"{low} – {high}" for low, high in pairwise(edges)),
        f"> {edges[-1]}",
    )
    return counts, num_missing, bins


def _p_value(
    counts: Float64, past: Float64, all_rows: float, reference: ColumnReference, distance: float, total: float
) -> float:
    """The smaller of chi-square's and, of numbers, Kolmogorov and Smirnov's, twice: two tests were made."""
    from scipy.special import chdtrc, kolmogorov

    past_counts = past * reference.num_rows
    both = counts + past_counts
    used = both > 0
    share = all_rows / (all_rows + reference.num_rows)
    expected_now, expected_past = both[used] * share, both[used] * (1 - share)
    statistic = ((counts[used] - expected_now) ** 2 / np.maximum(expected_now, 0.5)).sum()
    statistic += ((past_counts[used] - expected_past) ** 2 / np.maximum(expected_past, 0.5)).sum()
    p_value = float(chdtrc(max(1, used.sum() - 1), statistic))
    if reference.kind == "number" and total:
        size = total * reference.num_rows / (total + reference.num_rows)
        p_value = min(1.0, 2 * min(p_value, float(kolmogorov(distance * np.sqrt(size)))))
    return p_value
