"""Cells of every kind as a client sends them."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from deepseek.client.rows import encode_json, positional_rows


@pytest.mark.parametrize(
    ("cell", "sent"),
    [
        (True, True),
        (3, 3),
        (2.5, 2.5),
        (float("inf"), None),
        (float("nan"), None),
        (" NA ", None),
        ("città", "città"),
        (None, None),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.str_("car"), "car"),
        (np.datetime64("2021-05-03"), "2021-05-03"),
        (np.datetime64("NaT"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (dt.date(2021, 5, 3), "2021-05-03"),
        (Decimal("1.50"), "1.50"),
        (Decimal("NaN"), None),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "AP8="),
        (np.array([[1.0, np.nan]]), [[1.0, None]]),
        ((1, [2.0, float("nan")], {"a": float("inf")}), [1, [2.0, None], {"a": None}]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_cell_is_sent_as_json_holds_it(cell: Any, sent: Any) -> None:
    body = positional_rows([{"cell": cell}]).to_dict()
    assert json.loads(encode_json(body)) == {"columns": ["cell"], "rows": [[sent]]}
