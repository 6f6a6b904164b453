"""Paired differences: what a pencil finds, and intervals that cover the truth as often as they say."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from deepseek.automl.comparison.paired import (
    Share,
    adjust_p_values,
    decision_scorers,
    exact_difference,
    mcnemar_p_value,
    metric_scorers,
    resample_metrics,
)
from deepseek.train.tabular.metrics import measure_figures


def probabilities(chance: np.ndarray) -> np.ndarray:
    return np.stack([1 - chance, chance], axis=1)


def rows(num_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth and two scores, the second one less noisy."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=num_rows)
    target = (rng.random(num_rows) < 1 / (1 + np.exp(-2 * signal))).astype(int)
    shared = rng.normal(size=num_rows)
    first, second = (
        1 / (1 + np.exp(-(2 * signal + shared + noise * rng.normal(size=num_rows)))) for noise in (1.5, 0.3)
    )
    return target, probabilities(first), probabilities(second)


def test_the_difference_is_that_of_the_figures_and_the_pairs_make_it_narrow() -> None:
    target, first, second = rows(400)
    resamples = resample_metrics([metric_scorers("binary", target, o) for o in (first, second)], np.ones(400))
    figures = [measure_figures("binary", target, output) for output in (first, second)]
    for name in ("log_loss", "auc", "brier", "average_precision", "macro_f1"):
        difference = resamples.difference(name, 1)
        assert difference.value == pytest.approx(figures[1][name].value - figures[0][name].value, abs=1e-12)
        assert difference.low <= difference.value <= difference.high
    alone = [figure["log_loss"].high - figure["log_loss"].low for figure in figures]
    difference = resamples.difference("log_loss", 1)
    assert difference.high - difference.low < 0.8 * np.hypot(*alone), "what makes a row hard for both cancels out"
    assert difference.excludes_zero
    assert difference.p_value < 0.05


def test_the_interval_is_that_of_a_t_test_where_that_is_exact() -> None:
    rng = np.random.default_rng(1)
    target, errors = np.zeros(60), rng.normal(0.3, 1.0, 60)
    first = np.abs(rng.normal(5, 1, 60))
    outputs = [first[:, None], (first + errors)[:, None]]
    resamples = resample_metrics([metric_scorers("regression", target, output) for output in outputs], np.ones(60))
    expected = stats.ttest_1samp(errors, 0).confidence_interval(0.95)
    difference = resamples.difference("mae", 1)
    width = expected.high - expected.low
    assert difference.low == pytest.approx(expected.low, abs=0.1 * width)
    assert difference.high == pytest.approx(expected.high, abs=0.1 * width)


def test_rows_of_one_group_are_one_witness() -> None:
    target, first, second = rows(40)
    once = resample_metrics([metric_scorers("binary", target, o) for o in (first, second)], np.ones(40))
    ten = np.repeat(np.arange(40), 10)
    copies = [metric_scorers("binary", target[ten], o[ten]) for o in (first, second)]
    grouped, alone = resample_metrics(copies, np.ones(400), groups=ten), resample_metrics(copies, np.ones(400))
    assert grouped.num_units == 40
    assert astuple(grouped.difference("log_loss", 1)) == pytest.approx(astuple(once.difference("log_loss", 1)))
    width = [r.difference("log_loss", 1).high - r.difference("log_loss", 1).low for r in (grouped, alone)]
    assert width[0] > 2.5 * width[1], "copies of a row would pass for evidence"


def test_rows_that_weigh_nothing_say_nothing() -> None:
    target, first, second = rows(60)
    weight = np.repeat([1.0, 0.0], 30)
    weighted = resample_metrics([metric_scorers("binary", target, o) for o in (first, second)], weight)
    half = [metric_scorers("binary", target[:30], o[:30]) for o in (first, second)]
    alone = resample_metrics(half, np.ones(30))
    assert weighted.difference("brier", 1).value == pytest.approx(alone.difference("brier", 1).value)
    assert not weighted.counts_rows, "an exact test counts rows that weigh alike"


def test_mcnemar_and_the_exact_interval_agree_on_zero() -> None:
    assert mcnemar_p_value(0, 5) == pytest.approx(2 / 2**5)
    for only_reference in range(8):
        for only_model in range(0, 16, 3):
            exact = exact_difference(only_reference, only_model, 150)
            assert exact.excludes_zero == (exact.p_value < 0.05), (only_reference, only_model)
            assert exact.low <= exact.value <= exact.high


def test_no_row_decided_differently_is_no_proof_that_none_will_be() -> None:
    target = np.array([0, 1] * 50)
    outputs = [probabilities(np.where(target == 1, high, 1 - high)) for high in (0.9, 0.8)]
    resamples = resample_metrics([metric_scorers("binary", target, output) for output in outputs], np.ones(100))
    difference = resamples.difference("accuracy", 1)
    assert difference.value == 0
    assert difference.high == -difference.low == pytest.approx(1 - 0.025 ** (1 / 100))
    assert resamples.figure("accuracy", 0).low < 1, "100 of 100 right is no certainty"


def test_a_share_of_other_rows_is_not_compared_row_by_row() -> None:
    """Precision is a share of the rows that each model chooses, which are not the same."""
    target = np.array([1] * 30 + [0] * 30)
    few, many = np.arange(60) < 10, np.arange(60) < 40
    scorers = [decision_scorers("binary", target, chosen.astype(np.int64)) for chosen in (few, many)]
    resamples = resample_metrics(scorers, np.ones(60))
    precision = resamples.difference("precision", 1)
    assert precision.value == pytest.approx(30 / 40 - 1)
    assert precision.excludes_zero
    assert resamples.difference("recall", 1).value == pytest.approx(1 - 10 / 30)


def test_a_metric_without_a_value_is_left_out_and_named() -> None:
    target = np.zeros(50, int)
    outputs = [probabilities(np.linspace(0.1, end, 50)) for end in (0.4, 0.5)]
    resamples = resample_metrics([metric_scorers("binary", target, output) for output in outputs], np.ones(50))
    assert set(resamples.undefined) == {"auc", "average_precision"}
    assert "log_loss" in resamples.values


def test_one_row_has_a_difference_and_no_interval() -> None:
    scorers = [metric_scorers("regression", np.array([1.0]), np.array([[value]])) for value in (3.0, 2.0)]
    difference = resample_metrics(scorers, np.ones(1)).difference("mae", 1)
    assert difference.value == -1
    assert np.isnan([difference.low, difference.high, difference.p_value]).all()
    assert not difference.excludes_zero


def test_p_values_of_many_questions_are_adjusted_and_unknown_ones_stay() -> None:
    assert adjust_p_values([0.01, float("nan"), 0.04])[::2] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjust_p_values([0.01, float("nan")])[1])
    assert adjust_p_values([]) == []


def test_a_share_counts_only_among_its_rows() -> None:
    share = Share(np.array([True, False, True, True]), np.array([True, True, False, False]))
    assert share(np.array([3.0, 1.0, 9.0, 9.0])) == 0.75
    assert np.isnan(share(np.array([0.0, 0.0, 1.0, 1.0])))


NUM_TRIALS = 300
#: Least share of intervals that hold the truth: .95 less three standard errors of NUM_TRIALS, and 1.5 % for bootstrap
#: intervals of few rows, which no quantile can widen to where no row lies.
LEAST_COVERAGE = 0.95 - 3 * np.sqrt(0.95 * 0.05 / NUM_TRIALS) - 0.015


@pytest.mark.slow
@pytest.mark.parametrize("num_rows", [60, 300])
@pytest.mark.parametrize("groups_of", [1, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(num_rows: int, groups_of: int) -> None:
    """Rows drawn from a population of which the difference is known; with groups, whole groups are drawn."""
    population = 100_000
    target, first, second = rows(population // groups_of)
    names = ("log_loss", "accuracy", "auc")
    everywhere = [metric_scorers("binary", target, output) for output in (first, second)]
    ones = np.ones(len(target))
    truth = {name: everywhere[1][name](ones) - everywhere[0][name](ones) for name in names}
    covered = dict.fromkeys(names, 0)
    rng = np.random.default_rng(2)
    for trial in range(NUM_TRIALS):
        units = rng.choice(len(target), num_rows, replace=False)
        drawn = np.repeat(units, groups_of)
        scorers = [metric_scorers("binary", target[drawn], output[drawn]) for output in (first, second)]
        kept = [{name: each[name] for name in names} for each in scorers]
        groups = None if groups_of == 1 else np.repeat(np.arange(num_rows), groups_of)
        resamples = resample_metrics(kept, np.ones(len(drawn)), groups=groups, seed=trial)
        for name in names:
            difference = resamples.difference(name, 1)
            covered[name] += difference.low <= truth[name] <= difference.high
    shares = {name: count / NUM_TRIALS for name, count in covered.items()}
    assert min(shares.values()) >= LEAST_COVERAGE, shares


@pytest.mark.slow
@pytest.mark.parametrize(("only_reference", "only_model"), [(0.0, 0.0), (0.01, 0.02), (0.03, 0.03), (0.0, 0.05)])
@pytest.mark.parametrize("num_rows", [50, 200])
def test_exact_intervals_hold_the_truth_at_least_as_often(
    only_reference: float, only_model: float, num_rows: int
) -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(NUM_TRIALS):
        both = rng.multinomial(num_rows, [only_reference, only_model, 1 - only_reference - only_model])
        exact = exact_difference(int(both[0]), int(both[1]), num_rows)
        covered += exact.low <= only_model - only_reference <= exact.high
    assert covered / NUM_TRIALS >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / NUM_TRIALS)
