"""What the past lets expect of each row: its chance of being bad, and how long it takes.

Some rows are bad more often at all times: a tenant, a route, a long text. What is held against them must be their own
past, or a change of all rows looks like one of those that are hardly ever bad. Both models add up the effects of the
fields' codes, fitted by turns (backfitting): of log durations, and of log rates (iterative proportional fitting).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.observe.why.coding import CodedField

NUM_SWEEPS = 3
MAX_FIT_ROWS = 40_000
MAX_RATE = 0.98
PRIOR_ROWS = 20.0  # of an effect on durations, which is drawn to none
Rows = NDArray[np.int64]


def expected_rates(
    fields: Sequence[CodedField], rows: Rows, past: Rows, bad: NDArray[np.bool_], weight: Float64
) -> Float64:
    """The chance of each of `rows` (R,) to be bad, as `past`, some of them, lets expect. A code with few bad rows is
    drawn to the rate of all: one bad row's worth."""
    fit = _some(past)
    fit_weight = weight[fit]
    base = (fit_weight @ bad[fit] + 0.5) / (fit_weight.sum() + 1.0)
    rate = np.full(len(fit), base * 1.0)
    weighted_bad = fit_weight * bad[fit]
    fit_codes = [field.codes[fit] for field in fields]
    effects = [np.zeros(field.num_codes) for field in fields]
    for _ in range(NUM_SWEEPS):
        for codes, effect in zip(fit_codes, effects, strict=True):
            num_bad = np.bincount(codes, weights=weighted_bad, minlength=len(effect))
            expected = np.bincount(codes, weights=fit_weight * np.minimum(rate, MAX_RATE), minlength=len(effect))
            factor = (num_bad + 1.0) / (expected + 1.0)
            np.add(effect, np.log(factor), out=effect)
            rate *= factor[codes]
    total = np.full(len(rows), np.log(base))
    for field, effect in zip(fields, effects, strict=True):
        total += effect[field.codes[rows]]
    result: Float64 = np.minimum(np.exp(total), MAX_RATE)
    return result


def residuals(fields: Sequence[CodedField], values: Float64, is_past: NDArray[np.bool_], weight: Float64) -> Float64:
    """Values (N,) less what the fields' codes add to them in the past. NaN stays NaN."""
    fit = _some(np.flatnonzero(is_past & np.isfinite(values)))
    if not len(fit):
        return values
    fit_weight = weight[fit]
    base = float(np.average(values[fit], weights=fit_weight))
    rest = values[fit] - base
    result = values - base
    for _ in range(NUM_SWEEPS):
        for field in fields:
            codes = field.codes[fit]
            total = np.bincount(codes, weights=fit_weight * rest, minlength=field.num_codes)
            count = np.bincount(codes, weights=fit_weight, minlength=field.num_codes)
            step = total / (count + PRIOR_ROWS)
            rest = rest - step[codes]
            result = result - step[field.codes]
    return result


def _some(rows: Rows) -> Rows:
    """Evenly spread ones of many rows."""
    return rows if len(rows) <= MAX_FIT_ROWS else rows[np.linspace(0, len(rows) - 1, MAX_FIT_ROWS).astype(np.int64)]
