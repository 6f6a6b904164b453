"""How many rows of each slice are bad, in the window and in each part of its past."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.observe.why.baseline import expected_rates
from deepseek.observe.why.coding import CodedField
from deepseek.observe.why.sampling import Sample
from deepseek.observe.why.scoring import SliceCounts
from deepseek.observe.why.slices import FieldSlices

Rows = NDArray[np.int64]
MIN_RECURRENCES = 3  # minutes in which something comes at the same second


class KindCounter:
    """Counts the rows of one kind of bad row. Rows that cannot say are no rows for it."""

    def __init__(self, sample: Sample, bad: NDArray[np.int8]) -> None:
        self._sample = sample
        self._bad = bad == 1
        self.rows: Rows = np.flatnonzero(bad >= 0)  # that can say
        self._num_cells = sample.num_parts + 1
        self.totals, self.bad_totals = self._by_part(self.rows), self._by_part(self.rows[self._bad[self.rows]])
        past = self.rows[sample.part[self.rows] < sample.num_parts]
        self._expected = np.zeros(len(bad))  # bad rows that each row stands for, as the past lets expect
        rates = expected_rates(sample.fields, self.rows, past, self._bad, sample.weight)
        self._expected[self.rows] = rates * sample.weight[self.rows]
        self._row_weight = float(sample.weight[self.rows].max()) if len(self.rows) else 1.0

    def _by_part(self, rows: Rows) -> Float64:
        return _count(self._sample.part[rows], self._sample.weight[rows], self._num_cells)

    def _by_code(self, field: CodedField, rows: Rows) -> tuple[Float64, Float64, Float64]:
        """Rows, bad rows and expected bad rows of each code, (K, T + 1) each, among these rows."""
        cells = field.codes[rows].astype(np.int64) * self._num_cells + self._sample.part[rows]
        shape = field.num_codes, self._num_cells
        size = shape[0] * shape[1]
        weight, is_bad = self._sample.weight[rows], self._bad[rows]
        num_rows, num_bad = _count(cells, weight, size), _count(cells[is_bad], weight[is_bad], size)
        expected = _count(cells, self._expected[rows], size)
        return num_rows.reshape(shape), num_bad.reshape(shape), expected.reshape(shape)

    def slices(self, field: CodedField, slices: FieldSlices, rows: Rows | None = None) -> SliceCounts:
        """The counts of a field's slices, among these rows; what they are held against are all rows."""
        by_code = self._by_code(field, self.rows if rows is None else rows)
        num_rows, num_bad, expected = (slices.masks @ counts for counts in by_code)
        return SliceCounts(
            num_rows[:, -1], num_bad[:, -1], expected, num_rows[:, :-1], num_bad[:, :-1], float(self.totals[-1]),
            float(self.bad_totals[-1]), self.totals[:-1], self.bad_totals[:-1], self._row_weight,
        )  # fmt: skip

    def recurs(self, mask: NDArray[np.bool_], rows: Rows | None = None) -> bool:
        """Whether the bad rows of the window that `mask` (N,) has, among these rows, come in several minutes, none of
        which has most of them: else they are one event, whatever second it fell on."""
        among = self.rows if rows is None else rows
        bad = among[mask[among] & self._bad[among] & self._sample.in_window[among]]
        minutes = np.floor(self._sample.time_s[bad] / 60).astype(np.int64)
        if not len(minutes):
            return False
        weights = np.bincount(minutes - minutes.min(), weights=self._sample.weight[bad])
        return bool((weights > 0).sum() >= MIN_RECURRENCES and weights.max() <= weights.sum() / 2)

    def everything(self) -> SliceCounts:
        """The counts of all rows as one slice."""
        expected = _count(self._sample.part[self.rows], self._expected[self.rows], self._num_cells)
        return SliceCounts(
            self.totals[-1:], self.bad_totals[-1:], expected[None], self.totals[None, :-1], self.bad_totals[None, :-1],
            float(self.totals[-1]), float(self.bad_totals[-1]), self.totals[:-1], self.bad_totals[:-1],
            self._row_weight,
        )  # fmt: skip


def _count(cells: NDArray[np.int64], weight: Float64, size: int) -> Float64:
    """The sum of the weights in each cell (size,)."""
    return np.asarray(np.bincount(cells, weights=weight, minlength=size), np.float64)
