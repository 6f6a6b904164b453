"""The data card: what the training rows looked like, column by column, for people and for drift checks. No single row.

A level of fewer than MIN_ROWS rows is never written by name, and free text and identifiers are only counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from deepseek.data.features.modality import ColumnProfile
from deepseek.data.table.readings import ColumnReading
from deepseek.data.table.table import Table
from deepseek.data.table.values import NAT_MS, BadValueError, format_timestamp, parse_numbers, parse_timestamps
from deepseek.data.view.card_schema import ColumnCard, ColumnFigures, ColumnReadingCard, DataCard, ReadingCard
from deepseek.data.view.drift import make_bins

VERSION = 1
NUM_BINS = 20
MAX_LEVELS = 30
MIN_ROWS = 10
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Why no value of a column is told, by its profile and kind; "" where values are.
WithholdFunction = Callable[[ColumnProfile, str], str]
_MAX_SQUARABLE = 1e150  # whose square is still a number


def make_card(
    table: Table, kinds: Mapping[str, str], target: str | None, *, withhold: WithholdFunction | None = None
) -> DataCard:
    """The card of a table: rows, and for each column (the target too) its kind, missing share, and figures by kind.

    Of a column for which `withhold` has a reason (withholding_reason() of personal.py) no value is told: it has the
    reason as "withheld", and no figures.
    numbers and dates: min, max, mean, std, quantiles, histogram {edges (B+1), counts (B)}; dates in ISO form. Numbers
    have bins, too: what later values are compared in.
    categories and classes: levels [{level, num_rows}], the most frequent first; the rest is in num_other.
    """
    readings = {reading.name: reading for reading in table.readings if not reading.is_plain}
    columns: list[ColumnCard] = [
        {
            **_describe_column(
                ColumnProfile.from_table(table, name), kinds.get(name, _target_kind(table, name)), withhold
            ),
            **_describe_reading(readings.get(name)),
        }
        for name in table.names
    ]
    return {"version": VERSION, "num_rows": table.num_rows, "target": target, "columns": columns}


def _describe_reading(reading: ColumnReading | None) -> ColumnReadingCard:
    """How a column was read, without a cell of it; nothing where every reader would read it so."""
    if reading is None:
        return {}
    how: ReadingCard = {
        "read_as": reading.read_as, "how": reading.how.en, "how_zh": reading.how.zh,
        "fitting_share": round(reading.fitting_share, 6), "looks_like": reading.looks_like,
    }  # fmt: skip
    return {"reading": how}


def _target_kind(table: Table, name: str) -> str:
    return "category" if table.types[name] in ("text", "boolean") else "numeric"


def _describe_column(profile: ColumnProfile, kind: str, withhold: WithholdFunction | None) -> ColumnCard:
    card: ColumnCard = {
        "name": profile.name,
        "type": profile.type,
        "kind": kind,
        "missing_share": float(profile.missing.mean()) if profile.num_rows else 0.0,
        "num_distinct": len(profile.counts),
    }
    reason = withhold(profile, kind) if withhold else ""
    if reason:
        card["withheld"] = reason
    if reason or kind in ("identifier", "text"):
        return card
    if kind == "datetime":
        return {**card, **_describe_timestamps(profile)}
    if profile.type == "number" and kind in ("numeric", "integer_category", "constant"):
        card = {**card, **_describe_numbers(profile.present)}
        return {**card, **_describe_levels(profile)} if kind == "integer_category" else card
    if kind == "numeric":
        return {**card, **_describe_numbers(_readable_numbers(profile))}
    return {**card, **_describe_levels(profile)}


def _readable_numbers(profile: ColumnProfile) -> NDArray[np.float64]:
    try:
        return parse_numbers(profile.present)
    except BadValueError:  # the target's text, which has a kind of its own
        return np.empty(0)


def _describe_numbers(values: NDArray[np.float64]) -> ColumnFigures:
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    counts, edges = _histogram(known)
    # Sums and differences of numbers near the end of float64 are beyond it, though what is made of them is not
    power = 600 if max(abs(known.min()), abs(known.max())) > _MAX_SQUARABLE else 0
    near = np.ldexp(known, -power)
    return {
        "min": float(known.min()),
        "max": float(known.max()),
        "mean": float(np.ldexp(np.mean(near), power)),
        "std": float(np.ldexp(np.std(near), power)),
        "quantiles": {str(share): float(np.ldexp(np.quantile(near, share), power)) for share in QUANTILES},
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "bins": make_bins(known).to_dict(),
    }


def _histogram(known: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Counts (B,) and edges (B + 1,) of bins of equal width between the ends; one bin when there is a single value."""
    low, high = float(known.min()), float(known.max())
    with np.errstate(over="ignore"):
        edges = low + (high / NUM_BINS - low / NUM_BINS) * np.arange(NUM_BINS + 1)
    if not np.isfinite(edges).all():  # the ends are further apart than a float reaches
        shares = np.arange(NUM_BINS + 1) / NUM_BINS
        edges = low * (1 - shares) + high * shares
    edges = np.unique(edges)
    edges[-1] = max(high, edges[-1])
    if len(edges) < 2:
        return np.array([len(known)]), np.array([low, high])
    bin_numbers = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    counts: NDArray[np.int64] = np.bincount(bin_numbers, minlength=len(edges) - 1)
    return counts, np.asarray(edges, np.float64)


def _describe_timestamps(profile: ColumnProfile) -> ColumnFigures:
    whole = parse_timestamps(profile.present)
    whole = whole[whole != NAT_MS]
    if not len(whole):
        return {}
    counts, edges = _histogram(whole.astype(np.float64))
    ordered = np.sort(whole)
    return {
        "min": format_timestamp(int(ordered[0])),
        "max": format_timestamp(int(ordered[-1])),
        "quantiles": {
            str(share): format_timestamp(int(ordered[int(share * (len(ordered) - 1))])) for share in QUANTILES
        },
        "histogram": {"edges": [format_timestamp(int(edge)) for edge in edges], "counts": counts.tolist()},
    }


def _describe_levels(profile: ColumnProfile) -> ColumnFigures:
    counts = profile.level_counts()
    named = [(level, count) for level, count in counts.items() if count >= MIN_ROWS][:MAX_LEVELS]
    return {
        "levels": [{"level": level, "num_rows": count} for level, count in named],
        "num_other": sum(counts.values()) - sum(count for _, count in named),
    }
