"""The tree table: its walk against one written by hand, its sum, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deepseek.contracts import Float32
from deepseek.nn.trees import ALL, LEAF, TreeTable, concat


def two_levels() -> TreeTable:
    """Node 0 asks feature 1 <= 2; node 1 asks feature 0 <= -1; three leaves."""
    return TreeTable(
        roots=np.array([0], np.int32),
        output=np.array([0], np.int32),
        feature=np.array([1, 0, LEAF, LEAF, LEAF], np.int32),
        threshold=np.array([2, -1, 0, 0, 0], np.float32),
        left=np.array([1, 2, 0, 1, 2], np.int32),
        right=np.array([4, 3, 0, 0, 0], np.int32),
        cover=np.array([10, 6, 2, 4, 4], np.float32),
        leaves=np.array([[1.0], [2.0], [4.0]], np.float32),
        bias=np.array([0.5]),
    )


def by_hand(features: Float32) -> list[float]:
    return [0.5 + ((1.0 if a <= -1 else 2.0) if b <= 2 else 4.0) for a, b in features.tolist()]


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (7, 2), elements=st.sampled_from([-1.0, -0.0, 0.0, 2.0, 3.0, -2.0, 1.9999999, 2.0000002])))
def test_a_row_on_a_threshold_goes_left(features: Float32) -> None:
    assert two_levels().margin(features)[:, 0].tolist() == by_hand(features)


def test_a_leaf_with_one_number_per_margin_adds_to_all_of_them() -> None:
    table = replace(
        two_levels(),
        output=np.array([ALL], np.int32),
        leaves=np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
        bias=np.zeros(3),
    )
    assert table.margin(np.array([[-2, 0], [0, 0], [0, 3]], np.float32)).tolist() == np.eye(3).tolist()


def test_a_tree_that_is_one_leaf_answers_for_every_row() -> None:
    stump = TreeTable(
        roots=np.array([0], np.int32), output=np.array([0], np.int32), feature=np.array([LEAF], np.int32),
        threshold=np.zeros(1, np.float32), left=np.zeros(1, np.int32), right=np.zeros(1, np.int32),
        cover=np.ones(1, np.float32), leaves=np.array([[3.0]], np.float32), bias=np.array([1.0]),
    )  # fmt: skip
    assert stump.margin(np.zeros((2, 1), np.float32)).tolist() == [[4.0], [4.0]]


def test_joined_tables_give_the_weighted_sum_of_their_margins() -> None:
    features = np.random.default_rng(0).normal(scale=3, size=(50, 2)).astype(np.float32)
    one, other = two_levels(), replace(two_levels(), leaves=np.array([[-8.0], [0.25], [16.0]], np.float32))
    joined = concat([one, other, one], [0.5, 2.0, 0.25])
    joined.check()
    wanted = 0.75 * one.margin(features) + 2 * other.margin(features)
    np.testing.assert_allclose(joined.margin(features), wanted, rtol=0, atol=1e-6)
    assert joined.bounds() == [(0, 5), (5, 10), (10, 15)]


def test_arrays_round_trip() -> None:
    table = two_levels()
    again = TreeTable.from_arrays(table.arrays())
    for name, array in table.arrays().items():
        np.testing.assert_array_equal(array, getattr(again, name))
        assert array.dtype == getattr(again, name).dtype


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [("left", 0, 0), ("left", 1, 5), ("right", 0, -1), ("left", 2, 3), ("left", 3, -1), ("right", 1, 1)],
)
def test_a_table_that_points_outside_itself_or_in_a_circle_is_refused(name: str, at: int, value: int) -> None:
    changed = {key: array.copy() for key, array in two_levels().arrays().items()}
    changed[name][at] = value  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="points outside"):
        TreeTable.from_arrays(changed)
