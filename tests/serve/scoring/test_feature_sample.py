"""Features of some of the events: how far each has moved, and since when, by a clock that the test sets."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.data.view.drift import make_bins
from deepseek.serve.scoring.feature_sample import MIN_DRIFT_ROWS, SAMPLE_ROWS, SAMPLE_STEP, FeatureSample


class Clock:
    """Seconds that are counted by the test."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sample(clock: Clock) -> FeatureSample:
    values = np.random.default_rng(0).normal(size=4_000)
    return FeatureSample(["amount", "age"], {name: make_bins(values) for name in ("amount", "age")}, clock=clock)


def score(sample: FeatureSample, clock: Clock, num_kept: int, *, amount: float, start_s: float) -> None:
    """Events whose kept rows are `num_kept`, one a second, with amounts around `amount`."""
    rng = np.random.default_rng(int(start_s) + 1)
    for second in range(num_kept):
        clock.now_s = start_s + second
        rows = rng.normal(size=(SAMPLE_STEP, 2))
        rows[:, 0] += amount
        sample.add(rows)


def test_a_shift_is_dated_by_the_rows_that_show_it(sample: FeatureSample, clock: Clock) -> None:
    score(sample, clock, 1_500, amount=0.0, start_s=0)
    assert sample.moved_since(sample.psi()) == {}
    score(sample, clock, 1_500, amount=3.0, start_s=1_500)
    moved = sample.psi()
    assert next(iter(moved)) == "amount"
    assert sample.moved_since(moved) == {"amount": 1_500.0}


def test_what_has_come_back_is_not_said_to_last(sample: FeatureSample, clock: Clock) -> None:
    score(sample, clock, 1_000, amount=3.0, start_s=0)
    score(sample, clock, MIN_DRIFT_ROWS, amount=0.0, start_s=1_000)
    moved = sample.psi()
    assert moved["amount"] > 0.25
    assert sample.moved_since(moved) == {}


def test_a_shift_from_the_first_row_on_begins_with_the_oldest_that_is_kept(sample: FeatureSample, clock: Clock) -> None:
    score(sample, clock, SAMPLE_ROWS + 100, amount=3.0, start_s=0)
    assert (len(sample), sample.first_s) == (SAMPLE_ROWS, 100.0)
    assert sample.moved_since(sample.psi()) == {"amount": 100.0}


def test_few_rows_say_nothing(sample: FeatureSample, clock: Clock) -> None:
    assert (sample.first_s, dict(sample.psi())) == (None, {})
    score(sample, clock, MIN_DRIFT_ROWS - 1, amount=3.0, start_s=0)
    assert dict(sample.psi()) == {}
    assert FeatureSample(["amount"], None).moved_since({}) == {}
