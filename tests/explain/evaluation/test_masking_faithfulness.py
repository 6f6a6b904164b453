"""A second method for few players and for many, and no more answers than are told."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig
from deepseek.explain.evaluation.masking_faithfulness import (
    CachedValueFunction,
    RowCost,
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
    asked = sums(num)
    right = second_method_agreement(asked, WEIGHTS[:num], seed=0)
    wrong = second_method_agreement(asked, -WEIGHTS[:num], seed=0)
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
    asked = sums(num)
    second_method_agreement(asked, WEIGHTS[:num], seed=0)
    assert asked.count <= second_method_evaluations(num)
    assert RowCost(num, 1.0).seconds(FaithfulnessConfig()) >= min(second_method_evaluations(num), 2 ** min(num, 30))
