"""Owen values: against the mean over all orders by hand, with errors that hold, within their limits."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.errors import InputError
from deepseek.explain import attribute
from deepseek.explain.modules.gradient_methods import Limits
from deepseek.explain.shapley.hierarchy import Hierarchy, sentence_ranges, token_borders
from deepseek.explain.shapley.partition import Budget, owen_values

EXACTLY = Budget(num_evaluations=100_000, tolerance=0.0)


def game(num: int, seed: int = 0) -> Any:
    """Players alone, in pairs, and in threes."""
    draw = np.random.default_rng(seed)
    alone, pairs = draw.normal(size=num), draw.normal(size=(num, num)) / num
    threes = draw.normal(size=num) / num**0.5

    def value(masks: Any) -> Any:
        seen = np.asarray(masks, float)
        return seen @ alone + ((seen @ pairs) * seen).sum(1) + (seen @ threes) ** 3

    return value


def by_hand(value: Any, groups: list[list[int]]) -> Any:
    """The mean of what each of 6 players adds, over every order in which groups come whole."""
    values = np.zeros(6)
    orders = [order for order in permutations(range(6)) if all(_whole(order, group) for group in groups)]
    for order in orders:
        masks = np.array([[p in order[:n] for p in range(6)] for n in range(7)])
        values[list(order)] += np.diff(value(masks))
    return values / len(orders)


def _whole(order: tuple[int, ...], group: list[int]) -> bool:
    places = [order.index(player) for player in group]
    return max(places) - min(places) == len(group) - 1


def test_values_are_the_mean_over_the_orders_that_keep_regions_together() -> None:
    value = game(6)
    values = owen_values(value, Hierarchy((6,), np.array([1, 2, 1, 3, 1])), budget=EXACTLY)
    expected = by_hand(value, [[0, 1], [2, 3], [0, 1, 2, 3], [4, 5]])
    np.testing.assert_allclose(values.values, expected, atol=1e-12)
    assert not values.error.any()
    assert not values.is_partial
    beside = owen_values(lambda masks: value(masks[:, [1, 2, 3, 4, 5, 0]]), Hierarchy((5,)), whole=7.0, budget=EXACTLY)
    assert beside.values.sum() == pytest.approx(7.0)  # one of all columns: its value comes from outside


def test_errors_hold_what_was_not_looked_at() -> None:
    """Of 32 players: at a fifth of the calls, on average over the games."""
    far, stated_errors = [], []
    for seed in range(3):
        value, tree = game(32, seed), Hierarchy((4, 8))
        exact = owen_values(value, tree, budget=EXACTLY)
        some = owen_values(value, tree, budget=Budget(160, 0.0))
        assert some.is_partial
        assert some.num_evaluations <= 160
        assert some.values.sum() == pytest.approx(some.output - some.base)
        far.append(np.square(some.values - exact.values).mean() ** 0.5)
        stated_errors.append(np.square(some.error).mean() ** 0.5)
    assert np.mean(far) < 0.1 * np.abs(exact.values).max()
    assert 0.5 < np.mean(stated_errors) / np.mean(far) < 4


def test_regions_open_where_the_value_is() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    picture[:, :, 8:12, 40:44] = 1.0
    attribution = attribute(lambda x: 5 * x[:, :, 8:12, 40:44].mean((1, 2, 3)), picture, method="partition")
    assert attribution.values.reshape(3, 64, 64)[:, 8:12, 40:44].sum() == pytest.approx(5.0)
    assert attribution.notes == ("92 evaluations of 1 rows at most",)
    weights = np.zeros(10_000)
    weights[[5, 777, 9_000]] = 3, -2, 1
    wide = attribute(lambda x: x @ weights, np.ones((1, 10_000)), limits=Limits(num_evaluations=600))
    assert wide.values[0, [5, 777, 9_000]].tolist() == pytest.approx([3, -2, 1])
    assert "too few to tell 10000 values apart" in wide.why
    late = attribute(lambda x: x @ weights, np.ones((1, 10_000)), method="partition", limits=Limits(time_limit_s=0.0))
    assert late.is_partial
    assert late.residual == pytest.approx(0.0)
    assert late.error is not None
    assert late.error.max() > 0


def test_ids_are_kept_or_taken_away_as_they_are() -> None:
    def model(ids: torch.Tensor) -> torch.Tensor:
        return 2.0 * (ids == 3).sum(1) + (ids == 5).sum(1) * (ids == 6).sum(1)

    attribution = attribute(model, torch.arange(1, 9)[None])
    assert attribution.values[0].tolist() == [0, 0, 2, 0, 0.5, 0.5, 0, 0]
    constant = attribute(lambda x: x[:, 0] * 0 + 1, np.ones((1, 4)), method="partition")
    assert "the answer is the same for the inputs and the baselines" in constant.notes[-1]
    with pytest.raises(InputError, match="nan"):
        attribute(lambda x: np.where(x[:, 0] > 0.5, 1.0, np.nan), np.ones((1, 3)), method="partition")
    with pytest.raises(InputError, match="2 at least"):
        Budget(1)


def test_a_text_falls_in_sentences_then_clauses_then_words() -> None:
    text = "It is 3.5, not bad. 很好，谢谢。好"
    spans = [(0, 2), (3, 5), (6, 9), (9, 10), (11, 14), (15, 18), (18, 19), (20, 21), (21, 22), (22, 23), (23, 24),
             (24, 25), (25, 26), (26, 27)]  # fmt: skip
    borders = token_borders(text, spans)
    assert [text[spans[a][0] : spans[b - 1][1]] for a, b in sentence_ranges(borders)] == [
        "It is 3.5, not bad.",
        "很好，谢谢。",
        "好",
    ]
    assert Hierarchy((14,), borders).halves(((0, 7),)) == (((0, 4),), ((4, 7),))
    assert token_borders("unhappy man", [(0, 2), (2, 7), (8, 11)], [0, 0, 1]).tolist() == [0, 1]
