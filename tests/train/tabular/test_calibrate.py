"""Calibration: chances that mean what they say, and a ranking that stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.nn.model import sigmoid, softmax
from deepseek.train.tabular.calibrate import calibration_loss, fit_calibration, fit_slope, identity_calibration


def sure(num_rows: int = 2000, *, slope: float, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Margins (N, 1) of a model whose true log-odds are slope * margin + shift."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(scale=2, size=(num_rows, 1))
    target = (rng.random(num_rows) < sigmoid(slope * margin[:, 0] + shift)).astype(np.int64)
    return margin, target


@pytest.mark.parametrize(("slope", "shift"), [(0.3, 0.0), (0.5, 1.0), (3.0, -0.5)])
def test_the_slope_and_shift_of_a_model_that_is_too_sure_or_too_shy_are_found(slope: float, shift: float) -> None:
    margin, target = sure(20_000, slope=slope, shift=shift)
    calibration = fit_calibration(margin, target, np.ones(len(target)), seed=0)
    assert calibration.slope == pytest.approx(slope, rel=0.1)
    assert calibration.bias[0] == pytest.approx(shift, abs=0.1)


def test_the_loss_on_fresh_rows_falls() -> None:
    margin, target = sure(slope=0.3)
    fresh, truth = sure(slope=0.3, seed=1)
    ones = np.ones(len(target))
    calibration = fit_calibration(margin, target, ones, seed=0)
    assert (
        calibration_loss(calibration, fresh, truth, ones)
        < calibration_loss(identity_calibration(1), fresh, truth, ones) - 0.05
    )


def test_a_model_that_is_right_already_is_left_about_as_it_is() -> None:
    margin, target = sure(slope=1.0)
    calibration = fit_calibration(margin, target, np.ones(len(target)), seed=0)
    ones = np.ones(len(target))
    fresh, truth = sure(slope=1.0, seed=1)
    assert (
        calibration_loss(calibration, fresh, truth, ones)
        < calibration_loss(identity_calibration(1), fresh, truth, ones) + 0.002
    )


def test_few_rows_of_a_model_that_is_right_seldom_change_it() -> None:
    """Of forty draws of 150 rows a change seems better on the halves of more than every other one, and of every fifth
    by more than a standard error; what is then changed costs other rows half as much on average."""
    fresh, truth = sure(20_000, slope=1.0, seed=1000)
    unchanged = identity_calibration(1)
    least = calibration_loss(unchanged, fresh, truth, np.ones(len(truth)))
    chosen = [fit_calibration(*sure(150, slope=1.0, seed=seed), np.ones(150), seed=0) for seed in range(40)]
    losses = [calibration_loss(each, fresh, truth, np.ones(len(truth))) for each in chosen]
    assert sum(each == unchanged for each in chosen) >= 28
    assert np.mean(losses) < least + 0.0027


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(4, 60), st.floats(0.01, 50))
def test_no_ranking_changes_whatever_the_rows(seed: int, num_rows: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    margin, target = rng.normal(scale=scale, size=(num_rows, 1)), rng.integers(0, 2, num_rows)
    calibration = fit_calibration(margin, target, rng.uniform(0.1, 3, num_rows), seed=seed)
    assert calibration.slope > 0
    chance = calibration.apply(margin)[:, 1]
    assert np.isfinite(chance).all()
    assert (np.diff(chance[np.argsort(margin[:, 0])]) >= 0).all()


def test_a_perfect_model_keeps_finite_chances() -> None:
    margin = np.array([[-1.0], [-2.0], [1.0], [2.0]] * 5)
    target = (margin[:, 0] > 0).astype(np.int64)
    calibration = fit_slope(margin, target, np.ones(20), with_bias=True)
    assert 1 <= calibration.slope <= np.exp(3)
    assert np.abs(calibration.bias[0]) < 1


def test_several_classes_get_a_temperature_and_a_shift_each() -> None:
    rng = np.random.default_rng(0)
    margin = rng.normal(scale=2, size=(20_000, 3))
    truth = softmax(0.5 * margin + np.array([0.0, 1.0, -1.0]))
    target = (rng.random(20_000)[:, None] > truth.cumsum(axis=1)).sum(axis=1)
    calibration = fit_calibration(margin, target, np.ones(20_000), seed=0)
    assert calibration.slope == pytest.approx(0.5, rel=0.1)
    np.testing.assert_allclose(np.diff(calibration.bias), [1, -2], atol=0.15)


def test_weights_count_like_copies() -> None:
    margin, target = sure(300, slope=0.4)
    times = np.random.default_rng(1).integers(1, 4, 300)
    weighted = fit_slope(margin, target, times.astype(float), with_bias=True)
    copied = fit_slope(np.repeat(margin, times, axis=0), np.repeat(target, times), np.ones(times.sum()), with_bias=True)
    assert weighted.slope == pytest.approx(copied.slope, rel=0.02)
    assert weighted.bias[0] == pytest.approx(copied.bias[0], abs=0.02)


def test_few_rows_with_weight_do_not_break_the_halves() -> None:
    margin, target = sure(40, slope=1.0)
    weight = np.zeros(40)
    weight[3] = 40.0
    calibration = fit_calibration(margin, target, weight, seed=0)
    assert np.isfinite([calibration.slope, *calibration.bias]).all()


def test_equal_seeds_give_equal_calibrations() -> None:
    margin, target = sure(200, slope=0.5)
    assert fit_calibration(margin, target, np.ones(200), seed=5) == fit_calibration(
        margin, target, np.ones(200), seed=5
    )
