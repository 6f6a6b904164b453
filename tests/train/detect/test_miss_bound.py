"""The bound on missed defects: what a sample supports, what it does not, and that it holds as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.errors import CheckError, InputError
from deepseek.train.detect.miss_bound import choose_threshold, num_allowed_misses, num_parts_needed, upper_bound

pytest.importorskip("scipy")


def test_the_rule_of_three_gives_the_smallest_sample() -> None:
    """Without a miss (1 - m)^n must be at most 1 - confidence."""
    assert num_parts_needed(0.003, 0.95) == 998
    assert 0.997**998 <= 0.05 < 0.997**997
    assert num_allowed_misses(998, 0.003, 0.95) == 0
    assert num_allowed_misses(997, 0.003, 0.95) == -1


def test_a_sample_that_is_too_small_is_refused_with_the_number_that_it_takes() -> None:
    with pytest.raises(CheckError) as caught:
        choose_threshold(np.linspace(0, 1, 100), 0.003, 0.95)
    assert "at least 998 held defective parts, or 1580 if one" in caught.value.expected
    assert "2.95 %" in caught.value.fix  # 1 - 0.05^(1/100)


def test_the_threshold_is_the_highest_that_the_sample_supports() -> None:
    scores = np.arange(1, 201) / 200
    bound = choose_threshold(scores, 0.05, 0.95)
    assert bound.num_missed == num_allowed_misses(200, 0.05, 0.95) == 4
    assert bound.threshold == scores[4]
    assert upper_bound(4, 200, 0.95) <= 0.05 < upper_bound(5, 200, 0.95)


def test_equal_scores_are_missed_less_not_more() -> None:
    bound = choose_threshold(np.ones(100), 0.05, 0.95)
    assert (bound.threshold, bound.num_missed) == (1.0, 0)


def test_the_bound_holds_in_as_many_samples_as_it_says() -> None:
    """Uniform scores: the share of all parts below a threshold is the threshold itself."""
    rng = np.random.default_rng(0)
    held = [choose_threshold(rng.random(150), 0.05, 0.9).threshold <= 0.05 for _ in range(2_000)]
    exact = 0.9452  # P(Beta(4, 147) <= 0.05) by scipy: the best that whole numbers of misses allow
    assert abs(np.mean(held) - exact) < 4 * np.sqrt(exact * (1 - exact) / 2_000)


@pytest.mark.parametrize("value", [0.0, 1.0, 30.0])
def test_a_share_outside_of_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(InputError):
        choose_threshold([0.5], value, 0.95)
