"""A second method for few players and for many, and no more answers than are told."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig
from deepseek.explain.evaluation.masking_faithfulness import (
    CachedValueFunction,
    RowCost,
    curve_class,
    measure_masking,
    second_method_agreement,
    second_method_evaluations,
    second_method_name,
)

WEIGHTS = np.linspace(-2.0, 3.0, 600)


def sums(num: int) -> CachedValueFunction:
    """Each of `num` players adds its weight."""
    return CachedValueFunction(lambda masks: masks @ WEIGHTS[:num])


@pytest.mark.parametrize(("num", "name"), [(10, "KernelSHAP by masking columns"), (300, "leaving out one at a time")])
def test_the_second_method_agrees_with_what_is_so_and_not_with_its_opposite(num: int, name: str) -> None:
    player_sums = sums(num)
    right = second_method_agreement(player_sums, WEIGHTS[:num], seed=0)
    wrong = second_method_agreement(player_sums, -WEIGHTS[:num], seed=0)
    assert right is not None
    assert wrong is not None
    assert right["rank_correlation"] > 0.999
    assert wrong["rank_correlation"] < -0.999
    assert second_method_name([num], "columns") == name


def test_one_player_and_thousands_have_no_second_method() -> None:
    assert second_method_agreement(sums(1), WEIGHTS[:1], seed=0) is None
    assert second_method_agreement(sums(600), WEIGHTS, seed=0) is None


@pytest.mark.parametrize("num", [2, 64, 65, 300, 511, 512, 600])
def test_it_asks_for_no_more_answers_than_it_says(num: int) -> None:
    player_sums = sums(num)
    second_method_agreement(player_sums, WEIGHTS[:num], seed=0)
    assert player_sums.count <= second_method_evaluations(num)
    assert RowCost(num, 1.0).seconds(FaithfulnessConfig()) >= min(second_method_evaluations(num), 2 ** min(num, 30))


def test_curves_of_the_other_class_take_away_first_what_speaks_for_it() -> None:
    """Three players of an additive answer, which is below zero: what made it so goes first."""
    values = np.array([1.0, -4.0, -2.0])

    def answer(masks: NDArray[np.bool_]) -> Float64:
        return np.asarray(masks @ values)

    own = measure_masking(answer, values, FaithfulnessConfig())
    other = measure_masking(answer, values, FaithfulnessConfig(), sign=-1)
    assert own.deletion.points == (-5.0, -6.0, -4.0, 0.0)
    assert other.deletion.points == (5.0, 1.0, -1.0, 0.0)  # it falls from the start
    assert other.insertion.points == (0.0, 4.0, 6.0, 5.0)
    assert own.infidelity == other.infidelity


@pytest.mark.parametrize(
    ("answer", "target", "expected"),
    [("0", None, ("0", -1)), ("1", None, ("1", 1)), ("0", "1", ("1", 1)), (None, None, ("1", 1))],
)
def test_curves_show_the_class_that_was_answered_unless_one_was_asked_for(
    answer: str | None, target: str | None, expected: tuple[str, int]
) -> None:
    assert curve_class("1", answer, ("0", "1"), target) == expected
    assert curve_class("b", "a", ("a", "b", "c"), None) == ("b", 1)  # of many classes the one explained
