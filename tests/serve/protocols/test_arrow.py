"""Arrow streams: the answers of records, in both forms, and streams that would harm are refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

MEDIA = "application/vnd.apache.arrow.stream"
LOANS = "/v1/models/loans:predict"
PRICES = "/v1/models/prices:predict"
LOAN = {"age": [33.5, 61.0], "income": [2400, None], "purpose": ["car", " study "]}


def stream(data: Any, **options: Any) -> bytes:
    table = data if isinstance(data, pa.Table) else pa.table(data)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=64)
    return bytes(sink.getvalue().to_pybytes())


def post(client: httpx.Client, path: str, body: bytes, **headers: str) -> httpx.Response:
    return client.post(path, content=body, headers={"content-type": MEDIA, **headers})


@pytest.mark.parametrize("num_rows", [2, 200])
def test_mixed_columns_answer_as_records_do(client: httpx.Client, num_rows: int) -> None:
    columns = {name: values * (num_rows // 2) for name, values in LOAN.items()}
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    expected = client.post(LOANS, json={"rows": rows}).json()
    assert post(client, LOANS, stream(columns)).json() == expected
    coded = pa.table({**columns, "purpose": pa.array(columns["purpose"]).dictionary_encode()})
    assert post(client, LOANS, stream(coded)).json() == expected


@pytest.mark.parametrize("num_rows", [3, 300])
def test_a_stream_comes_back_where_it_is_accepted(client: httpx.Client, num_rows: int) -> None:
    rng = np.random.default_rng(0)
    columns = {"rooms": rng.integers(1, 9, num_rows), "area": rng.normal(80, 20, num_rows).astype(np.float32)}
    rows = list(zip(*(column.tolist() for column in columns.values()), strict=True))
    expected = client.post(PRICES, json={"columns": list(columns), "rows": rows}).json()
    answer = post(client, PRICES, stream(columns), accept=MEDIA)
    assert answer.headers["content-type"] == MEDIA
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.column("prediction").to_pylist() == expected["values"]
    assert list(zip(*(table.column(end).to_pylist() for end in ("lower", "upper")), strict=True)) == [
        tuple(pair) for pair in expected["intervals"]
    ]


def test_a_stream_of_labels_has_the_columns_of_predict_and_its_flags(client: httpx.Client) -> None:
    table = pa.ipc.open_stream(post(client, LOANS, stream(LOAN), accept=f"{MEDIA}, */*;q=0.1").content).read_all()
    assert table.column_names == ["prediction", "probability_no", "probability_yes"]
    assert table.schema.metadata == {b"flags": b'[{"row": 1, "column": "income", "what": "imputed"}]'}


@pytest.mark.parametrize(
    ("columns", "status", "said"),
    [
        ({"area": [1.0]}, 422, "no column 'rooms'"),
        ({"area": [1.0], "rooms": [2.0], "more": [1]}, 422, "'more'"),
        ({"area": [1.0], "rooms": ["many"]}, 422, "row 0, column 'rooms': 'many'"),
        ({"area": [1.0], "rooms": [[1, 2]]}, 422, "column 'rooms' is of type list"),
        ({"area": [1.0], "rooms": [{"a": 1}]}, 422, "column 'rooms' is of type struct"),
        ({"area": [1.0], "rooms": [b"\xff\xfe"]}, 422, "not UTF-8"),
        ({"area": [1.0], "rooms": [dt.date(2026, 1, 1)]}, 422, "column 'rooms'"),
        ({"area": pa.array([], pa.float64()), "rooms": pa.array([], pa.float64())}, 422, "no row"),
        ({"area": np.zeros(16_385), "rooms": np.zeros(16_385)}, 413, "at most 16384"),
    ],
)
def test_columns_that_do_not_fit_are_said(client: httpx.Client, columns: Any, status: int, said: str) -> None:
    answer = post(client, PRICES, stream(columns))
    assert (answer.status_code, said in answer.json()["error"]["message"] + answer.json()["error"]["expected"]) == (
        status, True,
    ), answer.text  # fmt: skip


def test_numbers_may_be_whole_true_or_missing(client: httpx.Client) -> None:
    columns = {"area": pa.array([80, None, 7], pa.uint8()), "rooms": pa.array([True, None, False])}
    rows = [[80, True], [None, None], [7, False]]
    assert post(client, PRICES, stream(columns)).json() == client.post(PRICES, json={"rows": rows}).json()


@pytest.mark.parametrize("kind", [pa.float16(), pa.uint64(), pa.int64(), pa.int32(), pa.decimal128(9, 1)])
def test_numbers_of_every_width_are_themselves(client: httpx.Client, kind: pa.DataType) -> None:
    columns = {"area": pa.array([80.0, 7.0]).cast(kind), "rooms": pa.array([3.5, -1.0], pa.float32())}
    assert (
        post(client, PRICES, stream(columns)).json() == client.post(PRICES, json={"rows": [[80, 3.5], [7, -1]]}).json()
    )


def test_a_column_that_stands_twice_is_refused(client: httpx.Client) -> None:
    table = pa.Table.from_arrays([pa.array([1.0])] * 3, ["area", "rooms", "area"])
    assert "'area' stands twice" in post(client, PRICES, stream(table)).text


@pytest.mark.parametrize("coding", ["zstd", "lz4"])
def test_compression_inside_is_refused_before_anything_is_allocated(client: httpx.Client, coding: str) -> None:
    bomb = {"area": np.zeros(10_000), "rooms": np.zeros(10_000)}
    answer = post(client, PRICES, stream(bomb, compression=coding))
    assert (answer.status_code, "compressed" in answer.text) == (422, True)
    words = pa.table({**LOAN, "purpose": pa.array(["car" * 500, "study" * 500]).dictionary_encode()})
    assert "compressed" in post(client, LOANS, stream(words, compression=coding)).text


def test_a_stream_may_be_compressed_as_a_whole(client: httpx.Client) -> None:
    import gzip

    body = stream(LOAN)
    answer = post(client, LOANS, gzip.compress(body), **{"content-encoding": "gzip"})
    assert answer.json() == post(client, LOANS, body).json()


@pytest.mark.parametrize("seed", range(60))
def test_harmed_streams_are_refused_and_harm_nothing(client: httpx.Client, seed: int) -> None:
    rng = np.random.default_rng(seed)
    body = bytearray(stream(LOAN))
    for place in rng.integers(0, len(body), 3):
        body[place] = rng.integers(0, 256)
    answer = post(client, LOANS, bytes(body[: None if seed % 2 else rng.integers(1, len(body))]))
    assert answer.status_code in (200, 400, 413, 422), answer.text


@pytest.mark.parametrize(
    "body", [b"", b"x", b"{}", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x00\x00\x00\x00", b"\x00" * 99]
)
def test_what_is_no_stream_is_refused_in_words(client: httpx.Client, body: bytes) -> None:
    answer = post(client, LOANS, body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["fix"]
