"""The judge of scope: questions that were given as out of scope count the more, the more of them there are."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from deepseek.automl.assistant.other_topics import other_topics
from deepseek.automl.assistant.scope_fit import ScopeRows, fit_scope
from deepseek.contracts import Float64
from deepseek.engines.assistant.judges import ConfidenceModel, energy_places, num_signals


def fit_with(num_outside: int) -> ConfidenceModel:
    """Questions in scope are high in both signals, those whose intent was left out low in the first alone, those that
    were given as out of scope in the second alone."""

    def draw(seed: int, num_rows: int, *center: float) -> Float64:
        return np.random.default_rng(seed).normal(center, 0.7, (num_rows, 2))

    nothing = np.zeros((0, 2))
    outside = np.tile([[1.0, -0.3], [0.4, 0.2]], (num_outside // 2, 1))
    return fit_scope(draw(1, 400, 1, 1), ScopeRows(draw(2, 400, -0.3, 1), outside, nothing))


def test_the_more_real_questions_out_of_scope_the_more_they_count() -> None:
    like_them, like_hidden = np.array([[1.0, -0.3]]), np.array([[-0.3, 1.0]])
    judges = [fit_with(num_outside) for num_outside in (2, 20, 200)]
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
    nothing = np.zeros((0, num_all))
    unlike, like = np.zeros((2, num_all))
    unlike[0], like[0] = -1, 1
    assert fit_scope(inside, ScopeRows(hidden, nothing, nothing)).probabilities(
        np.stack([unlike, like])
    ).round().tolist() == [0, 1]


def test_everyday_questions_count_as_out_of_scope_but_for_those_that_the_assistant_answers() -> None:
    """Questions in scope are high in both signals. Everyday ones are low in the second, which questions whose intent
    was left out are not; fifty others are as high in both as questions in scope."""
    inside = np.random.default_rng(1).normal([1, 1], 0.3, (400, 2))
    hidden = np.random.default_rng(2).normal([-0.5, 1], 0.3, (400, 2))
    nothing, topics, of_the_assistant = np.zeros((0, 2)), np.tile([[0.1, -1.0]], (100, 1)), np.ones((50, 2))
    like_topics = np.array([[0.25, -1.0]])
    without = fit_scope(inside, ScopeRows(hidden, nothing, nothing))
    judge = fit_scope(inside, ScopeRows(hidden, nothing, np.concatenate([topics, of_the_assistant])))
    assert judge.probabilities(like_topics)[0] < 0.1 < without.probabilities(like_topics)[0] - 0.1
    assert judge.probabilities(of_the_assistant)[0] > 0.9
    assert judge.probabilities(np.array([[-0.5, 1.0]]))[0] < 0.2


def test_everyday_questions_are_in_the_languages_of_the_assistant() -> None:
    english, chinese = other_topics(["Where is my card?"]), other_topics(["我的卡在哪里？"])
    assert min(len(english), len(chinese)) > 100
    assert len({*english, *chinese}) == len(english) + len(chinese)
    assert other_topics(["Where is my card?", "我的卡在哪里？"]) == english + chinese
    assert other_topics(["Where is my card?"] * 9 + ["我的卡在哪里？"]) == english
    assert other_topics(["Wo ist meine Karte?", "Карта не пришла"]) == other_topics([]) == ()
