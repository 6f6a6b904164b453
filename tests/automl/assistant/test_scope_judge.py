"""The judge of scope: questions that were given as out of scope count the more, the more of them there are."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from deepseek.automl.assistant.fit import HeldRows, _fit_scope
from deepseek.contracts import Float64


def held_rows(num_outside: int) -> HeldRows:
    """Questions in scope are high in both signals, those whose intent was left out low in the first alone, those that
    were given as out of scope in the second alone."""

    def draw(seed: int, num_rows: int, *center: float) -> Float64:
        return np.random.default_rng(seed).normal(center, 0.7, (num_rows, 2))

    inside, right = draw(1, 400, 1, 1), np.ones(400, bool)
    outside = np.tile([[1.0, -0.3], [0.4, 0.2]], (num_outside // 2, 1))
    return HeldRows(np.zeros(400, np.int64), inside, draw(2, 400, -0.3, 1), outside, right, right)


def test_the_more_real_questions_out_of_scope_the_more_they_count() -> None:
    like_them, like_hidden = np.array([[1.0, -0.3]]), np.array([[-0.3, 1.0]])
    judges = [_fit_scope(held_rows(num_outside)) for num_outside in (2, 20, 200)]
    few, some, many = (float(judge.probabilities(like_them)[0]) for judge in judges)
    assert few > some + 0.02 > many + 0.04
    few, some, many = (float(judge.probabilities(like_hidden)[0]) for judge in judges)
    assert few < some < many
