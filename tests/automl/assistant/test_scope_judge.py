"""The judge of scope: questions that were given as out of scope count the more, the more of them there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from deepseek.automl.assistant.fit import HeldRows, _fit_scope, fit_assistant, limit_questions
from deepseek.automl.assistant.options import AssistantOptions
from deepseek.automl.assistant.questions import KnownQuestions
from deepseek.contracts import Float32, Float64
from deepseek.engines.assistant.judges import energy_places


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


class TopicEncoder:
    """Questions of one topic, which is their second word, lie near each other."""

    def embed(self, texts: Sequence[str]) -> Float32:
        vectors = []
        for text in texts:
            _, topic, number = text.split()
            center = np.random.default_rng(int(topic[5:])).normal(size=24)
            vectors.append(center + 0.8 * np.random.default_rng((int(topic[5:]), int(number[6:]))).normal(size=24))
        stacked = np.array(vectors, np.float32).reshape(-1, 24)
        return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def topic_questions(topics: range, num_questions: int) -> list[tuple[str, str]]:
    return [(f"ask topic{topic} number{at}", f"{topic:03d}") for topic in topics for at in range(num_questions)]


def test_without_a_row_out_of_scope_what_no_intent_is_like_is_handed_over_all_the_same() -> None:
    """Rows whose intent was left out with others are told by how many are left, if one looks at the sum over all: a
    judge that does so parts those rows from the others, and no question of a person."""
    rows = topic_questions(range(40), 8)
    known = limit_questions(KnownQuestions(tuple(row[0] for row in rows), tuple(row[1] for row in rows), (), {}, ()))
    encoders = {"topics": TopicEncoder()}
    model = fit_assistant(known, encoders, AssistantOptions(Path("unused"))).model
    assert model.scope.weights[energy_places(len(model.scope.weights))].tolist() == [0.0] * 3

    def share_handed_over(topics: range) -> float:
        texts = [text.replace("number", "number9") for text, _ in topic_questions(topics, 5)]
        return float((model.score(texts, encoders).in_scope < model.thresholds.scope).mean())

    assert share_handed_over(range(100, 140)) > 0.6
    assert share_handed_over(range(40)) < 0.2
