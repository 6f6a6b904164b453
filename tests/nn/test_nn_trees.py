"""The tree table: its walk against one written by hand, its sum, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deepseek.contracts import Float32
from deepseek.nn.trees import ALL_MARGINS, LEAF, TreeTable


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


@settings(max_examples=60)
@given(arrays(np.float32, (7, 2), elements=st.sampled_from([-1.0, -0.0, 0.0, 2.0, 3.0, -2.0, 1.9999999, 2.0000002])))
def test_a_row_on_a_threshold_goes_left(features: Float32) -> None:
    assert two_levels().margin(features)[:, 0].tolist() == by_hand(features)


def test_a_leaf_with_one_number_per_margin_adds_to_all_of_them() -> None:
    table = replace(
        two_levels(),
        output=np.array([ALL_MARGINS], np.int32),
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


def test_arrays_round_trip() -> None:
    table = two_levels().in_preorder()
    again = TreeTable.from_arrays(table.arrays())
    for name in TreeTable.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(table, name), getattr(again, name))
        assert getattr(table, name).dtype == getattr(again, name).dtype


def test_another_order_of_nodes_answers_the_same() -> None:
    """Breadth first, as some libraries number their nodes."""
    table = TreeTable(
        roots=np.array([0], np.int32), output=np.array([0], np.int32),
        feature=np.array([0, 1, LEAF, LEAF, LEAF], np.int32), threshold=np.array([1, 2, 0, 0, 0], np.float32),
        left=np.array([1, 3, 2, 0, 1], np.int32), right=np.array([2, 4, 0, 0, 0], np.int32),
        cover=np.array([9, 5, 4, 3, 2], np.float32), leaves=np.array([[1], [2], [4]], np.float32), bias=np.zeros(1),
    )  # fmt: skip
    features = np.array([[0, 0], [0, 3], [2, 0]], np.float32)
    assert table.margin(features).ravel().tolist() == [1, 2, 4]
    assert TreeTable.from_arrays(table.arrays()).margin(features).ravel().tolist() == [1, 2, 4]


def test_arrays_are_as_narrow_as_their_values() -> None:
    stored = two_levels().arrays()
    assert stored["feature"].dtype == np.int8
    assert stored["skip"].dtype == np.int8


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [("left", 0, 0), ("left", 1, 5), ("right", 0, -1), ("left", 2, 3), ("left", 3, -1), ("right", 1, 1)],
)
def test_a_table_that_points_outside_itself_or_in_a_circle_is_refused(name: str, at: int, value: int) -> None:
    changed = getattr(two_levels(), name).copy()
    changed[at] = value
    with pytest.raises(ValueError, match="points outside"):
        replace(two_levels(), **{name: changed}).check()


@pytest.mark.parametrize("skip", [-1, 0, 100])
def test_stored_nodes_that_point_outside_are_refused(skip: int) -> None:
    stored = two_levels().arrays()
    with pytest.raises(ValueError, match="points outside"):
        TreeTable.from_arrays({**stored, "skip": np.full_like(stored["skip"], skip)})
