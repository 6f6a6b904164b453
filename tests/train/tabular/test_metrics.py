"""Figures against scikit-learn's, with weights and ties, and the honesty of their intervals."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as reference

from deepseek.errors import InputError
from deepseek.train.tabular.metrics import METRICS, default_metric, find_metric, measure_figures

SEEDS = range(4)


def binary(seed: int, num_rows: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores on a coarse grid, so that many are tied; some rows weigh nothing."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 2, num_rows)
    chance = np.clip(np.round(0.5 + 0.2 * (target - 0.5) + 0.25 * rng.normal(size=num_rows), 1), 0.05, 0.95)
    weight = rng.integers(0, 4, num_rows).astype(np.float64)
    return target, np.stack([1 - chance, chance], axis=1), weight


def multiclass(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, 200)
    output = rng.dirichlet([1, 1, 1], 200) + 0.5 * np.eye(3)[target]
    return target, output / output.sum(axis=1, keepdims=True), rng.uniform(0, 2, 200)


@pytest.mark.parametrize("seed", SEEDS)
def test_binary_figures_are_those_of_scikit_learn(seed: int) -> None:
    target, output, weight = binary(seed)
    measured = {name: info.function(target, output, weight) for name, info in METRICS["binary"].items()}
    guess = output.argmax(axis=1)
    wanted = {
        "log_loss": reference.log_loss(target, output, sample_weight=weight),
        "accuracy": reference.accuracy_score(target, guess, sample_weight=weight),
        "brier": reference.brier_score_loss(target, output[:, 1], sample_weight=weight),
        "macro_f1": reference.f1_score(target, guess, sample_weight=weight, average="macro"),
        "auc": reference.roc_auc_score(target, output[:, 1], sample_weight=weight),
        "average_precision": reference.average_precision_score(target, output[:, 1], sample_weight=weight),
    }
    assert measured == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_multiclass_figures_are_those_of_scikit_learn(seed: int) -> None:
    target, output, weight = multiclass(seed)
    measured = {name: info.function(target, output, weight) for name, info in METRICS["multiclass"].items()}
    guess = output.argmax(axis=1)
    wanted = {
        "log_loss": reference.log_loss(target, output, sample_weight=weight),
        "accuracy": reference.accuracy_score(target, guess, sample_weight=weight),
        "brier": np.average(((output - np.eye(3)[target]) ** 2).sum(axis=1) / 2, weights=weight),
        "macro_f1": reference.f1_score(target, guess, sample_weight=weight, average="macro"),
    }
    assert measured == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_regression_figures_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, weight = rng.normal(100, 20, 150), rng.uniform(0, 2, 150)
    guess = target + rng.normal(0, 8, 150)
    measured = {n: info.function(target, guess[:, None], weight) for n, info in METRICS["regression"].items()}
    wanted = {
        "rmse": reference.root_mean_squared_error(target, guess, sample_weight=weight),
        "mae": reference.mean_absolute_error(target, guess, sample_weight=weight),
        "r2": reference.r2_score(target, guess, sample_weight=weight),
    }
    assert measured == pytest.approx(wanted, rel=1e-9)


def test_a_row_of_weight_two_counts_like_two_rows() -> None:
    target, output, weight = binary(7)
    times = weight.astype(int)
    for info in METRICS["binary"].values():
        twice = info.function(np.repeat(target, times), np.repeat(output, times, axis=0), np.ones(times.sum()))
        assert info.function(target, output, weight) == pytest.approx(twice)


def test_equal_scores_rank_nothing() -> None:
    target = np.array([0, 1, 0, 1])
    output = np.full((4, 2), 0.5)
    assert METRICS["binary"]["auc"].function(target, output, np.ones(4)) == 0.5
    assert METRICS["binary"]["average_precision"].function(target, output, np.ones(4)) == 0.5


def test_a_chance_of_zero_for_the_truth_costs_much_but_not_infinity() -> None:
    loss = METRICS["binary"]["log_loss"].function(np.array([1]), np.array([[1.0, 0.0]]), np.ones(1))
    assert 30 < loss < 40


def test_figures_that_are_undefined_on_these_rows_are_left_out() -> None:
    output = np.array([[0.3, 0.7]] * 5)
    assert {"auc"}.isdisjoint(measure_figures("binary", np.ones(5, int), output))
    assert {"auc", "average_precision"}.isdisjoint(measure_figures("binary", np.zeros(5, int), output))
    assert "r2" not in measure_figures("regression", np.full(5, 2.0), np.zeros((5, 1)))


def test_rows_without_weight_do_not_break_the_resamples() -> None:
    target, weight = np.array([0, 1, 1, 0]), np.array([1.0, 0.0, 0.0, 0.0])
    measured = measure_figures("binary", target, np.full((4, 2), 0.5), weight)
    assert measured["log_loss"].value == pytest.approx(np.log(2))
    assert np.isfinite([measured["log_loss"].low, measured["log_loss"].high]).all()


def test_equal_seeds_give_equal_intervals_and_a_figure_lies_in_its_own() -> None:
    target, output, weight = binary(1)
    first, again = (measure_figures("binary", target, output, weight, seed=3) for _ in range(2))
    assert first == again
    assert all(measured.low <= measured.value <= measured.high for measured in first.values())


def test_an_interval_is_that_of_each_metric_computed_anew_on_each_resample() -> None:
    target, output, weight = binary(1)
    measured, random = measure_figures("binary", target, output, weight, seed=3), np.random.default_rng(3)
    alike = np.full(len(target), 1 / len(target))
    resamples = [weight * random.multinomial(len(target), alike) for _ in range(1_000)]
    for name, info in METRICS["binary"].items():
        low, high = np.quantile([info.function(target, output, each) for each in resamples], [0.025, 0.975])
        assert (measured[name].low, measured[name].high) == pytest.approx((low, high)), name


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Means of 80 rows of known error: of 95 % intervals, 95 of 100 hold the truth; percentile ones a few less."""
    truth, num_runs, hits = 1.0, 120, 0
    for run in range(num_runs):
        rng = np.random.default_rng(run)
        target = np.zeros(80)
        guess = rng.normal(0, truth / np.sqrt(2 / np.pi), (80, 1))
        measured = measure_figures("regression", target, guess, seed=run)["mae"]
        hits += measured.low <= truth <= measured.high
    assert 0.86 <= hits / num_runs <= 0.99


def test_the_interval_is_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 1000)
    right = rng.random(1000) < 0.8
    chance = np.where(right, target, 1 - target) * 0.8 + 0.1
    measured = measure_figures("binary", target, np.stack([1 - chance, chance], axis=1))["accuracy"]
    wanted = 2 * 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert measured.high - measured.low == pytest.approx(wanted, rel=0.12)


def test_many_rows_need_no_memory_for_all_resamples_at_once() -> None:
    num_rows = 30_000
    target = np.random.default_rng(0).normal(size=num_rows)
    tracemalloc.start()
    measure_figures("regression", target, np.zeros((num_rows, 1)))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 40 * 8 * num_rows, f"{peak_bytes / 8 / num_rows:.0f} numbers per row"


@pytest.mark.parametrize(
    ("task", "target", "wanted"),
    [
        ("regression", np.arange(5.0), "rmse"),
        ("multiclass", np.array([0, 1, 2]), "log_loss"),
        ("binary", np.array([0] * 9 + [1]), "log_loss"),
        ("binary", np.array([0] * 96 + [1] * 4), "average_precision"),
        ("binary", np.array([1] * 95 + [0] * 5), "log_loss"),
    ],
)
def test_the_metric_follows_the_task_and_how_rare_a_class_is(task: str, target: np.ndarray, wanted: str) -> None:
    assert default_metric(task, target) == wanted  # type: ignore[arg-type]


def test_a_metric_of_another_task_is_refused_with_those_that_fit() -> None:
    with pytest.raises(InputError, match=r"rmse.*log_loss, accuracy"):
        find_metric("binary", "rmse")


def test_lower_is_better_for_every_loss() -> None:
    target, output, weight = binary(2)
    better = 0.5 * output + 0.5 * np.eye(2)[target]
    for info in METRICS["binary"].values():
        assert info.loss(target, better, weight) < info.loss(target, output, weight)


def test_macro_f1_is_over_the_classes_that_some_row_has_or_is_given() -> None:
    target, guess = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    output = np.eye(4)[guess]  # two of four classes are nowhere
    value = find_metric("multiclass", "macro_f1").function(target, output, np.ones(4))
    assert value == pytest.approx(reference.f1_score(target, guess, average="macro"))
    assert value > 0.7
