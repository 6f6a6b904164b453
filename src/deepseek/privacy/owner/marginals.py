"""What a table's columns are like, said with noise: a sample of drawn rows from which preprocessing can be fitted.

    sample = describe_columns(table, noise=10.0, delta=1e-7)       # Table (NUM_SAMPLE_ROWS,), no row of it is real

Each row adds one to one bin of every column, so that F histograms together change by a vector of length sqrt(F), which
the noise is multiplied by. Numbers are counted twice: over all magnitudes, and then evenly over the range that this
shows. Texts are counted by value, and a value stands in the sample only where its noised count is above what one row
alone could make it (Korolova et al. 2009), but for a chance of delta. Columns are drawn each by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.data import Table
from deepseek.errors import CheckError
from deepseek.extras import need
from deepseek.train.private.noise import secure_normal

NUM_SAMPLE_ROWS = 512
BINS_PER_OCTAVE, SMALLEST_EXPONENT, LARGEST_EXPONENT = 2, -30, 50
NUM_EVEN_BINS = 32
NUM_RELEASES = 2  # of histograms of all columns
SURE = 5.0  # standard deviations of its noise that a count must have to be believed, one among hundreds of bins
LEAST_FINE_SHARE = 0.5  # of the rows that the counts of magnitudes have shown, to draw by the even bins
MOST_LEVELS = 200


@dataclass(frozen=True, slots=True)
class CountNoise:
    """What is added to each count of one release."""

    deviation: float
    threshold: float  # below which a value of text may be that of one row alone

    def counts(self, exact: NDArray[Any]) -> Float64:
        """Counts with noise; those that noise alone could have made are 0."""
        noised = exact + self.deviation * secure_normal(len(exact))
        return np.where(noised > SURE * self.deviation, noised, 0.0)


def describe_columns(table: Table, noise: float, delta: float) -> Table:
    """A sample in the table's own types. `noise`: standard deviation for a change of length 1 by a row, of everything
    that is counted here. CheckError where the noise hides every column."""
    num_columns = len(table.names)
    deviation = noise * math.sqrt(NUM_RELEASES * num_columns)
    ndtri = need("scipy.special", extra="tabular").ndtri
    threshold = 1 + deviation * float(ndtri(1 - delta / num_columns))
    count_noise = CountNoise(deviation, max(threshold, SURE * deviation))
    columns = {name: _draw(table, name, count_noise) for name in table.names}
    known = {name: values for name, values in columns.items() if values is not None}
    if not known:
        raise CheckError(
            f"the noise of the budget hides what is in each of {num_columns} columns of {table.num_rows:,} rows",
            expected="more rows, fewer columns, or a larger epsilon",
            fix="drop columns, or name a file of rows that may be shown (--dp-sample), which costs nothing",
        )
    return replace(
        table, columns=known, types={name: table.types[name] for name in known}, notes=(),
        formats={name: each for name, each in table.formats.items() if name in known},
    )  # fmt: skip


def _draw(table: Table, name: str, noise: CountNoise) -> NDArray[Any] | None:
    """Values (NUM_SAMPLE_ROWS,) of a column; None where the noise hides it."""
    values, kind = table.column(name), table.types[name]
    missing = table.missing_mask(name)
    if kind == "text":
        return _draw_texts(values, missing, noise)
    numbers = values.astype(np.int64).astype(np.float64) if kind == "datetime" else values
    drawn = _draw_booleans(numbers, missing, noise) if kind == "boolean" else _draw_numbers(numbers, missing, noise)
    if drawn is None or kind != "datetime":
        return drawn
    return np.where(np.isnan(drawn), np.datetime64("NaT"), np.nan_to_num(drawn).astype("datetime64[ms]"))


def _draw_texts(values: NDArray[Any], missing: NDArray[np.bool_], noise: CountNoise) -> NDArray[Any] | None:
    levels, counts = np.unique(values[~missing].astype(str), return_counts=True)
    noised = counts + noise.deviation * secure_normal(len(counts))
    order = np.argsort(-noised, kind="stable")[:MOST_LEVELS]
    shown = [place for place in order.tolist() if noised[place] > noise.threshold]
    if not shown:
        return None
    num_missing = noise.counts(np.array([missing.sum()]))
    choices = np.array([*levels[shown].tolist(), None], object)
    return choices[_spread(np.append(noised[shown], num_missing))]


def _draw_booleans(numbers: Float64, missing: NDArray[np.bool_], noise: CountNoise) -> Float64 | None:
    exact = np.array([np.sum(numbers == 0), np.sum(numbers == 1), missing.sum()])
    counts = noise.counts(exact)
    return np.array([0.0, 1.0, np.nan])[_spread(counts)] if counts[:2].any() else None


def _draw_numbers(numbers: Float64, missing: NDArray[np.bool_], noise: CountNoise) -> Float64 | None:
    edges = magnitude_edges()
    present = np.clip(np.nan_to_num(numbers[~missing]), edges[0], edges[-1])
    coarse = noise.counts(_count_bins(present, edges))
    if not coarse.any():
        return None
    filled = np.flatnonzero(coarse)
    low, high = edges[filled[0]], edges[filled[-1] + 1]
    even = np.linspace(low, high, NUM_EVEN_BINS + 1)
    fine = noise.counts(np.append(_count_bins(np.clip(present, low, high), even), missing.sum()))
    if fine[:-1].sum() < LEAST_FINE_SHARE * coarse.sum():  # too few rows a bin for the noise: the magnitudes have more
        even, fine = edges, np.append(coarse, fine[-1])
    places = _spread(fine)
    inside = (np.arange(len(places)) * 0.6180339887498949) % 1.0  # evenly within each bin
    starts, widths = np.append(even[:-1], np.nan), np.append(np.diff(even), 0.0)
    return np.asarray(starts[places] + inside * widths[places], np.float64)


def magnitude_edges() -> Float64:
    """Edges of bins that no data has a part in: half octaves to both sides of zero, and one bin around it."""
    num = (LARGEST_EXPONENT - SMALLEST_EXPONENT) * BINS_PER_OCTAVE + 1
    positive = 2.0 ** np.linspace(SMALLEST_EXPONENT, LARGEST_EXPONENT, num)
    return np.concatenate([-positive[::-1], positive])


def _count_bins(values: Float64, edges: Float64) -> NDArray[np.int64]:
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(places, minlength=len(edges) - 1)


def _spread(counts: Float64) -> NDArray[np.int64]:
    """Bin numbers (NUM_SAMPLE_ROWS,) in the proportions of the counts, in an order of no meaning."""
    ends = np.cumsum(counts) / counts.sum()
    evenly = (np.arange(NUM_SAMPLE_ROWS) + 0.5) / NUM_SAMPLE_ROWS
    places = np.minimum(np.searchsorted(ends, evenly, side="right"), np.flatnonzero(counts)[-1])
    return np.asarray(np.random.default_rng(0).permutation(places), np.int64)
