"""The judge of scope: questions that were given as out of scope count the more, the more of them there are."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from deepseek.automl.assistant.fit import HeldRows, _fit_scope
from deepseek.contracts import Float64
from deepseek.engines.assistant.judges import energy_places, num_signals


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


def test_a_question_that_no_intent_is_like_is_out_of_scope_though_its_energy_is_that_of_questions_in_scope() -> None:
    """Rows whose intent was left out with others have a lower energy, for that sums over all intents; questions of
    people have not."""
    num_rows, num_all = 400, num_signals(1)
    inside, hidden = (np.zeros((num_rows, num_all)) for _ in range(2))
    inside[:, 0] = np.random.default_rng(1).normal(1, 0.8, num_rows)
    hidden[:, 0] = np.random.default_rng(2).normal(-1, 0.8, num_rows)
    hidden[:, energy_places(num_all)] = -0.3
    right = np.ones(num_rows, bool)
    rows = HeldRows(np.zeros(num_rows, np.int64), inside, hidden, np.zeros((0, num_all)), right, right)
    unlike, like = np.zeros((2, num_all))
    unlike[0], like[0] = -1, 1
    assert _fit_scope(rows).probabilities(np.stack([unlike, like])).round().tolist() == [0, 1]
