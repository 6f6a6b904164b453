"""Strict JSON: every way in which a body can be no plain object of records."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.errors import MalformedError
from deepseek.serve.core.json_body import count_keys, decode_object

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"3", b'"text"', b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b"{}{}",
        b'{"a": 1e999}', b'{"a": ' + b"9" * 5_000 + b"}", b'{"a": "\xff"}', b"\xff\xfe{", b'{"a": "\\ud800"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"{'a': 1}", b'{"a": 01}', b'{"a": 1,}', b'{"a": "x\ny"}',
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        decode_object(body)
    assert caught.value.status == 400
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("body", [b'{"a": "\xff"}', b'{"instances": [{"age": 1, "\xff": 2}]}', b'{"a": 1, \xff}'])
def test_a_byte_that_is_no_text_is_named_by_its_place_in_the_body(body: bytes) -> None:
    with pytest.raises(MalformedError, match=rf"byte {body.index(0xFF)}\)"):
        decode_object(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"instances": [{"x": 1, "x": 1}]}',
        b'{"instances": [{"x": "10:00"}, {"x": 1, "y": 2, "x": 3}]}',
        b'{"a" : 1, "b" :2, "a":3}',
        b'{"a": {"b": [[{"c": 1, "c": 2}]]}}',
        b'{"a": "\\u003a", "b": 1, "b": 2}',
        b'{"a": 1, "\\u0061": 2}',
    ],
)
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError, match="stands twice"):
        decode_object(body)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5))
def test_any_object_that_json_writes_is_read_as_it_was(value: dict[str, Any]) -> None:
    assert decode_object(json.dumps(value).encode()) == value
    assert decode_object(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


def test_keys_are_counted_at_any_depth() -> None:
    assert count_keys({"a": [{"b": 1, "c": {"d": 2}}, {"e": [[{"f": 3}]]}]}) == 6
