"""What a stream of machines spends its time on, compiled: numpy goes through the same numbers ten times.

read_counts(samples, window, segments, moments)     # a block of vibration of 16 bits (vibration.py)
fill_vibration(parts, moments, bands, hertz, features)
fill_recent(ring, slots, age, recent)               # the last rows of machines (state.py)
summary = CompiledSummary.of(definition)
summary.features(moments)                            # (K, F), the bits of windows.summarize()
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from deepseek.contracts import Float64
from deepseek.features.core.compilation import compile_cached, compile_sums
from deepseek.features.events import Longs
from deepseek.features.machines.definition import WindowDefinition
from deepseek.features.machines.windows import Moments, change_places, feature_names, middle_place


@dataclass(frozen=True, slots=True, eq=False)
class CompiledSummary:
    """The windows of one definition as numbers."""

    lengths: Longs
    middle: int  # the place of the length whose spread is told
    changes: Longs  # places of lengths whose change from the baseline is told
    stops: Longs  # rows back at which each block ends
    course: Longs  # (C,) where the signals of the course are among all
    num_features: int

    @classmethod
    def of(cls, definition: WindowDefinition) -> Self:
        """For this definition."""
        return cls(
            np.array(definition.lengths, np.int64), middle_place(definition),
            np.array(change_places(definition), np.int64), np.cumsum(definition.blocks, dtype=np.int64),
            np.asarray(definition.course_places, np.int64), len(feature_names(definition)),
        )  # fmt: skip

    def features(self, moments: Moments) -> Float64:
        """(K, F) of K moments."""
        features = np.empty((len(moments.known), self.num_features))
        recent, known = np.ascontiguousarray(moments.recent), np.ascontiguousarray(moments.known)
        first_sum, first_count, total_sum, total_count, age = map(np.ascontiguousarray, (
            moments.first_sum, moments.first_count, moments.total_sum, moments.total_count, moments.age,
        ))  # fmt: skip
        fill_sums(
            recent, known, first_sum, first_count, total_sum, total_count, age, self.lengths, self.middle,
            self.changes, features,
        )  # fmt: skip
        fill_blocks(recent, known, self.stops, self.course, features)
        return features


@compile_cached
def fill_sums(
    recent: Any, known: Any, first_sum: Any, first_count: Any, total_sum: Any, total_count: Any, age: Any,
    lengths: Any, middle: int, changes: Any, features: Any,
) -> None:  # fmt: skip
    """Fills features (K, F) but those of blocks from the fields of K moments: signal by signal, each sum in the order
    of the rows, so that every number has the bits of windows.summarize()."""
    num_signals, num_lengths = known.shape[1], len(lengths)
    spread_at = (1 + 2 * num_lengths) * num_signals
    change_at = spread_at + num_signals
    drift_at = change_at + len(changes) * num_signals
    for row in range(len(known)):
        for signal in range(num_signals):
            last = known[row, signal]
            features[row, signal] = last
            baseline = last
            if first_count[row, signal] > 0:
                baseline = first_sum[row, signal] / first_count[row, signal]
            count = value = place_sum = square_sum = product = squares = 0.0
            start = 0
            for at in range(num_lengths):
                for back in range(start, lengths[at]):
                    number, place = recent[row, back, signal], -float(back)
                    if np.isfinite(number):
                        count += 1.0
                        value += number
                        place_sum += place
                        square_sum += place * place
                        product += place * number
                        squares += number * number
                start = lengths[at]
                mean = value / count if count > 0 else last
                spread, slope = count * square_sum - place_sum * place_sum, 0.0
                if count > 1 and spread > 0:
                    slope = (count * product - place_sum * value) / spread
                features[row, (1 + 2 * at) * num_signals + signal] = mean
                features[row, (2 + 2 * at) * num_signals + signal] = slope
                if at == middle:
                    some = max(count, 1.0)
                    variance = squares / some - (value / some) * (value / some)
                    features[row, spread_at + signal] = np.sqrt(max(variance, 0.0))
                for change in range(len(changes)):
                    if changes[change] == at:
                        features[row, change_at + change * num_signals + signal] = mean - baseline
            drift = last
            if total_count[row, signal] > 0:
                drift = total_sum[row, signal] / total_count[row, signal]
            features[row, drift_at + signal] = drift - baseline
        features[row, drift_at + num_signals] = age[row]


@compile_cached
def fill_blocks(recent: Any, known: Any, stops: Any, course: Any, features: Any) -> None:
    """Fills the last columns of features (K, F): the means of blocks, of which the first ends `stops[0]` rows back."""
    first_column = features.shape[1] - len(stops) * len(course)
    for row in range(len(known)):
        for column in range(len(course)):
            signal = course[column]
            later = known[row, signal]
            total = count = 0.0
            start = 0
            for block in range(len(stops)):
                total_before, count_before = total, count
                for back in range(start, stops[block]):
                    number = recent[row, back, signal]
                    if np.isfinite(number):
                        total += number
                        count += 1.0
                start = stops[block]
                if count - count_before > 0:
                    later = (total - total_before) / (count - count_before)
                features[row, first_column + block * len(course) + column] = later


@compile_sums
def read_counts(samples: Any, window: Any, segments: Any, moments: Any) -> None:
    """Fills segments (A, T * W) and moments (A, 4) from samples (A, L) of 16 bits and a window (W,): the samples less
    their mean, times the window, as many whole windows as there are; and of all samples less their mean the means of
    their second, third and fourth powers, and the largest distance from 0."""
    num_samples, width = samples.shape[1], len(window)
    num_segments = num_samples // width
    for axis in range(samples.shape[0]):
        total = 0
        low, high = samples[axis, 0], samples[axis, 0]
        for place in range(num_samples):
            count = samples[axis, place]
            total += count
            low = count if count < low else low
            high = count if count > high else high
        mean = np.float32(total / num_samples)
        second, third, fourth = np.float32(0), np.float32(0), np.float32(0)
        for segment in range(num_segments):
            start = segment * width
            for place in range(width):
                value = np.float32(samples[axis, start + place]) - mean
                square = value * value
                second += square
                third += square * value
                fourth += square * square
                segments[axis, start + place] = value * window[place]
        for place in range(num_segments * width, num_samples):
            value = np.float32(samples[axis, place]) - mean
            square = value * value
            second += square
            third += square * value
            fourth += square * square
        moments[axis, 0] = second / num_samples
        moments[axis, 1] = third / num_samples
        moments[axis, 2] = fourth / num_samples
        moments[axis, 3] = max(high - mean, mean - low)


@compile_sums
def fill_vibration(parts: Any, moments: Any, bands: Any, hertz: Any, features: Any) -> None:
    """Fills features (R, B + 6) of vibration.py from moments (R, 4) of read_counts() and parts (R, T, P) of spectra,
    real and imaginary ones side by side; each of B bands begins at a place of `bands` (B,), `hertz` (P,) says where a
    part lies."""
    num_rows, num_segments, num_parts = parts.shape
    num_bands = len(bands)
    for row in range(num_rows):
        second, third, fourth, peak = moments[row, 0], moments[row, 1], moments[row, 2], moments[row, 3]
        deviation = np.sqrt(second)
        features[row] = 0.0
        features[row, 0] = deviation
        if deviation != 0:  # NaN is not
            features[row, 1] = fourth / (second * second)
            features[row, 2] = third / (deviation * deviation * deviation)
            features[row, 3] = peak
            features[row, 4] = peak / deviation
        weighted, total = 0.0, 0.0
        for band in range(num_bands):
            stop = bands[band + 1] if band + 1 < num_bands else num_parts
            energy = 0.0
            for segment in range(num_segments):
                for place in range(bands[band], stop):
                    value = np.float64(parts[row, segment, place])
                    square = value * value
                    energy += square
                    weighted += square * hertz[place]
            features[row, 5 + band] = energy
            total += energy
        for place in range(5, 5 + num_bands):
            features[row, place] = features[row, place] / total if total > 0 else 0.0
        features[row, 5 + num_bands] = weighted / total if total > 0 else 0.0


@compile_cached
def fill_recent(ring: Any, slots: Any, age: Any, recent: Any) -> None:
    """Fills recent (N, R, V), the latest row first, from rings (M, R, V) in which a machine's row of an age stands at
    its remainder by R: of the machines in `slots` (N,) after their row `age` (N,)."""
    reach, num_signals = recent.shape[1], recent.shape[2]
    for row in range(len(slots)):
        slot, place = slots[row], age[row] % reach
        for back in range(reach):
            for signal in range(num_signals):
                recent[row, back, signal] = ring[slot, place, signal]
            place = place - 1 if place > 0 else reach - 1
