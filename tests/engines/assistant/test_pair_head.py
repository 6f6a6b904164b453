"""The head of pairs: it asks of the nearest known question of few intents, and says nothing of the others."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.engines.assistant.pair_head import NUM_CANDIDATES, PairHead, StateBank, nearest_candidates
from deepseek.engines.assistant.pair_judge import MAX_TOKENS, PairJudge, PairSettings, gelu, join_pairs

WIDTH, HEADS = 8, 2


def any_judge() -> PairJudge:
    draw = np.random.default_rng(4)
    sizes = {"q": (8, 8), "k": (8, 8), "v": (8, 8), "o": (8, 8), "up": (16, 8), "down": (8, 16)}
    weights = {f"layer0.{name}.weight": draw.normal(size=size) for name, size in sizes.items()}
    weights |= {f"layer0.{name}.bias": draw.normal(size=size[0]) for name, size in sizes.items()}
    weights |= {
        f"layer0.{name}.{kind}": draw.normal(size=8) for name in ("norm1", "norm2") for kind in ("weight", "bias")
    }
    weights |= {
        "layer0.other": draw.normal(size=HEADS), "wide.weight": draw.normal(size=(4, 3 * WIDTH + 1)),
        "wide.bias": draw.normal(size=4), "out.weight": draw.normal(size=(1, 4)), "out.bias": draw.normal(size=1),
    }  # fmt: skip
    settings = PairSettings("e", 1, 1, HEADS, "tanh", 1e-5)
    return PairJudge(settings, {name: np.asarray(values, np.float32) for name, values in weights.items()})


def test_the_nearest_question_of_each_near_intent_is_asked_of() -> None:
    draw = np.random.default_rng(0)
    states = [draw.normal(size=(length, WIDTH)).astype(np.float32) for length in (3, 5, 2, 4, 6, 3, 2)]
    bank, own = StateBank.join(states[:6]), states[6]
    intents = np.array([0, 0, 2, 3, 4, 5], np.int32)
    cosines = np.array([[0.5, 0.9, 0.1, 0.3, 0.4, 0.2]], np.float32)
    judge = any_judge()
    scores = PairHead(judge, bank).scores(cosines, intents, 6, [own])
    wanted = np.zeros(6)
    for intent, place in ((0, 1), (4, 4), (3, 3), (5, 5)):
        wanted[intent] = judge.probabilities([(own, bank[place])])[0]
    assert NUM_CANDIDATES == 4
    np.testing.assert_allclose(scores[0], wanted, atol=1e-6)


def test_rows_say_where_in_the_bank_the_known_questions_stand() -> None:
    draw = np.random.default_rng(1)
    states = [draw.normal(size=(length, WIDTH)).astype(np.float32) for length in (3, 5, 2)]
    head = PairHead(any_judge(), StateBank.join(states))
    all_intents = np.array([0, 1, 1], np.int32)
    own = [states[0]]
    part = head.scores(np.array([[0.9, 0.1]], np.float32), all_intents[1:], 2, own, np.array([1, 2]))
    whole = head.scores(np.array([[-1, 0.9, 0.1]], np.float32), all_intents, 2, own)
    assert part[0, 1] == pytest.approx(whole[0, 1], abs=1e-6)
    assert part[0, 0] == 0


def test_fewer_intents_than_candidates_are_asked_of_once_each() -> None:
    assert nearest_candidates(np.array([0.1, 0.2], np.float32), np.array([1, 1], np.int32), 3) == [1]


def test_a_bank_gives_back_its_questions_as_far_as_they_are_read() -> None:
    states = [np.full((length, WIDTH), length, np.float32) for length in (1, MAX_TOKENS + 5, 2)]
    bank = StateBank.join(states)
    assert [len(bank[place]) for place in range(len(bank))] == [1, MAX_TOKENS, 2]
    assert (bank[2] == 2).all()


def test_a_head_is_the_same_out_of_its_arrays() -> None:
    head = PairHead(any_judge(), StateBank.join([np.ones((2, WIDTH), np.float32)]))
    again = PairHead.from_arrays(head.judge.settings.to_dict(), head.to_arrays())
    pair = [(again.bank[0], again.bank[0])]
    np.testing.assert_allclose(again.judge.logits(pair), head.judge.logits(pair), atol=0.05)  # float16


def test_the_activation_is_gelu() -> None:
    np.testing.assert_allclose(gelu(np.array([-1, 0, 2], np.float32)), [-0.158808, 0, 1.954598], atol=1e-5)


def test_both_questions_stand_in_one_row_with_nothing_between() -> None:
    states, part = join_pairs([(np.ones((2, 3), np.float32), np.full((1, 3), 2, np.float32)),
                               (np.ones((1, 3), np.float32), np.ones((1, 3), np.float32))])  # fmt: skip
    assert states[:, :, 0].tolist() == [[1, 1, 2], [1, 1, 0]]
    assert part.tolist() == [[0, 0, 1], [0, 1, -1]]
