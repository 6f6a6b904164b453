"""Codes of a category in the order of the target: what they are, that every way in agrees, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deepseek.data import Preprocessor, find_kinds, fit_preprocessor, read_table
from deepseek.data.features.level_order import rank_levels
from deepseek.data.features.rows import MIN_COLUMNWISE_ROWS
from deepseek.errors import IntegrityError


def ranks_of(
    codes: list[int], target: list[float], num_classes: int = 0, weight: list[float] | None = None
) -> list[int]:
    labels = np.array(target, np.int64 if num_classes else np.float64)
    weights = np.ones(len(codes)) if weight is None else np.array(weight)
    return rank_levels(np.array(codes), max(codes) + 1, labels, weights, num_classes).tolist()


def test_levels_rise_with_the_mean_of_the_target_and_code_0_stays() -> None:
    codes = [0] * 20 + [1] * 20 + [2] * 20 + [3] * 20
    assert ranks_of(codes, [50.0] * 20 + [9.0] * 20 + [1.0] * 20 + [5.0] * 20) == [0, 3, 1, 2]
    assert ranks_of(codes, [0] * 20 + [1] * 19 + [0] + [0] * 20 + [1] * 10 + [0] * 10, 2) == [0, 3, 1, 2]


def test_a_mean_of_few_rows_is_drawn_to_that_of_all() -> None:
    codes, target = [1] * 2 + [2] * 100 + [3] * 100, [1.0] * 2 + [0.8] * 100 + [0.0] * 100
    assert ranks_of(codes, target)[1] < ranks_of(codes, target)[2], "two rows of 1 say less than a hundred of .8"


@pytest.mark.parametrize("size", [1e-300, 1e-14, 1.0, 1e14])
def test_the_unit_of_the_target_changes_nothing(size: float) -> None:
    codes = [1] * 20 + [2] * 20 + [3] * 20
    assert ranks_of(codes, [size * value for value in [5.0] * 20 + [1.0] * 20 + [9.0] * 20]) == [0, 2, 1, 3]


def test_a_rows_weight_counts() -> None:
    codes, target = [1] * 20 + [2] * 20 + [3] * 20, [1.0] * 10 + [0.0] * 10 + [0.4] * 20 + [0.2] * 20
    assert ranks_of(codes, target) == [0, 3, 2, 1]
    assert ranks_of(codes, target, weight=[0.1] * 10 + [1.0] * 50) == [0, 1, 3, 2]


def test_of_three_classes_levels_of_like_shares_stand_beside_each_other() -> None:
    codes, target = np.repeat([1, 2, 3, 4], 30), np.repeat([0, 2, 0, 2], 30)
    target[::10] = 1
    ranks = ranks_of(codes.tolist(), target.tolist(), 3)
    assert abs(ranks[1] - ranks[3]) == 1
    assert abs(ranks[2] - ranks[4]) == 1


def test_levels_without_rows_do_not_keep_the_order_of_their_codes() -> None:
    """It may come from the target of rows that are judged by."""
    ranks = rank_levels(np.array([1, 2]), 200, np.array([1.0, 0.0]), np.ones(2), 0)
    assert sorted(ranks) == list(range(200))
    assert abs(np.corrcoef(np.arange(3, 200), ranks[3:])[0, 1]) < 0.3


def ordered() -> Preprocessor:
    """A column of 30 levels, of which the target is the number; `a` is the most frequent and the highest."""
    names = ["a", *(f"level{number}" for number in range(29))]
    values = [name for place, name in enumerate(names) for _ in range(40 - place)]
    target = np.array([100.0 if value == "a" else float(value[5:]) for value in values])
    table = read_table({"city": values, "y": target.tolist()})
    prepared = fit_preprocessor(table, find_kinds(table, target="y"), target="y")
    return prepared.order_levels(table, target, np.ones(len(target)), 0)


def test_every_way_to_read_rows_agrees_and_one_hot_levels_stay_the_most_frequent() -> None:
    prepared = ordered()
    assert prepared.feature_names[1:4] == ("city = a", "city = level0", "city = level1")
    values = ["a", "level0", "level28", "unheard", None, "level3"] * MIN_COLUMNWISE_ROWS
    rows = [{"city": value} for value in values]
    columnwise = prepared.rows(rows).features
    assert np.array_equal(columnwise, np.concatenate([prepared.rows([row]).features for row in rows]))
    assert np.array_equal(columnwise, prepared.table(read_table({"city": values})).features)
    assert columnwise[:6, 0].tolist() == [30, 1, 29, 0, 0, 4]
    assert columnwise[:6, 1].tolist() == [1, 0, 0, 0, 0, 0]
    again = Preprocessor.from_bytes(prepared.to_bytes())
    assert np.array_equal(again.rows(rows).features, columnwise)


@pytest.mark.parametrize("ranks", [[1], list(range(30)), [1] * 30, list(range(2, 32))])
def test_ranks_that_are_no_order_of_the_levels_are_refused(ranks: list[int]) -> None:
    document = json.loads(ordered().to_bytes())
    document["columns"][0]["coder"]["ranks"] = ranks
    with pytest.raises(IntegrityError, match="are not an order of 30 levels"):
        Preprocessor.from_bytes(json.dumps(document).encode())


def test_preprocessing_of_earlier_versions_has_no_ranks_and_reads_as_before() -> None:
    document = json.loads(ordered().to_bytes())
    del document["columns"][0]["coder"]["ranks"]
    features = Preprocessor.from_bytes(json.dumps(document).encode()).rows([{"city": "a"}, {"city": "level0"}]).features
    assert features[:, 0].tolist() == [1, 2]
