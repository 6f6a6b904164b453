"""A second method for few players and for many, and no more answers than are told."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.explain.evaluation.masking_curves import Checks
from deepseek.explain.evaluation.masking_faithfulness import Asked, Job, second_agreement, second_masks, second_name

WEIGHTS = np.linspace(-2.0, 3.0, 600)


def sums(num: int) -> Asked:
    """Each of `num` players adds its weight."""
    return Asked(lambda masks: masks @ WEIGHTS[:num])


@pytest.mark.parametrize(("num", "name"), [(10, "KernelSHAP by masking columns"), (300, "leaving out one at a time")])
def test_the_second_method_agrees_with_what_is_so_and_not_with_its_opposite(num: int, name: str) -> None:
    asked = sums(num)
    right = second_agreement(asked, WEIGHTS[:num], seed=0)
    wrong = second_agreement(asked, -WEIGHTS[:num], seed=0)
    assert right is not None
    assert wrong is not None
    assert right["rank_correlation"] > 0.999
    assert wrong["rank_correlation"] < -0.999
    assert second_name([num], "columns") == name


def test_one_player_and_thousands_have_no_second_method() -> None:
    assert second_agreement(sums(1), WEIGHTS[:1], seed=0) is None
    assert second_agreement(sums(600), WEIGHTS, seed=0) is None


@pytest.mark.parametrize("num", [2, 64, 65, 300, 511, 512, 600])
def test_it_asks_for_no_more_answers_than_it_says(num: int) -> None:
    asked = sums(num)
    second_agreement(asked, WEIGHTS[:num], seed=0)
    assert asked.count <= second_masks(num)
    assert Job(num, 1.0).seconds(Checks()) >= min(second_masks(num), 2 ** min(num, 30))
