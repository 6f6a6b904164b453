"""Bodies of raw events: small and large ones are read alike, and whatever is ambiguous or nested is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from deepseek.errors import DeepseekError, InputError, MalformedError, TooLargeError
from deepseek.serve.core.bodies.offload import INLINE_BYTES
from deepseek.serve.scoring.reading import EventReader, RawRows
from support.servers.cards import definition

JSON, LINES = b"application/json", b"application/x-ndjson"
EVENT = {"id": 1, "time": 1_522_540_800, "card": 7, "terminal": 3, "amount": 2.5}
ODD_VALUES = [
    0,
    -1,
    2.5,
    1e300,
    10**18,
    10**25,
    -(10**25),
    2**63,
    True,
    False,
    None,
    "",
    "a",
    '"amount"',
    "\\",
    "é",
    "1",
]


def odd_events(num: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    names = [*EVENT, "age"]
    drawn = rng.integers(0, len(ODD_VALUES), (num, len(names))).tolist()
    return [dict(zip(names, (ODD_VALUES[place] for place in row), strict=True)) for row in drawn]


def body_of(form: str, events: list[dict[str, Any]]) -> tuple[bytes, bytes]:
    if form == "lines":
        return b"\n".join(json.dumps(event).encode() for event in events) + b"\n\n", LINES
    if form == "columns":
        return json.dumps({"columns": list(events[0]), "rows": [list(e.values()) for e in events]}).encode(), JSON
    return json.dumps({"instances": events} if form == "instances" else events).encode(), JSON


@pytest.fixture(scope="module")
def reader() -> EventReader:
    return EventReader(definition(), ["age"])


@pytest.mark.parametrize("form", ["array", "instances", "lines", "columns"])
def test_a_large_body_is_read_as_its_parts_are(reader: EventReader, form: str) -> None:
    events = odd_events(2_000)
    body, media = body_of(form, events)
    assert len(body) > INLINE_BYTES
    whole = reader.read(body, media, 5_000)
    parts = [reader.read(*body_of(form, events[start : start + 50]), 5_000) for start in range(0, len(events), 50)]
    assert whole.form == parts[0].form == form
    for place, column in enumerate(whole.columns):
        joined = [value for part in parts for value in part.columns[place]]
        assert list(map(repr, column)) == list(map(repr, joined))


def text_of(reader: EventReader, body: bytes, media: bytes = JSON) -> RawRows:
    return reader.read(body, media, 100_000)


SMALL = json.dumps(EVENT).encode()
TWICE = {
    "a record": SMALL.replace(b'"amount"', b'"amount": 900, "amount"'),
    "escaped": SMALL.replace(b'"amount"', b'"\\u0061mount": 900, "amount"'),
    "a column that may be left out": SMALL.replace(b'"amount"', b'"age": 1, "age": 2, "amount"'),
}


@pytest.mark.parametrize("what", TWICE)
def test_a_key_that_stands_twice_is_refused_in_every_form(reader: EventReader, what: str) -> None:
    bad = TWICE[what]
    bodies = [
        (bad, JSON), (b"[%b, %b]" % (SMALL, bad), JSON), (b'{"instances": [%b]}' % bad, JSON),
        (b"%b\n%b\n" % (SMALL, bad), LINES), (b"[%b%b]" % (b"%b," % SMALL * 2_000, bad), JSON),
        (b"%b\n" % SMALL * 2_000 + bad, LINES),
    ]  # fmt: skip
    for body, media in bodies:
        with pytest.raises(MalformedError, match="stands twice"):
            text_of(reader, body, media)
    with pytest.raises(MalformedError, match="stands twice"):
        reader.read_records([SMALL, bad])


def test_a_value_may_be_the_name_of_a_column(reader: EventReader) -> None:
    event = EVENT | {"id": "amount", "card": '"card"', "terminal": "\\"}
    for number in (1, 2_000):
        for form in ("array", "lines"):
            assert set(text_of(reader, *body_of(form, [event] * number)).columns[2]) == {"amount"}
    assert reader.read_records([json.dumps(event).encode()]).columns[2] == ["amount"]


@pytest.mark.parametrize("value", [[], [1], {}, {"a": 1}, [[[[]]]]])
@pytest.mark.parametrize("num", [1, 2_000])
def test_a_nested_value_is_refused(reader: EventReader, value: Any, num: int) -> None:
    for name in EVENT:
        for form in ("array", "instances", "lines", "columns"):
            with pytest.raises(InputError):
                text_of(reader, *body_of(form, [EVENT] * (num - 1) + [EVENT | {name: value}]))


@pytest.mark.parametrize("form", ["array", "instances", "lines", "columns"])
def test_events_beyond_the_limit_are_refused(reader: EventReader, form: str) -> None:
    with pytest.raises(TooLargeError):
        reader.read(*body_of(form, [EVENT] * 11), 10)
    with pytest.raises(TooLargeError):
        reader.read(*body_of(form, [EVENT] * 5_000), 1_000)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"1", b"null", b"[]", b"[1]", b"[[]]", b"{}", b'{"instances": {}}', b'{"instances": [1]}',
        b'{"columns": 1, "rows": []}', b'{"columns": [1], "rows": [[1]]}', b'{"columns": ["id"], "rows": [[1]]}',
        b'{"columns": ["id", "id"], "rows": [[1, 1]]}', b'{"rows": [[1]]}', b'[{"id": 1}]', b"\xff", b'[{"id": NaN}]',
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_in_words(reader: EventReader, body: bytes) -> None:
    for padded in (body, body + b" " * (INLINE_BYTES + 1)):
        for media in (JSON, LINES):
            with pytest.raises(DeepseekError) as raised:
                text_of(reader, padded, media)
            assert raised.value.exit_code == 2
            assert raised.value.fix
