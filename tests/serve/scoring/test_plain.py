"""Events of numbers alone: compiled reading and writing say what careful reading and Python's formatting say."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from deepseek.data import fit_preprocessor, read_table
from deepseek.data.table.columns import ColumnarRows
from deepseek.errors import DeepseekError, TooLargeError
from deepseek.serve.scoring.plain_answers import AnswerTemplate
from deepseek.serve.scoring.plain_json import PlainColumns
from deepseek.serve.scoring.preparing import CompiledPreparer
from deepseek.serve.scoring.reading import EventReader, RawRows, RowReader, join_raw
from deepseek.serve.scoring.scorer import STATUS_NAMES
from support.servers.cards import definition, events_of, payments

JSON, LINES = b"application/json", b"application/x-ndjson"
MAX_ROWS = 10_000


@pytest.fixture(scope="module")
def reader() -> EventReader:
    return EventReader(definition())


def bodies_of(events: list[dict[str, Any]], **options: Any) -> list[tuple[bytes, bytes]]:
    lines = [json.dumps(event, **options).encode() for event in events]
    return [
        (b"\n".join(lines), LINES), (b"\r\n\n".join(lines) + b"\n", LINES), (b"[%b]" % b" , ".join(lines), JSON),
        (b' {"instances" : [\n%b] }' % b",\n".join(lines), JSON), (b" %b " % lines[0], JSON),
    ]  # fmt: skip


def columns_of(reader: EventReader, raw: RawRows) -> list[Any]:
    events, is_bad = reader.columns(raw)
    return [*(column.tolist() for column in events.arrays()), is_bad is None, raw.form]


def read_with_care(reader: EventReader, body: bytes, media_type: bytes) -> list[Any] | None:
    """The columns of a body as it is read without compiled code; None where it is refused."""
    try:
        return columns_of(reader, RowReader.read(reader, body, media_type, MAX_ROWS))
    except DeepseekError:
        return None


def is_plain(raw: RawRows) -> bool:
    return all(isinstance(column, np.ndarray) for column in raw.columns)


@pytest.mark.parametrize("separators", [(",", ":"), (" ,\t", "\t: ")])
def test_plain_events_are_read_as_care_reads_them_in_every_form(reader: EventReader, separators: Any) -> None:
    events = [{**event, "other": place, "note": "a text"} for place, event in enumerate(events_of(payments(50)))]
    events[3] = dict(reversed(events[3].items()))
    events[4] |= {"amount": 7, "id": -1, "card": 10**18 - 1, "terminal": 0}
    events[5] |= {"amount": -0.0, "time": -5}
    for place, amount in enumerate((69.85000000000001, 206.64999999999998, 0.30000000000000004, 1 / 3, 1e-4), 6):
        events[place] |= {"amount": amount}
    for body, media_type in bodies_of(events, separators=separators):
        raw = reader.read(body, media_type, MAX_ROWS)
        assert is_plain(raw)
        assert columns_of(reader, raw) == read_with_care(reader, body, media_type)


def test_bytes_that_are_changed_at_random_are_never_read_otherwise_than_with_care(reader: EventReader) -> None:
    rng = np.random.default_rng(0)
    alphabet = np.frombuffer(b'{}[]",:.-+eE0123456789 \n\t\\aux\x00\x80', np.uint8)
    num_plain = 0
    for body, media_type in bodies_of(events_of(payments(3)), separators=(",", ":")):
        for _ in range(600):
            changed = bytearray(body)
            for place in rng.integers(0, len(body), rng.integers(1, 3)).tolist():
                changed[place : place + int(rng.integers(0, 2))] = bytes([alphabet[rng.integers(len(alphabet))]])
            plain = reader._plain.read(bytes(changed), MAX_ROWS, is_lines=media_type == LINES)  # type: ignore[union-attr]
            if plain is not None:
                num_plain += 1
                columns = columns_of(reader, RawRows(plain.columns, plain.form))
                assert columns == read_with_care(reader, bytes(changed), media_type), changed
    assert num_plain > 100


@pytest.mark.parametrize(
    "change",
    [{"amount": 1.5e-7}, {"amount": 1e20}, {"amount": 12.005000000000003}, {"amount": 99999999.12345678},
     {"amount": None}, {"card": "7"}, {"card": True}, {"id": 2**63}, {"id": 1.0},
     {"time": "2018-07-01T12:00:00"}, {"é": 1}, {"note": "\n"}, {"note": [1]}],
)  # fmt: skip
def test_an_event_that_is_not_plain_is_left_to_care(reader: EventReader, change: dict[str, Any]) -> None:
    event = events_of(payments(1))[0]
    for body, media_type in bodies_of([event, event | change]):
        if media_type == LINES:
            assert reader._plain.read(body, MAX_ROWS, is_lines=True) is None  # type: ignore[union-attr]


def test_names_that_no_plain_text_is_are_left_to_care() -> None:
    for name in ('a"b', "a\\b", "a\nb", "instances"):
        body = json.dumps({name: 1, "amount": 2.5}).encode()
        assert PlainColumns((name, "amount"), decimal="amount", decimals=2).read(body, 1) is None
    chinese = PlainColumns(("卡", "amount"), decimal="amount", decimals=2)
    assert chinese.read('{"卡": 1, "amount": 2.5}'.encode(), 1) is not None


def test_no_memory_is_taken_for_more_rows_than_are_allowed(reader: EventReader) -> None:
    event = json.dumps(events_of(payments(1))[0]).encode()
    for number, fits in ((10, True), (12, False)):
        lines = b"%b\n" % event * number
        assert (reader._plain.read(lines, 10, is_lines=True) is not None) is fits  # type: ignore[union-attr]
        assert (reader._plain.read(b"[%b]" % b",".join([event] * number), 10) is not None) is fits  # type: ignore[union-attr]
    with pytest.raises(TooLargeError):
        reader.read(b"%b\n" % event * 11, LINES, 10)


def test_bodies_of_one_event_each_are_read_together_only_where_each_is_one(reader: EventReader) -> None:
    events = events_of(payments(3))
    bodies = [json.dumps(event).encode() for event in events]
    assert reader.read_records(bodies).columns[2].tolist() == [0, 1, 2]  # type: ignore[union-attr]
    with pytest.raises(DeepseekError):
        reader.read_records([b"\n".join(bodies), b""])
    pretty = [json.dumps(event, indent=1).encode() for event in events]
    assert list(reader.read_records(pretty).columns[2]) == [0, 1, 2]
    text = reader.read_records([json.dumps(events[0] | {"card": "7"}).encode()])
    joined = join_raw([reader.read_records(bodies), text])
    assert joined.columns[2] == [0, 1, 2, 0]
    assert joined.columns[3] == [*(event["card"] for event in events), "7"]


def test_answers_are_written_as_python_writes_them() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random(2_000), 10.0 ** -rng.uniform(0, 8.9, 2_000), rng.integers(0, 1_001, 2_000) / 1_000,
             np.ldexp(rng.integers(1, 2**24, 2_000).astype(float), -rng.integers(24, 50, 2_000)),
             1 - np.ldexp(rng.integers(1, 9, 50).astype(float), -24),
             np.array([0.0, 1.0, 0.5, 1e-4, 9.9999997e-5])]  # fmt: skip
    chances = np.concatenate(parts).astype(np.float32)
    chances[(chances > 0) & (chances < 1e-9)] = 0.25
    number = len(chances)
    ids = rng.integers(-(2**63), 2**63 - 1, number)
    ids[:6] = [0, -1, 10, -(2**63), 2**63 - 1, 99]
    status = rng.integers(0, len(STATUS_NAMES), number).astype(np.int8)
    is_alert = rng.random(number) < 0.5
    rows = AnswerTemplate(("no", 'a "b"'), STATUS_NAMES).rows(ids, status, chances, is_alert)
    decisions = (b'"no"', b'"a \\"b\\""')
    assert rows == [
        b'{"id":%d,"status":"%b","chance":%.9g,"decision":%b}' % (one, name, chance, decisions[alert])
        if kind <= 1
        else b'{"id":%d,"status":"%b"}' % (one, name)
        for one, kind, name, chance, alert in zip(
            ids.tolist(), status.tolist(), [STATUS_NAMES[kind].encode() for kind in status.tolist()], chances.tolist(),
            is_alert.tolist(), strict=True,
        )
    ]  # fmt: skip
    tiny = np.array([1e-12], np.float32)
    assert AnswerTemplate(("no", "yes"), STATUS_NAMES).rows(ids[:1], status[:1] * 0, tiny, is_alert[:1]) is None


def test_inputs_are_prepared_as_the_bundle_prepares_them() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 3)) * [1.0, 1e3, 1e-3]
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:, 2] = rng.normal(size=200) + 1e9  # which float32 would merge
    table = read_table({**dict(zip("abc", values.T, strict=True)), "y": np.arange(200.0)})
    preprocessor = fit_preprocessor(table, dict.fromkeys("abc", "numeric"), target="y")
    features = np.concatenate([values, [[np.nan] * 3, [np.inf, 1e300, -1e300], [-0.0, 0.0, 1.0]]])
    preparer = CompiledPreparer.of(preprocessor, ("c", "x", "a", "b"))
    assert preparer is not None
    shuffled = np.stack([features[:, 2], np.zeros(len(features)), features[:, 0], features[:, 1]], axis=1)
    expected = preprocessor.rows(ColumnarRows(("a", "b", "c"), features)).features
    assert preparer.inputs(shuffled).tobytes() == expected.tobytes()
    assert CompiledPreparer.of(preprocessor, ("a", "b")) is None
    kinds = {"a": "numeric", "b": "numeric", "c": "integer_category"}
    levels = read_table({"a": values[:, 0], "b": values[:, 1], "c": np.arange(200) % 4, "y": np.arange(200.0)})
    assert CompiledPreparer.of(fit_preprocessor(levels, kinds, target="y"), ("a", "b", "c")) is None
