"""One row for each moment of a machine: what its sensors did in windows that end there, and its course in blocks.

    rows = compute_windows(definition, machine)       # (n, F), the columns of feature_names(definition)
    rows = summarize(definition, moments)             # (K, F), the same of K machines at one moment each

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
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from deepseek.contracts import Float64
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.history import History

AGE = "age"
CHUNK_ROWS = 512  # that are computed together: more leave the cache


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """K moments, each of one machine: all that the features of a row depend on. Sums go over rows from the first on,
    one after the other: a course that is read at once and one that is followed row by row give the same bits."""

    recent: Float64  # (K, R, S) signals in spreads, the latest row first; NaN where missing and before the first row
    known: Float64  # (K, S) the last value of each, NaN before the first
    first_sum: Float64  # (K, S) of the first rows, `baseline_rows` of them at most
    first_count: Float64  # (K, S)
    total_sum: Float64  # (K, S) of all rows so far
    total_count: Float64  # (K, S)
    age: Float64  # (K,) rows so far


def count_recent_rows(definition: WindowDefinition) -> int:
    """R: rows that a moment looks back on, itself included."""
    return max(*definition.lengths, sum(definition.blocks))


def feature_names(definition: WindowDefinition) -> tuple[str, ...]:
    """The columns of compute_windows(), those of blocks last."""
    return tuple(_summary_names(definition)) + block_names(definition)


def block_names(definition: WindowDefinition) -> tuple[str, ...]:
    """The columns of the course: its signals in the latest block, then in the one before it."""
    return tuple(f"{signal}.block.{k}" for k in range(len(definition.blocks)) for signal in definition.course_signals)


def compute_windows(definition: WindowDefinition, machine: History) -> Float64:
    """(n, F) features of each row of a machine, whose values are those of the definition's sensors."""
    signals = definition.scale(machine.values)
    num_rows, num_signals = signals.shape
    known, is_finite = carry_forward(signals), np.isfinite(signals)
    total = np.cumsum(np.where(is_finite, signals, 0.0), axis=0)
    count = np.cumsum(is_finite, axis=0, dtype=np.float64)
    first = np.minimum(np.arange(num_rows), definition.baseline_rows - 1)
    reach = count_recent_rows(definition)
    padded = np.concatenate([np.full((reach - 1, num_signals), np.nan), signals])
    recent = sliding_window_view(padded, reach, axis=0)[:, :, ::-1].transpose(0, 2, 1)
    age = np.arange(1, num_rows + 1, dtype=np.float64)
    features = np.empty((num_rows, len(feature_names(definition))))
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        features[rows] = summarize(
            definition,
            Moments(recent[rows], known[rows], total[first[rows]], count[first[rows]], total[rows], count[rows],
                    age[rows]),
        )  # fmt: skip
    return features


def summarize(definition: WindowDefinition, moments: Moments) -> Float64:
    """(K, F) features of K moments, the columns of feature_names()."""
    known, num_rows = moments.known, len(moments.known)
    sums = _RecentSums(moments.recent[:, : max(definition.lengths)])
    baseline = _mean_or(moments.first_sum, moments.first_count, known)
    means, slopes = sums.fit_lines(definition.lengths, known)  # (K, lengths, S) each
    parts = [known, np.stack([means, slopes], axis=2).reshape(num_rows, -1)]
    parts.append(sums.std(definition.lengths[middle_place(definition)]))
    parts += [means[:, place] - baseline for place in change_places(definition)]
    parts.append(_mean_or(moments.total_sum, moments.total_count, known) - baseline)
    return np.column_stack([*parts, moments.age, _blocks(definition, moments)])


class _RecentSums:
    """Sums over the latest rows of K moments, by which any window takes one look-up."""

    def __init__(self, recent: Float64) -> None:
        known = np.isfinite(recent)
        filled = np.where(known, recent, 0.0)
        place = -np.arange(recent.shape[1], dtype=np.float64)[None, :, None]  # time, from the latest row on
        self._filled = filled
        self._sums = (
            np.cumsum(known, axis=1, dtype=np.float64), np.cumsum(filled, axis=1), np.cumsum(place * known, axis=1),
            np.cumsum(place**2 * known, axis=1), np.cumsum(place * filled, axis=1),
        )  # fmt: skip

    def fit_lines(self, lengths: tuple[int, ...], known: Float64) -> tuple[Float64, Float64]:
        """(K, lengths, S) each: the mean of the last rows, the last value `known` where they have none; and the slope
        of the least-squares line through them, per row, 0 with fewer than two values."""
        at = np.array(lengths) - 1
        count, value, place, square, product = (total[:, at] for total in self._sums)
        spread = count * square - place**2
        usable = (count > 1) & (spread > 0)
        slope = np.where(usable, (count * product - place * value) / np.where(usable, spread, 1.0), 0.0)
        return _mean_or(value, count, known[:, None]), slope

    def std(self, length: int) -> Float64:
        """(K, S) spread of the last rows around their mean."""
        count, value = (total[:, length - 1] for total in self._sums[:2])
        count = np.maximum(count, 1)
        square = np.cumsum(self._filled[:, :length] ** 2, axis=1)[:, -1]
        return np.sqrt(np.maximum(square / count - (value / count) ** 2, 0.0))


def _blocks(definition: WindowDefinition, moments: Moments) -> Float64:
    """(K, B * C): the means of block after block, the latest first; a block without a value is as the one after it."""
    places = definition.course_places
    stops = np.cumsum(definition.blocks)
    recent = moments.recent[:, : stops[-1], places]
    known = np.isfinite(recent)
    total, count = (
        np.cumsum(values, axis=1, dtype=np.float64)[:, stops - 1] for values in (np.where(known, recent, 0.0), known)
    )  # fmt: skip
    total[:, 1:], count[:, 1:] = np.diff(total, axis=1), np.diff(count, axis=1)
    later = moments.known[:, places]
    means = np.empty_like(total)
    for block in range(len(stops)):
        later = means[:, block] = _mean_or(total[:, block], count[:, block], later)
    return means.reshape(len(means), -1)


def _summary_names(definition: WindowDefinition) -> Iterator[str]:
    lengths = definition.lengths
    kinds = ["last"]
    for length in lengths:
        kinds += [f"mean.{length}", f"slope.{length}"]
    kinds.append(f"std.{lengths[middle_place(definition)]}")
    kinds += [f"change.{lengths[place]}" for place in change_places(definition)]
    kinds.append("drift")
    for kind in kinds:
        yield from (f"{signal}.{kind}" for signal in definition.signals)
    yield AGE


def middle_place(definition: WindowDefinition) -> int:
    """Of the length whose spread is told."""
    return max(len(definition.lengths) - 2, 0)


def change_places(definition: WindowDefinition) -> list[int]:
    """Of the lengths whose change from the baseline is told."""
    return list(dict.fromkeys([0, middle_place(definition)]))


def carry_forward(values: Float64) -> Float64:
    """(n, S) with the last known value where one is missing; NaN before the first."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


def _mean_or(total: Float64, count: Float64, other: Float64) -> Float64:
    """The means of sums (K, S) over so many values; `other` where there is none."""
    return np.where(count > 0, total / np.maximum(count, 1), other)
