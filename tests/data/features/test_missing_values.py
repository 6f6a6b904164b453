"""Gaps that a finished model takes itself: left, right or both, the same from records, columns and a matrix."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.data.features.missing_values import MissingValueEncoder
from deepseek.data.features.prepare import Column, Preprocessor
from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.values import FLOAT32_MAX
from deepseek.errors import InputError

LEFT, RIGHT, BOTH = (
    MissingValueEncoder(low=True, high=False),
    MissingValueEncoder(low=False, high=True),
    MissingValueEncoder(low=True, high=True),
)


def of(*coders: MissingValueEncoder) -> Preprocessor:
    columns = tuple(Column("abc"[at], "number_with_gaps", "gaps", coder) for at, coder in enumerate(coders))
    return Preprocessor.from_bytes(Preprocessor(columns).to_bytes())


def test_a_gap_is_the_least_or_the_largest_number_and_is_no_flag() -> None:
    features = of(LEFT, RIGHT, BOTH).rows([{"a": None, "b": None, "c": None}, {"a": 1, "b": 2.5, "c": "3"}])
    assert features.features.tolist() == [[-FLOAT32_MAX, FLOAT32_MAX, -FLOAT32_MAX, FLOAT32_MAX], [1.0, 2.5, 3.0, 3.0]]
    assert features.flags == ()


@pytest.mark.parametrize("num_rows", [1, 10, 200])
def test_records_columns_and_a_matrix_give_the_same(num_rows: int) -> None:
    preprocessor = of(LEFT, BOTH)
    values = np.random.default_rng(0).normal(size=(num_rows, 2)) * 1e3
    values[::3, 0] = values[::2, 1] = np.nan
    matrix = preprocessor.rows(ColumnarRows(("a", "b"), values)).features
    records = [dict(zip("ab", [None if x != x else x for x in row], strict=True)) for row in values.tolist()]  # noqa: PLR0124
    assert (preprocessor.rows(records).features == matrix).all()
    assert (preprocessor.rows(ColumnarRows(("b", "a"), values[:, ::-1])).features == matrix).all()
    assert np.isfinite(matrix).all()


def test_a_number_beyond_float32_counts_as_missing_and_is_flagged() -> None:
    for value in (1e39, float("inf"), -(10**400)):
        features = of(BOTH).rows([{"a": value}])
        assert features.features.tolist() == [[-FLOAT32_MAX, FLOAT32_MAX]]
        assert [flag.what for flag in features.flags] == ["imputed"]


def test_a_word_is_refused() -> None:
    with pytest.raises(InputError, match="'a'"):
        of(BOTH).rows([{"a": "much"}])
