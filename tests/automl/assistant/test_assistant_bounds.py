"""The promise of answering alone: it holds on other rows, and is refused where too few rows could prove it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from deepseek.automl.assistant.bounds import choose_answer_threshold
from deepseek.automl.assistant.kernel_fit import fit_ridge, one_hot
from deepseek.errors import CheckError


def test_the_promise_holds_in_most_samples() -> None:
    """A row of probability p is right with chance p, so the precision from a threshold on is known exactly."""
    broken = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        sure = draw.beta(4, 1, 600)
        bound = choose_answer_threshold(sure, draw.random(600) < sure, precision=0.8, confidence=0.9)
        grid = np.linspace(bound.threshold, 1, 2001)
        density = 4 * grid**3  # of beta(4, 1)
        broken += float((grid * density).sum() / density.sum()) < 0.8
    assert broken <= 0.1 * 200 + 3 * (200 * 0.1 * 0.9) ** 0.5


def test_too_few_rows_are_refused_with_the_number_that_it_takes() -> None:
    with pytest.raises(CheckError, match="149"):
        choose_answer_threshold(np.linspace(0, 1, 100), np.ones(100, bool), precision=0.98, confidence=0.95)
    with pytest.raises(CheckError, match="0 held questions"):
        choose_answer_threshold(np.zeros(0), np.zeros(0, bool), precision=0.98, confidence=0.95)


def test_rows_that_are_as_sure_are_let_in_together() -> None:
    sure = np.repeat([0.9, 0.1], [200, 100])
    right = np.repeat([True, False], [200, 100])
    bound = choose_answer_threshold(sure, right, precision=0.9, confidence=0.95)
    assert (bound.threshold, bound.num_answered, bound.num_wrong) == (0.9, 200, 0)


def test_a_fit_without_a_block_is_what_the_inverse_says() -> None:
    draw = np.random.default_rng(1)
    points, labels = draw.normal(size=(40, 5)).astype(np.float32), draw.integers(0, 3, 40)
    gram, targets = points @ points.T, one_hot(labels, 3)
    blocks = [np.arange(10), np.arange(10, 25)]
    scores = fit_ridge(gram.copy(), targets, ridge=0.5).held_scores(blocks)
    for block in blocks:
        rest = np.setdiff1d(np.arange(40), block)
        dual = np.linalg.solve(gram[np.ix_(rest, rest)] + 0.5 * np.eye(len(rest)), targets[rest])
        np.testing.assert_allclose(scores[block], gram[np.ix_(block, rest)] @ dual, atol=2e-3)
    assert np.isnan(scores[25:]).all()
