"""Texts among the numbers and dates of later rows: told where training had such texts, else refused."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.data import find_kinds, fit_preprocessor
from deepseek.data.features.prepare import Preprocessor
from deepseek.data.table.formats import read_formats
from deepseek.data.table.table import Table
from deepseek.errors import InputError

N = 200


def fitted(odd: str | None) -> Preprocessor:
    rng = np.random.default_rng(0)
    amounts, days = rng.gamma(2, 500, N), rng.integers(1, 28, N)
    prices = [f"${amount:.2f}" for amount in amounts]
    dates = [f"{day:02d}/{row % 12 + 1:02d}/2020" for row, day in enumerate(days)]
    if odd is not None:
        prices[3] = dates[5] = odd
    columns = {"price": np.array(prices, object), "when": np.array(dates, object), "size": rng.normal(size=N)}
    table = read_formats(Table(columns, {"price": "text", "when": "text", "size": "number"}))
    preprocessor = fit_preprocessor(table, find_kinds(table, target=None), target="y")
    return Preprocessor.from_bytes(preprocessor.to_bytes())


@pytest.mark.parametrize("column", ["price", "when"])
@pytest.mark.parametrize("num_rows", [1, 100])
def test_a_text_that_says_nothing_is_flagged_where_training_had_one(column: str, num_rows: int) -> None:
    row = {"price": "$5.00", "when": "03/04/2020", "size": 0.5}
    rows = [row] * (num_rows - 1) + [row | {column: "ask me"}]
    batch, known = fitted("see note").rows(rows), fitted("see note").rows([row | {column: "see note"}])
    assert [(flag.row, flag.column, flag.what) for flag in batch.flags] == [(num_rows - 1, column, "unreadable")]
    assert known.flags == ()  # training had it: missing, as there
    np.testing.assert_array_equal(batch.features[-1], known.features[0])
    with pytest.raises(InputError, match="'ask me' does not fit"):
        fitted(None).rows(rows)


@pytest.mark.parametrize("column", ["price", "when", "size"])
def test_a_word_for_not_known_is_a_missing_value_though_training_had_none(column: str) -> None:
    row = {"price": "$5.00", "when": "03/04/2020", "size": 0.5}
    batch = fitted(None).rows([row | {column: "unknown"}])
    assert [(flag.column, flag.what) for flag in batch.flags] == [(column, "imputed")]
