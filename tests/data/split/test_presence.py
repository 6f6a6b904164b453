"""Columns whose values are there only after the answer is."""

from __future__ import annotations

import numpy as np

from deepseek.data.split.presence import describe_presence

RNG = np.random.default_rng(0)
CLASSES = np.repeat([0, 1], [600, 400])
NAMES = ("died", "survived")


def test_a_value_that_nearly_only_one_class_has_is_said_with_its_counts() -> None:
    has_value = (CLASSES == 1) & (RNG.random(1_000) < 0.3)
    has_value[0] = True
    words = describe_presence(~has_value, CLASSES, NAMES, "'fate'")
    assert words.startswith("has a value in ")
    assert f"{int(has_value.sum()):,} rows, {int(has_value.sum()) - 1:,} of them of the class 'survived'" in words


def test_gaps_by_chance_and_gaps_that_lean_to_a_class_are_none() -> None:
    assert describe_presence(RNG.random(1_000) < 0.4, CLASSES, NAMES, "'fate'") == ""
    leaning = RNG.random(1_000) < np.where(CLASSES == 1, 0.2, 0.7)
    assert describe_presence(leaning, CLASSES, NAMES, "'fate'") == ""


def test_a_class_that_nearly_all_rows_have_says_nothing_by_itself() -> None:
    rare = np.repeat([0, 1], [990, 10])
    has_value = RNG.random(1_000) < 0.15
    has_value[990:] = False
    assert describe_presence(~has_value, rare, NAMES, "'fate'") == ""
