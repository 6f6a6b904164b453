"""Tables of pairs: what is refused, what is left out, and a cut that leaves no question on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.automl.assistant.labelled_pairs import (
    LabelledPairs,
    PairColumns,
    held_rows,
    read_pairs,
    without_questions,
)
from deepseek.data.table.table import Table
from deepseek.errors import InputError


def table(**columns: list[str]) -> Table:
    return Table({name: np.array(values, object) for name, values in columns.items()}, dict.fromkeys(columns, "text"))


def rows(num_rows: int) -> dict[str, list[str]]:
    return {
        "question_a": [f"where is card {number}" for number in range(num_rows)],
        "question_b": [f"card {number} where" for number in range(num_rows)],
        "same": ["yes" if number % 2 else "no" for number in range(num_rows)],
    }


def test_columns_go_by_the_names_of_public_sets_and_by_any_other() -> None:
    own = read_pairs(table(**rows(120)))
    usual = dict(zip(("sentence1", "sentence2", "label"), rows(120).values(), strict=True))
    other = dict(zip(("a", "b", "c"), rows(120).values(), strict=True))
    for pairs in (read_pairs(table(**usual)), read_pairs(table(**other), PairColumns("a", "b", "c"))):
        assert (pairs.first, pairs.second, pairs.same.tolist()) == (own.first, own.second, own.same.tolist())
    with pytest.raises(InputError, match="no column holds the first questions") as caught:
        read_pairs(table(**other))
    assert "--question-a" in str(caught.value.fix)


def test_a_pair_that_comes_again_counts_once_and_never_with_two_labels() -> None:
    columns = rows(120)
    columns["question_a"] += [columns["question_b"][3], columns["question_b"][4], "!!"]
    columns["question_b"] += [columns["question_a"][3], columns["question_a"][4], "a word"]
    columns["same"] += ["yes", "yes", "no"]
    pairs = read_pairs(table(**columns))
    assert len(pairs) == 119
    assert "where is card 4" not in pairs.first
    assert len(pairs.warnings) == 2


@pytest.mark.parametrize(
    ("same", "message"),
    [(["maybe"] * 120, "row 0 says 'maybe'"), (["yes"] * 120, "there are 120 pairs"), (["yes", "no"] * 60, "")],
)
def test_labels_say_yes_or_no_and_both(same: list[str], message: str) -> None:
    columns = rows(120) | {"same": same}
    if message:
        with pytest.raises(InputError, match=message):
            read_pairs(table(**columns))
    else:
        assert read_pairs(table(**columns)).same.sum() == 60


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="there are 40 pairs"):
        read_pairs(table(**rows(40)))


def test_no_question_stands_on_both_sides_of_the_cut() -> None:
    draw = np.random.default_rng(1)
    first, second = (tuple(f"question {each}" for each in draw.integers(300, size=200)) for _ in range(2))
    pairs = LabelledPairs(first, second, np.zeros(200, bool))
    held = held_rows(pairs, share=0.25, seed=0)
    assert 0 < held.sum() <= 50
    questions = {True: set(), False: set()}
    for one, other, is_held in zip(first, second, held.tolist(), strict=True):
        questions[is_held] |= {one, other}
    assert not questions[True] & questions[False]


def test_what_hangs_together_as_one_is_learned_from_whole() -> None:
    pairs = LabelledPairs(("a",) * 9, tuple("bcdefghij"), np.zeros(9, bool))
    assert not held_rows(pairs, share=0.5, seed=0).any()


def test_pairs_with_a_held_question_are_left_out_of_other_tables() -> None:
    pairs = LabelledPairs(("Where?", "when", "who"), ("what", "where ?", "how"), np.array([True, False, True]))
    assert without_questions(pairs, ["where"]).first == ("who",)
