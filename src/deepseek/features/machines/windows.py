"""One row for each moment of a machine: what its sensors did in windows that end there, and its course in blocks.

    rows = compute_windows(definition, machine)       # (n, F), the columns of feature_names(definition)

    SIGNAL.last              the value itself                             all in spreads of the training rows
    SIGNAL.mean.W            mean of the last W rows, or of those there are
    SIGNAL.slope.W           slope of a line through them, per row
    SIGNAL.std.W             spread around their mean
    SIGNAL.change.W          mean of the last W rows less the machine's own baseline, the mean of its first rows
    SIGNAL.drift             mean of all rows so far less the baseline: the deviation that has gathered
    age                      rows so far
    SIGNAL.block.K           mean of block K of the course, 0 the latest; before the first row: the earliest block

A missing value is left out of sums. A window without any value holds the last one that was known; before the first
value of a sensor there is none, and the feature is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.history import History

AGE = "age"


class _Sums:
    """Sums of a machine's signals (n, S) from its first row on, by which any window takes two look-ups."""

    def __init__(self, signals: Float64) -> None:
        known = np.isfinite(signals)
        filled = np.where(known, signals, 0.0)
        place = np.arange(len(signals), dtype=np.float64)[:, None]
        self.count = _cumulative(known.astype(np.float64))
        self.value = _cumulative(filled)
        self.square = _cumulative(filled**2)
        self.place = _cumulative(place * known)
        self.place_square = _cumulative(place**2 * known)
        self.product = _cumulative(place * filled)

    def mean(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> Float64:
        """(n, S) of the rows from `start` to before `stop` (n,) each; NaN where there is no value."""
        count = self.count[stop] - self.count[start]
        with np.errstate(invalid="ignore"):
            return np.where(count > 0, (self.value[stop] - self.value[start]) / np.maximum(count, 1), np.nan)

    def slope(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> Float64:
        """Of the least-squares line through the window, per row; 0 with fewer than two values."""
        count, value, place, square, product = (
            total[stop] - total[start]
            for total in (self.count, self.value, self.place, self.place_square, self.product)
        )
        spread = count * square - place**2
        usable = (count > 1) & (spread > 0)
        return np.where(usable, (count * product - place * value) / np.where(usable, spread, 1.0), 0.0)

    def std(self, start: NDArray[np.int64], stop: NDArray[np.int64]) -> Float64:
        count = np.maximum(self.count[stop] - self.count[start], 1)
        mean = (self.value[stop] - self.value[start]) / count
        return np.sqrt(np.maximum((self.square[stop] - self.square[start]) / count - mean**2, 0.0))


def feature_names(definition: WindowDefinition) -> tuple[str, ...]:
    """The columns of compute_windows(), those of blocks last."""
    return tuple(_summary_names(definition)) + block_names(definition)


def block_names(definition: WindowDefinition) -> tuple[str, ...]:
    """The columns of the course: its signals in the latest block, then in the one before it."""
    return tuple(f"{signal}.block.{k}" for k in range(len(definition.blocks)) for signal in definition.course_signals)


def compute_windows(definition: WindowDefinition, machine: History) -> Float64:
    """(n, F) features of each row of a machine, whose values are those of the definition's sensors."""
    signals = definition.scale(machine.values)
    sums = _Sums(signals)
    stop = np.arange(1, len(signals) + 1)
    first = np.zeros_like(stop)
    known = carry_forward(signals)
    baseline = _or_else(sums.mean(first, np.minimum(stop, definition.baseline_rows)), known)
    parts = [known]
    means = []
    for length in definition.lengths:
        start = np.maximum(stop - length, 0)
        means.append(_or_else(sums.mean(start, stop), known))
        parts += [means[-1], sums.slope(start, stop)]
    spread_start = np.maximum(stop - definition.lengths[_middle(definition)], 0)
    parts.append(sums.std(spread_start, stop))
    parts += [means[place] - baseline for place in _change_places(definition)]
    parts.append(_or_else(sums.mean(first, stop), known) - baseline)
    return np.column_stack([*parts, stop.astype(np.float64), *_blocks(definition, sums, known)])


def _blocks(definition: WindowDefinition, sums: _Sums, known: Float64) -> Iterator[Float64]:
    """(n, C) of each block, the latest first."""
    stop = np.arange(1, len(known) + 1)
    later = known
    places = [definition.signals.index(signal) for signal in definition.course_signals]
    for length in definition.blocks:
        start = np.maximum(stop - length, 0)
        later = _or_else(sums.mean(start, stop), later)
        yield later[:, places]
        stop = start


def _summary_names(definition: WindowDefinition) -> Iterator[str]:
    lengths = definition.lengths
    kinds = ["last"]
    for length in lengths:
        kinds += [f"mean.{length}", f"slope.{length}"]
    kinds.append(f"std.{lengths[_middle(definition)]}")
    kinds += [f"change.{lengths[place]}" for place in _change_places(definition)]
    kinds.append("drift")
    for kind in kinds:
        yield from (f"{signal}.{kind}" for signal in definition.signals)
    yield AGE


def _middle(definition: WindowDefinition) -> int:
    return max(len(definition.lengths) - 2, 0)


def _change_places(definition: WindowDefinition) -> list[int]:
    return list(dict.fromkeys([0, _middle(definition)]))


def _cumulative(values: Float64) -> Float64:
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])


def carry_forward(values: Float64) -> Float64:
    """(n, S) with the last known value where one is missing; NaN before the first."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


def _or_else(values: Float64, other: Float64) -> Float64:
    return np.where(np.isnan(values), other, values)
