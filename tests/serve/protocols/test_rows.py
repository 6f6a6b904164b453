"""Rows as positional arrays: the same answers as records, by column, and errors that name the row."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepseek.serve.protocols.rows import read_columns, read_numeric_columns

PREDICT = "/v1/models/loans:predict"
NAMES = ("a", "b", "c")
CELL = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())


@pytest.mark.parametrize("num_rows", [2, 70])
def test_rows_answer_as_records_do(client: httpx.Client, num_rows: int) -> None:
    rows = [[33.5, 2400, "car"], [61, None, "study"]] * (num_rows // 2)
    records = [dict(zip(("age", "income", "purpose"), row, strict=True)) for row in rows]
    expected = client.post(PREDICT, json={"instances": records}).json()["predictions"]
    body = client.post(PREDICT, json={"rows": rows}).json()
    assert body["labels_known"] == ["no", "yes"]
    assert body["labels"] == [row["label"] for row in expected]
    assert body["probabilities"] == [list(row["probabilities"].values()) for row in expected]
    assert body["flags"][0] == {"row": 1, "column": "income", "what": "imputed"}
    turned = {"columns": ["purpose", "age", "income"], "rows": [[c, a, b] for a, b, c in rows]}
    assert client.post(PREDICT, json=turned).json() == body


def test_rows_of_numbers_answer_with_values_and_intervals(client: httpx.Client) -> None:
    records = [{"area": 80, "rooms": 3}, {"area": 120.5, "rooms": 4}]
    expected = client.post("/v1/models/prices:predict", json={"instances": records}).json()["predictions"]
    body = client.post("/v1/models/prices:predict", json={"rows": [[80, 3], [120.5, 4]]}).json()
    assert body == {
        "values": [row["value"] for row in expected], "intervals": [row["interval"] for row in expected]
    }  # fmt: skip


def test_reasons_come_for_rows_too(client: httpx.Client) -> None:
    records = {"instances": [{"age": 33.5, "income": None, "purpose": "car"}], "reasons": 2}
    expected = client.post(PREDICT, json=records).json()["predictions"]
    body = client.post(PREDICT, json={"rows": [[33.5, None, "car"]], "reasons": 2}).json()
    assert body["reasons"] == [row["reasons"] for row in expected]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"rows": []}, '"rows" is empty'),
        ({"rows": None}, 'no "rows"'),
        ({"rows": {}}, '"rows" is an object'),
        ({"columns": ["age"]}, 'no "rows"'),
        ({"rows": [[1, 2, "car"], [1, 2]]}, "rows[1] has 2 values"),
        ({"rows": [[1, 2, 3], [1, 2, 3], [1, 2, 3, 4]]}, "rows[2] has 4 values"),
        ({"rows": [[1, 2, "car"], 7]}, "rows[1] is a number"),
        ({"rows": [[1, 2, "car"], [1, [2], "car"]]}, "row 1, column 'income'"),
        ({"rows": [[1, 2]], "columns": ["age", "income"]}, "no column 'purpose'"),
        ({"rows": [[1, 2, 3, 4]], "columns": ["age", "income", "purpose", "more"]}, "'more'"),
        ({"rows": [[1, 2, 3, 4]], "columns": ["age", "income", "purpose", "age"]}, "'age' twice"),
        ({"rows": [[1, 2, 3]], "columns": "age"}, '"columns" is a string'),
        ({"rows": [[1, 2, 3]], "columns": []}, '"columns" holds'),
        ({"rows": [[1, 2, 3]], "columns": [1, 2, 3]}, '"columns" holds'),
        ({"rows": [[1, 2, 3]], "reasons": -1}, '"reasons" is -1'),
        ({"rows": [[1, 2, 3]], "limit": 1}, "unknown key 'limit'"),
        ({"rows": [[1, 2, 3]], "instances": []}, "unknown key 'instances'"),
    ],
)
def test_what_does_not_fit_is_said(client: httpx.Client, body: dict[str, Any], said: str) -> None:
    answer = client.post(PREDICT, json=body)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["error"]["message"]
    assert answer.json()["error"]["fix"]


def test_more_rows_than_the_limit_and_keys_that_stand_twice_are_refused(client: httpx.Client) -> None:
    assert client.post("/v1/models/prices:predict", json={"rows": [[1, 2]] * 16_385}).status_code == 413
    twice = client.post("/v1/models/prices:predict", content=b'{"rows": [[1, 2]], "rows": [[3, 4]]}')
    assert (twice.status_code, "stands twice" in twice.text) == (400, True)


@example([[None, None, 2**53 + 1]], False)
@given(st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=4), st.booleans())
def test_the_quick_way_reads_what_the_careful_way_reads(rows: list[list[Any]], named: bool) -> None:
    body: dict[str, Any] = {"rows": rows} | ({"columns": ["c", "a:b", "b"]} if named else {})
    quick = read_numeric_columns(json.dumps(body).encode(), NAMES, 10)
    numbers = all(cell is None or (type(cell) in (int, float) and abs(cell) < 2**53) for row in rows for cell in row)
    assert quick is not None or not numbers
    if quick is not None:
        assert list(quick[0]) == list(read_columns(body, NAMES, copy=""))


def test_two_hundred_thousand_rows_a_second_are_read() -> None:
    body = json.dumps({"rows": np.random.default_rng(0).normal(size=(1_000, 15)).round(3).tolist()}).encode()
    names = [f"x{place}" for place in range(15)]
    seconds = []
    for _ in range(20):
        started_s = time.process_time()
        assert read_numeric_columns(body, names, 1_000) is not None
        seconds.append(time.process_time() - started_s)
    assert 1_000 / min(seconds) > 200_000
