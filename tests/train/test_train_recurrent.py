"""Nets over a course in time as candidates."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.train.candidates import FitData, XGBoost
from deepseek.train.candidates.recurrent import LSTM_ATTENTION, TCN, RecurrentModel
from deepseek.train.candidates.without_texts import OfFeatures

NUM_STEPS, NUM_SIGNALS = 5, 2


def courses(num_rows: int = 400) -> FitData:
    """The answer is how fast the first signal rises over the course; the last feature says nothing."""
    rng = np.random.default_rng(0)
    speed = rng.normal(size=num_rows)
    steps = 0.1 * rng.normal(size=(num_rows, NUM_STEPS, NUM_SIGNALS))
    steps[:, :, 0] += speed[:, None] * np.linspace(-1, 1, NUM_STEPS)
    features = np.column_stack([steps.reshape(num_rows, -1), rng.normal(size=num_rows)]).astype(np.float32)
    width = features.shape[1]
    return FitData(features, 50 + 20 * speed, np.ones(num_rows), "regression", 0, ("numeric",) * width, (0,) * width,
                   (0,) * width)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [LSTM_ATTENTION, TCN])
def test_a_net_learns_what_a_course_says_and_its_weights_answer_the_same(name: str) -> None:
    pytest.importorskip("torch")
    data = courses()
    places = np.arange(NUM_STEPS * NUM_SIGNALS, dtype=np.int32).reshape(NUM_STEPS, NUM_SIGNALS)
    candidate = RecurrentModel(name, places, np.array([NUM_STEPS * NUM_SIGNALS], np.int32))  # type: ignore[arg-type]
    params = {**candidate.defaults(data), "width": 8, "steps": 150, "batch": 32, "lr": 2e-2, "nets": 2}
    fit = data.rows(np.arange(300))
    fitted = candidate.fit(fit, params, seed=3)
    held = data.rows(np.arange(300, 400))
    error = fitted.margin(held.features)[:, 0] - held.target
    assert np.sqrt(np.mean(error**2)) < held.target.std() / 3
    nets = [weights.margin(held.features) for weights in fitted.weights()]
    assert len(nets) == 2
    np.testing.assert_array_equal(np.mean(nets, axis=0), fitted.margin(held.features))
    assert max(np.mean((net[:, 0] - held.target) ** 2) for net in nets) > np.mean(error**2)  # the mean errs less
    again = candidate.fit(fit, params, seed=3)
    np.testing.assert_array_equal(again.margin(held.features), fitted.margin(held.features))


def test_a_candidate_of_some_features_reads_whole_rows_and_no_others() -> None:
    pytest.importorskip("xgboost")
    data = courses()
    candidate = OfFeatures(XGBoost(), np.array([0, 8]), name="ends")
    assert candidate.name == "ends"
    fitted = candidate.fit(data, {**candidate.defaults(data), "rounds": 20}, seed=0)
    (weights,) = fitted.weights()
    changed = data.features.copy()
    changed[:, [1, 2, 3, 4, 5, 6, 7, 9, 10]] = 1e3
    np.testing.assert_allclose(weights.margin(changed), fitted.margin(data.features), rtol=1e-4)
