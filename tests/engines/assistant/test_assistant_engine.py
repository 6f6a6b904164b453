"""What an assistant's engine reads and scores: terms by their formula, heads against loops, cuts of messages."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from deepseek.engines.assistant.heads import KernelHead, TermHead, nearest_of_each
from deepseek.engines.assistant.judges import ConfidenceModel, judge_signals, softmax
from deepseek.engines.assistant.model import question_digest
from deepseek.engines.assistant.parts import cut_message
from deepseek.engines.assistant.terms import TermWeights, split_words


def test_terms_are_weighed_by_how_rare_they_are() -> None:
    weights = TermWeights.fit(["卡 丢了", "卡 到了", "卡"])
    places = {term: place for place, term in enumerate(weights.terms)}
    assert weights.idf[places["卡"]] == pytest.approx(1.0)  # in every text
    assert weights.idf[places["丢"]] == pytest.approx(1 + log(4 / 2))
    ((ids, values),) = weights.rows(["丢 卡 卡"])
    of_term = dict(zip(ids.tolist(), values.tolist(), strict=True))
    assert of_term[places["卡"]] / of_term[places["丢"]] == pytest.approx((1 + log(2)) / (1 + log(2)), rel=1e-6)
    assert np.linalg.norm(values) == pytest.approx(1)


def test_words_and_letters_weigh_alike() -> None:
    weights = TermWeights.fit(["refund please", "card lost"])
    ((ids, values),) = weights.rows(["refund"])
    is_letters = np.array([weights.terms[place].startswith("~") for place in ids])
    assert np.linalg.norm(values[is_letters]) == pytest.approx(np.linalg.norm(values[~is_letters]))


def test_a_text_without_known_terms_scores_nothing() -> None:
    weights = TermWeights.fit(["one two", "three four"])
    head = TermHead(np.ones((len(weights.terms), 2), np.float32), np.array([0.5, -1], np.float32))
    assert head.scores(weights.rows(["", "🎉🎉", "Ελλάδα"])).tolist() == [[0.5, -1]] * 3
    assert split_words("🎉 !!") == []


def test_the_kernel_head_is_its_formula() -> None:
    draw = np.random.default_rng(0)
    bank, asked = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in draw.normal(size=(2, 6, 4)))
    dual, intents = draw.normal(size=(6, 3)), np.array([0, 0, 1, 1, 1, 2], np.int32)
    regression, nearest = KernelHead(bank, dual, intents, 1.5).scores(asked)
    for row, x in enumerate(asked):
        weights = [np.exp(-1.5 * np.sum((x - y) ** 2)) for y in bank]
        np.testing.assert_allclose(regression[row], np.array(weights) @ dual, rtol=1e-5)
        for intent in range(3):
            assert nearest[row, intent] == pytest.approx(max(x @ y for y in bank[intents == intent]), rel=1e-5)


def test_an_intent_without_questions_is_nearest_to_nothing() -> None:
    cosines = np.array([[0.5, 0.25]], np.float32)
    assert nearest_of_each(cosines, np.array([1, 1], np.int32), 3).tolist() == [[-1, 0.5, -1]]


def test_judges_give_back_what_they_stored() -> None:
    heads = [np.array([[0.9, 0.1, 0.0], [0.4, 0.5, 0.1]], np.float32)]
    signals = judge_signals(heads, heads[0].astype(np.float64) * 6, np.array([1.0, 0.5]))
    judge = ConfidenceModel(signals.mean(axis=0), signals.std(axis=0) + 0.1, np.ones(signals.shape[1]), -0.5)
    again = ConfidenceModel.from_arrays(judge.to_arrays("right"), "right")
    np.testing.assert_array_equal(again.probabilities(signals), judge.probabilities(signals))
    np.testing.assert_allclose(softmax(signals).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("message", "pieces"),
    [
        ("Where is my card? How do I change my PIN?", 2),
        ("怎么退货；退款什么时候到账", 2),
        ("I bought salt and pepper", 1),  # what would remain is no question
        ("", 1),
        ("a b c. " * 50, 1),  # more pieces than anybody asks at once
    ],
)
def test_messages_are_cut_where_sentences_end(message: str, pieces: int) -> None:
    assert len(cut_message(message)) == pieces


def test_a_question_is_known_again_whatever_its_case_and_width() -> None:
    assert question_digest("Where is my CARD?") == question_digest(" where is my card ")
    assert question_digest("Ｗhere is my card？") == question_digest("where is my card")
    assert question_digest("where is my card") != question_digest("where is my car")
