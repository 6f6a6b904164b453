"""Thresholds that meet their limits, costs by Elkan's formula, intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from deepseek.engines.decide import Decision
from deepseek.errors import CheckError, InputError
from deepseek.train.tabular.decide import check_costs, choose_threshold, conformal_half_width, threshold_curve


def rows(seed: int, num_rows: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tied chances and unequal weights."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, num_rows)
    target[:2] = 0, 1
    chance = np.round(np.clip(0.5 + 0.2 * (target - 0.5) + 0.2 * rng.normal(size=num_rows), 0, 1), 2)
    return target, chance, rng.uniform(0.2, 2, num_rows)


def rates(target: np.ndarray, chance: np.ndarray, weight: np.ndarray, threshold: float) -> tuple[float, float, float]:
    """Recall, false-positive rate and precision by counting."""
    said, truth = chance >= threshold, target == 1
    flagged = weight[said].sum()
    recall = weight[said & truth].sum() / weight[truth].sum()
    alarms = weight[said & ~truth].sum() / weight[~truth].sum()
    return recall, alarms, weight[said & truth].sum() / flagged if flagged else 1.0


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_limit_on_false_positives_holds_and_no_other_threshold_recalls_more(seed: int, limit: float) -> None:
    target, chance, weight = rows(seed)
    chosen = choose_threshold(target, chance, weight, max_fpr=limit)
    recall, alarms, _ = rates(target, chance, weight, chosen.value)
    assert alarms <= limit + 1e-12
    assert (chosen.recall, chosen.false_positive_rate) == pytest.approx((recall, alarms), abs=1e-12)
    others = [rates(target, chance, weight, value) for value in np.unique(chance)]
    assert recall >= max([r for r, f, _ in others if f <= limit], default=0.0) - 1e-12


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_least_recall_holds_and_no_other_threshold_alarms_less(seed: int, limit: float) -> None:
    target, chance, weight = rows(seed)
    chosen = choose_threshold(target, chance, weight, min_recall=limit)
    recall, alarms, _ = rates(target, chance, weight, chosen.value)
    assert recall >= limit - 1e-12
    others = [rates(target, chance, weight, value) for value in np.unique(chance)]
    assert alarms <= min([f for r, f, _ in others if r >= limit], default=0.0) + 1e-12


def test_both_limits_hold_or_the_refusal_says_what_could_be_had() -> None:
    target, chance, weight = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.5, 0.9]), np.ones(4)
    chosen = choose_threshold(target, chance, weight, max_fpr=0.5, min_recall=1.0)
    assert chosen.value == 0.5
    with pytest.raises(CheckError, match=r"at that rate its recall is 0\.500") as refusal:
        choose_threshold(target, chance, weight, max_fpr=0.0, min_recall=0.9)
    assert refusal.value.exit_code == 3


def test_a_limit_of_zero_flags_nothing_even_when_the_engine_answers_in_float32() -> None:
    """A chance near one rounds to 1.0 in float32; where nothing may be flagged it must stay below the threshold."""
    target, chance = np.array([1, 0, 0]), np.array([0.5, 0.7, 1 - 1e-12])
    chosen = choose_threshold(target, chance, np.ones(3), max_fpr=0.0)
    output = np.stack([1 - chance, chance], axis=1).astype(np.float32)
    labels = Decision("binary", ("no", "yes"), threshold=chosen.value).apply(output).labels
    assert labels is not None
    assert labels.tolist() == ["no", "no", "no"]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=2, max_size=30), st.floats(0, 1))
def test_the_decision_of_an_engine_keeps_the_limit_on_the_rows_it_was_set_on(
    listed: list[tuple[bool, float]], limit: float
) -> None:
    target = np.array([int(positive) for positive, _ in listed])
    target[:2] = 0, 1
    chance = np.array([value for _, value in listed])
    chosen = choose_threshold(target, chance, np.ones(len(target)), max_fpr=limit)
    output = np.stack([1 - chance, chance], axis=1).astype(np.float32)
    labels = Decision("binary", ("no", "yes"), threshold=chosen.value).apply(output).labels
    assert labels is not None
    assert np.mean(labels[target == 0] == "yes") <= limit


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_is_that_of_scikit_learn(seed: int) -> None:
    target, chance, weight = rows(seed)
    _, recall, alarms, _ = threshold_curve(target, chance, weight)
    false, true, _ = roc_curve(target, chance, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(recall, true, atol=1e-12)
    np.testing.assert_allclose(alarms, false, atol=1e-12)


def test_costs_set_the_threshold_of_least_expected_cost() -> None:
    costs = check_costs({"bad": {"good": 50}, "good": {"bad": 1}}, ("good", "bad"))
    target, chance, weight = rows(0)
    chosen = choose_threshold(target, chance, weight, costs=costs)
    assert chosen.value == pytest.approx(1 / 51)
    for share in np.linspace(0.001, 0.999, 50):
        flag, leave = (1 - share) * 1, share * 50
        assert (share >= chosen.value) == (flag <= leave)


def test_costs_of_right_decisions_count() -> None:
    costs = check_costs([[-1, 3], [10, 2]], ("no", "yes"))
    assert choose_threshold(*rows(0), costs=costs).value == pytest.approx((3 - -1) / ((3 - -1) + (10 - 2)))


def test_without_a_wish_the_threshold_is_one_half_with_its_own_rates() -> None:
    target, chance, weight = rows(3)
    chosen = choose_threshold(target, chance, weight)
    assert chosen.value == 0.5
    wanted = rates(target, chance, weight, 0.5)
    assert (chosen.recall, chosen.false_positive_rate, chosen.precision) == pytest.approx(wanted)


def test_a_threshold_above_every_chance_flags_nothing() -> None:
    chosen = choose_threshold(np.array([0, 1]), np.array([0.1, 0.2]), np.ones(2))
    assert (chosen.recall, chosen.false_positive_rate) == (0, 0)


@pytest.mark.parametrize(
    "costs",
    ["high", [[0, 1]], [[0, 1], [1, "x"]], [[0, float("nan")], [1, 0]], {"maybe": {"yes": 1}}, {"yes": {"maybe": 1}},
     [[0, 0], [0, 0]], {"yes": {"yes": 5}}],
)  # fmt: skip
def test_costs_that_are_no_cost_matrix_are_refused(costs: object) -> None:
    with pytest.raises(InputError) as refusal:
        check_costs(costs, ("no", "yes"))
    assert refusal.value.expected


def test_a_share_that_is_a_per_cent_is_refused_with_the_share() -> None:
    with pytest.raises(InputError, match=r"0\.05"):
        choose_threshold(*rows(0), max_fpr=5)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_an_interval_holds_new_values_as_often_as_promised(level: float) -> None:
    """Split conformal: coverage over draws of calibration rows lies between level and level + 1 / (n + 1)."""
    num_rows, hits, rng = 49, [], np.random.default_rng(0)
    for _ in range(400):
        half = conformal_half_width(rng.standard_t(3, num_rows), np.zeros(num_rows), level)
        hits.append(np.mean(np.abs(rng.standard_t(3, 200)) <= half))
    assert level - 0.01 <= np.mean(hits) <= level + 1 / (num_rows + 1) + 0.01


def test_too_few_rows_for_a_level_are_refused_rather_than_promised() -> None:
    """Nine rows can promise 0.9 at most: the largest residual is the ninth of ten places."""
    assert conformal_half_width(np.arange(9.0), np.zeros(9), 0.9) == 8.0
    with pytest.raises((CheckError, InputError)):
        conformal_half_width(np.arange(9.0), np.zeros(9), 0.95)


@pytest.mark.parametrize("level", [0, 1, 90, float("nan")])
def test_a_level_that_is_no_share_is_refused(level: float) -> None:
    with pytest.raises(InputError):
        conformal_half_width(np.arange(9.0), np.zeros(9), level)
