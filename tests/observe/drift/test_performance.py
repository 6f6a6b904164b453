"""Estimates without labels follow inputs that move, by earlier labels; and say how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.contracts import Float64
from deepseek.observe.drift.calibration import fit_recalibration, log_odds
from deepseek.observe.drift.performance import AnsweredSample, PastCalibration, estimate_performance


def draw(seed: int, num_rows: int, *, lean: float, is_labeled: bool) -> tuple[AnsweredSample, Float64, Float64]:
    """Rows whose model looks at the first input alone, though the second matters, too; `lean` moves the second. The
    sample, the true chances and the labels."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=num_rows), rng.normal(lean, 1, num_rows)
    chance = 1 / (1 + np.exp(-(1.5 * first + 1.2 * second)))
    labels = (rng.random(num_rows) < chance).astype(np.int64)
    said = 1 / (1 + np.exp(-1.2 * first))
    known_labels = labels if is_labeled else np.full(num_rows, -1)
    answers, scores = (said >= 0.5).astype(np.int64), np.column_stack([first, second])
    sample = AnsweredSample(np.column_stack([1 - said, said]), answers, known_labels, scores)
    return sample, chance, labels.astype(np.float64)


@pytest.mark.slow
def test_earlier_labels_let_the_estimate_follow_inputs_that_move() -> None:
    past, _, _ = draw(0, 2_000, lean=0.0, is_labeled=True)
    errors: dict[str, list[float]] = {"blind": [], "seeing": []}
    inside = 0
    for seed in range(1, 9):
        now, _, labels = draw(seed, 2_500, lean=2.0, is_labeled=False)
        accuracy = float((now.answers == labels).mean())
        blind, seeing = estimate_performance(now), estimate_performance(now, past=PastCalibration.fit(past))
        assert blind is not None
        assert seeing is not None
        assert (blind.num_past_labels, seeing.num_past_labels) == (0, 2_000)
        errors["blind"].append(abs(blind.estimated["accuracy"].value - accuracy))
        errors["seeing"].append(abs(seeing.estimated["accuracy"].value - accuracy))
        inside += seeing.estimated["accuracy"].low <= accuracy <= seeing.estimated["accuracy"].high
    assert np.mean(errors["seeing"]) < np.mean(errors["blind"]) / 2
    assert inside >= 6


def test_inputs_that_the_model_knows_all_of_leave_its_probabilities_as_they_are() -> None:
    rng = np.random.default_rng(5)
    chance = rng.beta(0.7, 0.7, 3_000)
    odds = log_odds(np.column_stack([1 - chance, chance]))
    scores = rng.normal(size=(3_000, 12))
    answers, labels = (chance >= 0.5).astype(np.int64), (rng.random(3_000) < chance).astype(np.float64)
    fitted = fit_recalibration(odds, answers, scores, labels)
    right = 1 / (1 + np.exp(-fitted.apply(odds, answers, scores)))
    assert np.abs(right - chance).max() < 0.1
    assert np.abs(fitted.weights[4:]).max() < 0.1
    expected = np.where(answers == 1, right, 1 - right).mean()
    assert expected == pytest.approx((answers == labels).mean(), abs=0.002)


def test_labels_of_one_class_alone_set_nothing_right() -> None:
    past, _, _ = draw(0, 400, lean=0.0, is_labeled=True)
    same = AnsweredSample(past.probabilities, past.answers, np.ones(400, np.int64), past.scores)
    assert PastCalibration.fit(same) is None
    assert (
        PastCalibration.fit(
            AnsweredSample(past.probabilities[:100], past.answers[:100], past.labels[:100], past.scores[:100])
        )
        is None
    )
