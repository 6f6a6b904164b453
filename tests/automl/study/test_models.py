"""The process, its derivatives, the expected improvement and the change of scale, against what they are defined as."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
from scipy.integrate import quad
from scipy.stats import norm

from deepseek.automl.study import gaussian_process
from deepseek.automl.study.acquisition import Acquisition, Aim, Limit, log_improvement, search
from deepseek.automl.study.space import Parameter, Space
from deepseek.automl.study.surface import Scale, fit_surface

SPACE = Space((Parameter("a", 0, 1), Parameter("b", 0, 1), Parameter("tool", choices=("x", "y", "z"))))


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return SPACE.draw(14, np.random.default_rng(0))


@pytest.fixture(scope="module")
def values(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.sin(3 * rows[:, 0]) + rows[:, 1] ** 2 + 0.5 * (rows[:, 2] == 1))


def slope_of(function: object, at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    return np.array([
        (function(at + step * unit) - function(at - step * unit)) / (2 * step)  # type: ignore[operator]
        for unit in np.eye(len(at))
    ])  # fmt: skip


@pytest.mark.parametrize("kernel", gaussian_process.KERNELS)
def test_the_derivative_of_the_evidence_is_its_slope(kernel: str, rows: np.ndarray, values: np.ndarray) -> None:
    squares = gaussian_process.squared_differences(rows, rows, SPACE.is_category)
    mean, deviation = gaussian_process._prior(3, gaussian_process.usual_scales(3))
    vector = mean + np.array([0.3, -0.2, 0.1, 0.4, 2.0])
    rest = (squares, values, mean, deviation, kernel)
    _, gradient = gaussian_process._negative_log_posterior(vector, *rest)
    slopes = slope_of(lambda at: gaussian_process._negative_log_posterior(at, *rest)[0], vector)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-4, atol=1e-6)


def test_what_was_measured_is_known_and_what_is_far_is_not(rows: np.ndarray, values: np.ndarray) -> None:
    process = gaussian_process.fit(rows, values, SPACE.is_category)
    mean, deviation = process.predict(rows)
    np.testing.assert_allclose(mean, values, atol=0.05)
    np.testing.assert_allclose(process.predict_own(), values, atol=1e-6)
    unseen = SPACE.draw(50, np.random.default_rng(1))
    assert process.predict(unseen)[1].mean() > 2 * deviation.mean()


def test_between_few_trials_of_many_parameters_the_surface_is_within_its_bounds() -> None:
    """Of the values of bumps in six parameters some nine in ten lie within what 18 trials say of them."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(6):
        centers, widths = rng.random((8, 6)), rng.uniform(0.15, 0.5, (8, 1))
        heights = rng.normal(size=8)

        def measure(x: np.ndarray, centers=centers, widths=widths, heights=heights) -> np.ndarray:  # type: ignore[no-untyped-def]
            return np.exp(-0.5 * (((x[:, None] - centers) / widths) ** 2).sum(axis=2)) @ heights

        known, unseen = rng.random((18, 6)), rng.random((60, 6))
        mean, deviation = gaussian_process.fit(known, measure(known), np.zeros(6, bool)).predict(unseen)
        inside.append(np.abs(measure(unseen) - mean) < 1.645 * deviation)
    assert np.mean(inside) > 0.8


def test_the_mean_stays_and_the_deviation_shrinks_where_a_result_is_awaited(
    rows: np.ndarray, values: np.ndarray
) -> None:
    process = gaussian_process.fit(rows, values, SPACE.is_category)
    pending = SPACE.draw(2, np.random.default_rng(2))
    after = process.expecting(pending)
    unseen = SPACE.draw(20, np.random.default_rng(3))
    np.testing.assert_allclose(after.predict(unseen)[0], process.predict(unseen)[0], atol=1e-3)
    assert (after.predict(pending)[1] < 0.3 * process.predict(pending)[1]).all()
    assert (after.predict(unseen)[1] <= process.predict(unseen)[1] + 1e-6).all()


def test_the_derivatives_of_what_is_promised_are_its_slopes(rows: np.ndarray, values: np.ndarray) -> None:
    process = gaussian_process.fit(rows, values, SPACE.is_category)
    smooth = gaussian_process.fit(rows, values, SPACE.is_category, kernel="gaussian")
    promise = Acquisition(
        [Aim(each, float(values.min())) for each in (process, smooth)], [Limit(process, float(np.median(values)))]
    )
    at = np.array([0.41, 0.37, 2.0])
    value, gradient = promise.value_and_gradient(at)
    assert value == pytest.approx(float(promise.values(at[None])[0]))
    slopes = slope_of(lambda each: promise.value_and_gradient(np.append(each, 2.0))[0], at[:2])
    np.testing.assert_allclose(gradient[:2], slopes, rtol=1e-3)
    assert gradient[2] == 0


@pytest.mark.parametrize("z", [-30.0, -6.0, -1.0, -0.2, 0.0, 3.0])
def test_the_logarithm_of_the_improvement_is_that_of_its_integral(z: float) -> None:
    exact = quad(lambda t: (t + z) * norm.pdf(t), -z, -z + 12)[0] if z > -8 else None
    found_log = float(log_improvement(np.array([z]))[0])
    if exact is not None:
        assert found_log == pytest.approx(np.log(exact), rel=1e-6)
    else:  # 1 / z^2 of the density, up to 3 / z^4
        assert found_log == pytest.approx(norm.logpdf(z) - 2 * np.log(-z), abs=4 / z**2)


@pytest.mark.parametrize("kind", ["linear", "floor", "ceiling"])
def test_a_change_of_scale_rises_and_comes_back(kind: str) -> None:
    values = np.array([0.4, 1.0, 2.5, 7.0])
    scale = Scale(kind, 0.1 if kind == "floor" else 8.0, 7.0)
    changed = scale.change(values)
    assert (np.diff(changed) > 0).all()
    np.testing.assert_allclose(scale.restore(changed), values)
    steps = (scale.change(values + 1e-6) - scale.change(values - 1e-6)) / 2e-6
    assert scale.log_slope(values) - scale.log_slope(values[:1]) == pytest.approx(
        float(np.log(steps[1:]).sum()) + (scale.log_slope(values[:1]) - np.log(steps[0])) * 3, abs=1e-4
    )


def test_values_over_powers_of_ten_are_taken_on_a_logarithm() -> None:
    rows = np.random.default_rng(4).random((16, 2))
    values = 10 ** (4 * rows[:, 0] + rows[:, 1])
    surface = fit_surface(rows, values, np.zeros(2, dtype=bool))
    assert surface.scale.kind == "floor"
    median, low, high = surface.quantiles(rows)
    assert (low <= median).all()
    assert (median <= high).all()
    assert fit_surface(rows, rows.sum(axis=1), np.zeros(2, dtype=bool)).scale.kind == "linear"


def test_values_that_are_all_alike_are_a_surface_too() -> None:
    rows = np.random.default_rng(5).random((8, 2))
    median, _, _ = fit_surface(rows, np.full(8, 3.0), np.zeros(2, dtype=bool)).quantiles(rows)
    np.testing.assert_allclose(median, 3.0)


def test_the_search_ends_at_the_top_and_within_what_is_allowed(rows: np.ndarray, values: np.ndarray) -> None:
    process = gaussian_process.fit(rows, values, SPACE.is_category)
    promise = Acquisition([Aim(process, float(values.min()))])
    rng = np.random.default_rng(6)
    row, value = search(promise, SPACE, rows[:3], rng)
    assert value >= promise.values(SPACE.draw(500, rng)).max() - 1e-6
    inside, _ = search(promise, SPACE, rows[:3], rng, lambda each: each[:, 0] <= 0.3)
    assert inside[0] <= 0.3
    assert row[2] in (0, 1, 2)


def test_drawn_processes_know_what_was_measured_and_differ_elsewhere(rows: np.ndarray, values: np.ndarray) -> None:
    process = gaussian_process.fit(rows, values, SPACE.is_category)
    drawn = gaussian_process.draw_processes(process, values, 5, np.random.default_rng(7))
    assert len(drawn) == 5
    for each in drawn:
        np.testing.assert_allclose(each.predict_own(), values, atol=1e-6)
    scales = np.array([each.hyper.log_scales for each in drawn])
    assert np.ptp(scales, axis=0).max() > 0.1
    again = gaussian_process.draw_processes(process, values, 5, np.random.default_rng(7))
    np.testing.assert_array_equal(scales, [each.hyper.log_scales for each in again])


def test_predictions_are_those_of_scikit_learn_with_the_same_hyperparameters() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    rng = np.random.default_rng(5)
    x, new = rng.random((14, 3)), rng.random((9, 3))
    values = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * rng.normal(size=14)
    process = gaussian_process.fit(x, values, np.zeros(3, bool), kernel="matern")
    hyper = process.hyper
    kernel = ConstantKernel(np.exp(hyper.log_signal)) * Matern(np.exp(hyper.log_scales), nu=2.5)
    theirs = GaussianProcessRegressor(
        kernel + ConstantKernel(gaussian_process.OFFSET_VARIANCE),
        alpha=np.exp(hyper.log_noise) + gaussian_process.LEAST_NOISE,
        optimizer=None,
    ).fit(x, (values - process.center) / process.spread)
    mean, deviation = theirs.predict(new, return_std=True)
    ours = process.predict(new)
    np.testing.assert_allclose(ours[0], process.center + process.spread * mean, rtol=1e-6)
    np.testing.assert_allclose(ours[1], process.spread * deviation, rtol=1e-5)
